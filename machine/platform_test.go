package machine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/machine"
	"strongroom.dev/verdict"
)

// tree makes a tree of files.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const entry = "sys/kernel/config/tsm/report/strongroom/"

func TestDetect(t *testing.T) {
	tpm := map[string]string{"sys/class/tpm/tpm0/tpm_version_major": "2\n", "dev/tpm0": ""}
	with := func(more ...string) map[string]string {
		files := map[string]string{}
		for name, content := range tpm {
			files[name] = content
		}
		for i := 0; i < len(more); i += 2 {
			files[more[i]] = more[i+1]
		}
		return files
	}
	for name, test := range map[string]struct {
		files map[string]string
		// platform is what is found; "" with what the refusal or the reason says.
		platform, says string
	}{
		"nothing":                {nil, "", "no TPM"},
		"TPM 1.2":                {with("sys/class/tpm/tpm0/tpm_version_major", "1\n"), "", "version 1"},
		"TPM without a node":     {map[string]string{"sys/class/tpm/tpm0/tpm_version_major": "2\n"}, "", "without /dev/tpm0"},
		"Azure":                  {with("sys/class/dmi/id/chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77\n"), "", "Azure"},
		"Nitro":                  {with("dev/nsm", ""), "", "Nitro"},
		"SNP, an old kernel":     {with("dev/sev-guest", ""), "", "/dev/sev-guest"},
		"TDX, an old kernel":     {with("dev/tdx_guest", ""), "", "/dev/tdx_guest"},
		"an unknown processor's": {with(entry+"provider", "arm_cca_guest\n"), "", "arm_cca_guest"},
		"a name with an escape":  {with(entry+"provider", "\x1b[2J\n"), "", `by \u001b[2J`},
		"TPM":                    {tpm, "tpm", "/dev/tpm0"},
		"TPM, another tag":       {with("sys/class/dmi/id/chassis_asset_tag", "rack 7\n"), "tpm", "/dev/tpm0"},
		"SNP beside a TPM":       {with(entry+"provider", "sev_guest\n", "dev/sev-guest", ""), "snp", "sev_guest"},
		"TDX":                    {map[string]string{entry + "provider": "tdx_guest\n"}, "tdx", "tdx_guest"},
	} {
		found, err := machine.Detect(tree(t, test.files))
		if test.platform != "" {
			if err != nil || string(found.Platform) != test.platform || !strings.Contains(found.Why, test.says) {
				t.Errorf("%s: %+v, %v", name, found, err)
			}
			continue
		}
		e := verdict.As(err)
		if err == nil || e.Kind != verdict.Refused || e.Check != "machine.platform" || !strings.Contains(e.Got, test.says) || e.Fix == "" || strings.ContainsRune(e.Got, 0x1b) {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
}

// TestDetectBroken: a device whose name can't be read is no reason to look for the next one.
func TestDetectBroken(t *testing.T) {
	root := tree(t, map[string]string{entry + "other": "", "sys/class/tpm/tpm0/tpm_version_major": "2\n", "dev/tpm0": ""})
	if found, err := machine.Detect(root); err == nil {
		t.Errorf("found %+v", found)
	}
}
