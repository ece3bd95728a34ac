package machine_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"strongroom.dev/device"
	"strongroom.dev/machine"
	"strongroom.dev/sandbox"
	celltree "strongroom.dev/sandbox/tree"
	"strongroom.dev/verdict"
)

// TestMain is, beside the tests, the first process of the machine that TestGuest boots, and
// what that starts inside.
func TestMain(m *testing.M) {
	switch {
	case machine.Started():
		guest()
	case len(os.Args) > 1 && os.Args[1] == "leave-secret":
		leaveSecret()
	case len(os.Args) > 1 && os.Args[1] == "in-a-cell":
		inACell()
	case len(os.Args) > 1 && (os.Args[1] == "enter" || strings.HasPrefix(os.Args[1], "sandbox-")):
		enter()
	default:
		os.Exit(m.Run())
	}
}

// guest does what the first process does, step by step, and says how each step went.
func guest() {
	config, err := machine.Prepare()
	tell("prepare", err)
	if err != nil {
		machine.Down()
	}
	for _, c := range guestChecks(config) {
		tell(c.name, c.check())
	}
	tell("host", withHost())
	machine.Down()
}

func tell(name string, err error) {
	if err != nil {
		fmt.Printf("guest: %s: FAILED: %v\n", name, err)
		return
	}
	fmt.Printf("guest: %s: ok\n", name)
}

type guestCheck struct {
	name  string
	check func() error
}

func guestChecks(config machine.Config) []guestCheck {
	return append([]guestCheck{
		{"empty root", emptyRoot},
		{"settings", settingsHold},
		{"closed kernel", closedKernel},
		{"inspect", func() error { return machine.Inspect("/") }},
		{"no store", noStore},
		{"entropy", func() error { return machine.Entropy(machine.Found{Platform: machine.SNP}) }},
		{"no platform", func() error { _, err := machine.Detect("/"); return refusal(err, "machine.platform") }},
		{"byte code", byteCode},
		{"no hypervisor", noHypervisor},
		{"engine", func() error { return engineChecked(config.Engines[0]) }},
		{"flipped bit", func() error { _, err := machine.LoadEngine(config.Engines[1]); return refusal(err, "machine.disk") }},
		{"another root", func() error {
			e := config.Engines[0]
			e.Root[0] ^= 1
			_, err := machine.LoadEngine(e)
			return refusal(err, "machine.disk")
		}},
		{"a disk too small", func() error {
			e := config.Engines[0]
			e.DataBlocks *= 2
			_, err := machine.LoadEngine(e)
			return refusal(err, "machine.disk")
		}},
		{"no disk", func() error {
			e := config.Engines[0]
			e.Disk = "engine-7"
			_, err := machine.LoadEngine(e)
			return refusal(err, "machine.disk")
		}},
		{"input", inputRead},
		{"scratch", scratched},
		{"sandbox", sandboxed},
	}, append(containerChecks(), sealedChecks()...)...)
}

func refusal(err error, check string) error {
	if err == nil || verdict.As(err).Check != check {
		return fmt.Errorf("expected %s, got %v", check, err)
	}
	return nil
}

func emptyRoot() error {
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"dev", "proc", "sys", "tmp"}) {
		return fmt.Errorf("the root holds %v", names)
	}
	if input, err := os.Readlink("/proc/self/fd/0"); err != nil || input != "/dev/null" {
		return fmt.Errorf("standard input is %s, %v", input, err)
	}
	if err := os.WriteFile("/file", []byte("#!/proc/self/exe"), 0o700); err != nil {
		return err
	}
	defer os.Remove("/file")
	if err := exec.Command("/file").Run(); !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("a file of the root was executed: %v", err)
	}
	return nil
}

func settingsHold() error {
	for name, want := range machine.Settings() {
		got, err := os.ReadFile("/proc/sys/" + name)
		if err != nil || strings.Join(strings.Fields(string(got)), " ") != want {
			return fmt.Errorf("%s is %q, %v", name, got, err)
		}
	}
	return nil
}

