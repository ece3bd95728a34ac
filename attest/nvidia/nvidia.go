// Package nvidia verifies evidence of NVIDIA's confidential GPUs (Hopper, Blackwell) and
// NVSwitches (LS10): SPDM measurement reports, one device or all of a machine, raw or in the
// JSON of NVIDIA's and others' tools (see [Open]).
//
// It promises that claims come only from reports whose signature, chain up to NVIDIA's pinned
// root and firmware id (FWID) are right, and that every doubt beyond that is a failed check:
// several nonces or one device twice, measurements that are not those of NVIDIA's reference
// integrity manifests (RIMs) for exactly that driver and VBIOS, manifests or OCSP responses
// that are missing, forged or outside their dates, revoked certificates, GPUs that rely on
// NVSwitches nobody has attested. It fetches nothing: RIMs, OCSP responses and CRLs are
// endorsements.
//
// Evidence of a GPU does not say which machine it is in: only a nonce made from the CPU's
// challenge binds it to one, and the CPU's evidence must cover the GPU's. It proves nothing
// of the driver's process in the guest, which the CPU's evidence measures.
//
// NVIDIA's own tools are silent on some points, where this package is strict: a leaf must
// name its firmware and the key below it; a device's NVLink identity is taken from its
// certificate, so that a switch's view of GPUs is held against the certificates, not only
// against other views; NVDEC0's measurement is left out only if the report says that NVDEC0
// is off. That no debug or developer mode is on follows from the measurements (with NVIDIA,
// too), and from DICE flags where there are any: without RIMs it is not known, which counts
// as on. Bytes behind a signature must be zeros, as collectors leave them.
//
// Sources: DMTF DSP0274 1.1 (SPDM), TCG DICE Attestation Architecture 1.1, ISO/IEC 19770-2,
// TCG Reference Integrity Manifest Information Model, W3C Canonical XML 1.1 and XML Signature
// 1.1, RFC 6960 (OCSP), RFC 5280; NVIDIA's nvtrust and attestation-sdk for what the opaque
// data and the identifiers of RIMs mean.
package nvidia

import (
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/wire"
)

// Name is the platform's name in evidence and agreements.
const Name wire.ID = "nvidia"

// Verifier verifies reports with NVIDIA's RIMs, OCSP responses and CRLs, and certificates of
// devices. The zero Verifier has only what the evidence carries, so that every finding has a
// failed check. It may be used by several goroutines at once.
type Verifier struct{ held *held }

// New makes a verifier, reading the endorsements once.
func New(set endorse.Set) Verifier { return Verifier{hold(newLinks(), set)} }

// Platform gives the platform for the table handed to [attest.Verify].
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: attest.Strict(v.Examine)}
}

// Examiner gives the examiner for a table of all kinds of evidence.
func (v Verifier) Examiner() attest.Examiner {
	return attest.Examiner{Name: Name, Detect: Detect, Examine: v.Examine}
}

// Examine says everything there is to say about evidence at a time. It gives an error only
// for what is not genuine: unreadable, or with a signature, chain or binding that is wrong.
func (v Verifier) Examine(evidence []byte, now time.Time) (attest.Finding, error) {
	h := v.held
	if h == nil {
		h = hold(newLinks(), endorse.Set{})
	}
	x := &examination{held: h, now: now, claims: make(map[string]any)}
	found, err := Open(evidence)
	if err != nil {
		return attest.Finding{}, invalid("form", "reports of NVIDIA GPUs or NVSwitches", err.Error(), "send the evidence exactly as the collecting tool gives it")
	}
	if err := x.open(found); err != nil {
		return attest.Finding{}, err
	}
	if x.unknown() {
		return x.finding(), nil
	}
	if err := x.judge(); err != nil {
		return attest.Finding{}, err
	}
	return x.finding(), nil
}
