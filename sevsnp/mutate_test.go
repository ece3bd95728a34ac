package sevsnp_test

import (
	"bytes"
	"crypto/x509"
	"math/rand/v2"
	"os"
	"testing"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/sevsnp"
)

// genuine are pieces of evidence as they were captured, with what verifies them.
var genuine = []struct {
	name, day string
	with      []string
}{
	{google + "testdata/attestation.bin", "2025-06-01", []string{google + "testdata/vcek.testcer", lists}},
	{trustee + "test-report.bin", "2025-06-01", []string{trustee + "test-vcek.der", lists}},
	{trustee + "test-vlek-report.bin", "2025-06-01", []string{trustee + "test-vlek.der", lists}},
	{sidecar + "snp_report.bin", "2025-06-01", []string{sidecar + "uvm_host_amd_certificate.pem", lists}},
	{rs + "live-report-v5-genoa.bin", "2026-03-01", []string{rs + "live-vcek-genoa.der", lists}},
}

// TestMutatedReports flips every byte of genuine reports, signature and padding included.
func TestMutatedReports(t *testing.T) {
	for _, g := range genuine {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			v, report := sevsnp.New(collateral(t, g.with...)), evidencetest.Read(t, g.name)
			if r, err := v.Examine(report, evidencetest.Time(g.day)); err != nil || !r.Genuine {
				t.Fatalf("unaltered: %v", err)
			}
			for i := range report {
				if testing.Short() && i%7 != 0 {
					continue
				}
				mutated := bytes.Clone(report)
				mutated[i] ^= byte(1 << (i % 8))
				if r, err := v.Examine(mutated, evidencetest.Time(g.day)); err == nil && (r.Genuine || len(r.Claims) != 0) {
					t.Errorf("byte %#x altered, and genuine", i)
				}
			}
		})
	}
}

// chosen says which bytes of an endorsement to alter: boundaries of fields (where a tag or
// length may stand) and a seeded 2 %, or all with STRONGROOM_LONG set.
func chosen(n int) []int {
	all := os.Getenv("STRONGROOM_LONG") != ""
	random := rand.New(rand.NewPCG(1, 2))
	var some []int
	for i := range n {
		if all || i < 64 || i >= n-16 || random.IntN(50) == 0 {
			some = append(some, i)
		}
	}
	return some
}

// TestMutatedCertificates alters a chip's certificate and AMD's intermediate and root beside
// the report, in DER.
func TestMutatedCertificates(t *testing.T) {
	report, now := evidencetest.Read(t, trustee+"test-report.bin"), evidencetest.Time("2025-06-01")
	vcek := evidencetest.Read(t, trustee+"test-vcek.der")
	ask, ark := splitPEM(t, evidencetest.Read(t, google+"trust/ask_ark_milan.pem"))
	v := sevsnp.New(collateral(t, lists))
	evidence := func(vcek, ask, ark []byte) []byte {
		return append(bytes.Clone(report), table(t, vcekGUID, vcek, askGUID, ask, askGUID, ark)...)
	}
	if got := outcome(v.Examine(evidence(vcek, ask, ark), now)); got != "" {
		t.Fatal(got)
	}
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= byte(1 << (i % 8))
		return b
	}
	for _, i := range chosen(len(vcek)) {
		if got := outcome(v.Examine(evidence(flip(vcek, i), ask, ark), now)); len(got) < 7 || got[:7] != "invalid" {
			t.Errorf("byte %d of the VCEK altered: %q", i, got)
		}
	}
	for _, i := range chosen(len(ask)) {
		if got := outcome(v.Examine(evidence(vcek, flip(ask, i), ark), now)); len(got) < 7 || got[:7] != "invalid" {
			t.Errorf("byte %d of the ASK altered: %q", i, got)
		}
	}
	for _, i := range chosen(len(ark)) {
		if got := outcome(v.Examine(evidence(vcek, ask, flip(ark, i)), now)); len(got) < 7 || got[:7] != "invalid" {
			t.Errorf("byte %d of the ARK altered: %q", i, got)
		}
	}
}

