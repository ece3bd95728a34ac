package endorse_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors again")

// vector is one case of spec/vectors/endorsements: opening a bundle at a time, with trusted
// keys.
type vector struct {
	Comment string `json:"comment"`
	// Expect is "success" or the kind of the error; Check is the error's.
	Expect   string    `json:"expect"`
	Check    string    `json:"check,omitempty"`
	Now      wire.Time `json:"now"`
	Trusted  []string  `json:"trusted"`
	Items    int       `json:"items,omitempty"`
	Document string    `json:"document"`

	name string
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func testKey(name string) *keys.SigningKey {
	seed := wire.SHA256("strongroom/test/key", []byte(name))
	return must(keys.ParseSigningKey("STRONGROOM-SIGNING-KEY-1:ed25519:" + base64.StdEncoding.EncodeToString(seed[:]) + "\n"))
}

func moment(text string) wire.Time {
	return wire.At(must(time.Parse(time.RFC3339, text)))
}

// testCertificate is a vendor's certificate of our own making, the same every time.
func testCertificate() []byte {
	seed := wire.SHA256("strongroom/test/vendor")
	key := ed25519.NewKeyFromSeed(seed[:])
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "A vendor's root"}, NotBefore: moment("2026-01-01T00:00:00Z").Time(),
		NotAfter: moment("2036-01-01T00:00:00Z").Time(), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	return must(x509.CreateCertificate(nil, template, template, key.Public(), key))
}

func testCRL() []byte {
	seed := wire.SHA256("strongroom/test/vendor")
	key := ed25519.NewKeyFromSeed(seed[:])
	template := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: moment("2026-11-01T00:00:00Z").Time(), NextUpdate: moment("2027-11-01T00:00:00Z").Time()}
	return must(x509.CreateRevocationList(nil, template, must(x509.ParseCertificate(testCertificate())), key))
}

func testBundle() endorse.Bundle {
	return endorse.Bundle{Created: moment("2026-11-20T12:00:00Z"), Expires: moment("2026-12-20T12:00:00Z"), Items: []endorse.Item{
		{Kind: endorse.X509Certificate, Name: "root.der", Data: testCertificate()},
		{Kind: endorse.X509CRL, Name: "root.crl", Data: testCRL()},
		{Kind: endorse.IntelTCBInfo, Name: "tcb.json", Data: []byte(`{"tcbInfo":{"id":"TDX"},"signature":"00"}`)},
		{Kind: endorse.ContainerPolicy, Name: "policy.rego", Data: []byte("package policy\n")},
	}}
}

// document signs any body as a bundle, also one that [endorse.Bundle.Document] refuses.
func document(body any, signers ...string) string {
	d := must(keys.NewDocument(endorse.Type, body))
	for _, s := range signers {
		if err := d.Sign(testKey(s)); err != nil {
			panic(err)
		}
	}
	return string(must(d.Encode()))
}

