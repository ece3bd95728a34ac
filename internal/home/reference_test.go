package home_test

import (
	"os"
	"testing"
	"time"

	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func referenceName(version, security int64, digest byte) reference.Name {
	return reference.Name{Product: "room", Version: version, SecurityVersion: security, Digest: wire.Digest{digest}}
}

func TestReferencesNeverGoBack(t *testing.T) {
	h, err := home.Create(t.TempDir() + "/h")
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := h.SeenReferences(); err != nil || len(seen) != 0 {
		t.Fatal(seen, err)
	}
	for _, c := range []struct {
		version, security int64
		digest            byte
		ok                bool
	}{{7, 3, 1, true}, {7, 3, 1, true}, {7, 3, 2, false}, {6, 3, 1, false}, {8, 2, 1, false}, {8, 3, 1, true}, {7, 3, 1, false}} {
		n := referenceName(c.version, c.security, c.digest)
		if err := h.SawReference(n); (err == nil) != c.ok || err != nil && verdict.As(err).Kind != verdict.Refused {
			t.Errorf("%+v: %v", c, err)
		}
		if seen, err := h.SeenReferences(); err != nil || c.ok != (seen["room"] == n) {
			t.Errorf("%+v: seen %v, %v", c, seen, err)
		}
	}
	if err := h.AddReference(referenceName(7, 3, 1), []byte("{}")); err == nil {
		t.Error("kept an older set")
	}
	if sets, err := h.References(); err != nil || len(sets) != 0 {
		t.Error(sets, err)
	}
}

func TestReferencesAreKept(t *testing.T) {
	h, err := home.Create(t.TempDir() + "/h")
	if err != nil {
		t.Fatal(err)
	}
	v := reference.Values{Product: "room", Version: 9, SecurityVersion: 3, Created: wire.At(time.Unix(1, 0)), Expires: wire.At(time.Unix(2, 0)),
		Groups: []reference.Group{{Name: "a", Platform: "snp", Measurements: map[string]string{"m": "aa"}}}}
	doc, err := keys.NewDocument(reference.Type, v)
	if err != nil {
		t.Fatal(err)
	}
	data, err := doc.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.AddReference(referenceName(9, 3, 1), data); err != nil {
		t.Fatal(err)
	}
	if sets, err := h.References(); err != nil || len(sets) != 1 || string(sets[0]) != string(data) {
		t.Error(sets, err)
	}
	for _, path := range []string{h.Path("reference/seen/room.json"), h.Path("reference/sets/room.json")} {
		if err := os.WriteFile(path, []byte(`{"product":"else","version":1,"security_version":1,"digest":"x"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.SeenReferences(); err == nil || verdict.As(err).Check != "home.file" {
		t.Error(err)
	}
	if _, err := h.References(); err == nil || verdict.As(err).Check != "home.file" {
		t.Error(err)
	}
	if err := h.SawReference(referenceName(10, 3, 1)); err == nil {
		t.Error("a damaged memory is no memory")
	}
}
