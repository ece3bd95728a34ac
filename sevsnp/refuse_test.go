package sevsnp_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"strongroom.dev/sevsnp"
	"strongroom.dev/verdict"
)

// outcome gives what an examination came to: "" if every check passed, the id of the error,
// or the ids of the failed checks, without "snp.".
func outcome(r *sevsnp.Result, err error) string {
	var e *verdict.Error
	if errors.As(err, &e) {
		if e.Kind != verdict.Invalid || e.Expected == "" || e.Fix == "" {
			return "an error that explains nothing: " + err.Error()
		}
		return "invalid " + strings.TrimPrefix(e.Check, "snp.")
	}
	if err != nil {
		return err.Error()
	}
	var ids []string
	for _, c := range r.Checks {
		if !strings.HasPrefix(c.ID, "snp.") || c.Expected == "" || c.Got == "" || !c.OK && c.Fix == "" {
			return "a check that explains nothing: " + c.ID
		}
		if !c.OK {
			ids = append(ids, strings.TrimPrefix(c.ID, "snp."))
		}
	}
	return strings.Join(ids, " ")
}

// products are the processors with a family and model of each.
var processors = []struct {
	product       sevsnp.Product
	family, model byte
}{{sevsnp.Milan, 0x19, 0x01}, {sevsnp.Genoa, 0x19, 0x11}, {sevsnp.Genoa, 0x19, 0xa0}, {sevsnp.Genoa, 0x19, 0xaf}, {sevsnp.Turin, 0x1a, 0x02}, {sevsnp.Turin, 0x1a, 0x11}}

// TestProducts verifies reports of every version and product, with both encodings of chip
// ids, under VCEK and VLEK.
func TestProducts(t *testing.T) {
	w := newWorld(t)
	for _, p := range processors {
		for version := uint32(2); version <= 5; version++ {
			if p.family == 0x1a && version == 2 {
				continue // Turin came after version 2
			}
			for _, octets := range []bool{false, true} {
				spec := w.chip(p.product)
				spec.octets = octets
				c := w.collateral(p.product, w.vek(spec))
				r, err := w.verifier(c).Examine(w.report(version, p.family, p.model, nil), w.now)
				if got := outcome(r, err); got != "" {
					t.Fatalf("%s %#x version %d: %s", p.product, p.model, version, got)
				}
				if r.Product != p.product || !r.Genuine || r.Chip == nil {
					t.Errorf("%s %#x version %d: %+v", p.product, p.model, version, r)
				}
			}
			vlek := vekSpec{product: p.product, kind: sevsnp.VLEK, tcb: w.chip(p.product).tcb, csp: "CN=a cloud"}
			r, err := w.verifier(w.collateral(p.product, w.vek(vlek))).Examine(w.report(version, p.family, p.model, func(b []byte) {
				b[0x48] = 1 << 2
				clear(b[0x1a0:0x1e0])
			}), w.now)
			if got := outcome(r, err); got != "" || r.Chip != nil || r.Cloud != "CN=a cloud" {
				t.Errorf("VLEK of %s, version %d: %q", p.product, version, got)
			}
		}
	}
}

// TestTurinLayout checks that Turin's TCB is read in its own layout.
func TestTurinLayout(t *testing.T) {
	w := newWorld(t)
	r, err := w.verifier(w.collateral(sevsnp.Turin, w.vek(w.chip(sevsnp.Turin)))).Examine(w.report(3, 0x1a, 2, nil), w.now)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"fmc": int64(9), "bootloader": int64(4), "tee": int64(1), "snp": int64(20), "microcode": int64(100)}
	got := r.Claims["reported_tcb"].(map[string]any)
	for name, n := range want {
		if got[name] != n {
			t.Errorf("%s is %v, expected %v", name, got[name], n)
		}
	}
}

