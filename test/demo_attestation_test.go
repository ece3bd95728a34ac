package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// forgeries are the attacks on a relying party that must be tried and refused, whatever else
// the demo tries.
var forgeries = []string{
	"evidence replayed for a new challenge",
	"challenge used twice",
	"challenge given a longer life",
	"challenge of another audience",
	"one byte of the evidence altered",
	"another's key sent with genuine evidence",
	"agent altered by one byte",
	"agent altered in a room of the fleet",
	"evidence of another root",
	"software evidence where the policy does not name it",
	"attester brings a key to trust",
	"token for another audience",
	"token with a changed claim",
	"token signed with a key in its own header",
	"token signed with another key under the issuer's key name",
	"token shown after it expired",
	"token shown by somebody else",
	"policy changed to accept a failed signature",
	"endorsements bundle signed by a stranger",
	"old reference values served again",
	"reference values signed by one officer only",
	"reference values signed by a stranger too",
	"reference values kept from the log",
}

// TestAttestationDemo tells the second demo as a user would, twice in one place, and looks at
// every attack, at what honest parties got, and at what lies around afterwards.
func TestAttestationDemo(t *testing.T) {
	bin := programs(t)
	dir := t.TempDir()
	if _, _, err := tell(t, bin, dir, "attestation"); err != nil {
		t.Errorf("the first time: %v", err)
	}
	report, story, err := tell(t, bin, dir, "attestation") // replaces the world that it made
	if err != nil {
		t.Errorf("the demo failed: %v\n%s", err, story)
	}
	refused(t, forgeries, report)
	if len(report.Attacks) != len(forgeries) {
		t.Errorf("%d attacks, %d expected: name the new ones here", len(report.Attacks), len(forgeries))
	}
	if report.Results["entry"] != "come in" {
		t.Errorf("the holder of a good token was not let in: %v", report.Results)
	}
	if report.Receipts == nil || report.Seconds["total"] <= 0 || report.Seconds["total"] > 30 {
		t.Errorf("receipts %v, seconds %v: expected an empty list, and less than 30", report.Receipts, report.Seconds)
	}
	for _, want := range []string{"INSECURE: software platform", "This evidence is genuine", "room-b: warned, since dev is INSECURE"} {
		if !strings.Contains(story, want) {
			t.Errorf("the story does not say %q:\n%s", want, story)
		}
	}
	world := filepath.Join(dir, "strongroom-demo-attestation")
	log, err := os.ReadFile(filepath.Join(world, "attestation.log"))
	if err != nil || bytes.Contains(log, []byte("SECRET-KEY")) || strings.Contains(story, "SECRET-KEY") {
		t.Errorf("the service's log shows a key, or there is none: %v", err)
	}
	if typed := typeLines(t, dir, story); !strings.Contains(typed, "This evidence is genuine") {
		t.Errorf("typed by hand:\n%s", typed)
	}
}

// TestAttestationDemoKeeps wants a folder that no demo made left as it is.
func TestAttestationDemoKeeps(t *testing.T) {
	bin := programs(t)
	dir := t.TempDir()
	mine := filepath.Join(dir, "strongroom-demo-attestation", "mine.txt")
	if err := os.MkdirAll(filepath.Dir(mine), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "strongroom"), "demo", "attestation", "--output", "json")
	cmd.Dir = dir
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 2 || !bytes.Contains(out, []byte("demo.folder")) {
		t.Errorf("exit %d, %v: %s", cmd.ProcessState.ExitCode(), err, out)
	}
	if data, err := os.ReadFile(mine); err != nil || string(data) != "mine" {
		t.Errorf("a file that no demo made is %q now: %v", data, err)
	}
}
