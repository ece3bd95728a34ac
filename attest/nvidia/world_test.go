package nvidia_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"strongroom.dev/attest"
	"strongroom.dev/attest/nvidia"
	"strongroom.dev/endorse"
)

// This file makes a world of devices with roots of its own, since no capture has all
// that a finding without a failed check needs.

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// authority is a certificate with its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	by   *authority
}

func when(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }

// serials counts certificates.
var serials = func() func() *big.Int {
	var mu sync.Mutex
	n := int64(1000)
	return func() *big.Int {
		mu.Lock()
		defer mu.Unlock()
		n++
		return big.NewInt(n)
	}
}()

// issue makes a certificate; change may alter the template.
func issue(by *authority, name string, change func(*x509.Certificate)) *authority {
	a := &authority{key: must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), by: by}
	c := &x509.Certificate{SerialNumber: serials(), Subject: pkix.Name{CommonName: name}, NotBefore: when(2022), NotAfter: when(9000), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SignatureAlgorithm: x509.ECDSAWithSHA384}
	if change != nil {
		change(c)
	}
	parent, key := c, a.key
	if by != nil {
		parent, key = by.cert, by.key
	}
	a.cert = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, parent, a.key.Public(), key))))
	return a
}

func leafOnly(c *x509.Certificate) {
	c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
}

// chain gives certificates from the leaf up, without the root.
func (a *authority) chain() (all []*authority) {
	for ; a.by != nil; a = a.by {
		all = append(all, a)
	}
	return all
}

// world are the authorities above devices and RIMs.
type world struct {
	root, identity, ica     *authority
	rimRoot, rimCA, rimL3   *authority
	signer                  *authority
	otherRoot, otherRIMRoot *authority
}

var theWorld = sync.OnceValue(func() *world {
	w := &world{root: issue(nil, "NVIDIA Device Identity CA", nil), rimRoot: issue(nil, "NVIDIA CoRIM signing Root CA", nil)}
	w.otherRoot, w.otherRIMRoot = issue(nil, "NVIDIA Device Identity CA", nil), issue(nil, "NVIDIA CoRIM signing Root CA", nil)
	w.identity = issue(w.root, "NVIDIA GH100 Identity", nil)
	w.ica = issue(w.identity, "NVIDIA GH100 Provisioner ICA 1", nil)
	w.rimCA = issue(w.rimRoot, "NVIDIA Reference Value GH100 CA", nil)
	w.rimL3 = issue(w.rimCA, "NVIDIA Reference Value L3", func(c *x509.Certificate) { c.MaxPathLenZero = true })
	w.signer = issue(w.rimL3, "HCC RIM L4 Signer", func(c *x509.Certificate) { leafOnly(c); c.NotAfter = when(2027) })
	return w
})

// dev is a device of the world.
type dev struct {
	model, serial    string // "GH100 A01 GSP", 18 hex digits
	nonce            [32]byte
	blocks           [][]byte
	fields           map[uint16][]byte
	tail             []byte // behind the fields
	fwid             []byte // of the certificate
	flags            []byte // of a DiceTcbInfo
	ica              *authority
	key              *ecdsa.PrivateKey // signs instead of the leaf's
	alter            func([]byte) []byte
	changeROM, other func(*x509.Certificate)
	leaf             *authority
	hints            map[string]any
	chainText        func([]byte) []byte
}

func digest(s string) []byte { d := sha512.Sum384([]byte(s)); return d[:] }

func newGPU(w *world, serial string) *dev {
	d := &dev{model: "GH100 A01 GSP", serial: serial, nonce: [32]byte(digest("nonce")), fwid: digest("firmware"), ica: w.ica}
	for i := range 64 {
		d.blocks = append(d.blocks, digest(fmt.Sprint("measurement ", i)))
	}
	d.fields = map[uint16][]byte{6: {0, 0x9f, 0, 0x96, 1, 0, 0, 0}, 15: []byte("882\x00\x00"), 17: []byte("1010\x00"), 18: []byte("0200\x00"), 3: []byte("550.90.07\x00"),
		11: {0x55}, 20: digest("firmware"), 21: {0x55}}
	return d
}

func newBlackwell(w *world, serial string) *dev {
	d := newGPU(w, serial)
	d.model, d.flags = "GB100 A01 GSP", []byte{0x80, 0, 0, 1}
	d.fields[6], d.fields[35], d.fields[34], d.fields[36] = []byte{0, 0x9f, 0, 0x97, 1, 0, 0, 0}, []byte("GB100\x00"), []byte{1, 0}, []byte{1, 0}
	delete(d.fields, 21)
	return d
}

