package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// landlordAttacks are what the host of a container, and others who come to its port, must have
// tried and been refused.
var landlordAttacks = []string{
	"one byte of the image's disk changed",
	"agent executable altered by one byte",
	"argv changed by the host",
	"user changed by the host",
	"a mount moved by the host",
	"a capability added by the host",
	"system calls denied by the host",
	"another image named by the host",
	"a variable's rule changed by the host",
	"a variable outside the rules",
	"an older volume put back",
	"a stranger connects in the customer's name",
	"the operator connects, whom its own agreement does not let in",
	"an ordinary TLS client connects",
	"a client that pins no agreement",
	"a client that pins another agreement",
	"evidence of connection A shown on connection B, by a host that ends TLS",
}

// makesImages skips where no image of Debian's packages can be made.
func makesImages(t *testing.T) {
	t.Helper()
	missing := ""
	if os.Geteuid() != 0 {
		missing = "images of Debian's packages are made by root alone"
	} else if _, err := exec.LookPath("mmdebstrap"); err != nil {
		missing = "mmdebstrap is missing: scripts/setup container installs it"
	}
	switch {
	case missing != "" && os.Getenv("CI") == "true":
		t.Fatal(missing)
	case missing != "":
		t.Skip(missing)
	}
}

// TestContainerDemo tells the demo with Debian's nginx as a user would, and looks for the page
// where the host could read it.
func TestContainerDemo(t *testing.T) {
	bin := programs(t)
	makesImages(t)
	dir := t.TempDir()
	report, story, err := tell(t, bin, dir, "container")
	if err != nil {
		t.Errorf("the demo failed: %v\n%s", err, story)
	}
	refused(t, landlordAttacks, report)
	if len(report.Results) != 1 || len(report.Receipts) != 1 {
		t.Errorf("%d results and %d receipts, expected the page and what was verified", len(report.Results), len(report.Receipts))
	}
	sealed, err := filepath.Glob(filepath.Join(dir, "strongroom-demo-container", "sealed", "*"))
	if err != nil || len(sealed) < 2 {
		t.Fatalf("%d sealed files: %v", len(sealed), err)
	}
	for _, file := range append(sealed, filepath.Join(dir, "strongroom-demo-container", "room.log")) {
		if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), "42.17") {
			t.Errorf("the page stands in %s: %v", file, err)
		}
	}
	t.Logf("seconds: %v", report.Seconds)
}
