package release

import (
	"fmt"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// SeenRequest asks a broker what it last accepted of a log. It is not signed.
type SeenRequest struct {
	Version string `json:"version"`
	// Log is the verifier key of the log asked about: two logs may have one origin.
	Log string `json:"log"`
	// Nonce is the asker's own, random, so that nobody can show an old answer (R15).
	Nonce wire.Hash `json:"nonce"`
}

// Seen is a broker's answer, a document of type SeenType signed by its release key.
type Seen struct {
	Version string  `json:"version"`
	Broker  wire.ID `json:"broker"`
	// Log and Nonce repeat the request's.
	Log   string    `json:"log"`
	Nonce wire.Hash `json:"nonce"`
	// Checkpoint is the last it accepted of the log; absent if it never saw one.
	Checkpoint string `json:"checkpoint,omitempty"`
}

func (r SeenRequest) check() error {
	switch {
	case r.Log == "" || len(r.Log) > MaxLogKey:
		return fmt.Errorf("log key of %d bytes, expected 1 to %d", len(r.Log), MaxLogKey)
	case r.Nonce.IsZero():
		return fmt.Errorf("nonce is zero")
	}
	return nil
}

// NewSeenRequest encodes the question.
func NewSeenRequest(r SeenRequest) ([]byte, error) {
	r.Version = Version
	if err := r.check(); err != nil {
		return nil, malformed("question about a log", err)
	}
	return wire.Marshal(r)
}

// ParseSeenRequest reads the question on the broker's side.
func ParseSeenRequest(data []byte) (SeenRequest, error) {
	var r SeenRequest
	err := sized(data, MaxSmall)
	if err == nil {
		err = wire.Unmarshal(data, &r)
	}
	if err == nil && r.Version != Version {
		return SeenRequest{}, otherVersion(r.Version)
	}
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return SeenRequest{}, malformed("question about a log", err)
	}
	return r, nil
}

// NewSeen signs a broker's answer; checkpoint is "" if it never saw one.
func NewSeen(releaseKey keys.Signer, broker wire.ID, asked SeenRequest, checkpoint string) ([]byte, error) {
	return signed(releaseKey, SeenType, Seen{Version, broker, asked.Log, asked.Nonce, checkpoint}, MaxSmall)
}

// VerifySeen reads an answer: signed by the release key, and to this very question. That the
// log's own key signed the checkpoint is for the caller to check.
func VerifySeen(data []byte, releaseKey keys.PublicKey, broker wire.ID, asked SeenRequest) (Seen, error) {
	var s Seen
	doc, err := parsed(data, SeenType, MaxSmall, &s)
	if err != nil {
		return Seen{}, err
	}
	if s.Version != Version {
		return Seen{}, otherVersion(s.Version)
	}
	if len(s.Checkpoint) > MaxCheckpoint {
		return Seen{}, malformed("answer about a log", fmt.Errorf("checkpoint of %d bytes", len(s.Checkpoint)))
	}
	if err := signedBy(doc, releaseKey); err != nil {
		return Seen{}, err
	}
	if asked.Nonce.IsZero() || s.Broker != broker || s.Log != asked.Log || s.Nonce != asked.Nonce {
		return Seen{}, verdict.NotGenuine("seen.answer", "the answer of "+string(broker)+" to this question", "an answer to another", "ask again; somebody on the way exchanged answers")
	}
	return s, nil
}
