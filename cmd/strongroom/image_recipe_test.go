package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/image/cloud"
)

var updatePages = flag.Bool("update-pages", false, "write the pages of docs/cloud anew")

// TestCloudPages: docs/cloud is what the command prints.
func TestCloudPages(t *testing.T) {
	for _, target := range cloud.Targets() {
		var out, errs bytes.Buffer
		a := &app{out: &out, err: &errs, now: time.Now}
		if err := a.recipe(recipeFlags{vcpus: 2, vcpuType: "EPYC-v4", memory: "4G"}, target, nil); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", "docs", "cloud", target+".md")
		if *updatePages {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(page), out.String()); diff != "" {
			t.Errorf("%s (-page +command; go test -run CloudPages -update-pages ./cmd/strongroom):\n%s", path, diff)
		}
	}
}

// TestRecipeSizes: commands are for the machine that was asked for.
func TestRecipeSizes(t *testing.T) {
	for target, want := range map[string][]string{
		cloud.SNP: {"--vcpus 4 --vcpu-type EPYC-Milan", "--cpus 4 --memory 8G", "-smp 4", "-m 8192M", "-cpu EPYC-Milan"},
		cloud.TDX: {"--platform tdx --memory 8G", "--cpus 4 --memory 8G", "-m 8192M"},
		cloud.AWS: {"m6a.xlarge", "--vcpus 4"},
		cloud.GCP: {"n2d-standard-4", "--vcpus 4"},
	} {
		var out, errs bytes.Buffer
		a := &app{out: &out, err: &errs, now: time.Now}
		if err := a.recipe(recipeFlags{vcpus: 4, vcpuType: "EPYC-Milan", memory: "8G"}, target, nil); err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%s: no %q on the page", target, text)
			}
		}
	}
	if err := (&app{now: time.Now}).recipe(recipeFlags{vcpus: 3, vcpuType: "EPYC-v4", memory: "4G"}, cloud.AWS, nil); err == nil {
		t.Error("a machine that AWS does not have")
	}
}

// TestRecipeWithoutFirmware says what to give where an image has no firmware for SEV-SNP, and
// leaves no command that would not work.
func TestRecipeWithoutFirmware(t *testing.T) {
	dir, a := t.TempDir(), &app{now: time.Now}
	groups, err := a.recipeValues(recipeFlags{}, cloud.SNP, []string{dir})
	if err != nil || len(groups) != 1 || len(groups[0].Notes) != 1 || !strings.Contains(groups[0].Notes[0], "image recipe snp "+dir+" --firmware OVMF.amdsev.fd") {
		t.Errorf("%+v, %v", groups, err)
	}
	const page = "host serve --platform snp --image room\n-bios /IMAGE/OVMF_SNP.fd"
	for name, c := range map[string]struct{ firmware, want string }{
		"to be named": {"", "host serve --platform snp --firmware OVMF.amdsev.fd --image room\n-bios OVMF.amdsev.fd"},
		"named":       {"my.fd", "host serve --platform snp --firmware my.fd --image room\n-bios my.fd"},
	} {
		if got := withFirmware(page, dir, c.firmware); got != c.want {
			t.Errorf("%s: %q, expected %q", name, got, c.want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "OVMF_SNP.fd"), []byte("firmware"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := withFirmware(page, dir, ""); got != page {
		t.Errorf("the image's own: %q", got)
	}
}
