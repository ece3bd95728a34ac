package sevsnp_test

import (
	"testing"

	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/sevsnp"
)

// Where the captures are, below the vectors.
const (
	google  = "snp/google+go-sev-guest/verify/"
	trustee = "snp/confidential-containers+trustee/deps/verifier/test_data/snp/"
	e2e     = "snp/confidential-containers+trustee/attestation-service/tests/e2e/"
	rs      = "snp/confidential-dot-ai+attestation-rs/crates/attestation/test_data/snp/"
	rsCerts = "snp/confidential-dot-ai+attestation-rs/crates/attestation/certs/amd/"
	openpcc = "snp/openpcc+openpcc/attestation/attest/testdata/"
	virtee  = "snp/virtee+sev/tests/certs_data/"
	sidecar = "snp/microsoft+confidential-sidecar-containers/pkg/attest/test_data/"
	scitt   = "snp/microsoft+scitt-ccf-ledger/test/payloads/"
	// lists holds AMD's CRLs for Milan (2025-05-06 to 2026-05-12) and Genoa (2024-10-23 to
	// 2025-11-03), and some certificates.
	lists = openpcc + "sev_certificates.txt"
)

func collateral(t testing.TB, names ...string) sevsnp.Collateral {
	t.Helper()
	s := evidencetest.Set(t, names...)
	return sevsnp.Collateral{Certificates: s.Certificates(), CRLs: s.CRLs(), Statements: s.Data(endorse.COSESign1), Policies: s.Data(endorse.ContainerPolicy)}
}