// TestRefusals is one report or certificate per rule, each wrong in one way.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		report func(b []byte)   // before signing
		after  func(b []byte)   // after signing
		spec   func(s *vekSpec) // of the chip's certificate
		want   string
		model  byte // of Genoa's family; Milan if 0
	}{
		{name: "good"},
		{name: "debug", report: func(b []byte) { b[0x0a] |= 1 << 3 }, want: "debug"},
		{name: "migration agent allowed", report: func(b []byte) { b[0x0a] |= 1 << 2 }, want: "migration"},
		{name: "migration agent bound", report: func(b []byte) { b[0x160] = 1 }, want: "migration_agent"},
		{name: "no migration agent, as zeros", report: func(b []byte) { clear(b[0x160:0x180]) }},
		{name: "vmpl 1", report: func(b []byte) { b[0x30] = 1 }, want: "vmpl"},
		{name: "vmpl 3", report: func(b []byte) { b[0x30] = 3 }, want: "vmpl"},
		{name: "vmpl out of range", report: func(b []byte) { b[0x33] = 0xff }, want: "vmpl"},
		{name: "policy bit 17", report: func(b []byte) { b[0x0a] &^= 2 }, want: "invalid form"},
		{name: "policy bit 26", report: func(b []byte) { b[0x0b] |= 1 << 2 }, want: "reserved"},
		{name: "policy bit 63", report: func(b []byte) { b[0x0f] |= 1 << 7 }, want: "reserved"},
		{name: "platform bit 6", report: func(b []byte) { b[0x40] |= 1 << 6 }, want: "reserved"},
		{name: "platform bit 8", report: func(b []byte) { b[0x41] |= 1 }, want: "reserved"},
		{name: "flag bit 5", report: func(b []byte) { b[0x48] |= 1 << 5 }, want: "reserved"},
		{name: "flag bit 31", report: func(b []byte) { b[0x4b] |= 1 << 7 }, want: "reserved"},
		{name: "bytes 4c", report: func(b []byte) { b[0x4c] = 1 }, want: "reserved"},
		{name: "bytes 18b", report: func(b []byte) { b[0x18b] = 1 }, want: "reserved"},
		{name: "bytes 1eb", report: func(b []byte) { b[0x1eb] = 1 }, want: "reserved"},
		{name: "bytes 1ef", report: func(b []byte) { b[0x1ef] = 1 }, want: "reserved"},
		{name: "mitigation vector in version 3", report: func(b []byte) { b[0x1f8] = 1 }, want: "reserved"},
		{name: "mitigation vector in version 5", report: func(b []byte) { b[0], b[0x1f8], b[0x207] = 5, 1, 1 }},
		{name: "bytes 208 in version 5", report: func(b []byte) { b[0], b[0x208] = 5, 1 }, want: "reserved"},
		{name: "CPUID in version 2", report: func(b []byte) { b[0] = 2 }, want: "reserved"},
		{name: "version 1", report: func(b []byte) { b[0] = 1 }, want: "invalid form"},
		{name: "version 6", report: func(b []byte) { b[0] = 6 }, want: "invalid form"},
		{name: "signature algorithm 2", report: func(b []byte) { b[0x34] = 2 }, want: "invalid form"},
		{name: "R beyond 48 bytes", after: func(b []byte) { b[0x2a0+48] = 1 }, want: "invalid form"},
		{name: "S beyond 48 bytes", after: func(b []byte) { b[0x2e8+71] = 1 }, want: "invalid form"},
		{name: "bytes behind the signature", after: func(b []byte) { b[0x330] = 1 }, want: "invalid form"},
		{name: "last byte", after: func(b []byte) { b[0x49f] = 1 }, want: "invalid form"},
		{name: "signature of zeros", after: func(b []byte) { clear(b[0x2a0:]) }, want: "invalid signature"},
		{name: "R and S as big as can be", after: func(b []byte) { fill(b[0x2a0:0x2d0]); fill(b[0x2e8:0x318]) }, want: "invalid signature"},
		{name: "not signed", report: func(b []byte) { b[0x48] = 7 << 2 }, want: "invalid signer"},
		{name: "reserved kind of key", report: func(b []byte) { b[0x48] = 2 << 2 }, want: "invalid signer"},
		{name: "masked chip key", report: func(b []byte) { b[0x48] |= 2 }, want: "invalid signer"},
		{name: "says VLEK, VCEK beside it", report: func(b []byte) { b[0x48] = 1 << 2 }, want: "invalid signer"},
		{name: "masked chip id", report: func(b []byte) { clear(b[0x1a0:0x1e0]) }, want: "chip_id"},
		{name: "another chip", report: func(b []byte) { b[0x1df] ^= 1 }, want: "invalid chip_id"},
		{name: "TCB above the certificate's", report: func(b []byte) { b[0x187]++ }, want: "invalid tcb"},
		{name: "TCB below the certificate's", report: func(b []byte) { b[0x186]-- }, want: "invalid tcb"},
		{name: "reserved TCB byte of the reported one", report: func(b []byte) { b[0x182] = 1 }, want: "invalid tcb"},
		{name: "reserved TCB byte of the current one", report: func(b []byte) { b[0x3a] = 1 }, want: "tcb_layout"},
		{name: "reserved TCB byte of the launch one", report: func(b []byte) { b[0x1f5] = 1 }, want: "tcb_layout"},
		{name: "reported above committed", report: func(b []byte) { b[0x1e7]-- }, want: "tcb_order"},
		{name: "committed above current", report: func(b []byte) { b[0x3e]-- }, want: "tcb_order"},
		{name: "current above committed", report: func(b []byte) { b[0x3e]++ }},
		{name: "unknown family", report: func(b []byte) { b[0x188] = 0x1b }, want: "invalid product"},
		{name: "unknown model", report: func(b []byte) { b[0x189] = 0x61 }, want: "invalid product"},
		{name: "Genoa's report, Milan's chip", report: func(b []byte) { b[0x189] = 0x11 }, want: "invalid product"},
		{name: "Milan's certificate says Genoa", spec: func(s *vekSpec) { s.name = "Genoa-B1" }, want: "invalid chain"},
		{name: "Genoa's certificate says Bergamo", spec: func(s *vekSpec) { s.name = "Bergamo-A0" }, model: 0xa0},
		{name: "Genoa's certificate says Siena", spec: func(s *vekSpec) { s.name = "Siena" }, model: 0xa8},
		{name: "certificate by another root", spec: func(s *vekSpec) { s.by = testKeys().other }, want: "invalid chain"},
		{name: "VCEK by the issuer of VLEKs", spec: func(s *vekSpec) { s.issuer = "SEV-VLEK-Milan" }, want: "invalid chain"},
		{name: "VCEK by the root itself", spec: func(s *vekSpec) { s.issuer, s.by = "ARK-Milan", testKeys().ark }, want: "invalid chain"},
		{name: "certificate without TCB", spec: func(s *vekSpec) { delete(s.tcb, 8) }, want: "invalid chain"},
		{name: "certificate with spl4", spec: func(s *vekSpec) { s.tcb[4] = 1 }, want: "invalid chain"},
		{name: "microcode 256", spec: func(s *vekSpec) { s.tcb[8] = 256 }, want: "invalid chain"},
		{name: "microcode -1", spec: func(s *vekSpec) { s.tcb[8] = -1 }, want: "invalid chain"},
		{name: "chip id of 63 bytes", spec: func(s *vekSpec) { s.chip = s.chip[:63] }, want: "invalid chain"},
		{name: "chip id as a SEQUENCE", spec: func(s *vekSpec) { s.chip = append([]byte{0x30, 64}, s.chip...) }, want: "invalid chain"},
		{name: "chip id of zeros", spec: func(s *vekSpec) { s.chip = make([]byte, 64) }, want: "invalid chain"},
		{name: "VCEK with a cloud's name", spec: func(s *vekSpec) {
			s.extensions = func(e []pkix.Extension) []pkix.Extension {
				return append(e, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1, 5}, Value: ia5("CN=x")})
			}
		}, want: "invalid chain"},
		{name: "bytes behind an extension's integer", spec: func(s *vekSpec) {
			s.extensions = func(e []pkix.Extension) []pkix.Extension { e[2].Value = append(e[2].Value, 0); return e }
		}, want: "invalid chain"},
		{name: "critical extension", spec: func(s *vekSpec) {
			s.extensions = func(e []pkix.Extension) []pkix.Extension { e[0].Critical = true; return e }
		}, want: "invalid chain"},
		{name: "certificate expired", spec: func(s *vekSpec) { s.change = func(c *x509.Certificate) { c.NotAfter = c.NotBefore.AddDate(0, 6, 0) } }, want: "dates"},
		{name: "certificate of tomorrow", spec: func(s *vekSpec) { s.change = func(c *x509.Certificate) { c.NotBefore = c.NotBefore.AddDate(2, 0, 0) } }, want: "dates"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			p, model := sevsnp.Milan, byte(1)
			if c.model != 0 {
				p, model = sevsnp.Genoa, c.model
			}
			report := w.report(3, 0x19, model, c.report)
			if c.after != nil {
				c.after(report)
			}
			spec := w.chip(p)
			if c.spec != nil {
				c.spec(&spec)
			}
			vek := w.vek(spec)
			// With the certificate beside the report, as in a certificate table.
			evidence := append(report, table(t, vcekGUID, vek.Raw)...)
			if got := outcome(w.verifier(w.collateral(p)).Examine(evidence, w.now)); got != c.want {
				t.Errorf("got %q, expected %q", got, c.want)
			}
		})
	}
}

