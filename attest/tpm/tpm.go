package tpm

import (
	"crypto/x509"
	"slices"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// Name is the platform's name in evidence and agreements.
const Name wire.ID = "tpm"

// Verifier verifies evidence of TPMs with certificates and CRLs of makers, clouds and software
// TPMs, and with attestation keys that the relying party pins. The zero Verifier has only the
// clouds' certificates that are built in.
type Verifier struct {
	store *store
	crls  []*x509.RevocationList
	// pins are keys by their SubjectPublicKeyInfo, in order.
	pins       [][]byte
	activators []keys.PublicKey
	// started is the run whose work the quote must say has started; nil: a quote from before.
	started *wire.Digest
}

// New makes a verifier. A certificate in the set that signed itself is a root of the relying
// party's own: what stands under it is a software TPM, unless the root is a maker's that is
// pinned here. A bare public key in the set is an attestation key that it knows.
func New(set endorse.Set) Verifier { return NewWithActivators(set) }

// NewWithActivators makes a verifier that also takes the word of others, by the key they sign
// with, for attestation keys that they had TPMs prove ([Activation]).
func NewWithActivators(set endorse.Set, activators ...keys.PublicKey) Verifier {
	return Verifier{store: newStore(set.Certificates()), crls: set.CRLs(), activators: activators, pins: set.Data(endorse.PublicKey)}
}

// Platform gives the platform for the table handed to [attest.Verify]. Under an agreement it
// also takes the word of the agreement's activators, and roots that the agreement pins by their
// fingerprint, wherever their certificates come from: as those of software, unless they are
// makers' that are known here.
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: attest.Strict(v.Examine), Under: func(t attest.Trust) attest.Platform {
		return attest.Platform{Name: Name, Verify: attest.Strict(v.Under(t).Examine)}
	}}
}

// Under gives a verifier that also trusts whom an agreement does; see [Verifier.Platform].
func (v Verifier) Under(t attest.Trust) Verifier {
	if v.store == nil {
		v.store = newStore(nil)
	}
	s := *v.store
	s.pinned = nil
	for _, p := range t.Platforms {
		if p.Kind == Name && p.Root != nil {
			s.pinned = append(s.pinned, *p.Root)
		}
	}
	v.started = t.Started
	v.store, v.activators = &s, append(slices.Clip(v.activators), t.Activators...)
	return v
}

// Examine says everything there is to say about evidence at a time. It gives an error, of kind
// Invalid, for what is not genuine: unreadable, or with a signature, chain or binding that is
// wrong.
func (v Verifier) Examine(evidence []byte, now time.Time) (attest.Finding, error) {
	if v.store == nil {
		v.store = newStore(nil)
	}
	p, err := open(evidence)
	if err != nil {
		return attest.Finding{}, invalid("form", "evidence of a TPM 2.0", err.Error(), "send the quote, its values and its key in one of the forms that spec/tpm.md lists")
	}
	x := &examination{Verifier: v, parts: p, now: now, claims: map[string]any{}}
	return x.examine()
}
