package release

import (
	"encoding/json"
	"fmt"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// SignedRequest is a release request and the document it came in.
type SignedRequest struct {
	Request
	Document *keys.Document
}

// Digest names the request; the grant repeats it.
func (r *SignedRequest) Digest() wire.Digest { return r.Document.Digest() }

// NewRequest signs a release request with the room's signing key, and gives the message and
// what [VerifyGrant] needs to know of it.
func NewRequest(room keys.Signer, r Request) ([]byte, *SignedRequest, error) {
	r.Version = Version
	r.Parties, r.Inputs, r.Peers = orEmpty(r.Parties), orEmpty(r.Inputs), orEmpty(r.Peers)
	if err := r.check(); err != nil {
		return nil, nil, malformed("release request", err)
	}
	if room.Public() != r.Room.Signing {
		return nil, nil, malformed("release request", fmt.Errorf("signer is not the room's signing key"))
	}
	data, err := signed(room, RequestType, r, MaxRequest)
	if err != nil {
		return nil, nil, err
	}
	s, err := ParseRequest(data)
	return data, s, err
}

// ParseRequest reads a release request on the broker's side: form, limits, and that the room
// key in it signed it. That the key is a room's is for the evidence to show.
func ParseRequest(data []byte) (*SignedRequest, error) {
	s := new(SignedRequest)
	doc, err := formed(data, RequestType, "release request", MaxRequest, &s.Request, &s.Version)
	if err != nil {
		return nil, err
	}
	s.Document = doc
	if err := signedBy(doc, s.Room.Signing); err != nil {
		return nil, err
	}
	return s, nil
}

// check looks at everything that has a limit, before any signature is looked at.
func (r Request) check() error {
	switch {
	case !r.Broker.Valid():
		return fmt.Errorf("broker %.70q", string(r.Broker))
	case len(r.Challenge) == 0 || len(r.Challenge) > MaxToken:
		return fmt.Errorf("challenge of %d bytes, expected 1 to %d", len(r.Challenge), MaxToken)
	case !r.Evidence.Platform.Valid():
		return fmt.Errorf("evidence of platform %.70q", string(r.Evidence.Platform))
	case len(r.Evidence.Evidence) == 0 || len(r.Evidence.Evidence) > attest.MaxEvidence:
		return fmt.Errorf("evidence of %d bytes, expected 1 to %d", len(r.Evidence.Evidence), attest.MaxEvidence)
	case r.Room.Signing.IsZero() || r.Room.HPKE.IsZero():
		return fmt.Errorf("no room keys")
	case !isObject(r.Agreement) || !isObject(r.Run):
		return fmt.Errorf("no agreement or no run request")
	case len(r.Parties) == 0 || len(r.Parties) > agreement.MaxParties:
		return fmt.Errorf("%d party descriptors, expected 1 to %d", len(r.Parties), agreement.MaxParties)
	case len(r.Inputs) > agreement.MaxInputs:
		return fmt.Errorf("%d inputs, at most %d", len(r.Inputs), agreement.MaxInputs)
	case len(r.Peers) > MaxPeers:
		return fmt.Errorf("%d peers' checkpoints, at most %d", len(r.Peers), MaxPeers)
	}
	if err := hexID("release id", r.ReleaseID); err != nil {
		return err
	}
	for i, p := range r.Parties {
		if !isObject(p) {
			return fmt.Errorf("party descriptor %d is not a document", i)
		}
	}
	if err := checkInputs(r.Inputs); err != nil {
		return err
	}
	for i, p := range r.Peers {
		if p.Checkpoint == "" || len(p.Checkpoint) > MaxCheckpoint || p.From < 0 || len(p.Proof) > MaxProof {
			return fmt.Errorf("peer checkpoint %d: %d bytes from size %d with %d hashes", i, len(p.Checkpoint), p.From, len(p.Proof))
		}
	}
	return nil
}

func checkInputs(inputs []InputRequest) error {
	seen := make(map[wire.ID]bool, len(inputs))
	for _, in := range inputs {
		if !in.Input.Valid() || seen[in.Input] {
			return fmt.Errorf("input %.70q stands twice or is no name", string(in.Input))
		}
		seen[in.Input] = true
		if len(in.Header) == 0 || len(in.Header) > MaxHeader {
			return fmt.Errorf("header of input %s has %d bytes, expected 1 to %d", in.Input, len(in.Header), MaxHeader)
		}
		if !isObject(in.Statement) {
			return fmt.Errorf("input %s has no statement", in.Input)
		}
	}
	return nil
}

func isObject(raw json.RawMessage) bool { return len(raw) > 1 && raw[0] == '{' }

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
