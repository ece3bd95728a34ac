package sevsnp_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"strongroom.dev/internal/cbortest"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/sevsnp"
)

// uvmSpec says what stands in a statement of a signer of our own.
type uvmSpec struct {
	issuer, feed, payload string
	signed                time.Time
	cwt, noX5t, critical  bool
	algorithm             int
	eku                   asn1.ObjectIdentifier
	leafIsCA, wrongKey    bool
	chain                 func([]*x509.Certificate) []*x509.Certificate
}

var purpose = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 76, 59, 1, 2}

// statement makes a COSE statement by a root of our own, and gives the did:x509 of it.
func (w *world) statement(s uvmSpec) (doc []byte, did string) {
	w.t.Helper()
	make509 := func(cn string, serial int64, parent *x509.Certificate, key, by *rsa.PrivateKey, change func(*x509.Certificate)) *x509.Certificate {
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn}, NotBefore: w.now.AddDate(-1, 0, 0), NotAfter: w.now.AddDate(1, 0, 0),
			BasicConstraintsValid: true, SubjectKeyId: []byte{byte(serial)}}
		change(template)
		if parent == nil {
			parent = template
		}
		return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by))))
	}
	authority := func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }
	k := w.keys
	root := make509("root", 1, nil, k.ark, k.ark, authority)
	middle := make509("middle", 2, root, k.ask, k.ark, authority)
	if s.eku == nil {
		s.eku = purpose
	}
	leaf := make509("leaf", 3, middle, k.other, k.ask, func(c *x509.Certificate) {
		c.KeyUsage, c.UnknownExtKeyUsage, c.IsCA = x509.KeyUsageDigitalSignature, []asn1.ObjectIdentifier{s.eku}, s.leafIsCA
	})
	chain := []*x509.Certificate{leaf, middle, root}
	if s.chain != nil {
		chain = s.chain(chain)
	}
	sum := sha256.Sum256(root.Raw)
	did = "did:x509:0:sha256:" + base64.RawURLEncoding.EncodeToString(sum[:]) + "::eku:" + purpose.String()
	var ders []any
	for _, c := range chain {
		ders = append(ders, c.Raw)
	}
	thumb := sha256.Sum256(leaf.Raw)
	if s.noX5t {
		thumb[0] ^= 1
	}
	if s.algorithm == 0 {
		s.algorithm = -38
	}
	pairs := cbortest.Map{1, s.algorithm, 3, "application/json", 33, ders, 34, []any{-16, thumb[:]}}
	issuer := strings.NewReplacer("SELF", did, "BARE", strings.Split(did, "::")[0]).Replace(s.issuer)
	signed := cbortest.Tag{1, int(s.signed.Unix())}
	if s.cwt {
		pairs = append(pairs, 15, cbortest.Map{1, issuer, 2, s.feed, 6, signed, "svn", 7})
	} else {
		pairs = append(pairs, "iss", issuer, "feed", s.feed, "signingtime", signed)
	}
	if s.critical {
		pairs = append(pairs, 2, []any{"feed"})
	}
	protected := cbortest.Encode(pairs)
	digest := sha512.Sum384(cbortest.ToBeSigned(protected, []byte(s.payload)))
	key := k.other
	if s.wrongKey {
		key = k.ark
	}
	signature := must(rsa.SignPSS(rand.Reader, key, crypto.SHA384, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
	return cbortest.Encode(cbortest.Tag{18, []any{protected, cbortest.Map{}, []byte(s.payload), signature}}), did
}

// TestStatements is one statement per rule about them.
func TestStatements(t *testing.T) {
	w := newWorld(t)
	report := w.report(3, 0x19, 1, nil)
	good := fmt.Sprintf(`{"x-ms-sevsnpvm-guestsvn":"7","x-ms-sevsnpvm-launchmeasurement":%q}`, hex.EncodeToString(report[0x90:0xc0]))
	other := strings.Replace(good, "9091", "9192", 1)
	for _, c := range []struct {
		name   string
		change func(*uvmSpec)
		want   string // of the parser; "" if the statement is genuine
		inside string // outcome with the statement inside the evidence
	}{
		{"good", func(*uvmSpec) {}, "", "uvm"}, // genuine, but not Microsoft's
		{"CWT claims", func(s *uvmSpec) { s.cwt = true }, "", "uvm"},
		{"about another measurement", func(s *uvmSpec) { s.payload = other }, "", "invalid uvm"},
		{"wrong key", func(s *uvmSpec) { s.wrongKey = true }, "verification error", "invalid uvm"},
		{"another algorithm", func(s *uvmSpec) { s.algorithm = -37 }, "verification error", "invalid uvm"},
		{"ECDSA with an RSA key", func(s *uvmSpec) { s.algorithm = -35 }, "an RSA key", "invalid uvm"},
		{"HMAC", func(s *uvmSpec) { s.algorithm = 5 }, "algorithm", "invalid uvm"},
		{"critical members", func(s *uvmSpec) { s.critical = true }, "critical", "invalid uvm"},
		{"thumbprint of another", func(s *uvmSpec) { s.noX5t = true }, "thumbprint", "invalid uvm"},
		{"signed before the certificate began", func(s *uvmSpec) { s.signed = w.now.AddDate(-2, 0, 0) }, "not valid", "invalid uvm"},
		{"signed after the certificate ended", func(s *uvmSpec) { s.signed = w.now.AddDate(2, 0, 0) }, "not valid", "invalid uvm"},
		{"signer is an authority", func(s *uvmSpec) { s.leafIsCA = true }, "may not sign", "invalid uvm"},
		{"another purpose", func(s *uvmSpec) { s.eku = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 76, 59, 1, 1} }, "policy", "invalid uvm"},
		{"issuer of another root", func(s *uvmSpec) {
			s.issuer = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:" + purpose.String()
		}, "authority", "invalid uvm"},
		{"issuer without a policy", func(s *uvmSpec) { s.issuer = "BARE" }, "did:x509", "invalid uvm"},
		{"issuer with an unknown policy", func(s *uvmSpec) { s.issuer += "::subject:CN:leaf" }, "policy", "invalid uvm"},
		{"issuer that is a name", func(s *uvmSpec) { s.issuer = "did:web:microsoft.com" }, "did:x509", "invalid uvm"},
		{"chain of a leaf", func(s *uvmSpec) { s.chain = func(c []*x509.Certificate) []*x509.Certificate { return c[:1] } }, "certificates", "invalid uvm"},
		{"chain without a root", func(s *uvmSpec) { s.chain = func(c []*x509.Certificate) []*x509.Certificate { return c[:2] } }, "not signed by", "invalid uvm"},
		{"chain out of order", func(s *uvmSpec) {
			s.chain = func(c []*x509.Certificate) []*x509.Certificate { return []*x509.Certificate{c[0], c[2], c[1]} }
		}, "not signed by", "invalid uvm"},
		{"no measurement", func(s *uvmSpec) { s.payload = `{"x-ms-sevsnpvm-guestsvn":"7"}` }, "measurement", "uvm"},
		{"no security version", func(s *uvmSpec) { s.payload = strings.Replace(good, `"7"`, `"-7"`, 1) }, "security version", "uvm"},
		{"security version among the claims", func(s *uvmSpec) {
			s.cwt, s.payload = true, strings.Replace(good, `"x-ms-sevsnpvm-guestsvn":"7",`, "", 1)
		}, "", "uvm"},
		{"security version as a number", func(s *uvmSpec) { s.payload = strings.Replace(good, `"7"`, "7", 1) }, "", "uvm"},
		{"no word of when", func(s *uvmSpec) { s.signed = time.Unix(0, 0) }, "", "uvm"},
		{"duplicate member", func(s *uvmSpec) { s.payload = strings.Replace(good, "{", `{"x-ms-sevsnpvm-guestsvn":"9",`, 1) }, "duplicate", "uvm"},
	} {
		t.Run(c.name, func(t *testing.T) {

			s := uvmSpec{issuer: "SELF", feed: "ContainerPlat-AMD-UVM", payload: good, signed: w.now.AddDate(0, -1, 0)}

			c.change(&s)
			doc, _ := w.statement(s)
			feed, err := sevsnp.ParseStatement(doc)
			switch {
			case c.want == "" && (err != nil || feed != "ContainerPlat-AMD-UVM"):
				t.Errorf("genuine: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, expected %q in it", err, c.want)
			}
			evidence := []byte(`{"attestation":"` + base64.StdEncoding.EncodeToString(report) + `","uvm_endorsements":"` + base64.StdEncoding.EncodeToString(doc) + `"}`)
			v := w.verifier(w.collateral(sevsnp.Milan, w.vek(w.chip(sevsnp.Milan))))
			if got := outcome(v.Examine(evidence, w.now)); got != c.inside {
				t.Errorf("inside evidence: got %q, expected %q", got, c.inside)
			}
		})
	}
}

