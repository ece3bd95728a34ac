package sevsnp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/sevsnp"
)

// world is an AMD of our own: roots, intermediates and chips of every product, so that tests
// can make what no real machine would sign. It goes through the same code as the real one.
type world struct {
	t     testing.TB
	keys  keyring
	now   time.Time
	roots map[sevsnp.Product]*x509.Certificate
}

// keyring are keys that are slow to make: 2048 bits are enough here.
type keyring struct {
	ark, ask, other *rsa.PrivateKey
	vek             *ecdsa.PrivateKey
}

var testKeys = sync.OnceValue(func() keyring {
	var k keyring
	for _, slot := range []**rsa.PrivateKey{&k.ark, &k.ask, &k.other} {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		*slot = key
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		panic(err)
	}
	k.vek = key
	return k
})

func newWorld(t testing.TB) *world {
	w := &world{t: t, keys: testKeys(), now: evidencetest.Time("2026-06-01"), roots: map[sevsnp.Product]*x509.Certificate{}}
	for _, p := range []sevsnp.Product{sevsnp.Milan, sevsnp.Genoa, sevsnp.Turin} {
		w.roots[p] = w.authority("ARK-"+string(p), "ARK-"+string(p), w.keys.ark, w.keys.ark, 1, nil)
	}
	return w
}

func name(cn string) pkix.Name {
	return pkix.Name{OrganizationalUnit: []string{"Engineering"}, Country: []string{"US"}, Locality: []string{"Santa Clara"}, Province: []string{"CA"},
		Organization: []string{"Advanced Micro Devices"}, CommonName: cn}
}

// sign makes a certificate as AMD does: RSA-PSS with SHA-384.
func (w *world) sign(template *x509.Certificate, issuer string, public any, by *rsa.PrivateKey) *x509.Certificate {
	w.t.Helper()
	template.SignatureAlgorithm = x509.SHA384WithRSAPSS
	parent := &x509.Certificate{Subject: name(issuer), SubjectKeyId: []byte{1, 2, 3}}
	if issuer == template.Subject.CommonName {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) authority(cn, issuer string, key, by *rsa.PrivateKey, serial int64, change func(*x509.Certificate)) *x509.Certificate {
	w.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: name(cn), NotBefore: w.now.AddDate(-3, 0, 0), NotAfter: w.now.AddDate(20, 0, 0),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	if change != nil {
		change(template)
	}
	return w.sign(template, issuer, &key.PublicKey, by)
}

// ask gives the intermediate for a kind of key.
func (w *world) ask(p sevsnp.Product, kind sevsnp.KeyKind) *x509.Certificate {
	cn, serial := "SEV-"+string(p), int64(2)
	if kind == sevsnp.VLEK {
		cn, serial = "SEV-VLEK-"+string(p), 3
	}
	return w.authority(cn, "ARK-"+string(p), w.keys.ask, w.keys.ark, serial, nil)
}

// vekSpec says what stands in a chip's certificate.
type vekSpec struct {
	product    sevsnp.Product
	kind       sevsnp.KeyKind
	tcb        map[int]int // by last arc of the extension
	chip       []byte
	octets     bool // chip id as an OCTET STRING
	csp        string
	name       string
	by         *rsa.PrivateKey
	issuer     string
	change     func(*x509.Certificate)
	extensions func([]pkix.Extension) []pkix.Extension
}

func integer(n int) []byte { return must(asn1.Marshal(n)) }

func ia5(s string) []byte { return must(asn1.MarshalWithParams(s, "ia5")) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (w *world) vek(s vekSpec) *x509.Certificate {
	w.t.Helper()
	arc := func(arcs ...int) asn1.ObjectIdentifier {
		return append(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}, arcs...)
	}
	if s.name == "" {
		s.name = string(s.product) + "-B0"
	}
	ext := []pkix.Extension{{Id: arc(1), Value: integer(0)}, {Id: arc(2), Value: ia5(s.name)}}
	for oid, n := range s.tcb {
		ext = append(ext, pkix.Extension{Id: arc(3, oid), Value: integer(n)})
	}
	cn, issuer := "SEV-VCEK", "SEV-"+string(s.product)
	if s.kind == sevsnp.VLEK {
		cn, issuer = "SEV-VLEK", "SEV-VLEK-"+string(s.product)
		ext = append(ext, pkix.Extension{Id: arc(5), Value: ia5(s.csp)})
	} else {
		value := s.chip
		if s.octets {
			value = append([]byte{4, byte(len(value))}, value...)
		}
		ext = append(ext, pkix.Extension{Id: arc(4), Value: value})
	}
	if s.extensions != nil {
		ext = s.extensions(ext)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(0), Subject: name(cn), NotBefore: w.now.AddDate(-1, 0, 0), NotAfter: w.now.AddDate(6, 0, 0), ExtraExtensions: ext}
	if s.change != nil {
		s.change(template)
	}
	if s.by == nil {
		s.by = w.keys.ask
	}
	if s.issuer != "" {
		issuer = s.issuer
	}
	return w.sign(template, issuer, &w.keys.vek.PublicKey, s.by)
}

// crl gives a revocation list of a product.
func (w *world) crl(p sevsnp.Product, number int64, from, to time.Time, by *rsa.PrivateKey, serials ...int64) *x509.RevocationList {
	w.t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: from, NextUpdate: to, SignatureAlgorithm: x509.SHA384WithRSAPSS}
	for _, n := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: from})
	}
	issuer := *w.roots[p]
	if by != w.keys.ark { // what crypto/x509 would not make: a list in somebody's name
		issuer.PublicKey = &by.PublicKey
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, &issuer, by)
	if err != nil {
		w.t.Fatal(err)
	}
	return must(x509.ParseRevocationList(der))
}

