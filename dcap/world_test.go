package dcap_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"strongroom.dev/dcap"
)

// now is when the synthetic world is looked at.
var now = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)

const stampForm = "2006-01-02T15:04:05Z"

// world is an Intel of the tests' own: a root, CAs, a signing key, a machine with its PCK,
// and a quoting enclave with its attestation key.
type world struct {
	t                            *testing.T
	rootKey, caKey, pckKey       *ecdsa.PrivateKey
	signKey, attestKey           *ecdsa.PrivateKey
	root, ca, pck, sign          *x509.Certificate
	machine                      machine
	revokedByCA, revokedByRoot   []*big.Int
	crlIssued, crlNext           time.Time
	info, identity               map[string]any
	extra                        [][]byte // more TCB information
	omitCRLs, omitIdentity       bool
	omitInfo, omitSigner         bool
	least                        int
	evaluations                  []int
	tamperInfo, tamperIdentity   func([]byte) []byte
	pckNotBefore, signerNotAfter time.Time
}

// machine is what the PCK certificate says.
type machine struct {
	components [16]int
	pcesvn     int
	fmspc      string
}

// q is a quote in the making.
type q struct {
	version, keyType, bodyType int
	tee                        uint32
	vendor                     string
	body                       []byte
	qe                         []byte
	auth                       []byte
	bind                       []byte // overrides the QE's report data
	outer, inner               int
	chain                      []byte
	behind                     []byte
	attestWith, pckWith        *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, rootKey: newKey(t), caKey: newKey(t), pckKey: newKey(t), signKey: newKey(t), attestKey: newKey(t),
		machine:   machine{[16]int{3, 3, 2, 2, 4, 1, 0, 5}, 13, "90c06f000000"},
		crlIssued: now.Add(-24 * time.Hour), crlNext: now.Add(24 * time.Hour),
		pckNotBefore: now.Add(-time.Hour * 24 * 90), signerNotAfter: now.Add(time.Hour * 24 * 90)}
	w.info, w.identity = defaultInfo(), defaultIdentity()
	return w
}

func components(svns ...int) []any {
	all := make([]any, 16)
	for i := range all {
		c := map[string]any{"svn": 0}
		if i < len(svns) {
			c["svn"] = svns[i]
		}
		all[i] = c
	}
	return all
}

func level(pcesvn int, status, date string, sgx, tdx []any, advisories ...string) map[string]any {
	l := map[string]any{"tcb": map[string]any{"sgxtcbcomponents": sgx, "pcesvn": pcesvn, "tdxtcbcomponents": tdx}, "tcbDate": date, "tcbStatus": status}
	if len(advisories) > 0 {
		l["advisoryIDs"] = advisories
	}
	return l
}

