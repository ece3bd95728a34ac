package nvidia_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"strongroom.dev/attest/nvidia"
	"strongroom.dev/endorse"
)

// Seeds are small, since the fuzzer first tries to make large ones smaller.

// exchange gives a report that starts as one must.
func exchange(rest []byte) []byte {
	b := append([]byte{0x11, 0xe0, 1, 0xff}, make([]byte, 33)...)
	return append(append(b, 0x11, 0x60), rest...)
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte{0, 0, 1, 9, 0, 0, 1, 1, 5, 0, 1, 2, 0, 7, 7})
	f.Fuzz(func(t *testing.T, rest []byte) {
		// The tail makes the report long enough for its signature.
		for _, data := range [][]byte{exchange(rest), append(exchange(rest), make([]byte, 160)...), rest} {
			r, err := nvidia.ParseReport(data)
			if err == nil && (len(r.Blocks) == 0 || len(data) < 200) {
				t.Error("accepted")
			}
		}
	})
}

func FuzzExamine(f *testing.F) {
	f.Add([]byte{0, 0, 1, 9, 0, 0}, []byte(`"arch":"HOPPER"`), []byte{0x30, 0})
	v := nvidia.New(endorse.Set{})
	f.Fuzz(func(t *testing.T, rest, members, chain []byte) {
		report := append(exchange(rest), make([]byte, 160)...)
		text := base64.StdEncoding.EncodeToString(report)
		cert := base64.StdEncoding.EncodeToString(chain)
		for _, evidence := range [][]byte{
			report, members,
			[]byte(hex.EncodeToString(report) + "\n-----BEGIN CERTIFICATE-----\n" + cert + "\n-----END CERTIFICATE-----\n"),
			[]byte(`[{"evidence":"` + text + `","certificate":"` + cert + `"}]`),
			[]byte(`{` + string(members) + `,"evidence_list":[{"evidence":"` + text + `"}]}`),
		} {
			found, err := v.Examine(evidence, sceneTime())
			if err == nil && (!found.Facts.Root.IsZero() || len(found.Claims) != 0) {
				t.Error("genuine, without NVIDIA's signature")
			}
			if nvidia.Detect(evidence) && err == nil && len(found.Checks) == 0 {
				t.Error("recognised, and nothing to say")
			}
		}
	})
}

// FuzzXML fuzzes the reader of RIMs. What it writes it must read, and write again as it is.
func FuzzXML(f *testing.F) {
	f.Add([]byte(`<a xmlns="u" xmlns:p="v" c="d" p:b="e"><p:q/>text<r xmlns="w"></r></a>`))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`))
	f.Add(bytes.Repeat([]byte("<a>"), 20))
	f.Fuzz(func(t *testing.T, data []byte) {
		nvidia.VerifyRIM(data)
		once, err := nvidia.Canonical(data)
		if err != nil {
			return
		}
		twice, err := nvidia.Canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%q becomes %q becomes %q (%v)", data, once, twice, err)
		}
	})
}

// FuzzRIM fuzzes what stands inside a signed document.
func FuzzRIM(f *testing.F) {
	f.Add(`<ns0:Resource type="Measurement" index="0" active="True" alternatives="1" ns2:Hash0="00" name="m" size="1"/>`, "MIIB")
	f.Fuzz(func(t *testing.T, payload, certificate string) {
		s := single()
		m := s.rims[0]
		m.values = map[int][]string{1: {hex.EncodeToString(digest("x"))}}
		m.text = func(text string) string {
			from, to := bytes.Index([]byte(text), []byte("<ns0:Resource")), bytes.Index([]byte(text), []byte("</ns0:Payload>"))
			return text[:from] + payload + text[to:]
		}
		m.whole = func(text string) string {
			at := bytes.Index([]byte(text), []byte("<ds:X509Certificate>")) + 20
			return text[:at] + certificate + text[at:]
		}
		if _, err := nvidia.VerifyRIM(m.document()); err == nil {
			t.Error("genuine, without NVIDIA's signature")
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte{0x30, 0x05, 0x0a, 1, 0, 0xa0, 0})
	f.Fuzz(func(t *testing.T, der []byte) { nvidia.ParseResponse(der) })
}

// FuzzResponse fuzzes what stands inside a response that has the right form.
func FuzzResponse(f *testing.F) {
	f.Add([]byte{0x30, 0}, []byte{0x80, 0}, []byte{0x30, 0})
	f.Fuzz(func(t *testing.T, responder, single, certificates []byte) {
		type algorithm struct{ Algorithm asn1.ObjectIdentifier }
		ecdsa384 := algorithm{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}}
		wrap := func(class, tag int, inner ...[]byte) asn1.RawValue {
			return asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: bytes.Join(inner, nil)}
		}
		der := func(v any) []byte { b, _ := asn1.Marshal(v); return b }
		produced := der(asn1.RawValue{Tag: asn1.TagGeneralizedTime, Bytes: []byte("20260101000000Z")})
		data := wrap(0, 16, der(wrap(2, 2, responder)), produced, der(wrap(0, 16, single)))
		basic := wrap(0, 16, der(data), der(ecdsa384), der(asn1.BitString{Bytes: []byte{1}, BitLength: 8}), der(wrap(2, 0, certificates)))
		inner := wrap(0, 16, der(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}), der(der(basic)))
		nvidia.ParseResponse(der(wrap(0, 16, der(asn1.Enumerated(0)), der(wrap(2, 0, der(inner))))))
	})
}

// FuzzParseIdentity fuzzes the extensions of NVIDIA's certificates: crypto/x509 reads the rest.
func FuzzParseIdentity(f *testing.F) {
	f.Add([]byte{0x30, 3, 2, 1, 1}, true)
	f.Add([]byte{0x30, 4, 0xa6, 2, 0x30, 0}, false)
	f.Fuzz(func(t *testing.T, value []byte, composite bool) {
		id := asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}
		if composite {
			id = id[:6]
		}
		fwid, _, err := nvidia.ParseIdentity(&x509.Certificate{Extensions: []pkix.Extension{{Id: id, Value: value}}})
		if err == nil && len(fwid) != 48 {
			t.Error("an FWID of another length")
		}
	})
}