func fill(b []byte) {
	for i := range b {
		b[i] = 0xff
	}
}

// TestHeld is about the caller's certificates: which of them is for a report.
func TestHeld(t *testing.T) {
	w := newWorld(t)
	report := w.report(3, 0x19, 1, nil)
	good := w.vek(w.chip(sevsnp.Milan))
	otherChip, otherTCB, forged := w.chip(sevsnp.Milan), w.chip(sevsnp.Milan), w.chip(sevsnp.Milan)
	otherChip.chip[0] ^= 1
	otherTCB.tcb[8]++
	forged.by = w.keys.other
	bad := w.authority("SEV-Milan", "ARK-Milan", w.keys.ask, w.keys.other, 9, nil)
	weak := w.authority("SEV-Milan", "ARK-Milan", w.keys.ask, w.keys.ark, 9, func(c *x509.Certificate) { c.IsCA = false })
	fake := w.authority("ARK-Milan", "ARK-Milan", w.keys.other, w.keys.other, 1, nil)
	ask, crl := w.ask(sevsnp.Milan, sevsnp.VCEK), w.collateral(sevsnp.Milan).CRLs
	for _, c := range []struct {
		name  string
		certs []*x509.Certificate
		want  string
	}{
		{"the right one", []*x509.Certificate{ask, good}, ""},
		{"among others", []*x509.Certificate{w.vek(otherChip), ask, w.vek(otherTCB), good}, ""},
		{"beside a forged one", []*x509.Certificate{w.vek(forged), ask, good}, ""},
		{"none", []*x509.Certificate{ask}, "collateral"},
		{"another chip's", []*x509.Certificate{ask, w.vek(otherChip)}, "invalid chip_id"},
		{"another TCB's", []*x509.Certificate{ask, w.vek(otherTCB)}, "invalid tcb"},
		{"two others", []*x509.Certificate{ask, w.vek(otherChip), w.vek(otherTCB)}, "collateral"},
		{"two others, one forged", []*x509.Certificate{ask, w.vek(otherChip), func() *x509.Certificate { forged.chip[1] ^= 1; return w.vek(forged) }()}, "invalid chain"},
		{"no intermediate", []*x509.Certificate{good}, "invalid chain"},
		{"intermediate by another root", []*x509.Certificate{bad, good}, "invalid chain"},
		{"intermediate beside one by another root", []*x509.Certificate{bad, ask, good}, ""},
		{"intermediate that may not issue", []*x509.Certificate{weak, good}, "invalid chain"},
		{"root of the same name", []*x509.Certificate{fake, bad, good}, "invalid chain"},
		{"root of the same name beside the right intermediate", []*x509.Certificate{fake, ask, good}, "invalid chain"},
	} {
		if got := outcome(w.verifier(sevsnp.Collateral{Certificates: c.certs, CRLs: crl}).Examine(report, w.now)); got != c.want {
			t.Errorf("%s: got %q, expected %q", c.name, got, c.want)
		}
	}
	// The order in which certificates stand must not matter, nor what was verified before.
	v := w.verifier(sevsnp.Collateral{Certificates: []*x509.Certificate{ask, good}, CRLs: crl})
	for range 2 {
		if got := outcome(v.Examine(report, w.now)); got != "" {
			t.Error(got)
		}
		tampered := bytes.Clone(report)
		tampered[0x90] ^= 1
		if got := outcome(v.Examine(tampered, w.now)); got != "invalid signature" {
			t.Errorf("with a known chain: %q", got)
		}
	}
}

