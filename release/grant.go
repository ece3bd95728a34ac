package release

import (
	"fmt"

	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// NewGrant signs a broker's grant: g without Version.
func NewGrant(releaseKey keys.Signer, g Granted) ([]byte, error) {
	g.Version = Version
	if g.Receipt.Proof == nil {
		g.Receipt.Proof = []wire.Hash{}
	}
	g.Releases = orEmpty(g.Releases)
	if err := g.check(); err != nil {
		return nil, malformed("grant", err)
	}
	return signed(releaseKey, GrantType, g, MaxGrant)
}

// check looks at form and limits.
func (g Granted) check() error {
	switch {
	case !g.Broker.Valid():
		return fmt.Errorf("broker %.70q", string(g.Broker))
	case g.Request.IsZero():
		return fmt.Errorf("no request digest")
	case g.TimeMS <= 0 || g.TimeMS > wire.MaxInteger:
		return fmt.Errorf("time %d", g.TimeMS)
	case g.LeaseMS <= 0:
		return fmt.Errorf("lease of %d ms", g.LeaseMS)
	case (len(g.Releases) == 0) != (len(g.Secret) == sealedSize) || len(g.Releases) != 0 && len(g.Secret) != 0:
		return fmt.Errorf("%d keys and a secret of %d bytes, expected either", len(g.Releases), len(g.Secret))
	case len(g.Spending) > maxSpending:
		return fmt.Errorf("%d bytes about budgets", len(g.Spending))
	case len(g.Receipt.Checkpoint) == 0 || len(g.Receipt.Checkpoint) > MaxCheckpoint || len(g.Receipt.Proof) > MaxProof || g.Receipt.Index < 0:
		return fmt.Errorf("no receipt")
	}
	for _, k := range g.Releases {
		if len(k.Sealed) != sealedSize {
			return fmt.Errorf("key of input %.70q has %d bytes, expected %d", string(k.Input), len(k.Sealed), sealedSize)
		}
	}
	return hexID("release id", g.ReleaseID)
}

// Asked is what a room knows of its own request when the grant comes.
type Asked struct {
	Request *SignedRequest
	// Challenge is the verified answer whose token the request carries.
	Challenge Challenge
	// Agreement and Run are the digests of the documents in the request.
	Agreement wire.Digest
	Run       wire.Digest
	// MaxLeaseMS is the agreement's lease.
	MaxLeaseMS int64
}

// Address gives the address that the key of an input was asked for, under the lease granted;
// for the empty input, where none was asked for, that of the run secret.
func (a Asked) Address(input wire.ID, leaseMS int64) (Address, error) {
	address := Address{Broker: a.Request.Broker, Nonce: attest.NonceOf(a.Request.Challenge), Evidence: a.Request.Evidence.Digest(),
		Agreement: a.Agreement, Run: a.Run, Input: input, ReleaseID: a.Request.ReleaseID, LeaseMS: leaseMS}
	if input == "" && len(a.Request.Inputs) == 0 {
		return address, nil
	}
	for _, in := range a.Request.Inputs {
		if in.Input == input {
			address.Header = wire.HashOf(in.Header)
			return address, nil
		}
	}
	return Address{}, verdict.NotGenuine("grant.inputs", "an input this room asked for", verdict.Short(string(input)), "ask the broker again")
}

// VerifyGrant reads a grant on the room's side: signed by the release key of the broker's
// descriptor, the answer to this very request, with exactly the keys asked for in that
// order, under a lease no longer than the agreement's and a time within the challenge's
// life. Its receipt is the caller's to verify, against the broker's log key.
func VerifyGrant(data []byte, releaseKey keys.PublicKey, asked Asked) (Granted, error) {
	var g Granted
	if asked.Request == nil || asked.MaxLeaseMS <= 0 {
		return g, verdict.Misuse("grant", "the request it answers", "none", "a defect in the room: report it")
	}
	doc, err := formed(data, GrantType, "grant", MaxGrant, &g, &g.Version)
	if err != nil {
		return Granted{}, err
	}
	if err := signedBy(doc, releaseKey); err != nil {
		return Granted{}, err
	}
	if err := g.answers(asked); err != nil {
		return Granted{}, err
	}
	return g, nil
}

func (g Granted) answers(asked Asked) error {
	const again = "ask the broker again; somebody on the way exchanged answers"
	r := asked.Request
	if g.Broker != r.Broker || g.Request != r.Digest() || g.ReleaseID != r.ReleaseID {
		return verdict.NotGenuine("grant.request", "the answer of "+string(r.Broker)+" to request "+r.Digest().Short(), fmt.Sprintf("an answer of %s to request %s", g.Broker, g.Request.Short()), again)
	}
	if g.LeaseMS > asked.MaxLeaseMS {
		return verdict.NotGenuine("grant.lease", fmt.Sprintf("a lease of at most %d ms, as agreed", asked.MaxLeaseMS), fmt.Sprintf("%d ms", g.LeaseMS), "the broker does not follow the agreement: tell its owner")
	}
	if late := g.TimeMS - asked.Challenge.TimeMS; late < 0 || late > ChallengeLifetimeMS {
		return verdict.NotGenuine("grant.time", "a time within the challenge's five minutes", fmt.Sprintf("%d ms after it", late), "set the broker's clock")
	}
	if len(g.Releases) != len(r.Inputs) {
		return verdict.NotGenuine("grant.inputs", fmt.Sprintf("%d keys", len(r.Inputs)), fmt.Sprintf("%d", len(g.Releases)), again)
	}
	for i, in := range r.Inputs {
		if k := g.Releases[i]; k.Input != in.Input || k.Header != wire.HashOf(in.Header) {
			return verdict.NotGenuine("grant.inputs", fmt.Sprintf("the key of input %s, header %s", in.Input, wire.HashOf(in.Header).Short()),
				fmt.Sprintf("that of %s, header %s", k.Input, k.Header.Short()), again)
		}
	}
	return nil
}

// Open verifies nothing again: it opens the keys of a verified grant with the room's HPKE
// key, in the order of the request. A request without inputs gives one material all the same:
// it has the run secret, and no file key.
func (g Granted) Open(room *keys.HPKEPrivateKey, asked Asked) ([]*KeyMaterial, error) {
	releases := g.Releases
	if len(releases) == 0 {
		releases = []SealedKey{{Sealed: g.Secret}}
	}
	opened := make([]*KeyMaterial, 0, len(releases))
	for _, k := range releases {
		address, err := asked.Address(k.Input, g.LeaseMS)
		if err == nil {
			var m *KeyMaterial
			if m, err = OpenKey(room, address, k); err == nil {
				opened = append(opened, m)
				continue
			}
		}
		for _, m := range opened {
			m.Wipe()
		}
		return nil, err
	}
	return opened, nil
}
