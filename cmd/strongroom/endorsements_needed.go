package main

import (
	"crypto/x509"

	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/attest/cca"
	"strongroom.dev/attest/composite"
	"strongroom.dev/attest/dice"
	"strongroom.dev/attest/nitro"
	"strongroom.dev/attest/psa"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/dcap"
	"strongroom.dev/endorse/fetch"
	"strongroom.dev/sevsnp"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// neededForAMD lists the documents for a report. Reports of version 2 don't name their
// processor; the chip's certificate does, if it came with one.
func neededForAMD(report []byte, came []*x509.Certificate, product string) ([]fetch.Document, error) {
	r, err := sevsnp.ParseReport(report)
	if err != nil {
		return nil, err
	}
	if r.Product() == "" && product == "" {
		product = productNamed(came)
	}
	if r.Product() == "" && product != "" {
		return fetch.AMDDocuments(r, sevsnp.Product(product)), nil
	}
	return fetch.ForReport(r)
}

// productNamed gives the product whose authority issued a chip's certificate, "" for none that
// AMD's service has documents of.
func productNamed(came []*x509.Certificate) string {
	for _, c := range came {
		for _, p := range []sevsnp.Product{sevsnp.Milan, sevsnp.Genoa, sevsnp.Turin} {
			if name := c.Issuer.CommonName; name == "SEV-"+string(p) || name == "SEV-VLEK-"+string(p) {
				return string(p)
			}
		}
	}
	return ""
}

func neededForIntel(quote []byte) ([]fetch.Document, error) {
	q, err := dcap.ParseQuote(quote)
	if err != nil {
		return nil, err
	}
	return neededForQuote(q)
}

// neededForAzure finds the hardware's report or quote in the evidence.
func neededForAzure(data []byte, product string) ([]fetch.Document, error) {
	h, err := azure.HardwareOf(data)
	switch {
	case err != nil:
		return nil, err
	case h.SNP != nil:
		return neededForAMD(h.SNP, h.Certificates, product)
	case len(h.TDQuote) == 0:
		return nil, verdict.Misuse("evidence.td_quote", "the TD quote beside the HCL report", "an HCL report alone, which does not say which of Intel's documents its machine needs", "give evidence that holds both (spec/tpm.md, section 4), or the TD quote")
	}
	return neededForIntel(h.TDQuote)
}

// neededForParts lists what the CPU and every device of a machine need.
func neededForParts(data []byte, product string, rims [][]byte) ([]fetch.Document, error) {
	canonical, err := wire.Canonical(data)
	var body composite.Body
	if err == nil {
		err = wire.Unmarshal(canonical, &body)
	}
	if err != nil {
		return nil, verdict.NotGenuine("evidence.form", "evidence of a machine with its devices", verdict.Short(err.Error()), "give the evidence exactly as it was collected")
	}
	var docs []fetch.Document
	for _, part := range append([]attest.Evidence{body.CPU}, body.Devices...) {
		if part.Platform == composite.Name {
			return nil, verdict.NotGenuine("evidence.form", "a CPU and its devices", "a machine in a machine", "give the evidence exactly as it was collected")
		}
		more, err := neededFor(part.Evidence, product, rims)
		if err != nil {
			return nil, err
		}
		docs = append(docs, more...)
	}
	return docs, nil
}

// notFetched says what verify takes for evidence whose vendor has no service that fetch asks.
func notFetched(platform wire.ID) error {
	fix := "see docs/verifying.md for what verify needs; nothing is to be fetched"
	switch platform {
	case nitro.Name, "dev":
		fix = "verify it as it is: it carries all that is needed"
	case tpm.Name:
		fix = "give verify --endorsements with the CRLs and intermediates of the key's maker, or the attestation key itself in PEM to pin it"
	case cca.Name, psa.Name:
		fix = "give verify --endorsements with the public key of the very device's attestation key, PEM or JWK, as its maker gives it"
	case dice.Name:
		fix = "give verify --endorsements with the device's IDevID request or key, or the key of an authority above it"
	}
	return verdict.Misuse("evidence.platform", "evidence that AMD's, Intel's or NVIDIA's services have documents for: snp, tdx, sgx, azure, nvidia, or a machine of these", "evidence of platform "+string(platform)+", which fetch does not know", fix)
}
