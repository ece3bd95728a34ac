package tpm_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"testing"
	"time"

	peer "github.com/google/go-tpm/tpm2"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/keys"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// rule is one rule: a change to good evidence, and what must come of it.
type rule struct {
	name   string
	change func(*testing.T, *world)
	failed string // ids of failed checks, in order
	err    string // id of the check, for what is not genuine
	class  string // "integrity-only" if empty and nothing is wrong
}

func certificateRules() []rule {
	return []rule{
		{name: "good", change: func(*testing.T, *world) {}},
		{name: "root unknown to everybody", failed: "tpm.collateral", class: "software", change: func(_ *testing.T, w *world) { w.set, w.pinned = nil, false }},
		{name: "root that only the evidence brings", failed: "tpm.root", class: "software", change: func(_ *testing.T, w *world) {
			w.evidence.Certificates = append(w.evidence.Certificates, w.root.cert.Raw)
			w.set, w.pinned = nil, false
		}},
		{name: "root of the relying party's own is software", class: "software", change: func(_ *testing.T, w *world) { w.pinned = false }},
		{name: "maker's root that the evidence brings", change: func(_ *testing.T, w *world) {
			w.evidence.Certificates = append(w.evidence.Certificates, w.root.cert.Raw)
			w.set = nil
		}},
		{name: "swtpm under a maker's root is software all the same", class: "software", change: func(t *testing.T, w *world) {
			w.recertify(t, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{tpmNames(t, "id:00001014", "swtpm", "id:20191023")}
			})
		}},
		{name: "swtpm by its model alone", class: "software", change: named("id:53544D20", "swtpm")},
		{name: "the reference implementation by its maker alone", class: "software", change: named("id:00001014", "X")},
		{name: "a simulator by its model", class: "software", change: named("id:4D534654", "TPM Simulator")},
		{name: "intermediate missing", failed: "tpm.collateral", class: "software", change: func(_ *testing.T, w *world) { w.evidence.Certificates = nil }},
		{name: "certificate of another key", err: "tpm.identity", change: func(t *testing.T, w *world) {
			w.evidence.AKCertificate = leaf(t, w.middle, rsaSigner(4), purposeAK).cert.Raw
		}},
		{name: "certificate signed by somebody else of that name", err: "tpm.chain", change: func(t *testing.T, w *world) {
			forger := authority(t, "Maker's intermediate", nil, rsaSigner(4), func(c *x509.Certificate) { c.SubjectKeyId = w.middle.cert.SubjectKeyId })
			w.evidence.AKCertificate = leaf(t, forger, rsaSigner(3), purposeAK).cert.Raw
		}},
		{name: "intermediate that is no authority", failed: "tpm.collateral", class: "software", change: func(t *testing.T, w *world) {
			w.middle = leaf(t, w.root, rsaSigner(2), purposeAK, func(c *x509.Certificate) { c.Subject.CommonName = "Maker's intermediate" })
			w.evidence.Certificates = []wire.Bytes{w.middle.cert.Raw}
			w.recertify(t)
		}},
		{name: "intermediate that is no authority, but may sign", failed: "tpm.collateral", class: "software", change: func(t *testing.T, w *world) {
			w.intermediate(t, func(c *x509.Certificate) { c.IsCA = false })
		}},
		{name: "such an intermediate that the relying party gave", failed: "tpm.collateral", class: "software", change: func(t *testing.T, w *world) {
			w.intermediate(t, func(c *x509.Certificate) { c.IsCA = false })
			w.evidence.Certificates, w.set = nil, append(w.set, w.middle.cert.Raw)
		}},
		{name: "intermediate with an unknown critical extension", failed: "tpm.collateral", class: "software", change: func(t *testing.T, w *world) {
			w.intermediate(t, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
			})
		}},
		{name: "intermediate with name constraints", failed: "tpm.collateral", class: "software", change: func(t *testing.T, w *world) {
			w.intermediate(t, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"maker.example"} })
		}},
		{name: "intermediate with a weak key", failed: "tpm.collateral", class: "software", change: func(t *testing.T, w *world) {
			weak, err := rsa.GenerateKey(rand.Reader, 1024)
			if err != nil {
				t.Fatal(err)
			}
			w.middle = authority(t, "Maker's intermediate", &w.root, weak)
			w.evidence.Certificates = []wire.Bytes{w.middle.cert.Raw}
			w.recertify(t)
		}},
		{name: "intermediate that may sign no certificates", failed: "tpm.collateral", class: "software", change: func(t *testing.T, w *world) {
			w.middle = authority(t, "Maker's intermediate", &w.root, rsaSigner(2), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
			w.evidence.Certificates = []wire.Bytes{w.middle.cert.Raw}
			w.recertify(t)
		}},
		{name: "path longer than allowed", failed: "tpm.collateral", class: "software", change: func(t *testing.T, w *world) {
			w.root = authority(t, "Maker's root", nil, rsaSigner(1), func(c *x509.Certificate) { c.MaxPathLenZero = true })
			w.set = [][]byte{w.root.cert.Raw}
			w.middle = authority(t, "Maker's intermediate", &w.root, rsaSigner(2))
			w.evidence.Certificates = []wire.Bytes{w.middle.cert.Raw}
			w.recertify(t)
		}},
		{name: "intermediate for something else", failed: "tpm.collateral", class: "software", change: func(t *testing.T, w *world) {
			w.middle = authority(t, "Maker's intermediate", &w.root, rsaSigner(2), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
			w.evidence.Certificates = []wire.Bytes{w.middle.cert.Raw}
			w.recertify(t)
		}},
		{name: "certificate for something else", err: "tpm.chain", change: func(t *testing.T, w *world) {
			w.recertify(t, func(c *x509.Certificate) {
				c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			})
		}},
		{name: "an endorsement key's certificate for an attestation key", err: "tpm.chain", change: func(t *testing.T, w *world) {
			w.recertify(t, func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{purposeEK} })
		}},
		{name: "certificate of an authority", err: "tpm.chain", change: func(t *testing.T, w *world) {
			w.recertify(t, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
		}},
		{name: "certificate with an unknown critical extension", err: "tpm.chain", change: func(t *testing.T, w *world) {
			w.recertify(t, func(c *x509.Certificate) {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
			})
		}},
		{name: "certificate with names that can't be read", err: "tpm.chain", change: func(t *testing.T, w *world) {
			w.recertify(t, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: []byte{0x30, 4, 0xa4, 2, 1, 1}}}
			})
		}},
		{name: "expired", failed: "tpm.dates", change: func(_ *testing.T, w *world) { w.now = noon.AddDate(6, 0, 0) }},
		{name: "not valid yet", failed: "tpm.dates", change: func(_ *testing.T, w *world) { w.now = noon.AddDate(-2, 0, 0) }},
		{name: "CRL named and missing", failed: "tpm.collateral", change: func(t *testing.T, w *world) { w.recertify(t, pointed) }},
		{name: "CRL at hand", change: func(t *testing.T, w *world) {
			w.recertify(t, pointed)
			w.set = append(w.set, crl(t, w.middle, noon.AddDate(0, 0, -1)))
		}},
		{name: "CRL past its window", failed: "tpm.collateral", change: func(t *testing.T, w *world) {
			w.recertify(t, pointed)
			w.set = append(w.set, crl(t, w.middle, noon.AddDate(0, -2, 0)))
		}},
		{name: "CRL of the future", failed: "tpm.collateral", change: func(t *testing.T, w *world) {
			w.recertify(t, pointed)
			w.set = append(w.set, crl(t, w.middle, noon.AddDate(0, 0, 1)))
		}},
		{name: "CRL forged", failed: "tpm.collateral", change: func(t *testing.T, w *world) {
			w.recertify(t, pointed)
			w.set = append(w.set, crl(t, authority(t, "Maker's intermediate", nil, rsaSigner(4)), noon.AddDate(0, 0, -1)))
		}},
		{name: "revoked", failed: "tpm.revocation", change: func(t *testing.T, w *world) {
			w.set = append(w.set, crl(t, w.middle, noon.AddDate(0, 0, -1), w.ak.cert))
		}},
		{name: "revoked by a CRL that is old", failed: "tpm.revocation", change: func(t *testing.T, w *world) {
			w.set = append(w.set, crl(t, w.middle, noon.AddDate(-1, 0, 0), w.ak.cert))
		}},
		{name: "CRL that is a delta", failed: "tpm.collateral", change: func(t *testing.T, w *world) {
			w.recertify(t, pointed)
			w.set = append(w.set, partialCRL(t, w.middle, noon.AddDate(0, 0, -1), map[int][]byte{27: {2, 1, 1}}))
		}},
		{name: "CRL of authorities' certificates only", failed: "tpm.collateral", change: func(t *testing.T, w *world) {
			w.recertify(t, pointed)
			w.set = append(w.set, partialCRL(t, w.middle, noon.AddDate(0, 0, -1), map[int][]byte{28: {0x30, 3, 0x82, 1, 0xff}}))
		}},
		{name: "CRL with an unknown critical extension", failed: "tpm.collateral", change: func(t *testing.T, w *world) {
			w.recertify(t, pointed)
			w.set = append(w.set, partialCRL(t, w.middle, noon.AddDate(0, 0, -1), map[int][]byte{99: {5, 0}}))
		}},
		{name: "revoked by a delta beside the whole CRL", failed: "tpm.revocation", change: func(t *testing.T, w *world) {
			w.set = append(w.set, crl(t, w.middle, noon.AddDate(0, 0, -2)), partialCRL(t, w.middle, noon.AddDate(0, 0, -1), map[int][]byte{27: {2, 1, 1}}, w.ak.cert))
		}},
		{name: "CRL by a key that may not sign CRLs", failed: "tpm.collateral", change: func(t *testing.T, w *world) {
			list := crl(t, w.middle, noon.AddDate(0, 0, -1))
			w.intermediate(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
			w.recertify(t, pointed)
			w.set = append(w.set, list)
		}},
		{name: "revoked by the ninth of its issuer's CRLs", failed: "tpm.revocation", change: func(t *testing.T, w *world) {
			for day := range 8 {
				w.set = append(w.set, crl(t, w.middle, noon.AddDate(0, 0, -day)))
			}
			w.set = append(w.set, crl(t, w.middle, noon.AddDate(0, 0, -9), w.ak.cert))
		}},
		{name: "intermediate revoked", failed: "tpm.revocation", change: func(t *testing.T, w *world) {
			w.set = append(w.set, crl(t, w.root, noon.AddDate(0, 0, -1), w.middle.cert))
		}},
	}
}

