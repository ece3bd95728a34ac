package sevsnp_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/sevsnp"
)

// peer verifies a report as go-sev-guest does, offline, with the same roots.
func peer(t testing.TB, report, vek []byte, product, chainFile string, now time.Time) error {
	t.Helper()
	p, err := abi.ReportToProto(report)
	if err != nil {
		return err
	}
	ask, ark := splitPEM(t, evidencetest.Read(t, chainFile))
	a := &spb.Attestation{Report: p, CertificateChain: &spb.CertificateChain{AskCert: ask, ArkCert: ark}}
	if c, err := x509.ParseCertificate(vek); err == nil && c.Subject.CommonName == "SEV-VLEK" {
		a.CertificateChain.VlekCert = vek
	} else {
		a.CertificateChain.VcekCert = vek
	}
	return verify.SnpAttestation(a, peerOptions(t, product, chainFile, now))
}

func peerOptions(t testing.TB, product, chainFile string, now time.Time) *verify.Options {
	t.Helper()
	var roots trust.AMDRootCerts
	roots.ProductLine = product
	if err := roots.FromKDSCertBytes(evidencetest.Read(t, chainFile)); err != nil {
		t.Fatal(err)
	}
	return &verify.Options{DisableCertFetching: true, Now: now, TrustedRoots: map[string][]*trust.AMDRootCerts{product: {&roots}}}
}

func splitPEM(t testing.TB, data []byte) (ask, ark []byte) {
	t.Helper()
	first, rest := pem.Decode(data)
	second, _ := pem.Decode(rest)
	if first == nil || second == nil {
		t.Fatal("no chain of two")
	}
	return first.Bytes, second.Bytes
}

func inPEM(t testing.TB, data []byte, n int) []byte {
	t.Helper()
	var block *pem.Block
	for range n {
		if block, data = pem.Decode(data); block == nil {
			t.Fatal("too few blocks")
		}
	}
	return block.Bytes
}

// TestPeer compares with go-sev-guest where it supports the product: whether the report is
// genuine, for every report with its own, and with every other, certificate. The two agree
// but where the table says so, with the reason.
func TestPeer(t *testing.T) {
	reports := map[string][]byte{
		"milan-debug": evidencetest.Read(t, google+"testdata/attestation.bin"),
		"milan-azure": evidencetest.Read(t, trustee+"test-report.bin"),
		"milan-vlek":  evidencetest.Read(t, trustee+"test-vlek-report.bin"),
		"milan-aci":   evidencetest.Read(t, sidecar+"snp_report.bin"),
		"siena":       evidencetest.Read(t, rs+"live-report-v5-genoa.bin"),
	}
	veks := map[string][]byte{
		"milan-debug": evidencetest.Read(t, google+"testdata/vcek.testcer"),
		"milan-azure": evidencetest.Read(t, trustee+"test-vcek.der"),
		"milan-vlek":  evidencetest.Read(t, trustee+"test-vlek.der"),
		"milan-aci":   inPEM(t, evidencetest.Read(t, sidecar+"uvm_host_amd_certificate.pem"), 1),
		"siena":       evidencetest.Read(t, rs+"live-vcek-genoa.der"),
	}
	now := evidencetest.Time("2025-06-01")
	for name, report := range reports {
		for certName, vek := range veks {
			product, chainFile := "Milan", google+"trust/ask_ark_milan.pem"
			switch certName {
			case "milan-vlek":
				chainFile = google + "trust/ask_ark_milan_vlek.pem"
			case "siena":
				product, chainFile = "Genoa", google+"trust/ask_ark_genoa.pem"
				now = evidencetest.Time("2026-03-01")
			}
			cert, err := x509.ParseCertificate(vek)
			if err != nil {
				t.Fatal(err)
			}
			r, err := sevsnp.New(sevsnp.Collateral{Certificates: []*x509.Certificate{cert}}).Examine(report, now)
			ours := err == nil && r.Genuine
			theirs := peer(t, report, vek, product, chainFile, now) == nil
			wantOurs, wantTheirs := name == certName, name == certName
			if name == "siena" {
				wantTheirs = false // it takes models A0h to AFh for an unknown product and refuses the chain
			}
			if ours != wantOurs || theirs != wantTheirs {
				t.Errorf("report %s under %s: genuine to us %v (%v), to go-sev-guest %v", name, certName, ours, err, theirs)
			}
			now = evidencetest.Time("2025-06-01")
		}
	}
}

