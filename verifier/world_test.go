package verifier_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/store/attestation"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

const (
	base  = "https://attest.example.org"
	vault = "https://vault.example.org"
)

// world is a service with a clock of its own, over a store on disk.
type world struct {
	*verifier.Service
	t     testing.TB
	cfg   verifier.Config
	store *attestation.Store
	path  string // of the store
	now   time.Time
}

func newWorld(t testing.TB, change func(*verifier.Config)) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "state.db"), now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	store, err := attestation.Open(w.path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w.store = store
	w.cfg = verifier.Config{Base: base, Store: store, Table: table, EAR: ear.ES256, Rotation: ear.Usual(), Build: "test", Now: func() time.Time { return w.now }}
	if change != nil {
		change(&w.cfg)
	}
	for _, g := range w.cfg.Gates {
		w.cheapKeys(g.Shape)
	}
	w.Service = must(verifier.Open(context.Background(), w.cfg))
	return w
}

// oneRSAKey is made once: keys of the size that a service makes take a second each.
var oneRSAKey = sync.OnceValue(func() []byte {
	return must(x509.MarshalPKCS8PrivateKey(must(rsa.GenerateKey(rand.Reader, 2048))))
})

// cheapKeys gives the store keys for a shape that would need RSA ones.
func (w *world) cheapKeys(shape ear.Shape) {
	a := shape.Algorithms[0]
	if a == ear.ES256 {
		return
	}
	ring := must(wire.Marshal(map[string]any{"type": "strongroom/token-keys/v1/" + shape.Name, "keys": []any{map[string]any{
		"algorithm": string(a), "from": wire.At(w.now), "until": wire.At(w.now.Add(ear.Usual().Every)), "pkcs8": wire.Bytes(oneRSAKey())}}}))
	if err := w.cfg.Store.Swap(context.Background(), verifier.TableSecret, "ring/"+shape.Name, nil, ring); err != nil {
		w.t.Fatal(err)
	}
	if !shape.Certified {
		return
	}
	if err := w.cfg.Store.Swap(context.Background(), verifier.TableSecret, "authority/"+shape.Name, nil, oneAuthority(shape, ring, w.now)); err != nil {
		w.t.Fatal(err)
	}
}

// storedAuthorities are made once, like the key: for each shape, of the first service.
var storedAuthorities sync.Map

func oneAuthority(shape ear.Shape, ring []byte, now time.Time) []byte {
	if known, found := storedAuthorities.Load(shape.Name); found {
		return known.([]byte)
	}
	a, _, err := ear.Authority{}.Advance(must(ear.ParseRing(shape, ring)), base, now)
	if err != nil {
		panic(err)
	}
	data := must(a.MarshalSecret(shape))
	storedAuthorities.Store(shape.Name, data)
	return data
}