func pointed(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://maker.example/crl"} }

// intermediate has the intermediate certified again.
func (w *world) intermediate(t *testing.T, change func(*x509.Certificate)) {
	t.Helper()
	w.middle = authority(t, "Maker's intermediate", &w.root, rsaSigner(2), change)
	w.evidence.Certificates = []wire.Bytes{w.middle.cert.Raw}
	w.recertify(t)
}

// named has the attestation key's TPM named by its certificate.
func named(manufacturer, model string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		w.recertify(t, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{tpmNames(t, manufacturer, model, "id:1")}
		})
	}
}

// recertify has the attestation key certified again.
func (w *world) recertify(t *testing.T, change ...func(*x509.Certificate)) {
	t.Helper()
	w.ak = leaf(t, w.middle, rsaSigner(3), purposeAK, change...)
	w.evidence.AKCertificate = w.ak.cert.Raw
}

func quoteRules() []rule {
	all := func(alg measure.Algorithm) tpm2.Bank { return bank(alg) }
	initData := measure.SHA256.Sum([]byte("agreement"))
	with8 := func(value []byte) tpm2.Bank {
		b := all(measure.SHA256)
		b.Values[8] = value
		return b
	}
	requote := func(n []byte, b tpm2.Bank, change ...func(*peer.TPMSAttest)) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) { w.quotes(quoteBy(rsaSigner(3), n, b, change...)) }
	}
	attributes := func(change func(*peer.TPMAObject)) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) { w.evidence.AKPublic = publicArea(rsaSigner(3), change) }
	}
	return []rule{
		{name: "no nonce", failed: "tpm.nonce", change: requote(nil, all(measure.SHA256))},
		{name: "nonce of 7 bytes", failed: "tpm.nonce", change: requote([]byte("too few"), all(measure.SHA256))},
		{name: "nonce of 9 bytes is a warning", change: requote([]byte("challenge"), all(measure.SHA256))},
		{name: "nonce of zeros", failed: "tpm.nonce", change: requote(make([]byte, 32), all(measure.SHA256))},
		{name: "nonce of 64 bytes", change: requote(bytes.Repeat([]byte{1}, 64), all(measure.SHA256))},
		{name: "quote with 23 PCRs", failed: "tpm.pcrs", change: func(_ *testing.T, w *world) {
			b := all(measure.SHA256)
			delete(b.Values, 23)
			w.quotes(quoteBy(rsaSigner(3), nonce(), b))
		}},
		{name: "quote of SHA-1 only", failed: "tpm.pcrs", change: requote(nonce(), all(measure.SHA1))},
		{name: "quote by another key", err: "tpm.quote", change: func(_ *testing.T, w *world) { w.quotes(quoteBy(rsaSigner(4), nonce(), all(measure.SHA256))) }},
		{name: "quoted PCRs altered", err: "tpm.quote", change: func(_ *testing.T, w *world) {
			w.evidence.Quotes[0].Banks["sha256"]["7"] = make([]byte, 32)
		}},
		{name: "register outside the bank", err: "tpm.form", change: func(_ *testing.T, w *world) {
			w.evidence.Quotes[0].Banks["sha256"]["24"] = make([]byte, 32)
		}},
		{name: "two quotes over two nonces", err: "tpm.quote", change: func(_ *testing.T, w *world) {
			w.quotes(quoteBy(rsaSigner(3), nonce(), all(measure.SHA256)), quoteBy(rsaSigner(3), nonce()[1:], all(measure.SHA384)))
		}},
		{name: "no quotes", err: "tpm.form", change: func(_ *testing.T, w *world) { w.evidence.Quotes = nil }},
		{name: "key that signs anything", failed: "tpm.key", change: attributes(func(a *peer.TPMAObject) { a.Restricted = false })},
		{name: "key that may leave the TPM", failed: "tpm.key", change: attributes(func(a *peer.TPMAObject) { a.FixedTPM = false })},
		{name: "key that may be duplicated with its parent", failed: "tpm.key", change: attributes(func(a *peer.TPMAObject) { a.FixedParent = false })},
		{name: "key that was known outside", failed: "tpm.key", change: attributes(func(a *peer.TPMAObject) { a.SensitiveDataOrigin = false })},
		{name: "key that also decrypts", failed: "tpm.key", change: attributes(func(a *peer.TPMAObject) { a.Decrypt = true })},
		{name: "clock that may have gone back is a warning", change: requote(nonce(), all(measure.SHA256), func(a *peer.TPMSAttest) { a.ClockInfo.Safe = false })},
		{name: "init data", change: func(_ *testing.T, w *world) {
			w.quotes(quoteBy(rsaSigner(3), nonce(), with8(measure.SHA256.Sum(make([]byte, 32), initData))))
			w.evidence.InitData = initData
		}},
		{name: "init data of another room", err: "tpm.init_data", change: func(_ *testing.T, w *world) { w.evidence.InitData = initData }},
		{name: "init data behind something else", err: "tpm.init_data", change: func(_ *testing.T, w *world) {
			first := measure.SHA256.Sum(make([]byte, 32), make([]byte, 32))
			w.quotes(quoteBy(rsaSigner(3), nonce(), with8(measure.SHA256.Sum(first, initData))))
			w.evidence.InitData = initData
		}},
		{name: "init data cut short", err: "tpm.init_data", change: func(_ *testing.T, w *world) {
			w.quotes(quoteBy(rsaSigner(3), nonce(), with8(measure.SHA256.Sum(make([]byte, 32), initData))))
			w.evidence.InitData = initData[:16]
		}},
		{name: "event log of another machine", failed: "tpm.event_log", change: func(t *testing.T, w *world) {
			w.evidence.EventLog = evidencetest.Read(t, eventLogs+"cos-93-amd-sev.bin")
		}},
		{name: "event log of this boot", change: func(t *testing.T, w *world) {
			w.evidence.EventLog = evidencetest.Read(t, eventLogs+"cos-93-amd-sev.bin")
			w.quotes(quoteBy(rsaSigner(3), nonce(), booted(t, w.evidence.EventLog)))
		}},
		{name: "event log of the same machine's other boot", failed: "tpm.event_log", change: func(t *testing.T, w *world) {
			w.evidence.EventLog = evidencetest.Read(t, eventLogs+"cos-93-amd-sev.bin")
			w.quotes(quoteBy(rsaSigner(3), nonce(), booted(t, evidencetest.Read(t, eventLogs+"cos-85-amd-sev.bin"))))
		}},
		{name: "event log without digests of the quoted bank", failed: "tpm.event_log", change: func(t *testing.T, w *world) {
			w.evidence.EventLog = evidencetest.Read(t, eventLogs+"cos-93-amd-sev.bin")
			w.quotes(quoteBy(rsaSigner(3), nonce(), bank(measure.SHA512)))
		}},
		{name: "no log but text", err: "tpm.event_log", change: func(_ *testing.T, w *world) { w.evidence.EventLog = []byte("boot") }},
		{name: "no key known", failed: "tpm.identity", class: "software", change: func(_ *testing.T, w *world) { w.evidence.AKCertificate = nil }},
		{name: "key that the relying party pins", class: "software", change: func(_ *testing.T, w *world) {
			w.evidence.AKCertificate = nil
			w.set = append(w.set, w.ak.cert.RawSubjectPublicKeyInfo)
		}},
		{name: "key of another kind pinned", failed: "tpm.identity", class: "software", change: func(_ *testing.T, w *world) {
			w.evidence.AKCertificate = nil
			w.set = append(w.set, w.root.cert.RawSubjectPublicKeyInfo)
		}},
		{name: "nothing", err: "tpm.form", change: func(_ *testing.T, w *world) { w.raw = []byte{} }},
		{name: "duplicate member", err: "tpm.form", change: func(t *testing.T, w *world) {
			w.raw = bytes.Replace(w.bytes(t), []byte(`"init_data":""`), []byte(`"init_data":"","init_data":""`), 1)
		}},
		{name: "unknown member", err: "tpm.form", change: func(t *testing.T, w *world) {
			w.raw = bytes.Replace(w.bytes(t), []byte(`"init_data":""`), []byte(`"init_data":"","insecure":true`), 1)
		}},
		{name: "missing member", err: "tpm.form", change: func(t *testing.T, w *world) {
			w.raw = bytes.Replace(w.bytes(t), []byte(`"init_data":"",`), nil, 1)
		}},
		{name: "another type", err: "tpm.form", change: func(t *testing.T, w *world) {
			w.raw = bytes.Replace(w.bytes(t), []byte("tpm-evidence/v1"), []byte("tpm-evidence/v2"), 1)
		}},
	}
}