// TestPeerFields compares every field with go-sev-guest's reading.
func TestPeerFields(t *testing.T) {
	for _, name := range []string{google + "testdata/attestation.bin", trustee + "test-report.bin", trustee + "test-vlek-report.bin", sidecar + "snp_report.bin", rs + "live-report-v5-genoa.bin"} {
		data := evidencetest.Read(t, name)
		theirs, err := abi.ReportToProto(data)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := sevsnp.ParseReport(data)
		if err != nil {
			t.Fatal(err)
		}
		number := func(t sevsnp.TCB) uint64 {
			var n uint64
			for i, b := range t {
				n |= uint64(b) << (8 * i)
			}
			return n
		}
		numbers := [][2]uint64{
			{uint64(ours.Version), uint64(theirs.Version)}, {uint64(ours.GuestSVN), uint64(theirs.GuestSvn)}, {uint64(ours.Policy), theirs.Policy},
			{uint64(ours.VMPL), uint64(theirs.Vmpl)}, {number(ours.CurrentTCB), theirs.CurrentTcb}, {uint64(ours.PlatformInfo), theirs.PlatformInfo},
			{uint64(ours.Flags), uint64(theirs.SignerInfo)}, {number(ours.ReportedTCB), theirs.ReportedTcb}, {number(ours.CommittedTCB), theirs.CommittedTcb},
			{number(ours.LaunchTCB), theirs.LaunchTcb}, {ours.LaunchMitigations, theirs.LaunchMitVector}, {ours.CurrentMitigations, theirs.CurrentMitVector},
			{uint64(ours.Current.Build), uint64(theirs.CurrentBuild)}, {uint64(ours.Current.Minor), uint64(theirs.CurrentMinor)}, {uint64(ours.Current.Major), uint64(theirs.CurrentMajor)},
			{uint64(ours.Committed.Build), uint64(theirs.CommittedBuild)}, {uint64(ours.Committed.Minor), uint64(theirs.CommittedMinor)}, {uint64(ours.Committed.Major), uint64(theirs.CommittedMajor)},
		}
		for i, n := range numbers {
			if n[0] != n[1] {
				t.Errorf("%s: number %d is %#x, go-sev-guest reads %#x", name, i, n[0], n[1])
			}
		}
		strings := [][2][]byte{
			{ours.FamilyID[:], theirs.FamilyId}, {ours.ImageID[:], theirs.ImageId}, {ours.ReportData[:], theirs.ReportData}, {ours.Measurement[:], theirs.Measurement},
			{ours.HostData[:], theirs.HostData}, {ours.IDKeyDigest[:], theirs.IdKeyDigest}, {ours.AuthorKeyDigest[:], theirs.AuthorKeyDigest},
			{ours.ReportID[:], theirs.ReportId}, {ours.ReportIDMA[:], theirs.ReportIdMa}, {ours.ChipID[:], theirs.ChipId},
		}
		for i, s := range strings {
			if !bytes.Equal(s[0], s[1]) {
				t.Errorf("%s: byte string %d differs", name, i)
			}
		}
		if family, model, stepping := abi.FmsFromCpuid1Eax(theirs.Cpuid1EaxFms); ours.Version >= 3 && (family != ours.Family || model != ours.Model || stepping != ours.Stepping) {
			t.Errorf("%s: CPUID differs", name)
		}
	}
}

// rawP384 is the report's signature alone, prepared beforehand: what no verifier can beat.
func rawP384(b *testing.B) func() bool {
	report := evidencetest.Read(b, trustee+"test-report.bin")
	cert, err := x509.ParseCertificate(evidencetest.Read(b, trustee+"test-vcek.der"))
	if err != nil {
		b.Fatal(err)
	}
	backwards := func(p []byte) *big.Int {
		p = bytes.Clone(p)
		slices.Reverse(p)
		return new(big.Int).SetBytes(p)
	}
	signature, err := asn1.Marshal(struct{ R, S *big.Int }{backwards(report[0x2a0:0x2d0]), backwards(report[0x2e8:0x318])})
	if err != nil {
		b.Fatal(err)
	}
	digest := sha512.Sum384(report[:0x2a0])
	key := cert.PublicKey.(*ecdsa.PublicKey)
	return func() bool { return ecdsa.VerifyASN1(key, digest[:], signature) }
}

// BenchmarkReport measures in one run: the bare P-384 verification, a full examination with
// the chain known, one with a new verifier's empty memory, and go-sev-guest's.
func BenchmarkReport(b *testing.B) {
	now := evidencetest.Time("2025-06-01")
	report := evidencetest.Read(b, trustee+"test-report.bin")
	c := collateral(b, trustee+"test-vcek.der", lists)
	raw := rawP384(b)
	b.Run("p384", func(b *testing.B) {
		for b.Loop() {
			if !raw() {
				b.Fatal("does not verify")
			}
		}
	})
	v := sevsnp.New(c)
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			if r, err := v.Examine(report, now); err != nil || !r.Genuine {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			if r, err := sevsnp.New(c).Examine(report, now); err != nil || !r.Genuine {
				b.Fatal(err)
			}
		}
	})
	options := peerOptions(b, "Milan", google+"trust/ask_ark_milan.pem", now)
	ask, ark := splitPEM(b, evidencetest.Read(b, google+"trust/ask_ark_milan.pem"))
	vcek := evidencetest.Read(b, trustee+"test-vcek.der")
	b.Run("go-sev-guest", func(b *testing.B) {
		for b.Loop() {
			p, err := abi.ReportToProto(report)
			if err != nil {
				b.Fatal(err)
			}
			a := &spb.Attestation{Report: p, CertificateChain: &spb.CertificateChain{VcekCert: vcek, AskCert: ask, ArkCert: ark}}
			if err := verify.SnpAttestation(a, options); err != nil {
				b.Fatal(err)
			}
		}
	})
}
