package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	peer "github.com/google/go-tpm/tpm2"

	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
	"strongroom.dev/wire"
)

// The time at which the world of these tests is valid.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// Keys are made once: RSA takes a while.
var (
	rsaKeys   = map[int]*rsa.PrivateKey{}
	rsaKeysMu sync.Mutex
)

func rsaSigner(n int) *rsa.PrivateKey {
	rsaKeysMu.Lock()
	defer rsaKeysMu.Unlock()
	if rsaKeys[n] == nil {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		rsaKeys[n] = k
	}
	return rsaKeys[n]
}

var signers = map[int]*keys.SigningKey{}

func signer(t testing.TB, n int) *keys.SigningKey {
	t.Helper()
	if signers[n] == nil {
		k, err := keys.GenerateSigningKey(keys.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		signers[n] = k
	}
	return signers[n]
}

// certified is a certificate with its key.
type certified struct {
	cert *x509.Certificate
	key  crypto.Signer
}

var serial int64 = 1000

func issue(t testing.TB, template *x509.Certificate, by *certified, key crypto.Signer) certified {
	t.Helper()
	serial++
	template.SerialNumber = big.NewInt(serial)
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = noon.AddDate(-1, 0, 0), noon.AddDate(5, 0, 0)
	}
	parent := &certified{template, key}
	if by != nil {
		parent = by
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certified{c, key}
}

// issueFor certifies a key that only its TPM has.
func issueFor(t testing.TB, by certified, key crypto.PublicKey) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(5, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// authority makes a root, or an intermediate under by.
func authority(t testing.TB, name string, by *certified, key crypto.Signer, change ...func(*x509.Certificate)) certified {
	t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	for _, f := range change {
		f(template)
	}
	return issue(t, template, by, key)
}

// leaf makes a certificate of a key for a purpose.
func leaf(t testing.TB, by certified, key crypto.Signer, purpose asn1.ObjectIdentifier, change ...func(*x509.Certificate)) certified {
	t.Helper()
	usage := x509.KeyUsageDigitalSignature
	if purpose.Equal(purposeEK) {
		usage = x509.KeyUsageKeyEncipherment
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "a key"}, KeyUsage: usage, UnknownExtKeyUsage: []asn1.ObjectIdentifier{purpose}, ExtraExtensions: []pkix.Extension{tpmNames(t, "id:49465800", "SLB9670", "id:0d01")}}
	for _, f := range change {
		f(template)
	}
	return issue(t, template, &by, key)
}

var (
	purposeEK = asn1.ObjectIdentifier{2, 23, 133, 8, 1}
	purposeAK = asn1.ObjectIdentifier{2, 23, 133, 8, 3}
)

// tpmNames makes the subject alternative name of a TPM.
func tpmNames(t testing.TB, manufacturer, model, version string) pkix.Extension {
	t.Helper()
	rdn := pkix.RDNSequence{}
	for i, text := range []string{manufacturer, model, version} {
		rdn = append(rdn, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, i + 1}, Value: text}})
	}
	name, err := asn1.Marshal(rdn)
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name}})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: der}
}

// crl lists revoked certificates of an authority.
func crl(t testing.TB, by certified, from time.Time, revoked ...*x509.Certificate) []byte {
	t.Helper()
	return partialCRL(t, by, from, nil, revoked...)
}

// partialCRL is one with critical extensions, by their numbers below 2.5.29.
func partialCRL(t testing.TB, by certified, from time.Time, extensions map[int][]byte, revoked ...*x509.Certificate) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: from, NextUpdate: from.AddDate(0, 1, 0)}
	for n, value := range extensions {
		list.ExtraExtensions = append(list.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, n}, Critical: true, Value: value})
	}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: from})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, by.cert, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// endorsements makes a set of certificates, CRLs and public keys in DER.