func activationRules() []rule {
	activated := func(change func(*testing.T, *world, *certified)) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			ek := leaf(t, w.middle, rsaSigner(5), purposeEK)
			if change != nil {
				change(t, w, &ek)
			}
			if len(w.evidence.Activation) == 0 {
				w.activate(t, ek, signer(t, 1), noon.Add(-time.Hour), noon.Add(time.Hour))
			}
		}
	}
	return []rule{
		{name: "activated", change: activated(nil)},
		{name: "activation expired", failed: "tpm.activation_dates", change: activated(func(_ *testing.T, w *world, _ *certified) { w.now = noon.Add(2 * time.Hour) })},
		{name: "activation of the future", failed: "tpm.activation_dates", change: activated(func(_ *testing.T, w *world, _ *certified) { w.now = noon.Add(-2 * time.Hour) })},
		{name: "activator that nobody trusts", failed: "tpm.activation", change: func(t *testing.T, w *world) {
			activated(nil)(t, w)
			w.activators = []keys.PublicKey{signer(t, 2).Public()}
		}},
		{name: "no activators at all", failed: "tpm.activation", change: func(t *testing.T, w *world) {
			activated(nil)(t, w)
			w.activators = nil
		}},
		{name: "record altered", err: "tpm.activation", change: func(t *testing.T, w *world) {
			activated(nil)(t, w)
			w.evidence.Activation = bytes.Replace(w.evidence.Activation, []byte(wire.At(noon.Add(time.Hour)).String()), []byte(wire.At(noon.Add(9*time.Hour)).String()), 1)
		}},
		{name: "record about another key", err: "tpm.activation", change: func(t *testing.T, w *world) {
			good := w.evidence.AKPublic
			w.evidence.AKPublic = publicArea(rsaSigner(4))
			activated(nil)(t, w)
			w.evidence.AKPublic = good
		}},
		{name: "record beside a certificate", err: "tpm.form", change: func(t *testing.T, w *world) {
			certificate := w.evidence.AKCertificate
			activated(nil)(t, w)
			w.evidence.AKCertificate = certificate
		}},
		{name: "record that is none", err: "tpm.activation", change: func(_ *testing.T, w *world) {
			w.evidence.AKCertificate, w.evidence.Activation = nil, []byte("{}")
		}},
		{name: "endorsement key certified by nobody known", failed: "tpm.collateral", class: "software", change: activated(func(t *testing.T, w *world, ek *certified) {
			*ek = leaf(t, authority(t, "Somebody", nil, rsaSigner(4)), rsaSigner(5), purposeEK)
		})},
		{name: "an attestation key's certificate for an endorsement key", err: "tpm.chain", change: activated(func(t *testing.T, w *world, ek *certified) { *ek = leaf(t, w.middle, rsaSigner(5), purposeAK) })},
		{name: "endorsement key for signing", err: "tpm.chain", change: activated(func(t *testing.T, w *world, ek *certified) {
			*ek = leaf(t, w.middle, rsaSigner(5), purposeEK, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
		})},
		{name: "swtpm's endorsement key", class: "software", change: activated(func(t *testing.T, w *world, ek *certified) {
			*ek = leaf(t, w.middle, rsaSigner(5), purposeEK, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{tpmNames(t, "id:00001014", "swtpm", "id:20191023")}
			})
		})},
	}
}

