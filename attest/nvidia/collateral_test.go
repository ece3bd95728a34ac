package nvidia_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"strongroom.dev/endorse"
)

// TestManifests spoils the driver's RIM.
func TestManifests(t *testing.T) {
	w := theWorld()
	const (
		missing = "contraindicated -collateral -measurements -debug"
		forged  = "contraindicated -rim -collateral -measurements -debug"
		differs = "contraindicated -measurements -debug"
	)
	rim := func(change func(*manifest)) func(*scene) { return func(s *scene) { change(s.rims[0]) } }
	replace := func(where, old, new string) func(*scene) {
		return rim(func(m *manifest) {
			change := func(text string) string {
				if !strings.Contains(text, old) {
					panic(old)
				}
				return strings.Replace(text, old, new, 1)
			}
			switch where {
			case "signed":
				m.text = change
			case "after":
				m.whole = change
			case "info":
				m.info = change
			}
		})
	}
	another := func(s *scene) *authority {
		return issue(issue(issue(w.otherRIMRoot, "NVIDIA Reference Value GH100 CA", nil), "L3", nil), "HCC RIM L4 Signer", leafOnly)
	}
	const hash = `ns2:Hash0="` // of the first, which is not active
	run(t, single, []refusal{
		{"no RIMs", func(s *scene) { s.rims = nil }, missing},
		{"no driver RIM", func(s *scene) { s.rims = s.rims[1:] }, missing},
		{"no VBIOS RIM", func(s *scene) { s.rims = s.rims[:1] }, missing},
		{"of another version", rim(func(m *manifest) { m.version = "550.90.08" }), missing},
		{"of another chip", rim(func(m *manifest) { m.product = "GB100" }), missing},
		{"of a switch", rim(func(m *manifest) { m.edition = "SWITCH" }), missing},
		{"of other measurements", rim(func(m *manifest) { m.values[1] = m.values[1][:1] }), differs},
		{"of nothing", rim(func(m *manifest) { m.values = nil }), missing},
		{"a measurement of the VBIOS too", func(s *scene) { s.rims[0].values[20] = s.rims[1].values[20] }, differs},
		{"an issuer that its own issuer did not sign", rim(func(m *manifest) {
			m.signer = issue(issue(issue(w.otherRIMRoot, "NVIDIA Reference Value GH100 CA", nil), "L3", nil), "HCC RIM L4 Signer", leafOnly)
			m.certificates = append(m.signer.chain()[:2], w.rimCA)
		}), forged},
		{"a genuine one beside a forged one", func(s *scene) {
			m := *s.rims[0]
			m.signer = another(s)
			s.rims = append([]*manifest{&m}, s.rims...)
		}, "affirming"},
		{"another board's of the same version", func(s *scene) {
			m := driverRIM(w, newGPU(w, "41"))
			m.values = map[int][]string{7: m.values[7][:1]}
			s.rims = append([]*manifest{m}, s.rims...)
		}, "affirming"},
		{"digest differs", replace("after", `name="Measurement_3"`, `name="Measurement_x"`), forged},
		{"a value altered", replace("after", hash+"00", hash+"01"), forged},
		{"signature of something else", rim(func(m *manifest) {
			m.whole = func(text string) string {
				at := strings.Index(text, "<ds:SignatureValue>") + 19
				return text[:at] + base64.StdEncoding.EncodeToString(raw(w.signer.key, digest("x"))) + text[at+128:]
			}
		}), forged},
		{"another root", rim(func(m *manifest) { m.signer = another(nil) }), forged},
		{"a device's key", rim(func(m *manifest) {
			m.signer = issue(issue(w.identity, "ICA", nil), "HCC RIM L4 Signer", leafOnly)
		}), forged},
		{"signed by an authority", rim(func(m *manifest) { m.signer = w.rimL3 }), forged},
		{"an issuer that may issue none", rim(func(m *manifest) {
			m.signer = issue(issue(w.rimL3, "L3b", nil), "HCC RIM L4 Signer", leafOnly)
		}), forged},
		{"an issuer missing", rim(func(m *manifest) { m.certificates = m.signer.chain()[:1] }), forged},
		{"a certificate of another chain beside", rim(func(m *manifest) { m.certificates = append(m.signer.chain(), w.otherRIMRoot) }), forged},
		{"signer ended", rim(func(m *manifest) {
			m.signer = issue(w.rimL3, "HCC RIM L4 Signer", func(c *x509.Certificate) { leafOnly(c); c.NotAfter = when(2025) })
		}), "contraindicated -rim"},
		{"signer not begun", rim(func(m *manifest) {
			m.signer = issue(w.rimL3, "HCC RIM L4 Signer", func(c *x509.Certificate) { leafOnly(c); c.NotBefore = when(2027) })
		}), "contraindicated -rim"},

		// Signature wrapping, and XML of other forms.
		{"two signatures", rim(func(m *manifest) {
			m.whole = func(text string) string {
				from, to := strings.Index(text, "<ds:Signature "), strings.Index(text, "</ds:Signature>")+15
				return text[:to] + text[from:]
			}
		}), missing},
		{"a signed document inside another", rim(func(m *manifest) {
			m.whole = func(text string) string { return head + text + tail }
		}), missing},
		{"payload outside", replace("after", "<ds:Signature ", `<ns0:Payload><ns0:Resource type="Measurement" index="1" active="True" alternatives="1" ns2:Hash0="`+strings.Repeat("00", 48)+`" name="m" size="48"/></ns0:Payload><ds:Signature `), missing},
		{"no signature", rim(func(m *manifest) {
			m.whole = func(text string) string { return text[:strings.Index(text, "<ds:Signature ")] + tail }
		}), missing},
		{"exclusive canonical form", replace("info", "http://www.w3.org/2006/12/xml-c14n11", "http://www.w3.org/2001/10/xml-exc-c14n#"), missing},
		{"reference to a part", replace("info", `URI=""`, `URI="#a"`), missing},
		{"a weaker digest", replace("info", "xmldsig-more#sha384", "xmldsig#sha1"), missing},
		{"an HMAC", replace("info", "xmldsig-more#ecdsa-sha384", "xmldsig#hmac-sha1"), missing},
		{"a third transform", replace("info", "</ds:Transforms>", `<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"></ds:Transform></ds:Transforms>`), missing},
		{"an object", replace("after", "</ds:Signature>", "<ds:Object></ds:Object></ds:Signature>"), missing},
		{"a key without certificate", replace("after", "<ds:X509Data>", "<ds:KeyValue></ds:KeyValue><ds:X509Data>"), missing},
		{"a certificate that is none", replace("after", "<ds:X509Certificate>MII", "<ds:X509Certificate>MIJ"), missing},
		{"document type", replace("after", head, `<!DOCTYPE a [<!ENTITY b "c">]>`+head), missing},
		{"entity", replace("after", "NVIDIA Corporation", "NVIDIA &b;"), missing},
		{"character reference", replace("after", "NVIDIA Corporation", "NVIDIA &#67;orporation"), missing},
		{"comment", replace("after", "<ns0:Payload>", "<!-- a --><ns0:Payload>"), missing},
		{"CDATA", replace("after", "<ns0:Payload>", "<![CDATA[ ]]><ns0:Payload>"), missing},
		{"processing instruction", replace("after", "<ns0:Payload>", "<?a b?><ns0:Payload>"), missing},
		{"carriage return", replace("after", "<ns0:Payload>", "\r\n<ns0:Payload>"), missing},
		{"xml:base", replace("signed", `corpus="false"`, `corpus="false" xml:base="http://a/"`), missing},
		{"another prefix for xml", replace("signed", `xmlns:ns0`, `xmlns:xml`), missing},
		{"a prefix nobody declares", replace("signed", `<ns0:Entity name`, `<ns0:Entity x:y="" name`), missing},
		{"an attribute twice", replace("signed", `edition=`, `colloquialVersion="550.90.07" edition=`), missing},
		{"the same attribute under two prefixes", replace("signed", `<ns0:Resource active="False" alternatives="1" index="0" name="Measurement_0" size="48" type="Measurement" `, `<ns0:Resource xmlns:q="http://www.w3.org/2001/04/xmlenc#sha384" active="False" alternatives="1" index="0" name="Measurement_0" size="48" type="Measurement" q:Hash0="" `), missing},
		{"end tag of another element", replace("after", "</ns0:Meta>", "</ns0:Mata>"), missing},
		{"text behind the root", replace("after", tail, tail+"x"), missing},

		// What a Resource may say (google/go-nvattest-tools has a file for each of the first).
		{"an index twice", replace("signed", `index="1"`, `index="0"`), missing},
		{"an index that is no number", replace("signed", `index="1"`, `index="abc"`), missing},
		{"an index with a leading zero", replace("signed", `index="1"`, `index="01"`), missing},
		{"an index too large", replace("signed", `index="1"`, `index="128"`), missing},
		{"no index", replace("signed", ` index="1"`, ``), missing},
		{"no size", replace("signed", ` size="48"`, ``), missing},
		{"another size", replace("signed", ` size="48"`, ` size="32"`), missing},
		{"size zero", replace("signed", ` size="48"`, ` size="0"`), missing},
		{"no alternatives", replace("signed", ` alternatives="1"`, ``), missing},
		{"one alternative less", replace("signed", ` alternatives="2"`, ` alternatives="1"`), missing},
		{"one alternative more", replace("signed", ` alternatives="2"`, ` alternatives="3"`), missing},
		{"a hash in no namespace", replace("signed", hash, `Hash0="`), missing},
		{"a hash that is no hex", replace("signed", hash+"00", hash+"0g"), missing},
		{"a hash under another number", replace("signed", hash, `ns2:Hash1="`), missing},
		{"neither active nor not", replace("signed", `active="True"`, `active="true"`), missing},
		{"another type", replace("signed", `type="Measurement"`, `type="Opaque"`), missing},
		{"an unknown attribute", replace("signed", `type="Measurement"`, `type="Measurement" weight="1"`), missing},
		{"no version", replace("signed", ` colloquialVersion="550.90.07"`, ``), missing},
		{"no payload", replace("signed", `ns0:Payload>`, `ns0:Evidence>`), missing},
		{"something else in the payload", replace("signed", "<ns0:Payload>", "<ns0:Payload><ns0:File></ns0:File>"), missing},
		{"text in the payload", replace("signed", "<ns0:Payload>", "<ns0:Payload>x"), missing},
	})
}

