package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// rememberer calls the program at a time, with a home that may not be there.
type rememberer struct {
	t    *testing.T
	now  time.Time
	said string // on standard error
}

func (r *rememberer) call(code int, args ...string) []byte {
	r.t.Helper()
	var out, errs bytes.Buffer
	a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: func() time.Time { return r.now }}
	if got := a.run(args); got != code {
		r.t.Fatalf("%v: exit code %d, expected %d: %s%s", args, got, code, out.String(), errs.String())
	}
	r.said = errs.String()
	return out.Bytes()
}

// memory gives what home remembers, by file.
func (r *rememberer) memory() map[string]string {
	r.t.Helper()
	files, err := filepath.Glob("home/endorsements/seen/*")
	if err != nil {
		r.t.Fatal(err)
	}
	seen := map[string]string{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			r.t.Fatal(err)
		}
		seen[filepath.Base(f)] = string(data)
	}
	return seen
}

// newRememberer stands in a new directory without a home, and gives a genuine quote and all the
// collateral it needs, for July 2025.
func newRememberer(t *testing.T) (r *rememberer, quote, collateral string) {
	sample := filepath.Join(evidencetest.Dir(t), "tdx", "Phala-Network+dcap-qvl", "sample")
	sample, err := filepath.Abs(sample)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("STRONGROOM_HOME", "home")
	return &rememberer{t: t, now: time.Date(2025, 7, 1, 12, 0, 0, 0, time.UTC)}, filepath.Join(sample, "tdx_quote"), filepath.Join(sample, "tdx_quote_collateral.json")
}

