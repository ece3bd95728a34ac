package volume_test

import (
	"bytes"
	"strings"
	"testing"

	"strongroom.dev/keys"
	"strongroom.dev/workload/container/volume"
)

func key(t testing.TB, b byte) *keys.Secret {
	t.Helper()
	k, err := keys.NewSecret(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// state5 is generation 5 under the key of ones: see spec/container.md, section 5.2.
const state5 = `{"generation":5,"mac":"sha256:0358e764479812e4a72e5fb3b6e861f3ac95b2ec4d6260722c6a3c7da480d550","version":"strongroom/volume/v1"}`

func TestState(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":            "",
		"another generation": strings.Replace(state5, ":5,", ":6,", 1),
		"another mac":        strings.Replace(state5, "sha256:", "sha256:f", 1),
		"another version":    strings.Replace(state5, "/v1", "/v2", 1),
		"not canonical":      strings.Replace(state5, ",", ", ", 1),
		"a member more":      strings.Replace(state5, `,"mac"`, `,"a":1,"mac"`, 1),
	} {
		if _, err := volume.ReadState(key(t, 1), []byte(text)); err == nil || !strings.Contains(err.Error(), "volume.state") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := volume.ReadState(key(t, 2), []byte(state5)); err == nil {
		t.Error("a state under another key was read")
	}
	if g, err := volume.ReadState(key(t, 1), []byte(state5)); err != nil || g != 5 {
		t.Errorf("generation %d, %v", g, err)
	}
	if text, err := volume.NewState(key(t, 1), 5); err != nil || string(text) != state5 {
		t.Errorf("written %s, %v", text, err)
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(state5))
	k := key(f, 1)
	f.Fuzz(func(t *testing.T, data []byte) {
		if g, err := volume.ReadState(k, data); err == nil && (g != 5 || string(data) != state5) {
			t.Fatalf("%s is generation %d", data, g)
		}
	})
}
