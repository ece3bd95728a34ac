package main

import (
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
	"strongroom.dev/endorse"
)

// platforms is the table of every platform that rooms run on, in one place for all to see. Whom
// to trust beyond the makers that they know, each agreement says.
func platforms() []attest.Platform {
	return []attest.Platform{dev.New(), tpm.New(endorse.Set{}).Platform()}
}

// examiners is the table of every kind of evidence that this build can examine. Forms that
// hold others' evidence stand before those.
func examiners(set endorse.Set) []attest.Examiner {
	amd := attest.Examiner{Name: snp.Name, Detect: snp.Detect, Examine: snp.New(set).Examine}
	intel := attest.Examiner{Name: tdx.Name, Detect: tdx.Detect, Examine: tdx.New(set).Examine}
	devices := nvidia.New(set).Examiner()
	return []attest.Examiner{
		composite.Verifier{CPUs: []attest.Examiner{amd, intel}, Devices: []attest.Examiner{devices}}.Examiner(),
		{Name: azure.Name, Detect: azure.Detect, Examine: azure.New(set).Examine},
		{Name: tpm.Name, Detect: tpm.Detect, Examine: tpm.New(set).Examine},
		amd,
		intel,
		{Name: sgx.Name, Detect: sgx.Detect, Examine: sgx.New(set).Examine},
		{Name: nitro.Name, Detect: nitro.Detect, Examine: nitro.New(set).Examine},
		devices,
		{Name: cca.Name, Detect: cca.Detect, Examine: cca.New(set).Examine},
		{Name: psa.Name, Detect: psa.Detect, Examine: psa.New(set).Examine},
		{Name: dice.Name, Detect: dice.Detect, Examine: dice.New(set).Examine},
		dev.Examiner(),
	}
}
