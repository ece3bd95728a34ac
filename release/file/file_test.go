package file_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release/file"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

// house is a directory of keys, and what they are.
type house struct {
	dir     string
	secrets []string // what must never be printed
	data    *seal.Identity
	older   *seal.Identity
	signing *keys.SigningKey
	secret  *keys.Secret
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{dir: t.TempDir()}
	h.data, h.older = identity(t, seal.Data), identity(t, seal.Data)
	var err error
	if h.signing, err = keys.GenerateSigningKey(keys.Ed25519); err != nil {
		t.Fatal(err)
	}
	signing, err := h.signing.MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	log, _, err := ledger.GenerateKey("log.example")
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "data.key", text(t, h.data))
	h.write(t, "data-1.key", text(t, h.older))
	h.write(t, "release.key", signing+"\n")
	h.write(t, "log.key", "# the log's\n"+log+"\n")
	h.secret = keys.GenerateSecret()
	h.write(t, "broker.secret", hex.EncodeToString(h.secret.MarshalSecret())+"\n")
	return h
}

func identity(t *testing.T, p seal.Purpose) *seal.Identity {
	t.Helper()
	id, err := seal.GenerateIdentity(p)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func text(t *testing.T, id *seal.Identity) string {
	t.Helper()
	s, err := id.MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *house) write(t *testing.T, name, content string) {
	t.Helper()
	h.secrets = append(h.secrets, strings.TrimSpace(content))
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func sealedTo(t *testing.T, id *seal.Identity) []byte {
	t.Helper()
	var sealed bytes.Buffer
	if _, err := seal.Seal(&sealed, strings.NewReader("data"), []seal.Recipient{id.Recipient()}, seal.Options{}); err != nil {
		t.Fatal(err)
	}
	header, err := seal.ReadHeader(&sealed)
	if err != nil {
		t.Fatal(err)
	}
	return header
}

func TestStore(t *testing.T) {
	h := newHouse(t)
	s, err := file.Open(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]*seal.Identity{"current": h.data, "replaced": h.older} {
		key, err := s.Unwrap(sealedTo(t, id))
		if err != nil {
			t.Errorf("%s identity: %v", name, err)
		}
		key.Wipe()
	}
	if s.ReleaseKey().Public() != h.signing.Public() || s.LogKey().Origin() != "log.example" || s.Secret().MAC("x") != h.secret.MAC("x") {
		t.Error("another key than in the files")
	}
	_, err = s.Unwrap(sealedTo(t, identity(t, seal.Data)))
	var e *verdict.Error
	if !errors.As(err, &e) || e.Check != "sealed.recipient" {
		t.Errorf("a stranger's file: %v", err)
	}
	if _, err := s.Unwrap([]byte("no header")); err == nil {
		t.Error("unwrapped junk")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if got := fmt.Sprintf(verb, s); got != "key store (redacted)" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func TestOpenRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		kind verdict.Kind
		harm func(*testing.T, *house)
	}{
		{"no data identity", verdict.Broken, func(t *testing.T, h *house) { os.Remove(filepath.Join(h.dir, "data.key")) }},
		{"no release key", verdict.Broken, func(t *testing.T, h *house) { os.Remove(filepath.Join(h.dir, "release.key")) }},
		{"no secret", verdict.Broken, func(t *testing.T, h *house) { os.Remove(filepath.Join(h.dir, "broker.secret")) }},
		{"no log key", verdict.Broken, func(t *testing.T, h *house) { os.Remove(filepath.Join(h.dir, "log.key")) }},
		{"a result identity", verdict.Broken, func(t *testing.T, h *house) { h.write(t, "data.key", text(t, identity(t, seal.Result))) }},
		{"a replaced identity that is damaged", verdict.Broken, func(t *testing.T, h *house) { h.write(t, "data-1.key", "AGE-SECRET-KEY-PLANTED") }},
		{"a short secret", verdict.Broken, func(t *testing.T, h *house) { h.write(t, "broker.secret", "0123456789abcdef") }},
		{"a secret that is not hex", verdict.Broken, func(t *testing.T, h *house) { h.write(t, "broker.secret", strings.Repeat("secret!!", 8)) }},
		{"keys swapped", verdict.Broken, func(t *testing.T, h *house) {
			os.Rename(filepath.Join(h.dir, "log.key"), filepath.Join(h.dir, "release.key"))
			h.write(t, "log.key", "PRIVATE+KEY+x")
		}},
		{"a file without end", verdict.Broken, func(t *testing.T, h *house) { h.write(t, "release.key", strings.Repeat("#\n", 100_000)) }},
		{"a file others can read", verdict.Refused, func(t *testing.T, h *house) {
			if runtime.GOOS == "windows" {
				t.Skip("no such modes")
			}
			if err := os.Chmod(filepath.Join(h.dir, "release.key"), 0o640); err != nil {
				t.Fatal(err)
			}
		}},
		{"a directory", verdict.Refused, func(t *testing.T, h *house) {
			os.Remove(filepath.Join(h.dir, "log.key"))
			if err := os.Mkdir(filepath.Join(h.dir, "log.key"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			c.harm(t, h)
			_, err := file.Open(h.dir)
			var e *verdict.Error
			if !errors.As(err, &e) || e.Kind != c.kind || e.Check != "broker.keys" || e.Where == "" {
				t.Fatalf("got %v", err)
			}
			for _, secret := range h.secrets {
				if last := secret[len(secret)-8:]; last != "#\n#\n#\n#" && strings.Contains(err.Error(), last) {
					t.Errorf("the error quotes a key: %v", err)
				}
			}
		})
	}
}
