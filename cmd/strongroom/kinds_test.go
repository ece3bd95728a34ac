package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// TestWrongCommand: who gives a file of ours to the wrong command is told which is the right one.
func TestWrongCommand(t *testing.T) {
	var study struct {
		Agreement json.RawMessage `json:"agreement"`
	}
	var vector struct {
		Bundle json.RawMessage `json:"bundle"`
	}
	for file, v := range map[string]any{"study.json": &study, "../../../spec/vectors/proof/proven.json": &vector} {
		data, err := os.ReadFile(filepath.Join(recordedBoots, file))
		if err == nil {
			err = json.Unmarshal(data, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(t.TempDir())
	if err := os.Mkdir("room", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"x.proof": vector.Bundle, "study.json": study.Agreement, "x.age": []byte("age-encryption.org/v1\n-> X"), "room/image.json": []byte("{}"), "junk": []byte(`{"type": "strongroom/none/v1"}`)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{4, "got a result's proof (strongroom receipt verify x.proof", []string{"verify", "x.proof"}},
		{4, "got an agreement (strongroom agreement check study.json", []string{"verify", "study.json"}},
		{4, "got a sealed file (strongroom open x.age", []string{"verify", "x.age"}},
		{4, "got a form that none of them knows", []string{"verify", "junk"}},
		{2, "got the directory of a room image (strongroom image show room", []string{"verify", "room"}},
		{2, "got the directory of a room image (strongroom image show room", []string{"inspect", "room"}},
		{4, "got an agreement (strongroom agreement check study.json", []string{"receipt", "verify", "study.json"}},
		{4, "got an agreement (strongroom agreement check study.json", []string{"receipt", "evidence", "study.json", "-o", "e"}},
		{4, `got type "strongroom/none/v1"`, []string{"receipt", "verify", "junk"}},
		{2, "x.proof: agreement.form: expected an agreement, got a result's proof", []string{"agreement", "show", "x.proof"}},
		{2, "study.json: party.form: expected a party descriptor, got an agreement", []string{"receipt", "verify", "x.proof", "--party", "study.json"}},
		{2, "--listen: expected a free address of this machine, got address 77777: invalid port", []string{"endorsements", "serve", "--dir", ".", "--listen", "127.0.0.1:77777"}},
	} {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &errs, now: time.Now}
		if code := a.run(append(c.args, "--home", "none")); code != c.code || !strings.Contains(errs.String(), c.says) || strings.Contains(errs.String(), "json: error") {
			t.Errorf("%v: exit code %d, expected %d and %q: %s", c.args, code, c.code, c.says, errs.String())
		}
	}
}

// TestBootOfAnotherPlatform: an image can't be demanded of evidence that tells no boot, and the mend
// is another than for the wrong image.
func TestBootOfAnotherPlatform(t *testing.T) {
	b := recordedImage(t)
	if c := b.check(nil); c.OK || !strings.Contains(c.Fix, "leave --image out") {
		t.Errorf("no boot: %+v", c)
	}
	ag, alpha := readStudy(t)
	shown, _ := bootOf(t, "2cpus-512mib")
	file := filepath.Join(t.TempDir(), "room.json")
	data, err := wire.Marshal(shown.Shown.Evidence)
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	other := wire.HashOf([]byte("another root")).String()
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &errs, now: func() time.Time { return shown.At }}
	code := a.run([]string{"verify", file, "--home", "none", "--activator", alpha.String(), "--root", other, "--insecure-any-nonce", "--insecure-allow-software", "--output", "json"})
	var got struct{ Checks []verdict.Check }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || code != 3 {
		t.Fatalf("exit code %d: %v", code, err)
	}
	for _, c := range got.Checks {
		if c.ID != "tpm.root" {
			continue
		}
		if c.OK || !strings.Contains(c.Expected, other) || !strings.Contains(c.Got, ag.Platforms[0].Root.String()) || strings.Contains(c.Expected+c.Fix, "the agreement pins") || !strings.Contains(c.Fix, "--root") {
			t.Errorf("%+v", c)
		}
		return
	}
	t.Error("no check of the root")
}
