package main

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/reference"
)

func (r teller) measured(args ...string) prediction {
	r.t.Helper()
	var p prediction
	if err := json.Unmarshal([]byte(r.run(0, append([]string{"image", "measure", "--output", "json"}, args...)...)), &p); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// TestMeasureLaunchDigests compares the command with every digest that another tool computed.
func TestMeasureLaunchDigests(t *testing.T) {
	dir := evidencetest.Beside(t, "measure")
	table, err := os.ReadFile(filepath.Join(dir, "snp-launch-digests.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for name, data := range map[string][]byte{
		"k1": sha3.SumSHAKE256([]byte("strongroom-vector-kernel-1"), 40000),
		"k2": sha3.SumSHAKE256([]byte("strongroom-vector-kernel-2"), 1234),
		"i1": sha3.SumSHAKE256([]byte("strongroom-vector-initrd-1"), 99999),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := teller{t, "home", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, row := range strings.Split(strings.TrimSpace(string(table)), "\n")[1:] {
		c := strings.Split(row, "\t")
		args := []string{"--platform", "snp", "--firmware", filepath.Join(dir, c[0]), "--vcpus", c[1], "--vcpu-type", c[2], "--guest-features", c[3], "--vmm", c[4], "--append", c[7]}
		if c[5] != "none" {
			args = append(args, "--kernel", c[5], "--initrd", c[6])
		}
		p := r.measured(args...)
		if p.Values["launch_digest"] != c[8] || len(p.Values) != 1 || p.Platform != "snp" {
			t.Errorf("%s: got %v", row, p)
		}
		if c[5] == "k2" {
			kernel := sha256.Sum256(sha3.SumSHAKE256([]byte("strongroom-vector-kernel-2"), 1234))
			if len(p.Inputs) != 3 || p.Inputs["kernel"] != hex.EncodeToString(kernel[:]) {
				t.Errorf("inputs %v", p.Inputs)
			}
		}
	}
}

// TestMeasureSigns makes a set of reference values of a prediction.
func TestMeasureSigns(t *testing.T) {
	firmware := filepath.Join(evidencetest.Beside(t, "measure"), "ovmf_OvmfX64_suffix.bin")
	t.Chdir(t.TempDir())
	r := teller{t, "home", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	r.run(0, "keygen", "--purpose", "signing", "-o", "release.key")
	call := []string{"image", "measure", "--platform", "snp", "--firmware", firmware, "--vcpus", "2"}
	text := r.run(0, call...)
	digest := r.measured(call[2:]...).Values["launch_digest"]
	if digest == "" || !strings.Contains(text, "launch_digest: "+digest+"\n") || !strings.Contains(text, "measurement: \""+digest+"\"") {
		t.Errorf("digest %q in %s", digest, text)
	}
	signed := append(call, "--sign", "release.key")
	r.run(2, signed...) // nowhere to write to
	r.run(2, append(signed, "-o", "x.set", "--product", "Room")...)
	r.run(2, append(signed, "-o", "-", "--output", "json")...)
	if _, err := os.Stat("x.set"); err == nil {
		t.Error("a set of a refused call")
	}
	r.run(0, append(signed, "-o", "room.set", "--version", "7")...)
	data, err := os.ReadFile("room.set")
	if err != nil {
		t.Fatal(err)
	}
	p, err := reference.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	g := p.Values.Groups
	if p.Values.Product != "room" || p.Values.Version != 7 || len(p.Document.Signatures) != 1 || len(g) != 1 || g[0].Measurements["measurement"] != digest || g[0].Platform != "snp" {
		t.Errorf("%+v", p.Values)
	}
	r.run(2, append(signed, "-o", "room.set")...) // the name is taken
}
