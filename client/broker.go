package client

import (
	"context"
	"encoding/json"
	"net/http"

	"strongroom.dev/broker"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// Broker speaks to a party's broker. What it gives of signed answers is unchecked bytes, for
// whoever asked to verify: see package release.
type Broker struct{ endpoint }

var _ broker.Peer = (*Broker)(nil)

// NewBroker gives a client of the broker at a URL such as http://host:7443; h nil makes one
// client for each exchange.
func NewBroker(url string, h *http.Client) *Broker { return &Broker{endpoint{url, h}} }

// Post relays one signed message to a path of package release, and gives the answer's bytes.
func (b *Broker) Post(ctx context.Context, path string, message []byte) ([]byte, error) {
	limit := int64(release.MaxSmall)
	switch path {
	case release.PathRelease:
		limit = release.MaxGrant
	case release.PathAsked:
		limit = release.MaxAsked
	}
	return b.do(ctx, http.MethodPost, path, "application/json", message, limit)
}

// Challenge relays a challenge request.
func (b *Broker) Challenge(ctx context.Context, message []byte) ([]byte, error) {
	return b.Post(ctx, release.PathChallenge, message)
}

// Release relays a release request.
func (b *Broker) Release(ctx context.Context, message []byte) ([]byte, error) {
	return b.Post(ctx, release.PathRelease, message)
}

// Live relays a live request.
func (b *Broker) Live(ctx context.Context, message []byte) ([]byte, error) {
	return b.Post(ctx, release.PathLive, message)
}

// Asked relays a room's question for earlier ones.
func (b *Broker) Asked(ctx context.Context, message []byte) ([]byte, error) {
	return b.Post(ctx, release.PathAsked, message)
}

// Volume relays a message about a volume.
func (b *Broker) Volume(ctx context.Context, message []byte) ([]byte, error) {
	return b.Post(ctx, release.PathVolume, message)
}

// Certify relays a request for a certificate.
func (b *Broker) Certify(ctx context.Context, message []byte) ([]byte, error) {
	return b.Post(ctx, release.PathCertify, message)
}

// Consistency asks for a proof about the broker's own log; the caller checks it.
func (b *Broker) Consistency(ctx context.Context, from, to int64) ([]wire.Hash, error) {
	var answer release.ConsistencyAnswer
	err := b.post(ctx, release.PathConsistency, release.ConsistencyRequest{From: from, To: to}, &answer, release.MaxSmall)
	return answer.Proof, err
}

// Checkpoint gives the latest checkpoint of the broker's log; the caller checks it.
func (b *Broker) Checkpoint(ctx context.Context) (string, error) {
	data, err := b.do(ctx, http.MethodGet, release.PathCheckpoint, "", nil, release.MaxCheckpoint)
	return string(data), err
}

// Seen relays the question what the broker last accepted of a log.
func (b *Broker) Seen(ctx context.Context, question []byte) ([]byte, error) {
	return b.Post(ctx, release.PathSeen, question)
}

// Status gives what the broker tells anyone. Nothing of it is signed.
func (b *Broker) Status(ctx context.Context) (broker.Public, error) {
	var p broker.Public
	err := b.get(ctx, release.PathStatus, &p, release.MaxSmall)
	return p, err
}

// BrokerAdmin speaks to one's own broker over its admin socket.
type BrokerAdmin struct{ endpoint }

// NewBrokerAdmin gives a client of the admin socket at path.
func NewBrokerAdmin(path string) *BrokerAdmin {
	return &BrokerAdmin{endpoint{"http://broker", NewUnix(path)}}
}

func (b *BrokerAdmin) act(ctx context.Context, path string, in any) (ev broker.Event, err error) {
	err = b.post(ctx, path, in, &ev, broker.MaxAnswer)
	return ev, err
}

// Activate is [broker.Broker.Activate].
func (b *BrokerAdmin) Activate(ctx context.Context, a broker.Activation) (broker.Event, error) {
	if a.Parties == nil {
		a.Parties = []json.RawMessage{}
	}
	return b.act(ctx, broker.PathActivate, a)
}

// Retire is [broker.Broker.Retire].
func (b *BrokerAdmin) Retire(ctx context.Context, agreement wire.Digest) (broker.Event, error) {
	return b.act(ctx, broker.PathRetire, broker.Named{Name: agreement.String()})
}

// Revoke is [broker.Broker.Revoke].
func (b *BrokerAdmin) Revoke(ctx context.Context, descriptor wire.Digest) (broker.Event, error) {
	return b.act(ctx, broker.PathRevoke, broker.Named{Name: descriptor.String()})
}

// Deny is [broker.Broker.Deny].
func (b *BrokerAdmin) Deny(ctx context.Context, a broker.DenialAct) (broker.Event, error) {
	return b.act(ctx, broker.PathDeny, a)
}

// Lift is [broker.Broker.Lift].
func (b *BrokerAdmin) Lift(ctx context.Context, a broker.DenialAct) (broker.Event, error) {
	return b.act(ctx, broker.PathLift, a)
}

// AddReference is [broker.Broker.AddReference].
func (b *BrokerAdmin) AddReference(ctx context.Context, a broker.ReferenceAct) (broker.Event, error) {
	return b.act(ctx, broker.PathReference, a)
}

// ResetVolume is [broker.Broker.ResetVolume].
func (b *BrokerAdmin) ResetVolume(ctx context.Context, a broker.VolumeAct) (broker.Event, error) {
	return b.act(ctx, broker.PathVolume, a)
}

// SetBudget is [broker.Broker.SetBudget].
func (b *BrokerAdmin) SetBudget(ctx context.Context, a broker.BudgetAct) (broker.Event, error) {
	return b.act(ctx, broker.PathBudget, a)
}

// Publish is [broker.Broker.Publish].
func (b *BrokerAdmin) Publish(ctx context.Context, p broker.Publication) (broker.Event, error) {
	if p.Admit.Agreements == nil {
		p.Admit.Agreements = []wire.Digest{}
	}
	return b.act(ctx, broker.PathPublish, p)
}

// Confirm is [broker.Broker.Confirm].
func (b *BrokerAdmin) Confirm(ctx context.Context, of broker.Confirmation) (broker.Event, error) {
	return b.act(ctx, broker.PathConfirm, of)
}

// Why is [broker.Broker.Why].
func (b *BrokerAdmin) Why(ctx context.Context, id string) ([]broker.Decision, error) {
	var answer broker.WhyAnswer
	err := b.post(ctx, broker.PathWhy, broker.Named{Name: id}, &answer, broker.MaxAnswer)
	return answer.Decisions, err
}

// Authority is [broker.Broker.Authority].
func (b *BrokerAdmin) Authority(ctx context.Context) (string, error) {
	var answer broker.AuthorityAnswer
	err := b.get(ctx, broker.PathAuthority, &answer, release.MaxSmall)
	return answer.Certificate, err
}

// Status is [broker.Broker.Status].
func (b *BrokerAdmin) Status(ctx context.Context) (broker.Status, error) {
	var s broker.Status
	err := b.get(ctx, broker.PathState, &s, broker.MaxAnswer)
	return s, err
}
