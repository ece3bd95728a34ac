package volume_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/agreement"
	"strongroom.dev/host/volume"
)

const size = 64 << 20

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("volumes need root")
	}
	t.Skip("volumes need root")
}

func TestOrdinaryUserIsRefused(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may")
	}
	if _, err := volume.Open(filepath.Join(t.TempDir(), "v"), size); err == nil || !strings.Contains(err.Error(), "host.volume") {
		t.Errorf("got %v", err)
	}
}

func TestNoFileSystem(t *testing.T) {
	asRoot(t)
	path := filepath.Join(t.TempDir(), "v")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := volume.Open(path, size); err == nil || !strings.Contains(err.Error(), "an ext4 file system") {
		t.Errorf("got %v", err)
	}
}

func TestOpen(t *testing.T) {
	asRoot(t)
	path := filepath.Join(t.TempDir(), "dir", "v")
	v, err := volume.Open(path, size)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(v.Fd()), volume.Directory, &st, 0); err != nil || st.Uid != 65534 || st.Mode&0o777 != 0o700 {
		t.Errorf("directory of %d with mode %o, %v", st.Uid, st.Mode, err)
	}
	if err := unix.Mkdirat(int(v.Fd()), volume.Directory+"/kept", 0o700); err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), path) {
		t.Errorf("the volume is mounted where everybody sees it (%v)", err)
	}
	began := time.Now()
	if _, err := volume.Open(path, size); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opened twice: %v after %v", err, time.Since(began))
	}
	v.Close()
	if v, err = volume.Open(path, 2*size); err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := unix.Fstatat(int(v.Fd()), volume.Directory+"/kept", &st, 0); err != nil {
		t.Errorf("what was in it is gone: %v", err)
	}
	var fs unix.Statfs_t
	root, err := unix.Openat(int(v.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	if err := unix.Fstatfs(root, &fs); err != nil || int64(fs.Blocks)*fs.Bsize < 3*size/2 {
		t.Errorf("it did not grow: %d blocks of %d, %v", fs.Blocks, fs.Bsize, err)
	}
}

// TestSmallest opens the smallest volume that an agreement can have.
func TestSmallest(t *testing.T) {
	asRoot(t)
	v, err := volume.Open(filepath.Join(t.TempDir(), "v"), agreement.MinVolume)
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
}
