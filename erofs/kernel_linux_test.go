package erofs_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"strongroom.dev/erofs"
)

// TestKernelReads mounts a disk and compares what Linux sees with what was written.
func TestKernelReads(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: only root mounts disks")
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, write(t, sample()), 0o600); err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	if out, err := exec.Command("mount", "-t", "erofs", "-o", "loop,ro", disk, at).CombinedOutput(); err != nil {
		if data, _ := os.ReadFile("/proc/filesystems"); !strings.Contains(string(data), "erofs") || !loops() {
			t.Skipf("needs EROFS and loop devices of the kernel: %s", out)
		}
		t.Fatalf("mount: %s", out)
	}
	defer exec.Command("umount", at).Run()
	got := seen(t, at)
	want := wanted(t, sample())
	for i := range want {
		want[i].Link = "" // the kernel tells by inode numbers
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var one, other unix.Stat_t
	if unix.Lstat(at+"/etc/passwd", &one) != nil || unix.Lstat(at+"/etc/other", &other) != nil || one.Ino != other.Ino || one.Nlink != 2 {
		t.Errorf("hard links: %d names, inodes %d and %d", one.Nlink, one.Ino, other.Ino)
	}
	if unix.Lstat(at+"/etc", &one) != nil || one.Nlink != 3 {
		t.Errorf("/etc has %d names", one.Nlink)
	}
}

func loops() bool {
	_, err := os.Stat("/dev/loop-control")
	return err == nil
}

func seen(t *testing.T, root string) (list []flat) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		e, err := look(root, path)
		list = append(list, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b flat) int { return erofs.Compare(a.Path, b.Path) })
	return list
}

func look(root, path string) (f flat, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return f, err
	}
	st := info.Sys().(*syscall.Stat_t)
	rel, _ := filepath.Rel(root, path)
	f.Entry = erofs.Entry{Path: rel, Mode: st.Mode, UID: st.Uid, GID: st.Gid, MTime: st.Mtim.Sec}
	switch f.Type() {
	case erofs.Regular:
		f.Size = st.Size
		data, err := os.ReadFile(path)
		if err != nil {
			return f, err
		}
		f.Content = string(data)
	case erofs.Symlink:
		f.Target, err = os.Readlink(path)
	}
	if err != nil {
		return f, err
	}
	names := make([]byte, 4096)
	n, err := unix.Llistxattr(path, names)
	if err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 65536)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return f, fmt.Errorf("%s: %s: %w", path, name, err)
		}
		if f.Xattrs == nil {
			f.Xattrs = map[string][]byte{}
		}
		f.Xattrs[name] = append([]byte{}, value[:n]...)
	}
	return f, nil
}

// TestFsckAccepts has the format's own tools look at a disk.
func TestFsckAccepts(t *testing.T) {
	tool, err := exec.LookPath("fsck.erofs")
	if err != nil {
		t.Skip("needs fsck.erofs: apt-get install erofs-utils")
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, write(t, sample()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-d3", disk).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No errors found") {
		t.Errorf("%v: %s", err, out)
	}
}