// closedKernel tries what a locked kernel denies its own root.
func closedKernel() error {
	if err := unix.InitModule([]byte("module"), ""); err != unix.EPERM {
		return fmt.Errorf("loading a module: %v", err)
	}
	for _, path := range []string{"/dev/mem", "/dev/port", "/proc/kcore"} {
		if f, err := os.Open(path); err == nil {
			f.Close()
			return fmt.Errorf("%s opens", path)
		}
	}
	if err := os.WriteFile("/proc/sys/kernel/modules_disabled", []byte("0"), 0); err == nil {
		return errors.New("modules can be loaded again")
	}
	if err := os.WriteFile("/sys/kernel/security/lockdown", []byte("none"), 0); err == nil {
		return errors.New("the lock opens")
	}
	return nil
}

// noStore: a kernel that panics has nowhere to write to but the console.
func noStore() error {
	backend, err := os.ReadFile("/sys/module/pstore/parameters/backend")
	if err != nil || string(backend) != "(null)\n" {
		return fmt.Errorf("%q, %v", backend, err)
	}
	return nil
}

// noHypervisor: software emulation has a name that the kernel doesn't know, and its log is whole.
func noHypervisor() error {
	log, err := machine.KernelLog()
	return errors.Join(err, machine.Hypervisor(log, machine.Found{Platform: machine.SNP}))
}

// byteCode compares what the kernel was told with what it did: the host's byte code is in or
// it is not, and all processors and message-signalled interrupts are there either way.
func byteCode() error {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	if n := runtime.NumCPU(); n != 2 {
		return fmt.Errorf("%d processors", n)
	}
	interrupts, err := os.ReadFile("/proc/interrupts")
	if err != nil || !bytes.Contains(interrupts, []byte("MSI")) {
		return fmt.Errorf("no message-signalled interrupt, %v", err)
	}
	err = machine.ByteCode("/", machine.Found{Platform: machine.SNP})
	if !bytes.Contains(line, []byte(machine.NoByteCode)) {
		return refusal(err, "machine.acpi")
	}
	entries, readErr := os.ReadDir("/sys/bus/acpi/devices")
	if len(entries) > 0 {
		return fmt.Errorf("%d devices by byte code", len(entries))
	}
	if !errors.Is(readErr, fs.ErrNotExist) {
		return fmt.Errorf("the bus of byte code's devices: %v", readErr)
	}
	return err
}

func engineChecked(e machine.Engine) error {
	f, err := machine.LoadEngine(e)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != e.Size {
		return fmt.Errorf("%v, %v", info, err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		return errors.New("the copy can be written")
	}
	return exec.Command(fmt.Sprintf("/proc/self/fd/%d", f.Fd())).Run()
}

const sealedInput = "a sealed input, not a multiple of a sector"

func inputRead() error {
	inputs, err := machine.OpenDisks("input")
	if err != nil || len(inputs) != 1 {
		return fmt.Errorf("%d inputs, %v", len(inputs), err)
	}
	defer inputs[0].Close()
	got := make([]byte, len(sealedInput))
	if _, err := io.ReadFull(inputs[0], got); err != nil || string(got) != sealedInput {
		return fmt.Errorf("%q, %v", got, err)
	}
	if _, err := inputs[0].Write(got); err == nil {
		return errors.New("an input was written")
	}
	return nil
}

// scratchText is what the host must not find on the scratch disk.
const scratchText = "plain text on the way to the scratch disk"

func scratched() error {
	written := bytes.Repeat([]byte(scratchText+"\n"), 1000)
	f, err := machine.Scratch("scratch-0")
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(written, 4096); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	got := make([]byte, len(written))
	if _, err := f.ReadAt(got, 4096); err != nil || !bytes.Equal(got, written) {
		return fmt.Errorf("read back %.20q, %v", got, err)
	}
	f.Close()
	if err := machine.Unmapped("scratch-0"); err != nil {
		return err
	}
	again, err := machine.Scratch("scratch-0") // another key
	if err != nil {
		return err
	}
	defer again.Close()
	if _, err := again.ReadAt(got, 4096); err != nil || bytes.Contains(got, []byte(scratchText)) {
		return fmt.Errorf("with another key: %.20q, %v", got, err)
	}
	return nil
}

// sandboxed starts a program as agents are started: no layer of the sandbox, nor of a cell in
// it, may be missing under a locked kernel.
func sandboxed() error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/exe", "enter")
	cmd.ExtraFiles = []*os.File{self}
	out, err := cmd.CombinedOutput()
	if want := "lacks [] []: in a cell as 33, {5 0}, <nil>"; err != nil || string(out) != want {
		return fmt.Errorf("%q, expected %q, %v", out, want, err)
	}
	return nil
}

