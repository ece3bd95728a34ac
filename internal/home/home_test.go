package home_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/release/file"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var now = time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)

func setup(name wire.ID, data bool) home.Setup {
	s := home.Setup{Name: name, Title: "Party " + string(name), Domain: string(name) + ".example", Data: data, Years: 5}
	if data {
		s.BrokerAddress, s.Operator = home.DefaultBroker, home.DefaultOperator
	}
	return s
}

func newParty(t *testing.T, s home.Setup) (*home.Home, *agreement.SignedParty) {
	t.Helper()
	h, p, err := home.Init(filepath.Join(t.TempDir(), "home"), s, now)
	if err != nil {
		t.Fatal(err)
	}
	return h, p
}

// wants checks that err is about the check, of the kind.
func wants(t *testing.T, err error, kind verdict.Kind, check string) {
	t.Helper()
	var e *verdict.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Check != check {
		t.Errorf("error %v, expected kind %v of check %s", err, kind, check)
	} else if e.Expected == "" || e.Got == "" || e.Fix == "" || strings.Contains(e.Error(), "\n") {
		t.Errorf("error does not say everything on one line: %q", e)
	}
}

// contents maps every file of a home to its bytes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := home.Open(filepath.Join(dir, "none"))
	wants(t, err, verdict.Usage, "home")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = home.Open(file)
	wants(t, err, verdict.Usage, "home")
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = home.Open(open)
	wants(t, err, verdict.Refused, "home.permissions")
}

func TestInitMakesAWholeParty(t *testing.T) {
	h, p := newParty(t, setup("alpha", true))
	got, err := h.Descriptor()
	if err != nil || got.Digest() != p.Digest() {
		t.Fatalf("descriptor %v, %v", got, err)
	}
	signing, err := h.SigningKey()
	if err != nil || signing.Public() != p.Keys[0].Public {
		t.Errorf("signing key: %v", err)
	}
	release, err := h.ReleaseKey()
	if err != nil || release.Public() != p.Broker.ReleaseKey {
		t.Errorf("release key: %v", err)
	}
	result, err := h.ResultIdentity()
	if err != nil || result.Recipient().String() != p.Results[0] {
		t.Errorf("result identity: %v", err)
	}
	data, err := h.DataIdentity()
	if err != nil || data.Recipient().String() != p.Broker.Data[0] {
		t.Errorf("data identity: %v", err)
	}
	if _, err := h.LogKey(); err != nil {
		t.Error(err)
	}
	if _, err := h.BrokerSecret(); err != nil {
		t.Error(err)
	}
	for path := range contents(t, h.Dir()) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, expected 0600", path, info.Mode())
		}
	}
}