// TestInline is about certificates inside evidence: they must be the right ones.
func TestInline(t *testing.T) {
	w := newWorld(t)
	report := w.report(3, 0x19, 1, nil)
	good, ask := w.vek(w.chip(sevsnp.Milan)), w.ask(sevsnp.Milan, sevsnp.VCEK)
	other := w.chip(sevsnp.Milan)
	other.chip[0] ^= 1
	vlek := w.vek(vekSpec{product: sevsnp.Milan, kind: sevsnp.VLEK, tcb: w.chip(sevsnp.Milan).tcb, csp: "CN=a cloud"})
	bad := w.authority("SEV-Milan", "ARK-Milan", w.keys.ask, w.keys.other, 9, nil)
	for _, c := range []struct {
		name   string
		inline []*x509.Certificate
		held   []*x509.Certificate
		want   string
	}{
		{"chain", []*x509.Certificate{good, ask, w.roots[sevsnp.Milan]}, nil, ""},
		{"both kinds", []*x509.Certificate{vlek, good, ask}, nil, ""},
		{"another chip's, though the right one is held", []*x509.Certificate{w.vek(other)}, []*x509.Certificate{good, ask}, "invalid chip_id"},
		{"a VLEK's only", []*x509.Certificate{vlek}, nil, "invalid signer"},
		{"a VLEK's, the right one held", []*x509.Certificate{vlek}, []*x509.Certificate{good, ask}, ""},
		{"a forged intermediate, though the right one is held", []*x509.Certificate{good, bad}, []*x509.Certificate{ask}, "invalid chain"},
	} {
		entries := []any{}
		for _, cert := range c.inline {
			guid := vcekGUID
			switch {
			case cert == vlek:
				guid = vlekGUID
			case cert.IsCA:
				guid = askGUID
			}
			entries = append(entries, guid, cert.Raw)
		}
		evidence := append(bytes.Clone(report), table(t, entries...)...)
		col := w.collateral(sevsnp.Milan)
		col.Certificates = c.held
		if got := outcome(w.verifier(col).Examine(evidence, w.now)); got != c.want {
			t.Errorf("%s: got %q, expected %q", c.name, got, c.want)
		}
	}
}

