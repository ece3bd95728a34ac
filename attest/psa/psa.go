// Package psa verifies evidence of devices by Arm's Platform Security Architecture: a PSA
// attestation token (RFC 9783), raw, in hex, base64, PEM, or anywhere in a JSON document.
//
// It promises what package arm promises of tokens, and adds nothing of its own but names:
// report data is the token's nonce, the machine is its instance id. A PSA token says which
// firmware a device booted; it keeps nobody out of memory, and has no init data.
package psa

import (
	"encoding/hex"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/arm"
	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/unwrap"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Name is the platform's name in evidence.
const Name wire.ID = "psa"

// Verifier verifies PSA tokens with pinned keys. The zero Verifier has none, so that every
// finding has a failed check.
type Verifier struct{ arm *arm.Verifier }

// New makes a verifier. The devices' initial attestation keys are the set's public keys.
func New(set endorse.Set) Verifier { return Verifier{arm.New(set.Data(endorse.PublicKey))} }

// Detect reports whether data looks like a PSA token, in any form that Examine takes.
func Detect(data []byte) bool {
	_, err := unwrap.Find(data, attest.MaxEvidence, arm.LooksLikePSA)
	return err == nil
}

// Platform gives the platform for the table handed to [attest.Verify].
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: attest.Strict(v.Examine)}
}

// Examine says everything there is to say about evidence. It gives an error only for what is
// not a genuine PSA token. Tokens carry no time, so that now decides nothing.
func (v Verifier) Examine(evidence []byte, _ time.Time) (attest.Finding, error) {
	token, err := unwrap.Find(evidence, attest.MaxEvidence, arm.LooksLikePSA)
	if err != nil {
		return attest.Finding{}, verdict.NotGenuine("psa.form", "a PSA token", verdict.Short(err.Error()), "send the token as the device gives it")
	}
	r, err := v.arm.ExaminePSA(token)
	if err != nil {
		return attest.Finding{}, err
	}
	f := attest.Finding{Claims: r.Claims, Checks: r.Checks}
	f.Facts = attest.Facts{Platform: Name, Class: agreement.IntegrityOnly, Debug: r.Debug}
	if !r.Genuine { // nothing is known but that a key is missing
		return f, nil
	}
	f.Facts.Root, f.Facts.Pinned = r.Root, true
	f.Facts.Machine = hex.EncodeToString(r.InstanceID)
	f.Facts.Generation = hex.EncodeToString(r.ImplementationID)
	f.Facts.ReportData = r.Challenge
	f.Facts.Measurements = r.Measurements
	f.Facts.Trusts = []string{"the device's maker and its root of trust", "whoever pinned the device's key", "everyone who runs software on the device"}
	return f, nil
}
