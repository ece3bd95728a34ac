package machine_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/machine"
	"strongroom.dev/verdict"
)

// TestExt4 has the file systems that machines make checked by e2fsck, which repairs nothing.
func TestExt4(t *testing.T) {
	program := "/usr/sbin/e2fsck"
	_, err := os.Stat(program)
	missing(t, "e2fsprogs", err)
	for name, size := range map[string]int64{
		"smallest": 32 << 20, "one group": 100 << 20, "a whole group": 128 << 20, "a little more": 128<<20 + 4096, "no room for the last": 256<<20 + 1<<20,
		"two and a half": 320 << 20, "many": 5 << 30, "not a multiple": 200<<20 + 777,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
			if err := machine.FormatExt4(f, size, "volume"); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(program, "-f", "-n", path).CombinedOutput(); err != nil || strings.Contains(string(out), "ix?") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	for _, size := range []int64{-1, 0, 32<<20 - 1, 8<<40 + 1} {
		if err := machine.FormatExt4(nil, size, ""); err == nil || verdict.As(err).Check != "machine.disk" {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