// TestRevocation is about AMD's lists: none, forged, outside their dates, and what they name.
func TestRevocation(t *testing.T) {
	w := newWorld(t)
	report := w.report(3, 0x19, 1, nil)
	last, next := w.now.AddDate(0, -1, 0), w.now.AddDate(1, 0, 0)
	p := sevsnp.Milan
	list := func(number int64, from, to int, serials ...int64) *x509.RevocationList {
		return w.crl(p, number, w.now.AddDate(0, 0, from), w.now.AddDate(0, 0, to), w.keys.ark, serials...)
	}
	for _, c := range []struct {
		name  string
		lists []*x509.RevocationList
		want  string
	}{
		{"current", []*x509.RevocationList{list(5, -30, 30)}, ""},
		{"names others", []*x509.RevocationList{list(5, -30, 30, 77)}, ""},
		{"none", nil, "collateral"},
		{"of another product", []*x509.RevocationList{w.crl(sevsnp.Genoa, 5, last, next, w.keys.ark)}, "collateral"},
		{"forged", []*x509.RevocationList{w.crl(p, 5, last, next, w.keys.other)}, "collateral"},
		{"forged beside a genuine one", []*x509.RevocationList{w.crl(p, 9, last, next, w.keys.other), list(5, -30, 30)}, ""},
		{"expired", []*x509.RevocationList{list(5, -30, -1)}, "collateral"},
		{"expires now", []*x509.RevocationList{list(5, -30, 0)}, "collateral"},
		{"begins now", []*x509.RevocationList{list(5, 0, 30)}, ""},
		{"of tomorrow", []*x509.RevocationList{list(5, 1, 30)}, "collateral"},
		{"revokes the intermediate", []*x509.RevocationList{list(5, -30, 30, 2)}, "revocation"},
		{"revokes the root", []*x509.RevocationList{list(5, -30, 30, 1)}, "revocation"},
		{"revokes, and is expired", []*x509.RevocationList{list(5, -30, -1, 2)}, "collateral revocation"},
		{"an older one revokes", []*x509.RevocationList{list(4, -60, 30, 2), list(5, -30, 30)}, "revocation"},
		{"the newest is expired", []*x509.RevocationList{list(4, -60, 30), list(5, -30, -1)}, "collateral"},
	} {
		col := sevsnp.Collateral{Certificates: []*x509.Certificate{w.ask(p, sevsnp.VCEK), w.vek(w.chip(p))}, CRLs: c.lists}
		if got := outcome(w.verifier(col).Examine(report, w.now)); got != c.want {
			t.Errorf("%s: got %q, expected %q", c.name, got, c.want)
		}
	}
	// A list may come with the evidence.
	col := sevsnp.Collateral{Certificates: []*x509.Certificate{w.ask(p, sevsnp.VCEK), w.vek(w.chip(p))}}
	evidence := append(bytes.Clone(report), table(t, crlGUID, list(5, -30, 30).Raw)...)
	if got := outcome(w.verifier(col).Examine(evidence, w.now)); got != "" {
		t.Errorf("list inside the evidence: %q", got)
	}
	evidence = append(bytes.Clone(report), table(t, crlGUID, list(5, -30, 30, 2).Raw)...)
	if got := outcome(w.verifier(w.collateral(p, w.vek(w.chip(p)))).Examine(evidence, w.now)); got != "revocation" {
		t.Errorf("list inside the evidence that revokes: %q", got)
	}
}

