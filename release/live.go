package release

import (
	"fmt"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// SignedLiveRequest is a live request and the document it came in.
type SignedLiveRequest struct {
	LiveRequest
	Document *keys.Document
}

// SignedBy checks that the room key recorded for the release signed the request.
func (r *SignedLiveRequest) SignedBy(room keys.PublicKey) error { return signedBy(r.Document, room) }

// NewLiveRequest signs what a room asks an owner's broker while it runs (R13).
func NewLiveRequest(room keys.Signer, r LiveRequest) ([]byte, error) {
	r.Version = Version
	if err := r.check(); err != nil {
		return nil, malformed("live request", err)
	}
	return signed(room, LiveRequestType, r, MaxLive)
}

// ParseLiveRequest reads a live request on the broker's side: form only. The broker finds
// the release it names and then MUST call [SignedLiveRequest.SignedBy] with the room key on
// record.
func ParseLiveRequest(data []byte) (*SignedLiveRequest, error) {
	s := new(SignedLiveRequest)
	doc, err := formed(data, LiveRequestType, "live request", MaxLive, &s.LiveRequest, &s.Version)
	if err != nil {
		return nil, err
	}
	s.Document = doc
	return s, nil
}

func (r LiveRequest) check() error {
	switch {
	case !r.Broker.Valid():
		return fmt.Errorf("broker %.70q", string(r.Broker))
	case r.Agreement.IsZero() || r.Run.IsZero() || r.Nonce.IsZero():
		return fmt.Errorf("agreement, run or nonce is zero")
	case r.Counter < 1 || r.Counter > wire.MaxInteger:
		return fmt.Errorf("counter %d, expected 1 to 2^53-1", r.Counter)
	case r.AfterMS < 1 || r.AfterMS > wire.MaxInteger:
		return fmt.Errorf("after %d ms, expected 1 to 2^53-1", r.AfterMS)
	case r.Commitment != nil && r.Commitment.IsZero():
		return fmt.Errorf("commitment is zero")
	case r.Commitment == nil && len(r.Shown) > 0:
		return fmt.Errorf("%d bytes of what is shown without a commitment", len(r.Shown))
	}
	if err := hexID("run id", r.RunID); err != nil {
		return err
	}
	return hexID("release id", r.ReleaseID)
}

// NewLive signs a broker's word that a run may go on: time, lease end and receipt from l,
// the rest repeats the request.
func NewLive(releaseKey keys.Signer, asked LiveRequest, l Live) ([]byte, error) {
	l.Version, l.Broker, l.Run, l.Nonce, l.Commitment = Version, asked.Broker, asked.Run, asked.Nonce, asked.Commitment
	if err := l.check(); err != nil {
		return nil, malformed("live answer", err)
	}
	return signed(releaseKey, LiveType, l, MaxSmall)
}

func (l Live) check() error {
	switch {
	case l.TimeMS <= 0 || l.TimeMS > wire.MaxInteger:
		return fmt.Errorf("time %d", l.TimeMS)
	case l.LeaseEndMS <= l.TimeMS:
		return fmt.Errorf("lease ends at %d, before its time %d", l.LeaseEndMS, l.TimeMS)
	case (l.Receipt == nil) != (l.Commitment == nil):
		return fmt.Errorf("receipt and commitment must come together")
	case l.Receipt != nil && (l.Receipt.Checkpoint == "" || len(l.Receipt.Checkpoint) > MaxCheckpoint || len(l.Receipt.Proof) > MaxProof || l.Receipt.Index < 0):
		return fmt.Errorf("receipt out of bounds")
	}
	return nil
}

// VerifyLive reads a broker's answer on the room's side: signed by the release key, to this
// very request (its nonce makes it fresh), with a lease no longer than the agreement's. The
// receipt, if there is one, is the caller's to verify.
func VerifyLive(data []byte, releaseKey keys.PublicKey, asked LiveRequest, maxLeaseMS int64) (Live, error) {
	var l Live
	doc, err := formed(data, LiveType, "live answer", MaxSmall, &l, &l.Version)
	if err != nil {
		return Live{}, err
	}
	if err := signedBy(doc, releaseKey); err != nil {
		return Live{}, err
	}
	if asked.Nonce.IsZero() || l.Broker != asked.Broker || l.Run != asked.Run || l.Nonce != asked.Nonce || !sameDigest(l.Commitment, asked.Commitment) {
		return Live{}, verdict.NotGenuine("live.answer", "the answer of "+string(asked.Broker)+" to this request", "an answer to another request", "ask again; somebody on the way exchanged answers")
	}
	if l.LeaseEndMS-l.TimeMS > maxLeaseMS {
		return Live{}, verdict.NotGenuine("live.lease", fmt.Sprintf("a lease of at most %d ms, as agreed", maxLeaseMS), fmt.Sprintf("%d ms", l.LeaseEndMS-l.TimeMS), "the broker does not follow the agreement: tell its owner")
	}
	return l, nil
}
