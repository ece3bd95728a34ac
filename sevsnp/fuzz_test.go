package sevsnp_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"testing"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/sevsnp"
)

// Seeds are small, since the fuzzer first tries to make large ones smaller: a report's
// leading bytes, which the target fills up to its size with zeros.

// filled gives a report that starts with data and looks like one.
func filled(data []byte) []byte {
	b := make([]byte, sevsnp.ReportSize)
	copy(b, data)
	b[0x0a] |= 2
	b[0x34], b[0x35], b[0x36], b[0x37] = 1, 0, 0, 0
	return b
}

func FuzzExamine(f *testing.F) {
	f.Add([]byte{3}, []byte(nil))
	f.Add([]byte{2, 0, 0, 0}, []byte{0x30, 0x03, 2, 1, 0})
	v := sevsnp.New(sevsnp.Collateral{})
	now := evidencetest.Time("2026-06-01")
	f.Fuzz(func(t *testing.T, head, behind []byte) {
		report := filled(head)
		for _, evidence := range [][]byte{
			append(bytes.Clone(report), behind...),
			append(bytes.Clone(report), table(t, vcekGUID, behind)...),
			append(append([]byte{0, 5, 0x81, 0x12}, report...), behind...),
			[]byte(`{"a":"` + base64.StdEncoding.EncodeToString(report) + `","b":"` + base64.StdEncoding.EncodeToString(behind) + `"}`),
		} {
			if r, err := v.Examine(evidence, now); err == nil && (r.Genuine || len(r.Claims) != 0) {
				t.Error("genuine, without a certificate at hand")
			}
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"version":3,"report_data":[0],"measurement":[1],"reported_tcb":{"fmc":null},"signature":{"r":[0]}}`))
	f.Add([]byte(`[{"a":"\u0041"},-1.5e3,true,null,[[]],""]`))
	f.Add([]byte{0xa1, 0x61, 'x', 0x82, 0x20, 0x42, 1, 2})
	f.Add([]byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0, 0x41, 0x00, 0x41, 0x00})
	f.Add([]byte("-----BEGIN REPORT-----\nAAAA\n-----END REPORT-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := sevsnp.Open(data)
		if err == nil && len(e.Report) != sevsnp.ReportSize {
			t.Error("opened, without a report")
		}
		if sevsnp.Detect(data) && err != nil {
			t.Error("recognised, but not opened")
		}
	})
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte{5})
	f.Fuzz(func(t *testing.T, head []byte) {
		r, err := sevsnp.ParseReport(filled(head))
		if err == nil && (r.Version < 2 || r.Version > 5) {
			t.Error("accepted")
		}
		if err == nil {
			r.Sources()
		}
		if _, err := sevsnp.ParseReport(head); err == nil && len(head) != sevsnp.ReportSize {
			t.Error("accepted at another size")
		}
	})
}

// FuzzParseVEK fuzzes the extensions of AMD's certificates: crypto/x509 reads the rest.
func FuzzParseVEK(f *testing.F) {
	f.Add("SEV-VCEK", "SEV-Milan", 4, []byte{4, 64})
	f.Add("SEV-VLEK", "SEV-VLEK-Turin", 308, []byte{2, 1, 7})
	key := &ecdsa.PublicKey{Curve: elliptic.P384()}
	f.Fuzz(func(t *testing.T, subject, issuer string, arc int, value []byte) {
		c := &x509.Certificate{Version: 3, SignatureAlgorithm: x509.SHA384WithRSAPSS, PublicKey: key, Subject: name(subject), Issuer: name(issuer)}
		add := func(value []byte, arcs ...int) {
			id := append(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}, arcs...)
			c.Extensions = append(c.Extensions, pkix.Extension{Id: id, Value: value})
		}
		for _, oid := range []int{1, 2, 3, 8, 9} {
			add([]byte{2, 1, byte(oid)}, 3, oid)
		}
		add([]byte{2, 1, 0}, 1)
		add([]byte{22, 1, 'x'}, 2)
		if arc >= 300 {
			add(value, 3, arc%100)
		} else {
			add(value, arc)
		}
		if tcb, product, err := sevsnp.ParseVEK(c); err == nil && (product == "" || tcb == sevsnp.TCB{}) {
			t.Error("a key without a product or TCB")
		}
	})
}

func FuzzParseStatement(f *testing.F) {
	f.Add([]byte{0xd2, 0x84, 0x47, 0xa2, 0x01, 0x38, 0x25, 0x18, 0x21, 0x40, 0xa0, 0x42, '{', '}', 0x41, 0x00})
	f.Fuzz(func(_ *testing.T, data []byte) { sevsnp.ParseStatement(data) })
}
