package main

import (
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/attest/cca"
	"strongroom.dev/attest/composite"
	"strongroom.dev/attest/dev"
	"strongroom.dev/attest/dice"
	"strongroom.dev/attest/nitro"
	"strongroom.dev/attest/nvidia"
	"strongroom.dev/attest/psa"
	"strongroom.dev/attest/sgx"
	"strongroom.dev/attest/snp"
	"strongroom.dev/attest/tdx"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/dcap"
	"strongroom.dev/endorse"
)

// examine says everything there is to say about evidence of one platform at a time.
type examine func(evidence []byte, now time.Time) (attest.Finding, error)

// hardware is a platform whose evidence rests on endorsements.
type hardware struct {
	attest.Examiner
	// under is the examination where an agreement says whom else to trust, nil where that makes
	// no difference.
	under func(attest.Trust) examine
}

// machines is the table of every platform that rooms run on beside dev, in one place for all to
// see. Whom to trust beyond the makers that they know, each agreement says.
func machines(set endorse.Set) []hardware {
	software := tpm.New(set)
	return []hardware{
		{attest.Examiner{Name: tpm.Name, Examine: software.Examine}, func(t attest.Trust) examine { return software.Under(t).Examine }},
		{attest.Examiner{Name: snp.Name, Examine: snp.New(set).Examine}, nil},
		{attest.Examiner{Name: tdx.Name, Examine: tdx.New(set).Examine}, nil},
		{attest.Examiner{Name: azure.Name, Examine: azure.New(set).Examine}, nil},
	}
}

// platforms is the table of every platform that rooms run on, without endorsements: enough for dev
// rooms, and for software TPMs that name no list of what was revoked.
func platforms() []attest.Platform { return new(endorsed).platforms() }

// examiners is the table of every kind of evidence that this build can examine. Forms that
// hold others' evidence stand before those.
func examiners(set endorse.Set) []attest.Examiner {
	quotes := dcap.New(dcap.CollateralOf(set))
	amd := attest.Examiner{Name: snp.Name, Detect: snp.Detect, Examine: snp.New(set).Examine}
	intel := attest.Examiner{Name: tdx.Name, Detect: tdx.Detect, Examine: tdx.With(quotes).Examine}
	devices := nvidia.New(set).Examiner()
	return []attest.Examiner{
		composite.Verifier{CPUs: []attest.Examiner{amd, intel}, Devices: []attest.Examiner{devices}}.Examiner(),
		{Name: azure.Name, Detect: azure.Detect, Examine: azure.New(set).Examine},
		{Name: tpm.Name, Detect: tpm.Detect, Examine: tpm.New(set).Examine},
		amd,
		intel,
		{Name: sgx.Name, Detect: sgx.Detect, Examine: sgx.With(quotes).Examine},
		{Name: nitro.Name, Detect: nitro.Detect, Examine: nitro.New(set).Examine},
		devices,
		{Name: cca.Name, Detect: cca.Detect, Examine: cca.New(set).Examine},
		{Name: psa.Name, Detect: psa.Detect, Examine: psa.New(set).Examine},
		{Name: dice.Name, Detect: dice.Detect, Examine: dice.New(set).Examine},
		dev.Examiner(),
	}
}