func newSwitch(w *world, serial string) *dev {
	d := newGPU(w, serial)
	d.model, d.blocks = "LS_10 A01 FSP", d.blocks[:31]
	d.fields = map[uint16][]byte{6: []byte("96.10.55.00.01"), 22: must(hex.DecodeString(serial[2:]))}
	return d
}

// wire joins GPUs and switches: each sees all of the other kind.
func join(gpus, switches []*dev) {
	for _, g := range gpus {
		var seen []byte
		for _, s := range switches {
			pdi := must(hex.DecodeString(s.serial[2:]))
			slices.Reverse(pdi)
			seen = append(append(seen, pdi...), pdi...)
		}
		g.fields[21], g.fields[22] = []byte{0xaa}, append(seen, make([]byte, 8)...)
	}
	for _, s := range switches {
		var seen []byte
		for _, g := range gpus {
			seen = append(seen, must(hex.DecodeString(g.serial[2:]))...)
		}
		s.fields[26] = append(append(seen, make([]byte, 64-len(seen))...), bytes.Repeat([]byte{0xff}, 64)...)
	}
}

// certify makes the device's certificates.
func (d *dev) certify() {
	if d.leaf != nil {
		return
	}
	rom := issue(d.ica, d.model+" BROM", func(c *x509.Certificate) {
		c.Subject.SerialNumber, c.KeyUsage = strings.ToUpper(d.serial), x509.KeyUsageCertSign
		if d.changeROM != nil {
			d.changeROM(c)
		}
	})
	d.leaf = issue(rom, d.model+" FMC LF", func(c *x509.Certificate) {
		leafOnly(c)
		c.ExtraExtensions = []pkix.Extension{d.extension(rom.cert.RawSubjectPublicKeyInfo)}
		if d.other != nil {
			d.other(c)
		}
	})
}

func (d *dev) extension(device []byte) pkix.Extension {
	type fwid struct {
		Algorithm asn1.ObjectIdentifier
		Digest    []byte
	}
	sha384 := asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	if d.flags == nil {
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1}, Value: must(asn1.Marshal(struct {
			Version int
			Device  asn1.RawValue
			FWID    fwid
		}{1, asn1.RawValue{FullBytes: device}, fwid{sha384, d.fwid}}))}
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}, Value: must(asn1.Marshal(struct {
		Vendor string         `asn1:"tag:0,utf8"`
		SVN    int            `asn1:"tag:3"`
		FWIDs  []fwid         `asn1:"tag:6"`
		Flags  asn1.BitString `asn1:"tag:7"`
	}{"NVIDIA", 1, []fwid{{sha384, d.fwid}, {sha384, make([]byte, 48)}}, asn1.BitString{Bytes: d.flags, BitLength: 8 * len(d.flags)}}))}
}

// report makes the signed report.
func (d *dev) report() []byte {
	d.certify()
	b := append([]byte{0x11, 0xe0, 1, 0xff}, d.nonce[:]...)
	b = append(b, 0, 0x11, 0x60, 0, 0, byte(len(d.blocks)))
	var record []byte
	for i, v := range d.blocks {
		record = append(record, byte(i+1), 1, byte(len(v)+3), 0, 1, byte(len(v)), 0)
		record = append(record, v...)
	}
	b = append(b, byte(len(record)), byte(len(record)>>8), 0)
	b = append(append(b, record...), make([]byte, 32)...)
	var opaque []byte
	for _, k := range slices.Sorted(func(yield func(uint16) bool) {
		for k := range d.fields {
			if !yield(k) {
				return
			}
		}
	}) {
		opaque = binary.LittleEndian.AppendUint16(opaque, k)
		opaque = append(binary.LittleEndian.AppendUint16(opaque, uint16(len(d.fields[k]))), d.fields[k]...)
	}
	opaque = append(opaque, d.tail...)
	b = append(binary.LittleEndian.AppendUint16(b, uint16(len(opaque))), opaque...)
	key := d.leaf.key
	if d.key != nil {
		key = d.key
	}
	sum := sha512.Sum384(b)
	b = append(b, raw(key, sum[:])...)
	if d.alter != nil {
		b = d.alter(b)
	}
	return b
}

// raw signs, and gives r and s bare.
func raw(key *ecdsa.PrivateKey, sum []byte) []byte {
	r, s, err := ecdsa.Sign(rand.Reader, key, sum)
	if err != nil {
		panic(err)
	}
	return append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
}

// object gives the device as nvattest writes it.
func (d *dev) object() map[string]any {
	m := map[string]any{"evidence": base64.StdEncoding.EncodeToString(d.report())}
	text := pemChain(append(d.leaf.chain(), theWorld().root))
	if d.chainText != nil {
		text = d.chainText(text)
	}
	if text != nil {
		m["certificate"] = base64.StdEncoding.EncodeToString(text)
	}
	for k, v := range d.hints {
		m[k] = v
	}
	return m
}