func endorsements(t testing.TB, ders ...[]byte) endorse.Set {
	t.Helper()
	var items []endorse.Item
	for _, der := range ders {
		items = append(items, endorse.Item{Kind: kindOf(der), Name: "test", Data: der})
	}
	s, err := endorse.NewSet(items...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func kindOf(der []byte) endorse.Kind {
	if _, err := x509.ParseRevocationList(der); err == nil {
		return endorse.X509CRL
	}
	if _, err := x509.ParsePKIXPublicKey(der); err == nil {
		return endorse.PublicKey
	}
	return endorse.X509Certificate
}

// publicArea makes the TPMT_PUBLIC of an RSA key; change alters its attributes.
func publicArea(key *rsa.PrivateKey, change ...func(*peer.TPMAObject)) []byte {
	p := akTemplates()["RSASSA"]
	for _, f := range change {
		f(&p.ObjectAttributes)
	}
	p.Unique = peer.NewTPMUPublicID(peer.TPMAlgRSA, &peer.TPM2BPublicKeyRSA{Buffer: key.N.Bytes()})
	return peer.Marshal(p)
}

func public(t testing.TB, area []byte) *tpm2.Public {
	t.Helper()
	p, err := tpm2.ParsePublic(area)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bank fills all 24 PCRs.
func bank(alg measure.Algorithm) tpm2.Bank {
	b := tpm2.Bank{Bank: alg, Values: map[int][]byte{}}
	for i := range measure.NumPCRs {
		b.Values[i] = alg.Sum([]byte{byte(i)})
	}
	return b
}

const eventLogs = "tpm/google+go-eventlog/testdata/eventlogs/tpm/"

// booted gives the PCRs of a machine that booted as a log says.
func booted(t testing.TB, data []byte) tpm2.Bank {
	t.Helper()
	log, err := measure.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	registers, err := log.Replay(measure.PCRs, measure.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	b := tpm2.Bank{Bank: measure.SHA256, Values: map[int][]byte{}}
	for i := range measure.NumPCRs {
		if b.Values[i] = registers[uint32(i)]; b.Values[i] == nil {
			b.Values[i] = make([]byte, 32)
		}
	}
	return b
}

// quoteBy signs a quote with an RSA key, as a TPM would.
func quoteBy(key *rsa.PrivateKey, nonce []byte, b tpm2.Bank, change ...func(*peer.TPMSAttest)) tpm2.Quote {
	var bits [3]byte
	var values []byte
	for _, i := range slices.Sorted(maps.Keys(b.Values)) {
		bits[i/8] |= 1 << (i % 8)
		values = append(values, b.Values[i]...)
	}
	info := peer.TPMSQuoteInfo{PCRDigest: peer.TPM2BDigest{Buffer: measure.SHA256.Sum(values)}}
	info.PCRSelect.PCRSelections = []peer.TPMSPCRSelection{{Hash: peer.TPMAlgID(b.Bank), PCRSelect: bits[:]}}
	a := peer.TPMSAttest{Magic: peer.TPMGeneratedValue, Type: peer.TPMSTAttestQuote, ExtraData: peer.TPM2BData{Buffer: nonce}, ClockInfo: peer.TPMSClockInfo{Safe: true}, Attested: peer.NewTPMUAttest(peer.TPMSTAttestQuote, &info)}
	for _, f := range change {
		f(&a)
	}
	message := peer.Marshal(a)
	raw, err := key.Sign(rand.Reader, measure.SHA256.Sum(message), crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return tpm2.Quote{Message: message, Signature: raw, Banks: []tpm2.Bank{b}}
}

// world is a TPM with an attestation key certified by its maker through an intermediate.
type world struct {
	root, middle, ak certified
	evidence         tpm.Evidence
	set              [][]byte
	activators       []keys.PublicKey
	pinned           bool // the root is a maker's
	now              time.Time
	raw              []byte // evidence, if it is not to be encoded
}

func nonce() []byte { return bytes.Repeat([]byte{0xab}, 32) }

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{now: noon, pinned: true}
	w.root = authority(t, "Maker's root", nil, rsaSigner(1))
	w.middle = authority(t, "Maker's intermediate", &w.root, rsaSigner(2))
	w.ak = leaf(t, w.middle, rsaSigner(3), purposeAK)
	w.set = [][]byte{w.root.cert.Raw}
	w.evidence = tpm.Evidence{AKPublic: publicArea(rsaSigner(3)), AKCertificate: w.ak.cert.Raw, Certificates: []wire.Bytes{w.middle.cert.Raw}}
	w.quotes(quoteBy(rsaSigner(3), nonce(), bank(measure.SHA256)))
	return w
}

func (w *world) quotes(all ...tpm2.Quote) {
	w.evidence.Quotes = nil
	for _, q := range all {
		w.evidence.Quotes = append(w.evidence.Quotes, q.Document())
	}
}

func (w *world) verifier(t testing.TB) tpm.Verifier {
	t.Helper()
	v := tpm.NewWithActivators(endorsements(t, w.set...), w.activators...)
	if w.pinned {
		v = tpm.Pinned(v, w.root.cert.RawSubjectPublicKeyInfo, "Maker", false)
	}
	return v
}

func (w *world) bytes(t testing.TB) []byte {
	t.Helper()
	if w.raw != nil {
		return w.raw
	}
	data, err := w.evidence.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// activate replaces the attestation key's certificate by a record of its activation. The
// test knows the challenge's answer by being the source of its randomness.
func (w *world) activate(t testing.TB, ek certified, by *keys.SigningKey, from, to time.Time) {
	t.Helper()
	source := &recorder{}
	c, err := tpm.NewChallenge(ek.cert.Raw, [][]byte{w.middle.cert.Raw}, public(t, w.evidence.AKPublic), source)
	if err != nil {
		t.Fatal(err)
	}
	record, err := c.Answered(source.first, by, from, to)
	if err != nil {
		t.Fatal(err)
	}
	w.evidence.AKCertificate, w.evidence.Activation = nil, record
	w.activators = []keys.PublicKey{by.Public()}
}

// recorder is randomness that remembers the first 32 bytes it gave.
type recorder struct{ first []byte }

func (r *recorder) Read(p []byte) (int, error) {
	n, err := rand.Read(p)
	if len(r.first) < 32 {
		r.first = append(r.first, p[:min(n, 32-len(r.first))]...)
	}
	return n, err
}