// TestVerifyRemembers: what genuine evidence was judged by is remembered, and an older version is
// refused from then on; but not as of another time, nor without a home.
func TestVerifyRemembers(t *testing.T) {
	r, quote, collateral := newRememberer(t)
	verify := []string{"verify", quote, "--insecure-any-nonce", "--output", "json", "--endorsements", collateral}
	r.call(0, verify...)
	if _, err := os.Stat("home"); err == nil || !strings.Contains(r.said, "without a home nothing is remembered") {
		t.Errorf("a stranger: %v, %q", err, r.said)
	}
	if err := os.Mkdir("home", 0o700); err != nil {
		t.Fatal(err)
	}
	r.call(0, append(verify, "--at", "2025-07-01")...)
	if m := r.memory(); len(m) != 0 || r.said != "" {
		t.Errorf("as of a time: remembered %v, %q", m, r.said)
	}
	r.call(0, verify...)
	seen := r.memory()
	kinds := map[string]int{}
	for name := range seen {
		kinds[name[:strings.LastIndex(name, "-")]]++
	}
	if !maps.Equal(kinds, map[string]int{"x509-crl": 2, "intel-tcb-info": 1, "intel-qe-identity": 1}) || r.said != "" {
		t.Errorf("remembered %v, %q", seen, r.said)
	}
	r.call(0, verify...)
	if !maps.Equal(seen, r.memory()) {
		t.Error("the same endorsements again changed the memory")
	}

	// Somewhere, something newer was used.
	name := slices.Sorted(maps.Keys(seen))[1] // the TCB information
	newer := strings.Replace(seen[name], `"issued":"2025-06`, `"issued":"2025-07`, 1)
	if newer == seen[name] {
		t.Fatal(newer)
	}
	if err := os.WriteFile(filepath.Join("home/endorsements/seen", name), []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	var result appraise.Result
	if err := json.Unmarshal(r.call(3, verify...), &result); err != nil {
		t.Fatal(err)
	}
	if f := result.Failed(); result.Verdict != attest.Contraindicated || len(f) != 1 || f[0].ID != "endorsements.rollback" || len(result.Claims) == 0 ||
		!strings.Contains(f[0].Expected, "2025-07") || !strings.Contains(f[0].Got, "2025-06") || f[0].Fix == "" {
		t.Errorf("%+v", f)
	}
	seen[name] = newer
	if !maps.Equal(seen, r.memory()) {
		t.Error("what was refused changed the memory")
	}
	r.call(0, append(verify, "--at", "2025-07-01")...)
	if !maps.Equal(seen, r.memory()) {
		t.Error("judging as of a time changed the memory")
	}

	// A memory that can't be read is no empty one, and one that can't be written is an error.
	if err := os.WriteFile(filepath.Join("home/endorsements/seen", name), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.call(1, verify...)
	if err := os.RemoveAll("home/endorsements/seen"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("home/endorsements/seen", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := r.call(1, verify...); bytes.Contains(out, []byte(`"verdict"`)) {
		t.Errorf("a verdict that nothing is remembered of: %s", out)
	}
	r.call(0, append(verify, "--at", "2025-07-01")...)
}

// TestVerifyRemembersBundles: of a signer's bundles of one name only the newest is used.
func TestVerifyRemembersBundles(t *testing.T) {
	r, quote, collateral := newRememberer(t)
	if err := os.Mkdir("home", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"packer.key", "other.key"} {
		r.call(0, "keygen", "--purpose", "signing", "-o", key)
	}
	pack := func(out, key string, more ...string) {
		r.now = r.now.Add(time.Hour)
		r.call(0, append([]string{"endorsements", "pack", collateral, "-o", out, "--key", key}, more...)...)
	}
	verify := func(code int, bundles ...string) string {
		t.Helper()
		args := []string{"verify", quote, "--insecure-any-nonce", "--endorsements-key", "packer.key", "--endorsements-key", "other.key"}
		for _, b := range bundles {
			args = append(args, "--endorsements", b)
		}
		r.call(code, args...)
		return r.said
	}
	pack("named", "packer.key", "--name", "intel")
	pack("other", "other.key")
	pack("old", "packer.key")
	old := r.now
	pack("new", "packer.key")
	verify(0, "old")
	if said := verify(0, "old", "new"); strings.Count(said, "left aside") != 1 || !strings.HasPrefix(said, "old of ") {
		t.Errorf("two of one signer: %q", said)
	}
	seen := r.memory()
	said := verify(3, "old")
	for _, part := range []string{"old: endorsements.rollback: ", "2025-07-01T15:00:00Z", "2025-07-01T16:00:00Z", "--at TIME"} {
		if !strings.Contains(said, part) {
			t.Errorf("%q lacks %q", said, part)
		}
	}
	if !maps.Equal(seen, r.memory()) {
		t.Error("what was refused changed the memory")
	}
	verify(3, "old", "other")
	if said := verify(0, "new", "other", "named"); said != "" {
		t.Errorf("bundles of several lines: %q", said)
	}
	if n := len(r.memory()) - len(seen); n != 2 {
		t.Errorf("%d more are remembered, expected 2", n)
	}
	verify(0, "old", "new")
	r.call(0, "verify", quote, "--insecure-any-nonce", "--endorsements-key", "packer.key", "--endorsements", "old", "--at", old.Format(time.RFC3339))
	r.call(2, "endorsements", "pack", collateral, "-o", "bad", "--key", "packer.key", "--name", "Intel!")
	if text := string(r.call(0, "endorsements", "show", "named", "old", "new")); strings.Count(text, "bundle ") != 3 || !strings.Contains(text, "bundle named (intel) from") {
		t.Error(text)
	}
}

// TestWatchRemembers: rooms are judged with the same memory as by verify.
func TestWatchRemembers(t *testing.T) {
	r, quote, collateral := newRememberer(t)
	if err := os.Mkdir("home", 0o700); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(quote)
	if err == nil {
		err = os.WriteFile("fleet.yaml", []byte("every_seconds: 60\ntargets:\n- name: vault\n  url: http://127.0.0.1:1/?nonce={nonce}\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &app{homeDir: "home", err: io.Discard, now: func() time.Time { return r.now }}
	cfg, err := a.watchConfig(watchFlags{fleet: "fleet.yaml", dir: "w", endorsements: endorsementFlags{paths: []string{collateral}}})
	if err != nil {
		t.Fatal(err)
	}
	rollback := func(result appraise.Result) (found, ok bool) {
		for _, c := range result.Checks {
			if c.ID == "endorsements.rollback" {
				return true, c.OK
			}
		}
		return false, false
	}
	if found, ok := rollback(cfg.Judge(cfg.Fleet.Targets[0], data, nil, r.now)); !found || !ok || len(r.memory()) != 4 {
		t.Errorf("the first time: %v, %v, remembered %v", found, ok, r.memory())
	}
	for name, text := range r.memory() {
		if err := os.WriteFile(filepath.Join("home/endorsements/seen", name), []byte(strings.Replace(text, `"issued":"2025-0`, `"issued":"2026-0`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found, ok := rollback(cfg.Judge(cfg.Fleet.Targets[0], data, nil, r.now)); !found || ok {
		t.Errorf("older ones: %v, %v", found, ok)
	}
}

// bundleOf writes a bundle that holds nothing but a key, as packed at a time, and gives its signer.
func bundleOf(t *testing.T, file, signer string, created time.Time) string {
	t.Helper()
	seed := wire.SHA256("strongroom/test/key", []byte(signer))
	key, err := keys.ParseSigningKey("STRONGROOM-SIGNING-KEY-1:ed25519:" + base64.StdEncoding.EncodeToString(seed[:]) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(seed[:]).Public())
	if err != nil {
		t.Fatal(err)
	}
	b := endorse.Bundle{Created: wire.At(created), Expires: wire.At(created.AddDate(0, 1, 0)), Items: []endorse.Item{{Kind: endorse.PublicKey, Name: "pinned", Data: pinned}}}
	doc, err := b.Document()
	if err == nil {
		err = doc.Sign(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := doc.Encode()
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key.Public().String()
}

// TestServiceNeverGoesBack: a running service keeps the newer bundle, and does not start with the
// older one.
func TestServiceNeverGoesBack(t *testing.T) {
	t.Chdir(t.TempDir())
	now := time.Now()
	key := bundleOf(t, "b", "packer", now.Add(-time.Hour))
	args := []string{"--endorsements", "b", "--endorsements-key", key}
	p := startAttestation(t, "dir", args...)
	hup := func(part string) {
		t.Helper()
		before := p.stderr.String()
		if err := p.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if said := p.stderr.String()[len(before):]; strings.Contains(said, part) {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("never said %q: %s", part, p.stderr.String()[len(before):])
	}
	bundleOf(t, "b", "packer", now.Add(-2*time.Hour))
	hup("stay as they were: endorsements.rollback: ")
	bundleOf(t, "b", "packer", now.Add(-time.Minute))
	hup("1 endorsements read")
	p.stop(t)
	bundleOf(t, "b", "packer", now.Add(-time.Hour))
	e := failing(t, 3, append([]string{"serve", "--dir", "dir", "--listen", "127.0.0.1:0"}, args...)...)
	if e.Check != "endorsements.rollback" || !strings.Contains(e.Expected, wire.At(now.Add(-time.Minute)).String()) || !strings.Contains(e.Got, wire.At(now.Add(-time.Hour)).String()) || e.Fix == "" {
		t.Errorf("%+v", e)
	}
	bundleOf(t, "b", "packer", now.Add(-time.Minute))
	startAttestation(t, "dir", args...).stop(t)
}