func bundleVectors() []vector {
	packer := testKey("packer").Public().String()
	other := testKey("other").Public().String()
	at := moment("2026-11-24T09:30:00Z")
	changed := func(change func(*endorse.Bundle)) string {
		b := testBundle()
		change(&b)
		return document(b, "packer")
	}
	good := document(testBundle(), "packer")
	with := func(name, comment, expect, check string, now wire.Time, trusted []string, doc string) vector {
		return vector{name: name, Comment: comment, Expect: expect, Check: check, Now: now, Trusted: trusted, Document: doc}
	}
	ok := func(name, comment, doc string, trusted ...string) vector {
		v := with(name, comment, "success", "", at, trusted, doc)
		v.Items = 4
		return v
	}
	bad := func(name, comment, doc string) vector {
		return with(name, comment, "invalid evidence", "endorsements.form", at, []string{packer}, doc)
	}
	replaced := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	life := func(from, to string) string {
		return changed(func(b *endorse.Bundle) { b.Created, b.Expires = moment(from), moment(to) })
	}
	item := func(it endorse.Item) string { return changed(func(b *endorse.Bundle) { b.Items[3] = it }) }
	return []vector{
		ok("good", "A bundle by the key the reader trusts.", good, packer),
		ok("one-of-two", "One of the trusted keys has signed.", good, other, packer),
		ok("two-signers", "Signed twice; one of the keys is trusted.", document(testBundle(), "packer", "other"), other),
		ok("named", "Its signer keeps several side by side.", changed(func(b *endorse.Bundle) { b.Name = "intel" }), packer),
		with("untrusted", "Signed by a key that the reader does not trust.", "invalid evidence", "endorsements.signature", at, []string{other}, good),
		with("no-trusted-keys", "A reader that trusts nobody.", "invalid evidence", "endorsements.signature", at, []string{}, good),
		with("unsigned", "No signature.", "invalid evidence", "endorsements.signature", at, []string{packer}, document(testBundle())),
		with("changed", "A certificate's name was changed after signing.", "invalid evidence", "endorsements.signature", at, []string{packer}, replaced("root.der", "rood.der")),
		with("early", "A second before it was made.", "refused", "endorsements.dates", moment("2026-11-20T11:59:59Z"), []string{packer}, good),
		with("expired", "The very second it expires.", "refused", "endorsements.dates", moment("2026-12-20T12:00:00Z"), []string{packer}, good),
		bad("other-type", "A document of another type.", replaced(endorse.Type, "strongroom/endorsements/v2")),
		bad("no-items", "Nothing in it.", changed(func(b *endorse.Bundle) { b.Items = []endorse.Item{} })),
		bad("backwards", "It expires before it was made.", life("2026-11-20T12:00:00Z", "2026-11-20T11:00:00Z")),
		bad("too-long", "Valid for more than 366 days.", life("2026-11-20T12:00:00Z", "2027-11-21T12:00:01Z")),
		bad("unknown-kind", "An item of a kind that does not exist.", item(endorse.Item{Kind: "x", Name: "n", Data: []byte("x")})),
		bad("empty-item", "An item without data.", item(endorse.Item{Kind: endorse.COSESign1, Name: "n", Data: []byte{}})),
		bad("not-a-certificate", "A certificate that does not parse.", item(endorse.Item{Kind: endorse.X509Certificate, Name: "n", Data: []byte("x")})),
		bad("not-a-crl", "A CRL that does not parse.", item(endorse.Item{Kind: endorse.X509CRL, Name: "n", Data: testCertificate()})),
		bad("not-a-request", "A request that does not parse.", item(endorse.Item{Kind: endorse.X509Request, Name: "n", Data: testCertificate()})),
		bad("not-a-key", "A public key that does not parse.", item(endorse.Item{Kind: endorse.PublicKey, Name: "n", Data: testCertificate()})),
		bad("long-name", "A name of 256 bytes.", item(endorse.Item{Kind: endorse.ContainerPolicy, Name: strings.Repeat("n", 256), Data: []byte("x")})),
		bad("named-badly", "A name that is none.", replaced(`"items"`, `"name":"Intel's","items"`)),
		bad("named-nothing", "A name of no letters.", replaced(`"items"`, `"name":"","items"`)),
		bad("unknown-member", "A member that does not exist.", replaced(`{"created"`, `{"comment":"x","created"`)),
	}
}

func (v vector) run() (endorse.Bundle, error) {
	var trusted []keys.PublicKey
	for _, text := range v.Trusted {
		trusted = append(trusted, must(keys.ParsePublicKey(text)))
	}
	return endorse.Open([]byte(v.Document), trusted, v.Now.Time())
}