// inForce adds a policy and puts it in force.
func (w *world) inForce(text string) {
	w.t.Helper()
	var id wire.ID
	for line := range bytes.Lines([]byte(text)) {
		if rest, found := bytes.CutPrefix(line, []byte("id: ")); found {
			id = wire.ID(bytes.TrimSpace(rest))
		}
	}
	added, err := w.AddPolicy(context.Background(), id, []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.Activate(context.Background(), id, added.Highest); err != nil {
		w.t.Fatal(err)
	}
}

// table is the dev platform as it is, and platforms whose evidence is whatever a test says.
func table(endorse.Set) []attest.Examiner {
	return []attest.Examiner{told("snp"), told("tdx"), told("sgx"), dev.Examiner()}
}

// tale is evidence of a platform that believes everything.
type tale struct {
	Told       string         `json:"told"` // the platform
	Forged     bool           `json:"forged"`
	ReportData []byte         `json:"report_data"`
	InitData   []byte         `json:"init_data"`
	Claims     map[string]any `json:"claims"`
	Failed     string         `json:"failed"` // the id of a check
	Fix        string         `json:"fix"`    // what mends it, if not the usual
}

func told(name wire.ID) attest.Examiner {
	parse := func(data []byte) (tale, bool) {
		var t tale
		var in struct{ SnpReport []byte }
		if json.Unmarshal(data, &in) == nil && in.SnpReport != nil { // as Microsoft's clients wrap it
			data = in.SnpReport
		}
		err := json.Unmarshal(data, &t)
		return t, err == nil && t.Told == string(name)
	}
	return attest.Examiner{
		Name:   name,
		Detect: func(data []byte) bool { _, ok := parse(data); return ok },
		Examine: func(data []byte, _ time.Time) (attest.Finding, error) {
			t, ok := parse(data)
			if (!ok || t.Forged) && name == "tdx" { // a platform that calls forgery a refusal
				return attest.Finding{}, verdict.Refuse("tdx.signature", "a signature", "none", "send genuine evidence")
			}
			if !ok || t.Forged {
				return attest.Finding{}, verdict.NotGenuine(string(name)+".signature", "a signature", "none", "send genuine evidence")
			}
			f := attest.Finding{Claims: t.Claims, Checks: []verdict.Check{{ID: string(name) + ".signature", OK: true, Expected: "a", Got: "a"}}}
			if f.Claims == nil {
				f.Claims = map[string]any{}
			}
			if t.Failed != "" {
				f.Checks = append(f.Checks, verdict.Check{ID: t.Failed, Expected: "good", Got: "bad", Fix: cmp.Or(t.Fix, "mend it")})
			}
			f.Facts = attest.Facts{Platform: name, Class: agreement.Confidential, Root: wire.HashOf([]byte("root")), Machine: "c0ffee", ReportData: t.ReportData,
				InitData: t.InitData, Measurements: map[string]string{"measurement": "aa11"}, Excludes: []string{"host"}, Trusts: []string{"maker"}}
			return f, nil
		},
	}
}

func (t tale) bytes() []byte { return must(json.Marshal(t)) }

// attester is one that is no room: it has a key, and makes the evidence that it likes.
type attester struct {
	jwk  []byte
	hpke *keys.HPKEPrivateKey
}

const theirJWK = `{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`

func newAttester() attester {
	return attester{[]byte(theirJWK), must(keys.GenerateHPKEKey())}
}

// evidence answers a challenge, or a nonce.
func (a attester) evidence(platform string, challenge []byte, sealed bool) tale {
	b := ear.Binding{Nonce: attest.NonceOf(challenge), Key: must(ear.ConfirmJWK(a.jwk))}
	if sealed {
		b.HPKE = a.hpke.Public()
	}
	data := must(b.ReportData())
	return tale{Told: platform, ReportData: data[:], InitData: bytes.Repeat([]byte{7}, 32)}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// fails demands an error about one check, with all that people need.
func fails(t *testing.T, what string, err error, kind verdict.Kind, check string) {
	t.Helper()
	var e *verdict.Error
	if !errors.As(err, &e) || e.Check != check || e.Kind != kind || e.Expected == "" || e.Got == "" || e.Fix == "" {
		t.Errorf("%s: %v, expected one of kind %v about %s that says what to do", what, err, kind, check)
	}
}

const rooms = `id: rooms
version: 1
platforms:
  snp:
    measurements:
      measurement: [aa11]
  tdx:
    measurements:
      measurement: [aa11]
  sgx:
    measurements:
      measurement: [aa11]
`

// verify checks a token as its relying party does.
func (w *world) verify(token string, shape ear.Shape, audience string) (ear.Token, error) {
	w.t.Helper()
	set := must(ear.ParseKeySet(must(w.KeySet(shape))))
	return ear.Verify(token, ear.Expect{Shape: shape, Base: base, Audience: audience, Keys: set, Now: w.now})
}

// openAgain starts the service anew over the same store.
func openAgain(t *testing.T, w *world) {
	t.Helper()
	w.Service = must(verifier.Open(context.Background(), w.cfg))
}

// renew replaces what the service holds, without bundles.
func (w *world) renew(set endorse.Set, references [][]byte) {
	w.t.Helper()
	if err := w.Renew(context.Background(), set, nil, references); err != nil {
		w.t.Fatal(err)
	}
}
