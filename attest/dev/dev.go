// Package dev makes and verifies evidence of the INSECURE development platform: a room that
// is an ordinary process, measured by the program that launched it and signed with a key of
// its user (spec/evidence.md, section 5; R23).
//
// It promises that the evidence was signed by the named development root over exactly these
// measurements, and nothing more: whoever holds that key or runs the machine can read and
// forge everything in such a room. The class is software; policies that do not name it, and
// the root by fingerprint, refuse it.
package dev

import (
	"fmt"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Name is the platform's name in evidence and agreements.
const Name wire.ID = "dev"

// Type is the document type of the evidence.
const Type = "strongroom/dev-evidence/v1"

// Insecure is the label that every check and screen shows for this platform.
const Insecure = "INSECURE: software platform"

// Measurement is what the launcher measured: SHA-384 of the very files it executes.
type Measurement struct {
	Agent   wire.Digest
	Helpers map[string]wire.Digest // by helper name, a well-formed [wire.ID]
}

// Named gives the measurements under the names that agreements list them by: "agent", and
// "helper/NAME" for each helper, in lower-case hex.
func (m Measurement) Named() map[string]string {
	named := map[string]string{"agent": fmt.Sprintf("%x", m.Agent[:])}
	for name, digest := range m.Helpers {
		named["helper/"+name] = fmt.Sprintf("%x", digest[:])
	}
	return named
}

func (m Measurement) valid() error {
	if m.Agent.IsZero() {
		return fmt.Errorf("no measurement of the agent")
	}
	if len(m.Helpers) > MaxHelpers {
		return fmt.Errorf("%d helpers, at most %d", len(m.Helpers), MaxHelpers)
	}
	for name, digest := range m.Helpers {
		if !wire.ID(name).Valid() {
			return fmt.Errorf("helper with the name %.70q", name)
		}
		if digest.IsZero() {
			return fmt.Errorf("no measurement of helper %s", name)
		}
	}
	return nil
}

// body is what is signed.
type body struct {
	// Insecure is always true, for people who read the file.
	Insecure   bool                   `json:"insecure"`
	Agent      wire.Digest            `json:"agent"`
	Helpers    map[string]wire.Digest `json:"helpers"`
	InitData   wire.Digest            `json:"init_data"`
	ReportData wire.Bytes             `json:"report_data"`
	Root       keys.PublicKey         `json:"root"`
}

// Sign makes evidence: the launcher's word, under the development root, that a room so
// measured was started with initData (see [attest.InitData]) and asked for reportData (see
// [attest.Binding]). The signer must be out of the room's reach.
func Sign(root keys.Signer, m Measurement, initData wire.Digest, reportData [64]byte) (attest.Evidence, error) {
	if err := m.valid(); err != nil {
		return attest.Evidence{}, fmt.Errorf("dev evidence: %w", err)
	}
	if initData.IsZero() {
		return attest.Evidence{}, fmt.Errorf("dev evidence: no init data")
	}
	helpers := m.Helpers
	if helpers == nil {
		helpers = map[string]wire.Digest{}
	}
	doc, err := keys.NewDocument(Type, body{true, m.Agent, helpers, initData, reportData[:], root.Public()})
	if err != nil {
		return attest.Evidence{}, fmt.Errorf("dev evidence: %w", err)
	}
	if err := doc.Sign(root); err != nil {
		return attest.Evidence{}, fmt.Errorf("dev evidence: %w", err)
	}
	data, err := doc.Encode()
	return attest.Evidence{Platform: Name, Evidence: data}, err
}

// New gives the platform for the table handed to [attest.Verify]. Its root is whatever key
// signed the evidence: relying parties pin the fingerprint, [attest.Claims.Root].
func New() attest.Platform { return attest.Platform{Name: Name, Verify: verify} }

func verify(evidence []byte, _ time.Time) (attest.Facts, error) {
	b, doc, err := parse(evidence)
	if err != nil {
		return attest.Facts{}, verdict.NotGenuine("evidence.dev.form", "dev evidence", verdict.Short(err.Error()), "take fresh evidence from the launcher")
	}
	if n, err := doc.SignedBy([]keys.PublicKey{b.Root}); err != nil || n != 1 {
		return attest.Facts{}, verdict.NotGenuine("evidence.dev.signature", "a signature by development root "+b.Root.ID().Short(), "none that verifies", "take fresh evidence from the launcher")
	}
	return attest.Facts{
		Platform:     Name,
		Class:        agreement.Software,
		Root:         b.Root.ID(),
		ReportData:   b.ReportData,
		InitData:     b.InitData[:],
		Measurements: Measurement{b.Agent, b.Helpers}.Named(),
		Excludes:     []string{},
		Trusts:       []string{"whoever holds the development key and runs the machine"},
		Checks: []verdict.Check{
			{ID: "evidence.dev.signature", OK: true, Expected: "a signature by the development root", Got: Insecure + ", signed by development root " + b.Root.ID().String()},
		},
	}, nil
}

// parse reads evidence and checks its form, but no signature.
func parse(evidence []byte) (body, *keys.Document, error) {
	var b body
	if len(evidence) > MaxEvidence {
		return b, nil, fmt.Errorf("%d bytes, at most %d", len(evidence), MaxEvidence)
	}
	doc, err := keys.ParseDocument(evidence, Type, &b)
	if err != nil {
		return b, nil, err
	}
	switch {
	case !b.Insecure:
		return b, nil, fmt.Errorf("evidence of this platform must say that it is insecure")
	case len(doc.Signatures) != 1:
		return b, nil, fmt.Errorf("%d signatures, expected one", len(doc.Signatures))
	case len(b.ReportData) != 64:
		return b, nil, fmt.Errorf("report data of %d bytes, expected 64", len(b.ReportData))
	}
	return b, doc, Measurement{b.Agent, b.Helpers}.valid()
}
