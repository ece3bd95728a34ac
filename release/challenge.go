package release

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// tokenDomain is that of the MAC over a challenge token.
const tokenDomain = "strongroom/challenge-token/v1"

// IssueChallenge makes a challenge token (R11, spec/release.md, section 3): random, and good
// for one purpose under one agreement until ChallengeLifetimeMS from now. The broker keeps
// nothing but its secret.
func IssueChallenge(secret *keys.Secret, issuer wire.ID, agreement wire.Digest, purpose attest.Purpose, now time.Time) (token []byte, err error) {
	if !issuer.Valid() || agreement.IsZero() || !purpose.Valid() || now.IsZero() {
		return nil, verdict.Misuse("challenge", "issuer, agreement, purpose and time", "something missing", "ask with all of them")
	}
	id := keys.RandomID()
	return makeToken(secret, id, now.UnixMilli()+ChallengeLifetimeMS, issuer, agreement, purpose), nil
}

func makeToken(secret *keys.Secret, id [16]byte, expires int64, issuer wire.ID, agreement wire.Digest, purpose attest.Purpose) []byte {
	rest := append([]byte{}, id[:]...)
	rest = binary.BigEndian.AppendUint64(rest, uint64(expires))
	rest = append(rest, agreement[:]...)
	rest = append(append(rest, byte(len(purpose))), purpose...)
	rest = append(append(rest, byte(len(issuer))), issuer...)
	mac := secret.MAC(tokenDomain, rest)
	return append(mac[:], rest...)
}

// RecogniseChallenge reads a token that this secret issued for this issuer; whoever changed a
// bit of it gets an error. Age, purpose and agreement are for [policy.Decide] to judge.
// Whether it was redeemed is for the broker's books to say.
func RecogniseChallenge(secret *keys.Secret, issuer wire.ID, token []byte) (policy.Challenge, error) {
	alien := verdict.NotGenuine("challenge.known", "a challenge of this broker", "another token", "ask this broker for a challenge")
	const fixed = 32 + 16 + 8 + 48
	if len(token) < fixed+2 || len(token) > MaxToken || !secret.VerifyMAC(token[:32], tokenDomain, token[32:]) {
		return policy.Challenge{}, alien
	}
	c := policy.Challenge{Recognised: true, ID: hex.EncodeToString(token[32:48]), Nonce: attest.NonceOf(token),
		Expires: time.UnixMilli(int64(binary.BigEndian.Uint64(token[48:56]))), Agreement: wire.Digest(token[56:104])}
	purpose, rest, ok := prefixed(token[fixed:])
	name, rest, ok2 := prefixed(rest)
	if !ok || !ok2 || len(rest) != 0 || wire.ID(name) != issuer {
		return policy.Challenge{}, alien
	}
	c.Purpose = attest.Purpose(purpose)
	return c, nil
}

// prefixed splits off a string behind its length, one byte.
func prefixed(b []byte) (string, []byte, bool) {
	if len(b) == 0 {
		return "", nil, false
	}
	end := 1 + int(b[0])
	if len(b) < end {
		return "", nil, false
	}
	return string(b[1:end]), b[end:], true
}

// NewChallengeRequest gives the message that asks for a challenge, with a nonce the room has
// just drawn.
func NewChallengeRequest(r ChallengeRequest) ([]byte, error) {
	r.Version = Version
	if err := r.check(); err != nil {
		return nil, err
	}
	return wire.Marshal(r)
}

// ParseChallengeRequest reads what [NewChallengeRequest] wrote.
func ParseChallengeRequest(data []byte) (ChallengeRequest, error) {
	var r ChallengeRequest
	if err := sized(data, MaxSmall); err != nil {
		return r, malformed("challenge request", err)
	}
	if err := wire.Unmarshal(data, &r); err != nil {
		return ChallengeRequest{}, malformed("challenge request", err)
	}
	if err := r.check(); err != nil {
		return ChallengeRequest{}, err
	}
	return r, nil
}

func (r ChallengeRequest) check() error {
	switch {
	case r.Version != Version:
		return otherVersion(r.Version)
	case !r.Purpose.Valid():
		return malformed("challenge request", fmt.Errorf("purpose %.40q", string(r.Purpose)))
	case r.Agreement.IsZero():
		return malformed("challenge request", fmt.Errorf("no agreement"))
	case r.Nonce.IsZero():
		return malformed("challenge request", fmt.Errorf("no nonce"))
	}
	return nil
}

// NewChallenge signs a broker's answer to a challenge request, which it repeats.
func NewChallenge(releaseKey keys.Signer, asked ChallengeRequest, c Challenge) ([]byte, error) {
	c.Version, c.Purpose, c.Agreement, c.Nonce = Version, asked.Purpose, asked.Agreement, asked.Nonce
	if c.Seen == nil {
		c.Seen = []SeenLog{}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return signed(releaseKey, ChallengeType, c, MaxSmall)
}

// VerifyChallenge reads a broker's answer on the room's side: signed by the release key of
// its descriptor, by the broker that was asked, and to this very request.
func VerifyChallenge(data []byte, releaseKey keys.PublicKey, broker wire.ID, asked ChallengeRequest) (Challenge, error) {
	var c Challenge
	if _, err := opened(data, ChallengeType, MaxSmall, releaseKey, &c); err != nil {
		return Challenge{}, err
	}
	if err := c.check(); err != nil {
		return Challenge{}, err
	}
	if c.Broker != broker || c.Purpose != asked.Purpose || c.Agreement != asked.Agreement || c.Nonce != asked.Nonce {
		return Challenge{}, verdict.NotGenuine("challenge.answer", "an answer of broker "+string(broker)+" to this request", "an answer to another request or of another broker", "ask again; somebody on the way exchanged answers")
	}
	return c, nil
}

func (c Challenge) check() error {
	switch {
	case c.Version != Version:
		return otherVersion(c.Version)
	case len(c.Token) == 0 || len(c.Token) > MaxToken:
		return malformed("challenge", fmt.Errorf("token of %d bytes, expected 1 to %d", len(c.Token), MaxToken))
	case c.TimeMS <= 0:
		return malformed("challenge", fmt.Errorf("time %d", c.TimeMS))
	case c.Checkpoint == "" || len(c.Checkpoint) > MaxCheckpoint:
		return malformed("challenge", fmt.Errorf("checkpoint of %d bytes, expected 1 to %d", len(c.Checkpoint), MaxCheckpoint))
	case len(c.Seen) > MaxPeers:
		return malformed("challenge", fmt.Errorf("%d logs seen, at most %d", len(c.Seen), MaxPeers))
	}
	for _, s := range c.Seen {
		if s.Origin == "" || s.Size < 0 {
			return malformed("challenge", fmt.Errorf("log %.60q seen at size %d", s.Origin, s.Size))
		}
	}
	return nil
}
