package ear_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom.dev/ear"
	"strongroom.dev/verdict"
)

// certified is a ring with its authority: made once, RSA keys take a while.
type certified struct {
	ring      ear.Ring
	authority ear.Authority
}

var aCertified = sync.OnceValue(func() certified {
	r, _, err := ear.Ring{}.Advance(ear.ITA(), ear.PS384, ear.Usual(), now)
	if err != nil {
		panic(err)
	}
	a, changed, err := ear.Authority{}.Advance(r, base, now)
	if err != nil || !changed {
		panic(fmt.Sprint(changed, err))
	}
	return certified{r, a}
})

// chains reads the certificates of a key set, by key.
func chains(t *testing.T, set []byte) map[string][]*x509.Certificate {
	t.Helper()
	var doc struct {
		Keys []struct {
			ID    string   `json:"kid"`
			Chain []string `json:"x5c"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(set, &doc); err != nil {
		t.Fatal(err)
	}
	all := map[string][]*x509.Certificate{}
	for _, k := range doc.Keys {
		for _, text := range k.Chain {
			all[k.ID] = append(all[k.ID], must(x509.ParseCertificate(must(base64.StdEncoding.DecodeString(text)))))
		}
	}
	return all
}

func TestAuthorityRefuses(t *testing.T) {
	c := aCertified()
	_, _, err := ear.Authority{}.Advance(ring(t, ear.EAR(), ear.ES256), base, now)
	fails(t, "a shape without certificates", err, verdict.Usage, "token.certificates")
	_, _, err = ear.Authority{}.Advance(c.ring, "attest.example.org", now)
	fails(t, "no address", err, verdict.Usage, "issuer")
	_, err = ear.Authority{}.KeySet(c.ring)
	fails(t, "an authority that certified nothing", err, verdict.Broken, "token.certificates")

	stored := string(must(c.authority.MarshalSecret(ear.ITA())))
	changed := func(change func(chain, root, signing map[string]any)) string {
		var doc map[string]any
		if err := json.Unmarshal([]byte(stored), &doc); err != nil {
			t.Fatal(err)
		}
		chain := doc["chains"].([]any)[0].(map[string]any)
		change(chain, chain["root"].(map[string]any), chain["signing"].(map[string]any))
		return string(must(json.Marshal(doc)))
	}
	for what, text := range map[string]string{
		"nothing": "", "another shape's": strings.Replace(stored, "v1/ita", "v1/maa", 1),
		"another's key": changed(func(_, root, signing map[string]any) { root["pkcs8"] = signing["pkcs8"] }),
		"no key":        changed(func(_, _, signing map[string]any) { signing["pkcs8"] = "" }),
		"another root": changed(func(_, root, signing map[string]any) {
			root["certificate"], root["pkcs8"] = signing["certificate"], signing["pkcs8"]
		}),
		"another's list":   changed(func(_, root, signing map[string]any) { signing["crl"] = root["crl"] }),
		"no list":          changed(func(_, root, _ map[string]any) { root["crl"] = "" }),
		"a CA among keys":  changed(func(chain, _, signing map[string]any) { chain["certificates"] = []any{signing["certificate"]} }),
		"nonsense as keys": changed(func(chain, _, _ map[string]any) { chain["certificates"] = []any{"AAAA"} }),
		"too many keys": changed(func(chain, _, _ map[string]any) {
			chain["certificates"] = slices.Repeat(chain["certificates"].([]any), 17)
		}),
	} {
		_, err := ear.ParseAuthority(ear.ITA(), []byte(text))
		fails(t, what, err, verdict.Broken, "token.certificates")
	}
	if text := fmt.Sprintf("%v %+v %#v", c.authority, c.authority, c.authority); strings.Contains(text, "rsa") || !strings.Contains(text, "redacted") {
		t.Errorf("an authority prints as %s", text)
	}
	if c.authority.List("00") != nil {
		t.Error("a list of nobody's")
	}
}

func TestAuthority(t *testing.T) {
	c := aCertified()
	set := must(c.authority.KeySet(c.ring))
	if _, err := ear.ParseKeySet(set); err != nil {
		t.Errorf("our own relying parties: %v", err)
	}
	all := chains(t, set)
	if len(all) != len(kids(t, set)) {
		t.Fatalf("%d chains for %d keys", len(all), len(kids(t, set)))
	}
	for id, chain := range all {
		if len(chain) != 3 {
			t.Fatalf("%s: %d certificates", id, len(chain))
		}
		key, signing, root := chain[0], chain[1], chain[2]
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(root)
		between.AddCert(signing)
		if _, err := key.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now}); err != nil {
			t.Error(err)
		}
		if !strings.Contains(root.Subject.CommonName, "Root CA") || !strings.Contains(signing.Subject.CommonName, "Signing CA") || strings.Contains(key.Subject.CommonName, "CA") {
			t.Errorf("clients can't tell %q, %q and %q apart", root.Subject, signing.Subject, key.Subject)
		}
		for _, x := range chain {
			if strings.Contains(x.Subject.String(), "Intel") || len(x.URIs) != 1 || x.URIs[0].String() != base+"/ita" {
				t.Errorf("%s does not say whose it is: %v", x.Subject, x.URIs)
			}
		}
		for _, pair := range [][2]*x509.Certificate{{key, signing}, {signing, root}} {
			at, found := strings.CutPrefix(pair[0].CRLDistributionPoints[0], base+"/ita/crl/")
			list, err := x509.ParseRevocationList(c.authority.List(at))
			if !found || err != nil {
				t.Fatal(found, err)
			}
			if err := list.CheckSignatureFrom(pair[1]); err != nil || !list.NextUpdate.After(now.Add(6*24*time.Hour)) || list.ThisUpdate.After(now) || len(list.RevokedCertificateEntries) != 0 {
				t.Errorf("%+v %v", list, err)
			}
		}
	}
	again := must(ear.ParseAuthority(ear.ITA(), must(c.authority.MarshalSecret(ear.ITA()))))
	if string(must(again.KeySet(c.ring))) != string(set) {
		t.Error("another key set from the store")
	}
	if _, changed, err := again.Advance(c.ring, base, now.Add(time.Minute)); changed || err != nil {
		t.Errorf("it changes without need: %v %v", changed, err)
	}
}

// TestAuthorityGoesOn: keys get certificates as they come, lists are never old, nothing stays
// that has expired, and the root stays for years.
func TestAuthorityGoesOn(t *testing.T) {
	c := aCertified()
	r, a := c.ring, c.authority
	var root []byte
	numbers := map[string]int64{}
	for at := now; at.Before(now.AddDate(0, 2, 0)); at = at.Add(12 * time.Hour) {
		var err error
		if r, _, err = r.Advance(ear.ITA(), ear.PS384, ear.Usual(), at); err != nil {
			t.Fatal(err)
		}
		if a, _, err = a.Advance(r, base, at); err != nil {
			t.Fatal(err)
		}
		for id, chain := range chains(t, must(a.KeySet(r))) {
			if root == nil {
				root = chain[2].Raw
			}
			if string(root) != string(chain[2].Raw) {
				t.Fatalf("another root after %v", at.Sub(now))
			}
			for _, x := range chain[:2] {
				at2 := x.CRLDistributionPoints[0][strings.LastIndex(x.CRLDistributionPoints[0], "/")+1:]
				list := must(x509.ParseRevocationList(a.List(at2)))
				if list.NextUpdate.Before(at.Add(5*24*time.Hour)) || list.Number.Int64() < numbers[at2] {
					t.Fatalf("%s at %v: list %d until %v", id, at, list.Number, list.NextUpdate)
				}
				numbers[at2] = list.Number.Int64()
			}
		}
	}
	stored := string(must(a.MarshalSecret(ear.ITA())))
	if n := strings.Count(stored, `"certificates":[`); n != 1 || len(chains(t, must(a.KeySet(r)))) > 2 {
		t.Errorf("%d chains after two months", n)
	}
	later := now.AddDate(5, 0, -10)
	r, _, _ = r.Advance(ear.ITA(), ear.PS384, ear.Usual(), later)
	a, _, err := a.Advance(r, base, later)
	if err != nil {
		t.Fatal(err)
	}
	for _, chain := range chains(t, must(a.KeySet(r))) {
		if string(root) == string(chain[2].Raw) || chain[2].NotAfter.Before(chain[0].NotAfter) {
			t.Errorf("a root until %v for a key until %v", chain[2].NotAfter, chain[0].NotAfter)
		}
	}
	moved, changed, err := a.Advance(r, "https://other.example.org", later)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	for _, chain := range chains(t, must(moved.KeySet(r))) {
		if !strings.HasPrefix(chain[0].CRLDistributionPoints[0], "https://other.example.org/ita/crl/") {
			t.Errorf("a list at %s", chain[0].CRLDistributionPoints)
		}
	}
}