func enclaveLevel(svn int, status string) map[string]any {
	return map[string]any{"tcb": map[string]any{"isvsvn": svn}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": status}
}

func module(id string, levels ...any) map[string]any {
	m := map[string]any{"mrsigner": strings.Repeat("00", 48), "attributes": strings.Repeat("00", 8), "attributesMask": strings.Repeat("FF", 8)}
	if id != "" {
		m["id"], m["tcbLevels"] = id, append([]any{}, levels...)
	}
	return m
}

func defaultInfo() map[string]any {
	return map[string]any{
		"id": "TDX", "version": 3, "issueDate": now.Add(-time.Hour).Format(stampForm), "nextUpdate": now.Add(720 * time.Hour).Format(stampForm),
		"fmspc": "90c06f000000", "pceId": "0000", "tcbType": 0, "tcbEvaluationDataNumber": 18,
		"tdxModule": module(""),
		"tdxModuleIdentities": []any{
			module("TDX_03", enclaveLevel(3, "UpToDate")),
			module("TDX_01", enclaveLevel(6, "UpToDate"), enclaveLevel(4, "OutOfDate"), enclaveLevel(2, "Revoked")),
		},
		"tcbLevels": []any{
			level(13, "UpToDate", "2024-11-13T00:00:00Z", components(3, 3, 2, 2, 4, 1, 0, 5), components(5, 0, 3)),
			level(11, "SWHardeningNeeded", "2024-05-13T00:00:00Z", components(3, 3, 2, 2, 4, 1, 0, 5), components(5, 0, 3), "INTEL-SA-00615"),
			level(5, "OutOfDate", "2018-01-04T00:00:00Z", components(2, 2, 2, 2, 3, 1, 0, 5), components(5, 0, 2), "INTEL-SA-00106", "INTEL-SA-01036"),
		},
	}
}

func defaultIdentity() map[string]any {
	return map[string]any{
		"id": "TD_QE", "version": 2, "issueDate": now.Add(-time.Hour).Format(stampForm), "nextUpdate": now.Add(720 * time.Hour).Format(stampForm),
		"tcbEvaluationDataNumber": 18, "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
		"attributes": "11000000000000000000000000000000", "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
		"mrsigner": strings.Repeat("DC", 32), "isvprodid": 2,
		"tcbLevels": []any{enclaveLevel(4, "UpToDate"), enclaveLevel(3, "OutOfDate"), enclaveLevel(2, "Revoked")},
	}
}

func name(cn string) pkix.Name {
	return pkix.Name{CommonName: cn, Organization: []string{"Intel Corporation"}, Locality: []string{"Santa Clara"}, Province: []string{"CA"}, Country: []string{"US"}}
}

func (w *world) certificate(cn string, serial int64, key *ecdsa.PrivateKey, issuer *x509.Certificate, by *ecdsa.PrivateKey, edit func(*x509.Certificate)) *x509.Certificate {
	w.t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: name(cn), NotBefore: now.Add(-time.Hour * 24 * 365), NotAfter: now.Add(time.Hour * 24 * 365),
		SignatureAlgorithm: x509.ECDSAWithSHA256, BasicConstraintsValid: true, SubjectKeyId: []byte{byte(serial)}, CRLDistributionPoints: []string{"https://crl.example/root.der"}}
	edit(tmpl)
	parent := *tmpl
	if issuer != nil {
		parent = *issuer
	}
	parent.PublicKey = nil // so that tests may sign with the wrong key
	der, err := x509.CreateCertificate(rand.Reader, tmpl, &parent, &key.PublicKey, by)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// build makes the certificates that are not there yet.
func (w *world) build() {
	asCA := func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}
	if w.root == nil {
		w.root = w.certificate("Intel SGX Root CA", 1, w.rootKey, nil, w.rootKey, asCA)
	}
	if w.ca == nil {
		w.ca = w.certificate("Intel SGX PCK Platform CA", 2, w.caKey, w.root, w.rootKey, asCA)
	}
	if w.pck == nil {
		w.pck = w.certificate("Intel SGX PCK Certificate", 3, w.pckKey, w.ca, w.caKey, func(c *x509.Certificate) {
			c.KeyUsage, c.NotBefore = x509.KeyUsageDigitalSignature, w.pckNotBefore
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, Value: w.machine.extension(w.t)}}
		})
	}
	if w.sign == nil {
		w.sign = w.certificate("Intel SGX TCB Signing", 4, w.signKey, w.root, w.rootKey, func(c *x509.Certificate) {
			c.KeyUsage, c.NotAfter = x509.KeyUsageDigitalSignature, w.signerNotAfter
		})
	}
}

type pair struct {
	ID    asn1.ObjectIdentifier
	Value any
}

func sequence(t *testing.T, pairs ...pair) asn1.RawValue {
	t.Helper()
	var all []byte
	for _, p := range pairs {
		der, err := asn1.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, der...)
	}
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: all})
	if err != nil {
		t.Fatal(err)
	}
	return asn1.RawValue{FullBytes: der}
}

func oid(below ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, below...)
}

