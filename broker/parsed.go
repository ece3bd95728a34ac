package broker

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// parsedAgreement is an agreement with the descriptors it names. It is never changed.
type parsedAgreement struct {
	agreement *agreement.SignedAgreement
	parties   []*agreement.SignedParty
}

// parseAgreement reads documents; their signatures are checked where they are relied on.
func parseAgreement(document json.RawMessage, parties []json.RawMessage) (*parsedAgreement, error) {
	a, err := agreement.ParseAgreement(document)
	if err != nil {
		return nil, err
	}
	parsed := &parsedAgreement{agreement: a}
	for i, raw := range parties {
		p, err := agreement.ParseParty(raw)
		if err != nil {
			return nil, fmt.Errorf("party %d: %w", i, err)
		}
		parsed.parties = append(parsed.parties, p)
	}
	return parsed, nil
}

// parsedCache keeps activated agreements parsed, by digest; what they are to this broker is
// read from the state every time.
type parsedCache struct {
	mu   sync.Mutex
	held map[wire.Digest]*parsedAgreement
}

func (c *parsedCache) get(digest wire.Digest, r agreementRecord) (*parsedAgreement, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.held[digest]; p != nil {
		return p, nil
	}
	p, err := parseAgreement(r.Document, r.Parties)
	if err != nil {
		return nil, fmt.Errorf("agreement %s in the broker's state: %w", digest.Short(), err)
	}
	if p.agreement.Digest() != digest {
		return nil, fmt.Errorf("agreement %s in the broker's state is another one", digest.Short())
	}
	if c.held == nil || len(c.held) >= maxParsed {
		c.held = make(map[wire.Digest]*parsedAgreement)
	}
	c.held[digest] = p
	return p, nil
}

func msText(ms int64) string { return wire.At(time.UnixMilli(ms)).String() }
