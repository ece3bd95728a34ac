package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/internal/evidencetest"
)

// TestMeasureWords: what was measured is named by file and digest, what a flag does not change is
// said, and so is what agreements leave out.
func TestMeasureWords(t *testing.T) {
	firmware := filepath.Join(evidencetest.Beside(t, "measure"), "ovmf_AmdSev_suffix.bin")
	t.Chdir(t.TempDir())
	if err := os.Mkdir("room", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"room.efi": "kernel", "cmdline": "quiet", "vmlinuz": "another"} {
		if err := os.WriteFile(filepath.Join("room", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := teller{t, "home", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	call := []string{"image", "measure", "room", "--platform", "snp", "--firmware", firmware}
	text := r.run(0, append(call, "--memory", "2G", "--vcpus", "2")...)
	for _, want := range []string{"measured kernel: room/room.efi, SHA-256 ", "cmdline with initcall_blacklist=acpi_init", "--memory changes nothing", "In an agreement:\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if strings.Contains(text, "--vcpus changes nothing") {
		t.Error(text)
	}
	p := r.measured("room", "--platform", "snp", "--firmware", firmware, "--acpi", "nowhere")
	if p.Files["kernel"] != "room/room.efi" || len(p.Files) != len(p.Inputs) || len(p.Notes) != 2 {
		t.Errorf("%+v", p)
	}
	for _, flag := range [][]string{{"--product", "x"}, {"--version", "2"}, {"--security-version", "2"}, {"--days", "9"}, {"--force"}} {
		if text := r.run(2, append(append(call, "--output", "json"), flag...)...); !strings.Contains(text, `"check": "`+flag[0]+`"`) {
			t.Errorf("%v: %s", flag, text)
		}
	}
	for platform, want := range map[string]string{"dev": "    root: <of the host: strongroom host root>\n", "tpm": "    # root: of software TPMs"} {
		var out strings.Builder
		prediction{Platform: platform, measurements: map[string]string{"agent": "00"}}.text(&out)
		if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "          agent: \"00\"\n") {
			t.Errorf("%s: %s", platform, out.String())
		}
	}
	if p := (prediction{Values: map[string]string{}}).untouched(); p.Values["pcr12"] == "" || len(p.Notes) != 1 || p.measurements["pcr12"] != "" {
		t.Errorf("%+v", p)
	}
}