// TestBuiltin checks AMD's certificates that this package holds.
func TestBuiltin(t *testing.T) {
	if roots, intermediates := sevsnp.Builtin(); roots != 3 || intermediates != 6 {
		t.Errorf("%d roots and %d intermediates verify, expected 3 and 6", roots, intermediates)
	}
}

// TestZero checks that a verifier without anything refuses.
func TestZero(t *testing.T) {
	var none *sevsnp.Verifier
	w := newWorld(t)
	r, err := none.Examine(w.report(3, 0x19, 1, nil), w.now)
	if got := outcome(r, err); got != "collateral" || r.Genuine || len(r.Claims) != 0 {
		t.Errorf("%q", got)
	}
	// The roots of a world of our own are nothing to the real verifier.
	evidence := append(w.report(3, 0x19, 1, nil), table(t, vcekGUID, w.vek(w.chip(sevsnp.Milan)).Raw, askGUID, w.ask(sevsnp.Milan, sevsnp.VCEK).Raw)...)
	if got := outcome(sevsnp.New(sevsnp.Collateral{}).Examine(evidence, w.now)); got != "invalid chain" {
		t.Errorf("foreign roots: %q", got)
	}
}

// TestMemory checks that a verifier remembers no more than it may.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	v := w.verifier(w.collateral(sevsnp.Milan))
	before := v.Chains()
	for i := range 5 {
		spec := w.chip(sevsnp.Milan)
		spec.chip = slices.Clone(spec.chip)
		spec.chip[0] = byte(i)
		report := w.report(3, 0x19, 1, func(b []byte) { copy(b[0x1a0:], spec.chip) })
		if got := outcome(v.Examine(append(report, table(t, vcekGUID, w.vek(spec).Raw)...), w.now)); got != "" {
			t.Fatal(got)
		}
		forged := spec
		forged.by = w.keys.other
		v.Examine(append(report, table(t, vcekGUID, w.vek(forged).Raw)...), w.now)
	}
	if got := v.Chains() - before; got != 5 {
		t.Errorf("remembers %d chips, expected 5: forged ones must leave no trace", got)
	}
}

// TestTogether uses one verifier from several goroutines; the race detector watches.
func TestTogether(t *testing.T) {
	w := newWorld(t)
	v := w.verifier(w.collateral(sevsnp.Milan))
	evidence := append(w.report(3, 0x19, 1, nil), table(t, vcekGUID, w.vek(w.chip(sevsnp.Milan)).Raw)...)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 4 {
				if got := outcome(v.Examine(evidence, w.now)); got != "" {
					t.Error(got)
				}
			}
		})
	}
	group.Wait()
}