// TestMutatedCRL alters AMD's list: it is then missing.
func TestMutatedCRL(t *testing.T) {
	report, now := evidencetest.Read(t, trustee+"test-report.bin"), evidencetest.Time("2025-06-01")
	c := collateral(t, trustee+"test-vcek.der", lists)
	var milan *x509.RevocationList
	for _, l := range c.CRLs {
		if l.Issuer.CommonName == "ARK-Milan" {
			milan = l
		}
	}
	for _, i := range chosen(len(milan.Raw)) {
		mutated := bytes.Clone(milan.Raw)
		mutated[i] ^= byte(1 << (i % 8))
		l, err := x509.ParseRevocationList(mutated)
		if err != nil {
			continue
		}
		c.CRLs = []*x509.RevocationList{l}
		if got := outcome(sevsnp.New(c).Examine(report, now)); got != "collateral" {
			t.Errorf("byte %d altered: %q", i, got)
		}
	}
}

// TestMutatedDocument alters a COSE document with a report inside: every byte of report, key,
// payload and signature, and some of the endorsements in it.
func TestMutatedDocument(t *testing.T) {
	doc, now := evidencetest.Read(t, scitt+"css-attested-cosesign1-20250617.cose"), evidencetest.Time("2025-08-01")
	v := sevsnp.New(collateral(t, lists))
	if got := outcome(v.Examine(doc, now)); got != "" {
		t.Fatal(got)
	}
	report := bytes.Index(doc, []byte("attestation\x59\x04\xa0"))
	key := bytes.Index(doc, []byte("cose_key"))
	each := map[int]bool{}
	for i := range doc {
		evidence := i < report+14+sevsnp.ReportSize || i >= key && i < key+128 || i >= len(doc)-140
		if evidence && (!testing.Short() || i%7 == 0) {
			each[i] = true
		}
	}
	for _, i := range chosen(len(doc)) {
		each[i] = true
	}
	for i := range each {
		mutated := bytes.Clone(doc)
		mutated[i] ^= byte(1 << (i % 8))
		if r, err := v.Examine(mutated, now); err == nil && r.Genuine {
			t.Errorf("byte %d altered: %q", i, outcome(r, err))
		}
	}
}

// TestMutatedStatement alters Microsoft's statement about a measurement, signed parts and
// signature: it then fails, or says nothing about this measurement.
func TestMutatedStatement(t *testing.T) {
	c := collateral(t, sidecar+"uvm_host_amd_certificate.pem", sidecar+"body.uvm_reference_info.bin", sidecar+"uvm_security_policy.base64", lists)
	report, now := evidencetest.Read(t, sidecar+"snp_report.bin"), evidencetest.Time("2025-06-01")
	doc := c.Statements[0]
	if r, err := sevsnp.New(c).Examine(report, now); outcome(r, err) != "" || r.Claims["uvm_svn"] != int64(22) || r.Claims["container_policy"] != true {
		t.Fatal(outcome(r, err))
	}
	protected := 5 + int(doc[3])<<8 + int(doc[4]) // tag, array, head of three bytes
	payload := bytes.Index(doc, []byte("{\n  \"x-ms-"))
	for _, i := range chosen(len(doc)) {
		if i >= protected && i < payload {
			continue // the unsigned header
		}
		mutated := bytes.Clone(doc)
		mutated[i] ^= byte(1 << (i % 8))
		c.Statements = [][]byte{mutated}
		if r, err := sevsnp.New(c).Examine(report, now); err == nil && r.Claims["uvm_issuer"] != nil {
			t.Errorf("byte %d altered: %q", i, outcome(r, err))
		}
	}
	for i := range c.Policies[0] {
		mutated := bytes.Clone(c.Policies[0])
		mutated[i] ^= 1
		if got := outcome(sevsnp.New(sevsnp.Collateral{Certificates: c.Certificates, CRLs: c.CRLs, Policies: [][]byte{mutated}}).Examine(report, now)); got != "container_policy" {
			t.Errorf("byte %d of the policy altered: %q", i, got)
		}
	}
}
