package machine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"strongroom.dev/attest"
	"strongroom.dev/device"
	"strongroom.dev/erofs"
	"strongroom.dev/machine"
	"strongroom.dev/sandbox"
	"strongroom.dev/verdict"
	"strongroom.dev/verity"
	"strongroom.dev/wire"
)

// about is what the machine must know of the container's disks: an agreement has it.
type about struct {
	Root   wire.Hash `json:"root"`
	Blocks int64     `json:"blocks"`
}

// layContainer writes the disks of a container: an image with one program, the same with a bit
// flipped where the program begins, and one with a bit flipped where the file system begins.
func layContainer(t *testing.T, dir string, program []byte) {
	t.Helper()
	entries := []erofs.Entry{{Path: "program", Mode: erofs.Regular | 0o755, UID: 33, GID: 33, Size: int64(len(program)), Open: func() (io.Reader, error) { return bytes.NewReader(program), nil }}}
	for _, name := range []string{".", "proc", "dev", "sys", "etc", "data"} {
		entries = append(entries, erofs.Entry{Path: name, Mode: erofs.Directory | 0o755})
	}
	var data bytes.Buffer
	blocks, err := erofs.Write(&data, entries)
	if err != nil {
		t.Fatal(err)
	}
	tree, root, err := verity.Tree(data.Bytes(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	disk := append(data.Bytes(), tree...)
	inside := bytes.Clone(disk)
	inside[bytes.Index(disk, program[:64])+100] ^= 1
	super := bytes.Clone(disk)
	super[1024] ^= 1
	told, err := json.Marshal(about{root, blocks})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"disk-0": disk, "disk-1": inside, "disk-2": super, "disk-3": make([]byte, sealedSize*3/2), "disk-4": make([]byte, sealedSize*3/2), "disk-5": make([]byte, 1<<20), "about": append(told, '\n')} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// containerChecks are what a machine does with the read-only disks of a container.
func containerChecks() []guestCheck {
	return []guestCheck{
		{"mounted root", func() error { return inMounted("disk-0", "in a cell as 33, {5 0}, <nil>") }},
		{"mounted root with a wrong program", func() error { return inMounted("disk-1", "input/output error") }},
		{"mount twice", mountedTwice},
		{"mount of no disk", func() error { return mountRefused("disk-9", "", "machine.disk") }},
		{"mount of another kind of disk", func() error { return mountRefused("engine-0", "", "machine.mount") }},
		{"mount without a place", func() error { return mountRefused("disk-0", "/data/below", device.MissingPlace) }},
		{"mount of a wrong file system", func() error { return mountRefused("disk-2", "", "machine.disk") }},
	}
}

// agreed gives what an agreement says of a disk.
func agreed(disk string) (device.Mount, error) {
	var told about
	data, err := readDisk("about")
	if err == nil {
		err = json.Unmarshal(data, &told)
	}
	return device.Mount{Disk: disk, Kind: device.VerityMount, Root: told.Root, Blocks: told.Blocks, Places: []string{"/proc", "/data"}}, err
}

func mountRefused(disk, place, check string) error {
	m, err := agreed(disk)
	if err != nil {
		return err
	}
	if place != "" {
		m.Places = append(m.Places, place)
	}
	f, err := machine.NewMounter().Mount(context.Background(), m)
	if err == nil {
		f.Close()
	}
	machine.Unmapped(disk) // for the next check
	return refusal(err, check)
}

func mountedTwice() error {
	m, err := agreed("disk-0")
	if err != nil {
		return err
	}
	mounter := machine.NewMounter()
	f, err := mounter.Mount(context.Background(), m)
	if err == nil {
		_, err = mounter.Mount(context.Background(), m)
		f.Close()
	}
	machine.Unmapped("disk-0") // for the next check
	return refusal(err, "machine.mount")
}

// inMounted starts a program as agents are started, which asks for a disk and runs what is on
// it, and looks for what must stand in what it says.
func inMounted(disk, want string) error {
	m, err := agreed(disk)
	if err != nil {
		return err
	}
	out, err := asAgent(m)
	if err == nil && !strings.Contains(out, want) {
		err = errors.New("another answer")
	}
	machine.Unmapped(disk) // for the next check
	if err != nil {
		return fmt.Errorf("%w: %q, expected %q", err, out, want)
	}
	return nil
}

// asAgent starts a program as agents are started, and gives what it says.
func asAgent(m device.Mount) (string, error) {
	asking, theirs, err := connected()
	if err != nil {
		return "", err
	}
	defer asking.Close()
	told, tell, err := os.Pipe()
	if err != nil {
		return "", err
	}
	if err := json.NewEncoder(tell).Encode(m); err != nil {
		return "", err
	}
	tell.Close()
	go device.Serve(context.Background(), asking, mounting{machine.NewMounter()})
	cmd := exec.Command("/proc/self/exe", "enter")
	cmd.ExtraFiles = []*os.File{theirs, told}
	out, err := cmd.CombinedOutput()
	theirs.Close()
	told.Close()
	return string(out), err
}

// mounting is a device that does nothing but mount.
type mounting struct{ device.Mounter }

func (mounting) Begin(context.Context, wire.Digest, wire.Hash) (device.Introduction, error) {
	return device.Introduction{Platform: "tpm", Mounts: true}, nil
}
func (mounting) Separate(context.Context, wire.Digest) error { return nil }
func (mounting) Activate(context.Context, []byte, []byte) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
func (mounting) Attest(context.Context, [64]byte, []byte) (e attest.Evidence, _ error) {
	return e, errors.ErrUnsupported
}
func (mounting) Ingress(context.Context, device.Connection) (e attest.Evidence, _ error) {
	return e, errors.ErrUnsupported
}

// mountAndRun stands for the agent: it asks for the mount and runs what is on it in a cell.
func mountAndRun(in *sandbox.Inside, m device.Mount) string {
	ctx := context.Background()
	if err := unix.SetNonblock(3, true); err != nil {
		return err.Error()
	}
	asked := device.NewClient(os.NewFile(3, "device"))
	one := [48]byte{1}
	if _, err := asked.Begin(ctx, one, [32]byte{1}); err != nil {
		return err.Error()
	}
	if err := asked.Separate(ctx, one); err != nil {
		return err.Error()
	}
	f, err := asked.Mount(ctx, m)
	if err != nil {
		return verdict.As(err).Error()
	}
	p, err := in.StartCell(ctx, sandbox.Cell{Root: sandbox.Root{Mount: f}, Argv: []string{"/program", "in-a-cell"}, Directory: "/", UID: 33, GID: 33})
	if err != nil {
		return err.Error()
	}
	exit, err := p.Wait(ctx)
	p.Kill()
	said, _ := io.ReadAll(p.Stdout)
	return fmt.Sprintf("%s, %v, %v", said, exit, err)
}

func readDisk(serial string) ([]byte, error) {
	path, err := machine.FindDisk("/", serial)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return line, nil
}
