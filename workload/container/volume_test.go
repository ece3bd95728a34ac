//go:build linux

package container_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	hostvolume "strongroom.dev/host/volume"

	"strongroom.dev/agreement"
	"strongroom.dev/release"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

// vault is a volume as its host has it, and what its owner's broker knows.
type vault struct {
	path  string
	given given
	key   []byte
}

func newVault(t *testing.T) *vault {
	t.Helper()
	return &vault{filepath.Join(t.TempDir(), "volume"), given{Generation: 1}, bytes.Repeat([]byte{7}, 32)}
}

// run runs the workload with the volume at /data, and gives the broker the next generation.
func (v *vault) run(t *testing.T, change func(*scenario), mode string, args ...string) report {
	t.Helper()
	s, files := work(t, mode, args...)
	s.Container.Mounts = append(s.Container.Mounts, agreement.Mount{Path: "/data", Kind: agreement.Volume, Bytes: 32 << 20, Mode: 0o750, UID: 1000, GID: 100, Input: "key"})
	s.Inputs, s.Given = map[wire.ID][]byte{"key": v.key}, v.given
	s.Disks = append(s.Disks, container.MountName(1))
	if change != nil {
		change(&s)
	}
	if os.Geteuid() != 0 {
		return run(t, s)
	}
	mount, err := hostvolume.Open(v.path, 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer mount.Close()
	return run(t, s, append(files, mount)...)
}

// closed is what a broker does when a room closed a volume, or only mounted it.
func (v *vault) next(root *wire.Hash) {
	v.given = given{v.given.Generation + 1, &release.VolumeState{Generation: v.given.Generation, Root: root}}
}

func (v *vault) copy(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "copy")
	v.copyTo(t, v.path, out)
	return out
}

func (v *vault) copyTo(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
}

// first makes a volume with one file in it.
func (v *vault) first(t *testing.T) {
	t.Helper()
	r := v.run(t, nil, "write", "/data/file", "planted-in-volume")
	if r.err() != nil || r.said() != "written\n" {
		t.Fatalf("%v, said %q, events %q", r.err(), r.said(), r.Events)
	}
	want := []string{"open key 0", "mounted key 1", "close key 1"}
	if diff := cmp.Diff(want, r.Steps); diff != "" {
		t.Errorf("steps: %s", diff)
	}
	if len(r.States) != 1 || !r.States[0].Closed || r.States[0].Unclean || r.States[0].Protection != "fscrypt" || r.Root == nil {
		t.Fatalf("states %+v, root %v", r.States, r.Root)
	}
	v.next(r.Root)
}

func refusedBy(t *testing.T, check string, r report) {
	t.Helper()
	if err := r.err(); err == nil || !strings.Contains(err.Error(), check) {
		t.Errorf("expected a refusal by %s, got %v and %q", check, err, r.said())
	}
	for _, step := range r.Steps {
		if !strings.HasPrefix(step, "open") {
			t.Errorf("a volume that was refused is counted: %q", r.Steps)
		}
	}
}

func TestVolume(t *testing.T) {
	v := newVault(t)
	v.first(t)
	data, err := os.ReadFile(v.path)
	if err != nil || bytes.Contains(data, []byte("planted-in-volume")) {
		t.Errorf("the host reads what a container wrote (%v)", err)
	}
	old := v.copy(t)
	r := v.run(t, nil, "read", "/data/file")
	if r.err() != nil || r.said() != "planted-in-volume\n" {
		t.Fatalf("%v, said %q", r.err(), r.said())
	}
	v.next(r.Root)

	newer := v.copy(t)
	v.copyTo(t, old, v.path)
	refusedBy(t, "volume.generation", v.run(t, nil, "read", "/data/file"))
	if err := os.Remove(v.path); err != nil {
		t.Fatal(err)
	}
	refusedBy(t, "volume.generation", v.run(t, nil, "read", "/data/file")) // an empty disk instead
	v.copyTo(t, newer, v.path)
	wrong := *v
	wrong.key = bytes.Repeat([]byte{8}, 32)
	refusedBy(t, "volume.key", wrong.run(t, nil, "read", "/data/file"))
	broken := *v
	broken.given.Previous = nil
	refusedBy(t, "volume.generation", broken.run(t, nil, "read", "/data/file")) // a broker that knows of none
	// What was refused spoiled nothing.
	if r := v.run(t, nil, "list", "/data"); r.err() != nil || !strings.Contains(r.said(), "/data drwxr-x--- 1000:100; /data/file -rw-r----- 1000:100") {
		t.Errorf("%v, said %q", r.err(), r.said())
	}
}

func TestVolumeAfterKill(t *testing.T) {
	v := newVault(t)
	v.first(t)
	r := v.run(t, func(s *scenario) { s.Kill = true }, "sleep")
	if len(r.States) != 1 || r.States[0].Closed {
		t.Errorf("a room that was killed closed its volume: %+v", r.States)
	}
	if diff := cmp.Diff([]string{"open key 0", "mounted key 2"}, r.Steps); diff != "" {
		t.Errorf("steps: %s", diff)
	}
	v.next(nil)
	r = v.run(t, nil, "read", "/data/file")
	if r.err() != nil || r.said() != "planted-in-volume\n" || len(r.States) != 1 || !r.States[0].Unclean {
		t.Errorf("%v, said %q, states %+v", r.err(), r.said(), r.States)
	}
	if !strings.Contains(strings.Join(r.Events, "\n"), "volume: unclean") {
		t.Errorf("events %q", r.Events)
	}
}

// TestVolumeChangedAtRest: a host without the key removes a file, which file systems let it.
func TestVolumeChangedAtRest(t *testing.T) {
	v := newVault(t)
	v.first(t)
	kept := v.copy(t)
	mount, err := hostvolume.Open(v.path, 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join("/proc/self/fd", strconv.Itoa(int(mount.Fd())), hostvolume.Directory)
	files, err := filepath.Glob(filepath.Join(inside, "*", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("in the volume is %q, %v", files, err)
	}
	if strings.HasSuffix(files[0], "/file") {
		t.Error("the host reads the names of files")
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	mount.Close()
	refusedBy(t, "volume.root", v.run(t, nil, "list", "/data"))
	v.copyTo(t, kept, v.path)
	// A room that was given a generation and never mounted it does no harm.
	v.given.Generation += 2
	if r := v.run(t, nil, "read", "/data/file"); r.err() != nil {
		t.Error(r.err())
	}
}

// TestKeeper has the rights it needs over what the users of cells own, and no other.
func TestKeeper(t *testing.T) {
	s, files := work(t, "environment")
	const rights = "000000000020001f" // CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SYS_ADMIN
	want := "CapInh: 0000000000000000\nCapPrm: " + rights + "\nCapEff: " + rights + "\nCapBnd: " + rights + "\nCapAmb: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\n/dev\n/proc\n/root\nplace <nil>"
	if diff := cmp.Diff(want, well(t, s, files...).Keeper); diff != "" {
		t.Errorf("the keeper is: %s", diff)
	}
}
