package main

import (
	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/attest/cca"
	"strongroom.dev/attest/dev"
	"strongroom.dev/attest/nitro"
	"strongroom.dev/attest/nvidia"
	"strongroom.dev/attest/psa"
	"strongroom.dev/attest/sgx"
	"strongroom.dev/attest/snp"
	"strongroom.dev/attest/tdx"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
)

// platforms is the table of every platform that rooms run on, in one place for all to see.
func platforms() []attest.Platform {
	return []attest.Platform{dev.New()}
}

// examiners is the table of every kind of evidence that this build can examine. Forms that
// hold others' evidence stand before those.
func examiners(set endorse.Set) []attest.Examiner {
	return []attest.Examiner{
		{Name: azure.Name, Detect: azure.Detect, Examine: azure.New(set).Examine},
		{Name: tpm.Name, Detect: tpm.Detect, Examine: tpm.New(set).Examine},
		{Name: snp.Name, Detect: snp.Detect, Examine: snp.New(set).Examine},
		{Name: tdx.Name, Detect: tdx.Detect, Examine: tdx.New(set).Examine},
		{Name: sgx.Name, Detect: sgx.Detect, Examine: sgx.New(set).Examine},
		{Name: nitro.Name, Detect: nitro.Detect, Examine: nitro.New(set).Examine},
		nvidia.New(set).Examiner(),
		{Name: cca.Name, Detect: cca.Detect, Examine: cca.New(set).Examine},
		{Name: psa.Name, Detect: psa.Detect, Examine: psa.New(set).Examine},
		dev.Examiner(),
	}
}