func (m machine) pairs(t *testing.T) []pair {
	t.Helper()
	var tcb []pair
	cpusvn := make([]byte, 16)
	for i, c := range m.components {
		tcb = append(tcb, pair{oid(2, i+1), c})
		cpusvn[i] = byte(c)
	}
	tcb = append(tcb, pair{oid(2, 17), m.pcesvn}, pair{oid(2, 18), cpusvn})
	fmspc, err := hex.DecodeString(m.fmspc)
	if err != nil {
		t.Fatal(err)
	}
	return []pair{
		{oid(1), bytes.Repeat([]byte{0xab}, 16)},
		{oid(2), sequence(t, tcb...)},
		{oid(3), []byte{0, 0}},
		{oid(4), fmspc},
		{oid(5), asn1.Enumerated(1)},
		{oid(6), bytes.Repeat([]byte{0xcd}, 16)},
		{oid(7), sequence(t, pair{oid(7, 1), true}, pair{oid(7, 2), false}, pair{oid(7, 3), true})},
	}
}

func (m machine) extension(t *testing.T) []byte { return sequence(t, m.pairs(t)...).FullBytes }

func rawSign(t testing.TB, key *ecdsa.PrivateKey, data []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(data)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

// respond signs a document as Intel serves it.
func (w *world) respond(member string, doc map[string]any, tamper func([]byte) []byte) []byte {
	w.t.Helper()
	body, err := json.Marshal(doc)
	if err != nil {
		w.t.Fatal(err)
	}
	signature := rawSign(w.t, w.signKey, body)
	if tamper != nil {
		body = tamper(body)
	}
	return []byte(`{"` + member + `":` + string(body) + `,"signature":"` + hex.EncodeToString(signature) + `"}`)
}

func (w *world) crl(issuer *x509.Certificate, key *ecdsa.PrivateKey, revoked []*big.Int) *x509.RevocationList {
	w.t.Helper()
	tmpl := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: w.crlIssued, NextUpdate: w.crlNext, SignatureAlgorithm: x509.ECDSAWithSHA256}
	for _, serial := range revoked {
		tmpl.RevokedCertificateEntries = append(tmpl.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: w.crlIssued})
	}
	der, err := x509.CreateRevocationList(rand.Reader, tmpl, issuer, key)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := x509.ParseRevocationList(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) collateral() dcap.Collateral {
	w.t.Helper()
	w.build()
	c := dcap.Collateral{LeastEvaluation: w.least}
	if !w.omitSigner {
		c.Certificates = append(c.Certificates, w.sign, w.root)
	}
	if !w.omitInfo {
		c.TCBInfos = append(c.TCBInfos, w.respond("tcbInfo", w.info, w.tamperInfo))
	}
	c.TCBInfos = append(c.TCBInfos, w.extra...)
	if !w.omitIdentity {
		c.Identities = append(c.Identities, w.respond("enclaveIdentity", w.identity, w.tamperIdentity))
	}
	if !w.omitCRLs {
		c.CRLs = append(c.CRLs, w.crl(w.root, w.rootKey, w.revokedByRoot), w.crl(w.ca, w.caKey, w.revokedByCA))
	}
	if w.evaluations != nil {
		var numbers []any
		for _, n := range w.evaluations {
			numbers = append(numbers, map[string]any{"tcbEvaluationDataNumber": n, "tcbRecoveryEventDate": "2024-03-12T00:00:00Z", "tcbDate": "2024-03-13T00:00:00Z"})
		}
		c.Evaluations = append(c.Evaluations, w.respond("tcbEvaluationDataNumbers", map[string]any{"id": "TDX", "version": 1,
			"issueDate": w.info["issueDate"], "nextUpdate": w.info["nextUpdate"], "tcbEvalNumbers": numbers}, nil))
	}
	return c
}

func (w *world) verifier() *dcap.Verifier {
	c := w.collateral()
	return dcap.NewWithRoot(c, w.root.RawSubjectPublicKeyInfo)
}