// report gives a good report of a product, changed and then signed.
func (w *world) report(version uint32, family, model byte, change func(b []byte)) []byte {
	b := make([]byte, sevsnp.ReportSize)
	le := binary.LittleEndian
	le.PutUint32(b, version)
	le.PutUint64(b[0x08:], 1<<17|1<<16|31)
	le.PutUint32(b[0x34:], 1)
	le.PutUint64(b[0x40:], 1<<5|1<<0)
	for i := range 64 {
		b[0x50+i], b[0x1a0+i] = byte(i+1), byte(200-i)
	}
	if family == 0x1a {
		clear(b[0x1a8:0x1e0])
	}
	for i := range 48 {
		b[0x90+i] = byte(0x90 + i)
	}
	for i := range 32 {
		b[0x160+i] = 0xff
	}
	tcb := []byte{4, 1, 0, 0, 0, 0, 20, 100}
	if family == 0x1a {
		tcb = []byte{9, 4, 1, 20, 0, 0, 0, 100}
	}
	for _, at := range []int{0x38, 0x180, 0x1e0, 0x1f0} {
		copy(b[at:], tcb)
	}
	if version >= 3 {
		b[0x188], b[0x189], b[0x18a] = family, model, 1
	}
	if change != nil {
		change(b)
	}
	w.signReport(b)
	return b
}

func (w *world) signReport(b []byte) {
	w.t.Helper()
	digest := sha512.Sum384(b[:0x2a0])
	r, s, err := ecdsa.Sign(rand.Reader, w.keys.vek, digest[:])
	if err != nil {
		w.t.Fatal(err)
	}
	for i, n := range []*big.Int{r, s} {
		le := n.FillBytes(make([]byte, 72))
		slices.Reverse(le)
		copy(b[0x2a0+72*i:], le)
	}
}

// chip gives the certificate that fits [world.report].
func (w *world) chip(p sevsnp.Product) vekSpec {
	s := vekSpec{product: p, tcb: map[int]int{1: 4, 2: 1, 3: 20, 4: 0, 5: 0, 6: 0, 7: 0, 8: 100}, chip: make([]byte, 64)}
	for i := range 64 {
		s.chip[i] = byte(200 - i)
	}
	if p == sevsnp.Turin {
		s.chip, s.tcb[9] = s.chip[:8], 9
	}
	return s
}

// collateral gives a product's intermediates and a current CRL, with more certificates.
func (w *world) collateral(p sevsnp.Product, more ...*x509.Certificate) sevsnp.Collateral {
	return sevsnp.Collateral{
		Certificates: append([]*x509.Certificate{w.ask(p, sevsnp.VCEK), w.ask(p, sevsnp.VLEK)}, more...),
		CRLs:         []*x509.RevocationList{w.crl(p, 5, w.now.AddDate(0, -1, 0), w.now.AddDate(1, 0, 0), w.keys.ark)},
	}
}

func (w *world) verifier(c sevsnp.Collateral) *sevsnp.Verifier { return sevsnp.NewUnder(c, w.roots) }
