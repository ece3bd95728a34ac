package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"strongroom.dev/image"
	"strongroom.dev/verdict"
)

// TestImageBuild builds an image of Debian's own packages twice, looks at it, and damages it.
func TestImageBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches 48 MB once")
	}
	dir := t.TempDir()
	agent := filepath.Join(dir, agentProgram)
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", agent, "../strongroom-agent") // as small as make build's
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	r := teller{t, filepath.Join(dir, "home"), time.Now()}
	call := func(out string) []string {
		return []string{"image", "build", "-o", out, "--agent", agent, "--sql", agent, "--output", "json"}
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	var shown bytes.Buffer
	a := &app{in: bytes.NewReader(nil), out: &shown, err: &shown, now: time.Now}
	if code := a.run(call(one)); code != 0 {
		var failure struct{ Error verdict.Error }
		if err := json.Unmarshal(shown.Bytes(), &failure); err != nil || os.Getenv("CI") == "true" || failure.Error.Check != "image.fetch" && failure.Error.Check != "--mirror" {
			t.Fatalf("exit code %d: %s", code, shown.String())
		}
		t.Skipf("no packages to build a room image of: %s", shown.String())
	}
	r.run(0, call(two)...)
	var m image.Manifest
	if err := json.Unmarshal([]byte(r.run(0, "image", "show", one, "--output", "json")), &m); err != nil {
		t.Fatal(err)
	}
	for _, f := range append(m.Files, image.File{Name: image.FileManifest}) {
		x, err := os.ReadFile(filepath.Join(one, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if y, err := os.ReadFile(filepath.Join(two, f.Name)); err != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs, %v", f.Name, err)
		}
	}
	p := r.measured(one, "--platform", "tdx") // with the image's own firmware, which measures what boots
	if len(p.Values["mrtd"]) != 96 || len(p.Values["rtmr1"]) != 96 || len(p.Values["rtmr2"]) != 96 || len(p.Values) != 3 {
		t.Errorf("on TDX: %+v", p)
	}
	r.run(2, "image", "measure", one, "--platform", "snp") // Debian has no firmware for it yet
	r.run(2, call(one)...)                                 // the name is taken
	disk := filepath.Join(two, image.EngineFile(sqlProgram))
	data, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	data[5000] ^= 1
	if err := os.WriteFile(disk, data, 0o644); err != nil {
		t.Fatal(err)
	}
	r.run(4, "image", "show", two)
	r.run(4, "image", "measure", two, "--platform", "tpm") // which no disk enters; `agreement init --image` asks the same
}