func pemChain(chain []*authority) (text []byte) {
	for _, a := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	return text
}

// scene is evidence with its endorsements, at a time.
type scene struct {
	*world
	devices []*dev
	rims    []*manifest
	now     time.Time
	// status alters what OCSP says of a certificate; nil leaves the response out.
	status func(a *authority, r *ocsp.Response) *ocsp.Response
	// form gives the evidence from the devices.
	form  func(*scene) []byte
	items []endorse.Item
}

// at is the time of scenes.
func sceneTime() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func list(s *scene) []byte {
	var all []any
	for _, d := range s.devices {
		all = append(all, d.object())
	}
	return must(json.Marshal(all))
}

// single is a Hopper GPU alone, with all that it needs.
func single() *scene {
	w := theWorld()
	g := newGPU(w, "41c6b6e23025d8e93e")
	return &scene{world: w, devices: []*dev{g}, rims: []*manifest{driverRIM(w, g), vbiosRIM(w, g)}, now: sceneTime(), form: list}
}

// hgx is a machine of GPUs and switches.
func hgx2() *scene {
	s := single()
	for _, serial := range []string{"41ffa7776bd407291f", "41843e3c777992b92c"} {
		s.devices = append(s.devices, newGPU(s.world, serial))
	}
	switches := []*dev{newSwitch(s.world, "508f979938e67797d6"), newSwitch(s.world, "507a66a96e440d8c05")}
	join(s.devices, switches)
	s.devices = append(s.devices, switches...)
	s.rims = append(s.rims, switchRIM(s.world, switches[0]))
	return s
}

// endorsements makes the set: RIMs, and OCSP responses about every certificate.
func (s *scene) endorsements() endorse.Set {
	items := slices.Clone(s.items)
	about := make(map[*authority]bool)
	for _, d := range s.devices {
		d.certify()
		for _, a := range d.leaf.chain()[1:] {
			about[a] = true
		}
	}
	for _, m := range s.rims {
		items = append(items, endorse.Item{Kind: endorse.NVIDIARIM, Name: m.version, Data: m.document()})
		for _, a := range m.signer.chain() {
			about[a] = true
		}
	}
	for a := range about {
		if der := s.ocsp(a); der != nil {
			items = append(items, endorse.Item{Kind: endorse.OCSPResponse, Name: a.cert.Subject.CommonName, Data: der})
		}
	}
	return must(endorse.NewSet(items...))
}

// ocsp makes the response about a certificate, signed by its issuer unless status says that
// another certificate does.
func (s *scene) ocsp(a *authority) []byte {
	r := &ocsp.Response{Status: ocsp.Good, SerialNumber: a.cert.SerialNumber, ThisUpdate: s.now.Add(-time.Hour), NextUpdate: s.now.Add(23 * time.Hour), IssuerHash: crypto.SHA384}
	if s.status != nil {
		r = s.status(a, r)
	}
	if r == nil {
		return nil
	}
	return response384(a.by, a.by, r)
}

// response384 makes a response in the name of an issuer, signed by another.
func response384(issuer, by *authority, r *ocsp.Response) []byte {
	if by != issuer {
		r.Certificate = by.cert
	}
	r.SignatureAlgorithm = x509.ECDSAWithSHA384
	return must(ocsp.CreateResponse(issuer.cert, by.cert, *r, by.key))
}

func (s *scene) verifier() nvidia.Verifier {
	return nvidia.NewUnder(s.endorsements(), s.root.cert, s.rimRoot.cert)
}

func (s *scene) examine() (attest.Finding, error) {
	evidence := s.form(s)
	return s.verifier().Examine(evidence, s.now)
}

func TestScenesAreAffirming(t *testing.T) {
	blackwell := single()
	b := newBlackwell(blackwell.world, "41b9363d63c95dbe4e")
	blackwell.devices, blackwell.rims = []*dev{b}, []*manifest{driverRIM(blackwell.world, b), vbiosRIM(blackwell.world, b)}
	for name, c := range map[string]struct {
		s    *scene
		want string
	}{"Hopper": {single(), "affirming"}, "Blackwell": {blackwell, "affirming"}, "HGX": {hgx2(), "warning fwid"}} {
		f, err := c.s.examine()
		if got := judge(f, err); got != c.want || f.Facts.Debug {
			t.Errorf("%s: %s %v", name, got, err)
			for _, x := range f.Checks {
				t.Log(x)
			}
		}
		facts, err := c.s.verifier().Platform().Verify(c.s.form(c.s), c.s.now)
		if err != nil || len(facts.Measurements) < 3 || len(facts.Checks) < 10 {
			t.Errorf("%s: %+v %v", name, facts, err)
		}
	}
}
