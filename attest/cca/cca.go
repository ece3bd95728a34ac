// Package cca verifies evidence of Arm's Confidential Compute Architecture: a CCA token of a
// realm and the platform below it, raw, in hex, base64, PEM, or anywhere in a JSON document,
// such as Trustee's.
//
// It promises what package arm promises of tokens, and adds nothing of its own but names:
// report data is the realm's challenge, init data its personalization value, the machine is
// the platform's instance id.
package cca

import (
	"bytes"
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
const Name wire.ID = "cca"

// Verifier verifies CCA tokens with pinned keys. The zero Verifier has none, so that every
// finding has a failed check.
type Verifier struct{ arm *arm.Verifier }

// New makes a verifier. The platforms' attestation keys (CPAK) are the set's public keys.
func New(set endorse.Set) Verifier { return Verifier{arm.New(set.Data(endorse.PublicKey))} }

// Detect reports whether data looks like a CCA token, in any form that Examine takes.
func Detect(data []byte) bool {
	_, err := unwrap.Find(data, attest.MaxEvidence, arm.LooksLikeCCA)
	return err == nil
}

// Platform gives the platform for the table handed to [attest.Verify].
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: attest.Strict(v.Examine)}
}

// Examine says everything there is to say about evidence. It gives an error only for what is
// not a genuine CCA token. Tokens carry no time, so that now decides nothing.
func (v Verifier) Examine(evidence []byte, _ time.Time) (attest.Finding, error) {
	token, err := unwrap.Find(evidence, attest.MaxEvidence, arm.LooksLikeCCA)
	if err != nil {
		return attest.Finding{}, verdict.NotGenuine("cca.form", "a CCA token", verdict.Short(err.Error()), "send the token as the realm gives it")
	}
	r, err := v.arm.ExamineCCA(token)
	if err != nil {
		return attest.Finding{}, err
	}
	f := attest.Finding{Claims: r.Claims, Checks: r.Checks}
	f.Facts = attest.Facts{Platform: Name, Class: agreement.Confidential, Debug: r.Debug}
	if !r.Genuine { // nothing is known but that a key is missing
		return f, nil
	}
	f.Facts.Root, f.Facts.Pinned = r.Root, true
	f.Facts.Machine = hex.EncodeToString(r.InstanceID)
	f.Facts.Generation = hex.EncodeToString(r.ImplementationID)
	f.Facts.ReportData = r.Challenge
	f.Facts.InitData = initData(r.Personalization)
	f.Facts.Measurements = r.Measurements
	f.Facts.Excludes = []string{"host administrator", "cloud operator"}
	f.Facts.Trusts = []string{"the chip's maker: CPU, monitor and realm management firmware", "whoever pinned the platform's key", "whoever can touch memory, unless the chip encrypts it"}
	return f, nil
}

// initData takes a hash of 48 or 32 bytes out of the personalization value, which has 64: the
// hash stands at its start, the rest is zero. Anything else is given as it is.
func initData(value []byte) []byte {
	for _, size := range []int{32, 48} {
		if len(value) > size && len(bytes.Trim(value[size:], "\x00")) == 0 {
			return value[:size]
		}
	}
	return value
}