// allRules are the rules of every kind.
func allRules() []rule {
	return slices.Concat(certificateRules(), quoteRules(), activationRules(), roomRules())
}

// TestRules goes through every rule.
func TestRules(t *testing.T) {
	for _, r := range allRules() {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			r.change(t, w)
			f, err := w.verifier(t).Examine(w.bytes(t), w.now)
			_, strict := w.verifier(t).Platform().Verify(w.bytes(t), w.now)
			if (strict == nil) != (r.err == "" && r.failed == "") {
				t.Errorf("as a platform: %v", strict)
			}
			if r.err != "" {
				if err == nil || verdict.As(err).Check != r.err || verdict.As(err).Kind != verdict.Invalid {
					t.Errorf("%v (failed %s), expected %s", err, evidencetest.Failed(f), r.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			class := r.class
			if class == "" {
				class = "integrity-only"
			}
			if evidencetest.Failed(f) != r.failed || string(f.Facts.Class) != class {
				t.Errorf("failed %q, class %s; expected %q, %s\n%+v", evidencetest.Failed(f), f.Facts.Class, r.failed, class, f.Checks)
			}
			for _, c := range f.Checks {
				if c.OK == (c.Fix != "") {
					t.Errorf("%s: OK %v with fix %q", c.ID, c.OK, c.Fix)
				}
			}
		})
	}
}