func enter() {
	var asked device.Mount
	ordered := false
	if os.Args[1] == "sandbox-inside" { // read while files still can be
		ordered = json.NewDecoder(os.NewFile(4, "order")).Decode(&asked) == nil
	}
	in, err := sandbox.Main(1, 1)
	if err != nil {
		fmt.Print(err)
		os.Exit(1)
	}
	if ordered {
		fmt.Print(mountAndRun(in, asked))
		in.Close()
		os.Exit(0)
	}
	fmt.Printf("lacks %v %v: %s", in.Lacks, in.CellLacks, cellSays(in))
	in.Close()
	os.Exit(0)
}

// cellSays runs this program, which descriptor 3 is, in a cell.
func cellSays(in *sandbox.Inside) string {
	self := os.NewFile(3, "program")
	info, err := self.Stat()
	if err != nil {
		return err.Error()
	}
	p, err := in.StartCell(context.Background(), sandbox.Cell{
		Root: sandbox.Root{Limits: celltree.Limits{Entries: 1, Bytes: info.Size()}, Unpack: func(w *celltree.Writer) error {
			return w.Add(celltree.Entry{Path: "program", Type: celltree.Regular, Mode: 0o755, Size: info.Size()}, io.NewSectionReader(self, 0, info.Size()))
		}},
		Argv: []string{"/program", "in-a-cell"}, Directory: "/", UID: 33, GID: 33,
	})
	if err != nil {
		return err.Error()
	}
	exit, err := p.Wait(context.Background())
	p.Kill()
	said, _ := io.ReadAll(p.Stdout)
	return fmt.Sprintf("%s, %v, %v", said, exit, err)
}

func inACell() {
	fmt.Printf("in a cell as %d", os.Getuid())
	os.Exit(5)
}

// secret is made as the test runs, so that it is in no file: what TestGuest looks for in the
// machine's memory.
func secret() []byte {
	h := sha256.Sum256([]byte("what an agent forgets"))
	return bytes.Repeat(h[:], 4096/len(h))
}

// leaveSecret is a process that ends without forgetting anything.
func leaveSecret() {
	fd, err := unix.MemfdCreate("secret", 0)
	if err != nil {
		os.Exit(1)
	}
	f := os.NewFile(uintptr(fd), "secret")
	for range 2048 {
		if _, err := f.Write(secret()); err != nil {
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// withHost talks over the channel's port: it says that a secret was left in memory, waits for
// a word, and ends.
func withHost() error {
	path, err := machine.WaitForPort()
	if err != nil {
		return err
	}
	port, err := machine.OpenBlocking(path)
	if err != nil {
		return err
	}
	if out, err := exec.Command("/proc/self/exe", "leave-secret").CombinedOutput(); err != nil {
		return fmt.Errorf("%s, %v", out, err)
	}
	inside, outside, err := connected()
	if err != nil {
		return err
	}
	go machine.Pump(port, outside)
	if _, err := inside.WriteString("left\n"); err != nil {
		return err
	}
	word := make([]byte, 5)
	if _, err := io.ReadFull(inside, word); err != nil || string(word) != "wipe\n" {
		return fmt.Errorf("%q, %v", word, err)
	}
	return nil
}

func connected() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b"), nil
}