// TestHeldStatements is about statements that the caller holds.
func TestHeldStatements(t *testing.T) {
	c := collateral(t, sidecar+"uvm_host_amd_certificate.pem", sidecar+"body.uvm_reference_info.bin", lists)
	report, now := evidencetest.Read(t, sidecar+"snp_report.bin"), evidencetest.Time("2025-06-01")
	r, err := sevsnp.New(c).Examine(report, now)
	if got := outcome(r, err); got != "" || r.Claims["uvm_feed"] != "ContainerPlat-AMD-UVM" {
		t.Errorf("%q", got)
	}
	// One that was altered where it speaks of this measurement is a failure; other documents
	// are of no concern.
	broken := bytes.Clone(c.Statements[0])
	broken[len(broken)-1] ^= 1
	c.Statements = [][]byte{{0xd2, 0x84}, broken}
	if got := outcome(sevsnp.New(c).Examine(report, now)); got != "uvm" {
		t.Errorf("altered: %q", got)
	}
	// For another machine's report, it is of no concern.
	c = collateral(t, trustee+"test-vcek.der", sidecar+"body.uvm_reference_info.bin", lists)
	r, err = sevsnp.New(c).Examine(evidencetest.Read(t, trustee+"test-report.bin"), now)
	if got := outcome(r, err); got != "" || r.Claims["uvm_feed"] != nil {
		t.Errorf("another machine's: %q", got)
	}
}

// TestPolicies is about policies of container groups.
func TestPolicies(t *testing.T) {
	w := newWorld(t)
	policy := []byte("package policy\n")
	sum := sha256.Sum256(policy)
	bound := w.report(3, 0x19, 1, func(b []byte) { copy(b[0xc0:], sum[:]) })
	free := w.report(3, 0x19, 1, nil)
	for _, c := range []struct {
		name   string
		report []byte
		held   [][]byte
		want   string
		claim  any
	}{
		{"none held", bound, nil, "", nil},
		{"the right one", bound, [][]byte{policy}, "", true},
		{"among others", bound, [][]byte{[]byte("package policy\n\n"), policy}, "", true},
		{"another", bound, [][]byte{[]byte("package policy")}, "container_policy", false},
		{"HOST_DATA of zeros", free, [][]byte{policy}, "", nil},
	} {
		col := w.collateral(sevsnp.Milan, w.vek(w.chip(sevsnp.Milan)))
		col.Policies = c.held
		r, err := w.verifier(col).Examine(c.report, w.now)
		if got := outcome(r, err); got != c.want || r.Claims["container_policy"] != c.claim {
			t.Errorf("%s: got %q, %v", c.name, got, r.Claims["container_policy"])
		}
	}
}
