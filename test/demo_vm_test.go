package test

import (
	"os"
	"os/exec"
	"testing"
)

// hostAttacks are what the host of a virtual machine must have tried and been refused.
var hostAttacks = []string{
	"quote replayed for a new challenge",
	"quote for one broker shown to the other",
	"event log edited",
	"PCR values edited",
	"quote by another TPM, with this one's activation",
	"activation signed by the host",
	"room keys swapped beside genuine evidence",
	"all that a room sent sent again, for other keys",
	"evidence presented under another agreement",
	"one bit flipped in the engine's disk",
	"one bit flipped in a sealed input",
	"another command line booted: debug",
	"another initrd booted: an altered agent",
}

// TestVMDemo tells the demo with virtual machines as a user would: three real boots.
func TestVMDemo(t *testing.T) {
	bin := programs(t)
	for _, program := range []string{"qemu-system-x86_64", "swtpm"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing: scripts/setup vm installs it", program)
			}
			t.Skipf("%s is missing: scripts/setup vm installs it", program)
		}
	}
	report, story, err := tell(t, bin, t.TempDir(), "vm")
	if err != nil {
		t.Errorf("the demo failed: %v\n%s", err, story)
	}
	refused(t, hostAttacks, report)
	if len(report.Results) != 2 || len(report.Receipts) != 1 {
		t.Errorf("%d results and %d receipts, expected one result of each kind of room, and a receipt", len(report.Results), len(report.Receipts))
	}
	t.Logf("seconds: %v", report.Seconds)
}