// td makes a report of TD 1.0, or 1.5 if there is a second version number.
func td(svn [3]byte, second ...byte) []byte {
	b := make([]byte, 584)
	copy(b, svn[:])
	b[123] = 0x10 // SEPT_VE_DISABLE
	for i := 136; i < 584; i++ {
		b[i] = byte(i / 48)
	}
	if second != nil {
		b = append(b, make([]byte, 64)...)
		copy(b[584:], second)
	}
	return b
}

func qeReport() []byte {
	b := make([]byte, 384)
	b[48] = 0x11
	copy(b[128:], bytes.Repeat([]byte{0xdc}, 32))
	binary.LittleEndian.PutUint16(b[256:], 2)
	binary.LittleEndian.PutUint16(b[258:], 4)
	return b
}

// quote makes a quote of version 4 for a TD of module 1.6, edited.
func (w *world) quote(edits ...func(*q)) []byte {
	w.t.Helper()
	w.build()
	var chain bytes.Buffer
	for _, c := range []*x509.Certificate{w.pck, w.ca, w.root} {
		if err := pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			w.t.Fatal(err)
		}
	}
	p := &q{version: 4, keyType: 2, tee: 0x81, vendor: "939a7233f79c4ca9940a0db3957f0607", body: td([3]byte{6, 1, 3}), qe: qeReport(), auth: bytes.Repeat([]byte{7}, 32),
		outer: 6, inner: 5, chain: chain.Bytes(), attestWith: w.attestKey, pckWith: w.pckKey}
	for _, edit := range edits {
		edit(p)
	}
	return p.bytes(w)
}

func (p *q) bytes(w *world) []byte {
	le := binary.LittleEndian
	out := le.AppendUint16(nil, uint16(p.version))
	out = le.AppendUint16(out, uint16(p.keyType))
	out = le.AppendUint32(out, p.tee)
	out = append(out, 0, 0, 0, 0)
	vendor, _ := hex.DecodeString(p.vendor)
	out = append(out, vendor...)
	out = append(out, make([]byte, 20)...)
	if p.version == 5 {
		out = le.AppendUint16(out, uint16(p.bodyType))
		out = le.AppendUint32(out, uint32(len(p.body)))
	}
	out = append(out, p.body...)
	signature := rawSign(w.t, p.attestWith, out)

	point, _ := w.attestKey.PublicKey.Bytes()
	key := point[1:]
	bind := p.bind
	if bind == nil {
		sum := sha256.Sum256(append(bytes.Clone(key), p.auth...))
		bind = sum[:]
	}
	qe := bytes.Clone(p.qe)
	copy(qe[320:], bind)
	inner := append(bytes.Clone(qe), rawSign(w.t, p.pckWith, qe)...)
	inner = le.AppendUint16(inner, uint16(len(p.auth)))
	inner = append(inner, p.auth...)
	inner = le.AppendUint16(inner, uint16(p.inner))
	inner = le.AppendUint32(inner, uint32(len(p.chain)))
	inner = append(inner, p.chain...)
	data := append(signature, key...)
	if p.version > 3 {
		data = le.AppendUint16(data, uint16(p.outer))
		data = le.AppendUint32(data, uint32(len(inner)))
	}
	data = append(data, inner...)
	out = le.AppendUint32(out, uint32(len(data)))
	return append(append(out, data...), p.behind...)
}

// reissue gives the machine another PCK certificate.
func (w *world) reissue(m machine) {
	if w.machine != m {
		w.machine, w.pck = m, nil
	}
	w.build()
}

// edited makes a quote with an edit that may change the world too, certificates included.
func (w *world) edited(edit func(w *world, p *q)) []byte {
	w.quote(func(p *q) { edit(w, p) })
	w.pck, w.sign = nil, nil
	return w.quote(func(p *q) { edit(w, p) })
}