// TestRevocation spoils what is said of certificates.
func TestRevocation(t *testing.T) {
	w := theWorld()
	const lacking, bad = "contraindicated -collateral", "contraindicated -revocation"
	about := func(name string, change func(*authority, *ocsp.Response) *ocsp.Response) func(*scene) {
		return func(s *scene) {
			s.status = func(a *authority, r *ocsp.Response) *ocsp.Response {
				if !strings.Contains(a.cert.Subject.CommonName, name) {
					return r
				}
				return change(a, r)
			}
		}
	}
	says := func(name string, change func(*ocsp.Response)) func(*scene) {
		return about(name, func(_ *authority, r *ocsp.Response) *ocsp.Response { change(r); return r })
	}
	none := func(name string) func(*scene) {
		return about(name, func(*authority, *ocsp.Response) *ocsp.Response { return nil })
	}
	revoked := func(r *ocsp.Response) {
		r.Status, r.RevokedAt, r.RevocationReason = ocsp.Revoked, when(2025), ocsp.KeyCompromise
	}
	hold := func(r *ocsp.Response) {
		r.Status, r.RevokedAt, r.RevocationReason = ocsp.Revoked, when(2025), ocsp.CertificateHold
	}
	stale := func(r *ocsp.Response) {
		r.ThisUpdate, r.NextUpdate = r.ThisUpdate.AddDate(0, -1, 0), r.NextUpdate.AddDate(0, -1, 0)
	}
	// by makes the response about the identity certificate with another signer.
	by := func(change func(*x509.Certificate), issuer *authority) func(*scene) {
		return func(s *scene) {
			none("GH100 Identity")(s)
			signer := issue(issuer, "NVIDIA OCSP Responder", func(c *x509.Certificate) {
				leafOnly(c)
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
				if change != nil {
					change(c)
				}
			})
			r := &ocsp.Response{Status: ocsp.Good, SerialNumber: w.identity.cert.SerialNumber, ThisUpdate: s.now, NextUpdate: s.now.AddDate(0, 0, 1), IssuerHash: crypto.SHA384}
			s.items = append(s.items, endorse.Item{Kind: endorse.OCSPResponse, Data: response384(w.root, signer, r)})
		}
	}
	both := func(older, newer func(*ocsp.Response)) func(*scene) {
		return func(s *scene) {
			says("GH100 Identity", newer)(s)
			r := &ocsp.Response{Status: ocsp.Good, SerialNumber: w.identity.cert.SerialNumber, ThisUpdate: s.now.AddDate(0, 0, -9), NextUpdate: s.now.AddDate(0, 0, -8), IssuerHash: crypto.SHA384}
			older(r)
			s.items = append(s.items, endorse.Item{Kind: endorse.OCSPResponse, Data: response384(w.root, w.root, r)})
		}
	}
	good := func(*ocsp.Response) {}
	crl := func(signer *authority, entries ...x509.RevocationListEntry) func(*scene) {
		return func(s *scene) {
			none("GH100 Identity")(s)
			list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: s.now.AddDate(0, 0, -1), NextUpdate: s.now.AddDate(0, 0, 1), RevokedCertificateEntries: entries, SignatureAlgorithm: x509.ECDSAWithSHA384}
			s.items = append(s.items, endorse.Item{Kind: endorse.X509CRL, Data: must(x509.CreateRevocationList(nil, list, signer.cert, signer.key))})
		}
	}
	entry := func(reason int) x509.RevocationListEntry {
		return x509.RevocationListEntry{SerialNumber: w.identity.cert.SerialNumber, RevocationTime: when(2025), ReasonCode: reason}
	}
	run(t, single, []refusal{
		{"nothing about the boot ROM", none("BROM"), lacking},
		{"nothing about the intermediate", none("ICA"), lacking},
		{"nothing about the identity", none("GH100 Identity"), lacking},
		{"nothing about the RIM's signer", none("HCC"), lacking},
		{"nothing about the RIM's CA", none("Reference Value GH100 CA"), lacking},
		{"nothing at all", none(""), lacking},
		{"revoked boot ROM", says("BROM", revoked), bad},
		{"revoked RIM signer", says("HCC", revoked), bad},
		{"on hold", says("BROM", hold), bad},
		{"unknown to the responder", says("BROM", func(r *ocsp.Response) { r.Status = ocsp.Unknown }), bad},
		{"stale", says("BROM", stale), lacking},
		{"of the future", says("BROM", func(r *ocsp.Response) { r.ThisUpdate = r.NextUpdate.Add(-time.Hour) }), lacking},
		{"without an end", says("BROM", func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), lacking},
		{"stale, and revoked for good", says("BROM", func(r *ocsp.Response) { stale(r); revoked(r) }), bad},
		{"about another certificate", says("BROM", func(r *ocsp.Response) { r.SerialNumber = big.NewInt(77) }), lacking},
		{"SHA-1 names", says("BROM", func(r *ocsp.Response) { r.IssuerHash = crypto.SHA1 }), "affirming"},
		{"SHA-256 names", says("BROM", func(r *ocsp.Response) { r.IssuerHash = crypto.SHA256 }), "affirming"},
		{"SHA-512 names", says("BROM", func(r *ocsp.Response) { r.IssuerHash = crypto.SHA512 }), lacking},
		{"a critical extension", says("BROM", func(r *ocsp.Response) {
			r.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), lacking},
		{"a responder of the issuer's", by(nil, w.root), "affirming"},
		{"a responder of another issuer's", by(nil, w.identity), lacking},
		{"a responder of another root's", by(nil, w.otherRoot), lacking},
		{"a responder not meant for it", by(func(c *x509.Certificate) { c.ExtKeyUsage = nil }, w.root), lacking},
		{"a responder that is an authority", by(func(c *x509.Certificate) { c.IsCA = true }, w.root), lacking},
		{"a responder ended", by(func(c *x509.Certificate) { c.NotAfter = when(2025) }, w.root), lacking},
		{"a responder not begun", by(func(c *x509.Certificate) { c.NotBefore = when(2028) }, w.root), lacking},
		{"an older word of revocation", both(revoked, good), bad},
		{"an older hold, since lifted", both(hold, good), "affirming"},
		{"an older good word", both(good, hold), bad},
		{"a CRL instead", crl(w.root), "affirming"},
		{"a CRL that revokes", crl(w.root, entry(1)), bad},
		{"a CRL that holds", crl(w.root, entry(6)), bad},
		{"a CRL by another", crl(w.otherRoot), lacking},
		{"responses that can't be read", func(s *scene) {
			none("BROM")(s)
			s.items = append(s.items, endorse.Item{Kind: endorse.OCSPResponse, Data: []byte("x")})
		}, lacking},
		{"at the end of a response", func(s *scene) { s.now = s.now.Add(0) }, "affirming"},
	})
	s := single()
	v := s.verifier()
	evidence := s.form(s)
	if got := judge(v.Examine(evidence, s.now.Add(23*time.Hour))); got != lacking {
		t.Errorf("when the first response has expired: %s", got)
	}
	if f, err := v.Examine(evidence, s.now); err != nil || f.Claims["collateral_until"] != s.now.Add(23*time.Hour).Format(time.RFC3339) {
		t.Errorf("until %v %v", f.Claims["collateral_until"], err)
	}
}