func TestVectors(t *testing.T) {
	dir := filepath.Join("..", "spec", "vectors", "endorsements")
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, v := range bundleVectors() {
		names = append(names, v.name+".json")
		var data bytes.Buffer
		enc := json.NewEncoder(&data)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, v.name+".json")
		if *update {
			if err := os.WriteFile(path, data.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		file, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(file, data.Bytes()) {
			t.Errorf("%s is not what the code makes (%v); if that is meant, run go test -update", path, err)
			continue
		}
		b, err := v.run()
		var e *verdict.Error
		switch {
		case v.Expect == "success" && (err != nil || len(b.Items) != v.Items):
			t.Errorf("%s: %v", v.name, err)
		case v.Expect != "success" && (!errors.As(err, &e) || e.Kind.String() != v.Expect || e.Check != v.Check || e.Fix == ""):
			t.Errorf("%s: got %v, expected %s, %s", v.name, err, v.Expect, v.Check)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(names, filepath.Base(f)) {
			t.Errorf("%s belongs to no case", f)
		}
	}
}

func TestBundle(t *testing.T) {
	doc, err := testBundle().Document()
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Sign(testKey("packer")); err != nil {
		t.Fatal(err)
	}
	b, err := endorse.Open(must(doc.Encode()), []keys.PublicKey{testKey("packer").Public()}, moment("2026-11-24T00:00:00Z").Time())
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.Set()
	if err != nil || s.Len() != 4 || len(s.Certificates()) != 1 || len(s.CRLs()) != 1 || len(s.Of(endorse.ContainerPolicy)) != 1 {
		t.Errorf("%d items, %v", s.Len(), err)
	}
	for name, bad := range map[string]endorse.Bundle{"zero": {}, "no dates": {Items: b.Items}, "no items": {Created: b.Created, Expires: b.Expires}} {
		if _, err := bad.Document(); err == nil {
			t.Errorf("%s: makes a document", name)
		}
	}
	if _, _, err := endorse.Show([]byte("{}")); err == nil {
		t.Error("an empty object is shown")
	}
}

func TestSet(t *testing.T) {
	cert := endorse.Item{Kind: endorse.X509Certificate, Name: "a", Data: testCertificate()}
	again := cert
	again.Name = "b"
	s, err := endorse.NewSet(cert, again, endorse.Item{Kind: endorse.COSESign1, Name: "c", Data: testCertificate()})
	if err != nil || s.Len() != 2 || len(s.Items()) != 2 {
		t.Errorf("%d items, %v", s.Len(), err)
	}
	// What the caller keeps is its own.
	cert.Data[0] = 0
	if s.Of(endorse.X509Certificate)[0].Data[0] != 0x30 {
		t.Error("the set shares the caller's bytes")
	}
	s.Of(endorse.X509Certificate)[0] = endorse.Item{}
	s.Certificates()[0] = nil
	if s.Of(endorse.X509Certificate)[0].Kind == "" || s.Certificates()[0] == nil {
		t.Error("the set can be changed")
	}
	var zero endorse.Set
	if zero.Len() != 0 || zero.Of(endorse.X509CRL) != nil || zero.Certificates() != nil || zero.CRLs() != nil || zero.Items() != nil {
		t.Error("the zero set holds something")
	}
	policy := func(n int) []endorse.Item {
		items := make([]endorse.Item, n)
		for i := range items {
			items[i] = endorse.Item{Kind: endorse.ContainerPolicy, Data: []byte{byte(i), byte(i >> 8)}}
		}
		return items
	}
	big := func(n int) endorse.Item {
		return endorse.Item{Kind: endorse.ContainerPolicy, Data: make([]byte, n)}
	}
	for name, items := range map[string][]endorse.Item{
		"too many":     policy(endorse.MaxItems + 1),
		"too big":      {big(endorse.MaxItem + 1)},
		"empty":        {big(0)},
		"unknown kind": {{Kind: endorse.Unknown, Data: []byte{1}}},
		"bad key":      {{Kind: endorse.PublicKey, Data: []byte{0x30, 0}}},
		"in all":       slices.Repeat([]endorse.Item{big(endorse.MaxItem)}, endorse.MaxTotal/endorse.MaxItem+1),
	} {
		if _, err := endorse.NewSet(items...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := endorse.NewSet(append(policy(endorse.MaxItems-1), big(endorse.MaxItem))...); err != nil {
		t.Error(err)
	}
}