func TestInitRefusesAndChangesNothing(t *testing.T) {
	h, _ := newParty(t, setup("alpha", true))
	before := contents(t, h.Dir())
	_, _, err := home.Init(h.Dir(), setup("beta", true), now)
	wants(t, err, verdict.Usage, "home.party")
	if diff := cmp.Diff(before, contents(t, h.Dir())); diff != "" {
		t.Error(diff)
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	for _, s := range []home.Setup{setup("No Name", false), {Name: "alpha", Years: 5}, {Name: "alpha", Title: "A", Years: 11}, {Name: "alpha", Title: "A", Years: 5, Threshold: 2}} {
		if _, _, err := home.Init(fresh, s, now); verdict.Exit(err) != int(verdict.Usage) {
			t.Errorf("%+v: %v, expected a wrong call", s, err)
		}
	}
	if _, err := os.Lstat(fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused init left %s", fresh)
	}
}

// A crash after the keys and before the descriptor must not cost the keys, nor leave a
// home that can't be completed.
func TestInitGoesOnAfterACrash(t *testing.T) {
	h, p := newParty(t, setup("alpha", true))
	if err := os.Remove(h.Path("party.json")); err != nil {
		t.Fatal(err)
	}
	_, again, err := home.Init(h.Dir(), setup("alpha", true), now)
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest() != p.Digest() {
		t.Error("the second try made other keys")
	}
}

func TestKeysThatOthersCanRead(t *testing.T) {
	h, _ := newParty(t, setup("alpha", true))
	loads := map[string]func() error{
		"signing.key":   func() error { _, err := h.SigningKey(); return err },
		"release.key":   func() error { _, err := h.ReleaseKey(); return err },
		"result.key":    func() error { _, err := h.ResultIdentity(); return err },
		"data.key":      func() error { _, err := h.DataIdentity(); return err },
		"log.key":       func() error { _, err := h.LogKey(); return err },
		"broker.secret": func() error { _, err := h.BrokerSecret(); return err },
	}
	for name, load := range loads {
		path := h.Path("keys", name)
		for _, mode := range []fs.FileMode{0o640, 0o604} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			wants(t, load(), verdict.Refused, "home.permissions")
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		secret, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, secret[:len(secret)/3], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := load(); err == nil && name != "log.key" { // its form is for the log to judge
			t.Errorf("%s cut off was accepted", name)
		} else if err != nil && strings.Contains(err.Error(), string(secret[40:60])) {
			t.Errorf("%s: the error quotes the key: %v", name, err)
		}
	}
}

func TestPurposesAreNotExchanged(t *testing.T) {
	h, _ := newParty(t, setup("alpha", true))
	if err := os.Rename(h.Path("keys", "data.key"), h.Path("keys", "result.key")); err != nil {
		t.Fatal(err)
	}
	_, err := h.ResultIdentity()
	wants(t, err, verdict.Refused, "identity.purpose")
}

func TestPartyWithoutData(t *testing.T) {
	h, p := newParty(t, setup("carol", false))
	if p.Broker != nil {
		t.Error("has a broker")
	}
	_, err := h.ReleaseKey()
	wants(t, err, verdict.Usage, "home.key")
	_, err = h.DataIdentity()
	wants(t, err, verdict.Usage, "home.key")
}

func TestDevRoot(t *testing.T) {
	h, err := home.Create(filepath.Join(t.TempDir(), "host"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.DevRoot(false)
	wants(t, err, verdict.Usage, "home.key")
	root, err := h.DevRoot(true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.DevRoot(true)
	if err != nil || again.Public() != root.Public() {
		t.Errorf("second root %v, %v", again, err)
	}
}

func TestPin(t *testing.T) {
	h, own := newParty(t, setup("alpha", true))
	_, beta := newParty(t, setup("beta", true))
	_, err := h.Pin(beta, "", "", now)
	wants(t, err, verdict.Usage, "party.checked")
	_, err = h.Pin(beta, "", "two\nlines", now)
	wants(t, err, verdict.Usage, "party.note")
	_, err = h.Pin(own, "", "it is me", now)
	wants(t, err, verdict.Refused, "party.name")
	_, _, err = h.Party(beta.Digest())
	wants(t, err, verdict.Refused, "party.pinned")

	e, err := h.Pin(beta, "the clinic", "on the phone", now)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"beta", "the clinic", beta.Digest().String(), beta.Digest().Short()} {
		if got, err := h.Lookup(text); err != nil || got.Party.Digest() != beta.Digest() || got.Checked != e.Checked {
			t.Errorf("lookup of %q: %+v, %v", text, got, err)
		}
	}
	_, err = h.Lookup("be")
	wants(t, err, verdict.Usage, "party.pinned")
	_, err = h.Pin(beta, "", "again", now)
	wants(t, err, verdict.Usage, "party.pinned")

	_, impostor := newParty(t, setup("beta", true))
	_, err = h.Pin(impostor, "", "mail", now)
	wants(t, err, verdict.Refused, "party.chain")
	_, gamma := newParty(t, setup("gamma", true))
	for _, label := range []string{"the clinic", "beta", "you", "you (alpha)"} {
		_, err = h.Pin(gamma, label, "mail", now)
		wants(t, err, verdict.Usage, "party.label")
	}
	_, clinic := newParty(t, setup("clinic", true))
	if e, err := h.Pin(clinic, "", "mail", now); err != nil || e.Label != "clinic (its own name)" {
		t.Errorf("a label that the reader did not choose: %q, %v", e.Label, err)
	}
	if _, err := h.Pin(gamma, "delta", "mail", now); err != nil {
		t.Error(err)
	}
	_, delta := newParty(t, setup("delta", true))
	_, err = h.Pin(delta, "", "mail", now) // a name that is the reader's label for another
	wants(t, err, verdict.Usage, "party.label")
	_, late := newParty(t, setup("late", true))
	if _, err = h.Pin(late, "", "mail", now.AddDate(6, 0, 0)); verdict.Exit(err) != int(verdict.Refused) {
		t.Errorf("keys that are over: %v", err)
	}
	late.Document.Signatures[0].Signature[0] ^= 1
	if _, err = h.Pin(late, "", "mail", now); verdict.Exit(err) != int(verdict.Invalid) {
		t.Errorf("a changed signature: %v", err)
	}
	if book, err := h.Book(); err != nil || len(book) != 3 {
		t.Errorf("book %v, %v: expected beta, clinic and gamma alone", book, err)
	}
}

func TestRevoke(t *testing.T) {
	h, _ := newParty(t, setup("alpha", true))
	_, beta := newParty(t, setup("beta", true))
	if _, err := h.Pin(beta, "", "phone", now); err != nil {
		t.Fatal(err)
	}
	_, err := h.Revoke("nobody", false, now)
	wants(t, err, verdict.Usage, "party.pinned")
	got, err := h.Revoke("beta", false, now)
	if err != nil || len(got) != 1 || got[0] != beta.Digest() {
		t.Fatalf("revoked %v, %v", got, err)
	}
	_, err = h.Lookup("beta")
	wants(t, err, verdict.Refused, "party.revoked")
	_, _, err = h.Party(beta.Digest())
	wants(t, err, verdict.Refused, "party.revoked")
	_, err = h.Pin(beta, "", "phone again", now)
	wants(t, err, verdict.Refused, "party.revoked")
	_, err = h.Revoke("beta", false, now)
	wants(t, err, verdict.Usage, "party.revoked")
	if got, err = h.Revoke("beta", true, now); err != nil || len(got) != 1 {
		t.Errorf("again: %v, %v", got, err)
	}
}

func TestUpdateChains(t *testing.T) {
	h, first := newParty(t, setup("alpha", true))
	reader, _ := newParty(t, setup("carol", false))
	if _, err := reader.Pin(first, "", "phone", now); err != nil {
		t.Fatal(err)
	}
	_, err := h.Update(home.Change{Years: 5}, now)
	wants(t, err, verdict.Usage, "party.change")
	_, err = h.Update(home.Change{Years: 5, Remove: []string{"000000000000"}}, now)
	wants(t, err, verdict.Usage, "party.key")

	officer, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.Update(home.Change{Years: 5, NewSigning: true, NewResult: true, NewData: true, Add: []*keys.SigningKey{officer}, Threshold: 2}, now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := h.SigningKey()
	if err != nil || key.Public() == first.Keys[0].Public {
		t.Errorf("signing key was not replaced: %v", err)
	}
	for _, ids := range []int{lenOf(h.ResultIdentities()), lenOf(h.DataIdentities())} {
		if ids != 2 {
			t.Errorf("%d identities, expected the old and the new", ids)
		}
	}
	title := "Alpha"
	before := contents(t, h.Dir())
	_, err = h.Update(home.Change{Years: 5, Title: &title}, now)
	wants(t, err, verdict.Refused, "party.signatures")
	if diff := cmp.Diff(before, contents(t, h.Dir())); diff != "" {
		t.Errorf("a refused update changed something: %s", diff)
	}
	third, err := h.Update(home.Change{Years: 5, Title: &title, Cosign: []*keys.SigningKey{officer}}, now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = reader.Pin(third, "", "phone", now)
	wants(t, err, verdict.Refused, "party.chain")
	for _, p := range []*agreement.SignedParty{second, third} {
		if _, err := reader.Pin(p, "", "followed", now); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := reader.Lookup("alpha"); err != nil || e.Party.Version != 3 {
		t.Errorf("latest %v, %v", e, err)
	}
	if versions, err := h.Versions(); err != nil || len(versions) != 3 {
		t.Errorf("%d versions kept, %v", len(versions), err)
	}
	if _, label, err := h.Party(first.Digest()); err != nil || label != "you (alpha)" {
		t.Errorf("own old version: %q, %v", label, err)
	}
}

func lenOf[T any](list []T, err error) int {
	if err != nil {
		return -1
	}
	return len(list)
}

func TestStatementsAreWrittenOnce(t *testing.T) {
	h, p := newParty(t, setup("alpha", true))
	key, err := h.SigningKey()
	if err != nil {
		t.Fatal(err)
	}
	var last *agreement.SignedDataset
	for range 2 {
		d := agreement.Dataset{Owner: p.Name, Dataset: "patients", Version: 1, Header: wire.HashOf([]byte("h")), Root: wire.HashOf([]byte("r")),
			Size: 400, Recipients: 1, Format: agreement.CSV, Schema: wire.HashOf([]byte("s")), Created: wire.At(now)}
		if last != nil {
			before := last.Digest()
			d.Version, d.Supersedes = 2, &before
		}
		if last, err = agreement.NewDataset(d); err != nil {
			t.Fatal(err)
		}
		if err := last.Document.Sign(key); err != nil {
			t.Fatal(err)
		}
		if err := h.SaveStatement(last); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, h.SaveStatement(last), verdict.Refused, "dataset.version")
	list, err := h.Statements("patients")
	if err != nil || len(list) != 2 || list[1].Digest() != last.Digest() {
		t.Errorf("%d statements, %v", len(list), err)
	}
	if names, err := h.Datasets(); err != nil || len(names) != 1 || names[0] != "patients" {
		t.Errorf("datasets %v, %v", names, err)
	}
}

func TestDamagedFilesAreNotTrusted(t *testing.T) {
	h, _ := newParty(t, setup("alpha", true))
	_, beta := newParty(t, setup("beta", true))
	_, gamma := newParty(t, setup("gamma", true))
	for _, p := range []*agreement.SignedParty{beta, gamma} {
		if _, err := h.Pin(p, "", "phone", now); err != nil {
			t.Fatal(err)
		}
	}
	// One pinned party's entry put under the digest of another.
	names, err := filepath.Glob(h.Path("book", "*.json"))
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(names[1], data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = h.Book()
	wants(t, err, verdict.Broken, "home.file")
	if err := os.WriteFile(h.Path("party.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = h.Descriptor()
	wants(t, err, verdict.Broken, "home.file")
}

func TestOneWriter(t *testing.T) {
	h, _ := newParty(t, setup("alpha", true))
	unlock, err := h.LockDataset("patients")
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.LockDataset("patients")
	wants(t, err, verdict.Broken, "home.lock")
	other, err := h.LockDataset("other")
	if err != nil {
		t.Fatal(err)
	}
	other()
	unlock()
	if unlock, err = h.LockDataset("patients"); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestLoadSigningKey(t *testing.T) {
	dir := t.TempDir()
	key, err := keys.GenerateSigningKey(keys.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	text, err := home.SigningKeyFile(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "officer.key")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := home.LoadSigningKey(path); err != nil || got.Public() != key.Public() {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = home.LoadSigningKey(path)
	wants(t, err, verdict.Refused, "home.permissions")
	for _, path := range []string{dir, filepath.Join(dir, "none")} {
		_, err = home.LoadSigningKey(path)
		wants(t, err, verdict.Usage, "key")
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = home.LoadSigningKey(empty)
	wants(t, err, verdict.Usage, "key")
}

// The broker's key store reads the same directory.
func TestKeyStoreReadsTheKeys(t *testing.T) {
	h, p := newParty(t, setup("alpha", true))
	if _, err := h.Update(home.Change{Years: 5, NewData: true}, now); err != nil {
		t.Fatal(err)
	}
	store, err := file.Open(h.Path("keys"))
	if err != nil {
		t.Fatal(err)
	}
	if got := store.ReleaseKey().Public(); got != p.Broker.ReleaseKey {
		t.Errorf("release key %v", got)
	}
}

// An entry that is read is written back with the same meaning.
func FuzzEntry(f *testing.F) {
	h, err := home.Create(filepath.Join(f.TempDir(), "home"))
	if err != nil {
		f.Fatal(err)
	}
	_, p, err := home.Init(filepath.Join(f.TempDir(), "beta"), setup("beta", true), now)
	if err != nil {
		f.Fatal(err)
	}
	e, err := h.Pin(p, "", "phone", now)
	if err != nil {
		f.Fatal(err)
	}
	data, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"descriptor":{},"label":"","checked":"","added":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := home.ParseEntry(data)
		if err != nil {
			return
		}
		back, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := home.ParseEntry(back)
		if err != nil || again.Party.Digest() != e.Party.Digest() || again.Label != e.Label || again.Checked != e.Checked || again.Added != e.Added {
			t.Fatalf("%+v became %+v, %v", e, again, err)
		}
	})
}