// TestOCSPSignature alters a response's signed bytes.
func TestOCSPSignature(t *testing.T) {
	s := single()
	s.devices[0].certify()
	rom := s.devices[0].leaf.by
	der := s.ocsp(rom)
	evidence := s.form(s)
	s.status = func(a *authority, r *ocsp.Response) *ocsp.Response {
		if a == rom {
			return nil
		}
		return r
	}
	for i := range der {
		altered := bytes.Clone(der)
		altered[i] ^= byte(1 << (i % 8))
		if testing.Short() && i%5 != 0 {
			continue
		}
		s.items = []endorse.Item{{Kind: endorse.OCSPResponse, Data: altered}}
		if got := judge(s.verifier().Examine(evidence, s.now)); got != "contraindicated -collateral" {
			t.Errorf("byte %d altered: %s", i, got)
		}
	}
}

// TestResponseExtensions refuses a response with a critical extension that is not known, and
// takes one with a nonce.
func TestResponseExtensions(t *testing.T) {
	s := single()
	s.devices[0].certify()
	rom := s.devices[0].leaf.by
	evidence := s.form(s)
	plain := s.ocsp(rom)
	s.status = func(a *authority, r *ocsp.Response) *ocsp.Response {
		if a == rom {
			return nil
		}
		return r
	}
	nonce := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	for _, c := range []struct {
		extension pkix.Extension
		want      string
	}{
		{pkix.Extension{Id: nonce, Critical: true, Value: []byte{4, 1, 7}}, "affirming"},
		{pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}, "affirming"},
		{pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}, "contraindicated -collateral"},
	} {
		s.items = []endorse.Item{{Kind: endorse.OCSPResponse, Data: extended(plain, c.extension, rom.by.key)}}
		if got := judge(s.verifier().Examine(evidence, s.now)); got != c.want {
			t.Errorf("%v: %s", c.extension, got)
		}
	}
}

// extended adds an extension to a response and signs it again.
func extended(der []byte, e pkix.Extension, key *ecdsa.PrivateKey) []byte {
	sequence := func(parts ...[]byte) []byte {
		return must(asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: bytes.Join(parts, nil)}))
	}
	explicit := func(tag int, inner []byte) []byte {
		return must(asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: true, Bytes: inner}))
	}
	var basic, data asn1.RawValue
	at := bytes.Index(der, []byte{5, 7, 48, 1, 1}) + 5
	var octets []byte
	must(asn1.Unmarshal(der[at:], &octets))
	must(asn1.Unmarshal(octets, &basic))
	must(asn1.Unmarshal(basic.Bytes, &data))
	signed := sequence(data.Bytes, explicit(1, sequence(must(asn1.Marshal(e)))))
	sum := sha512.Sum384(signed)
	signature := must(ecdsa.SignASN1(rand.Reader, key, sum[:]))
	algorithm := sequence(must(asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3})))
	whole := sequence(signed, algorithm, must(asn1.Marshal(asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)})))
	kind := must(asn1.Marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}))
	return sequence(must(asn1.Marshal(asn1.Enumerated(0))), explicit(0, sequence(kind, must(asn1.Marshal(whole)))))
}
