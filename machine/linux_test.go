//go:build linux

package machine_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"strongroom.dev/machine"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// TestGeneration: evidence counts only if nobody else wrote to the entry meanwhile. Here the
// count is another one each time it is read.
func TestGeneration(t *testing.T) {
	root := tree(t, map[string]string{entry + "inblob": "", entry + "outblob": snpReport(short, data), entry + "auxblob": ""})
	if err := os.Symlink("/proc/sys/kernel/random/uuid", filepath.Join(root, entry, "generation")); err != nil {
		t.Fatal(err)
	}
	_, err := processor(t, root, machine.Found{Platform: machine.SNP}).Attest(t.Context(), data, nil)
	if err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("%v", err)
	}
	if in, err := os.ReadFile(filepath.Join(root, entry, "inblob")); err != nil || !bytes.Equal(in, data[:]) {
		t.Errorf("asked for %x, %v", in, err)
	}
}

func TestFindDisk(t *testing.T) {
	root := tree(t, map[string]string{
		"sys/block/vda/serial": "engine-0", "sys/block/vdb/serial": "input-0\n", "sys/block/vdc/serial": "twice", "sys/block/vdd/serial": "twice",
		"sys/block/sda/serial": "other-bus", "sys/block/vde/size": "8",
	})
	for serial, want := range map[string]string{"engine-0": "/dev/vda", "input-0": "/dev/vdb"} {
		if got, err := machine.FindDisk(root, serial); err != nil || got != want {
			t.Errorf("%s: %s, %v", serial, got, err)
		}
	}
	for _, serial := range []string{"engine-1", "other-bus", "", "*"} {
		if got, err := machine.FindDisk(root, serial); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %s, %v", serial, got, err)
		}
	}
	if _, err := machine.FindDisk(root, "twice"); verdict.As(err).Check != "machine.disk" {
		t.Errorf("two disks of one number: %v", err)
	}
}

func TestFindPort(t *testing.T) {
	files := map[string]string{"sys/class/virtio-ports/vport0p1/name": "org.qemu.guest_agent.0\n"}
	if got, err := machine.FindPort(tree(t, files)); got != "" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	files["sys/class/virtio-ports/vport1p2/name"] = machine.Port + "\n"
	if got, err := machine.FindPort(tree(t, files)); got != "/dev/vport1p2" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	files["sys/class/virtio-ports/vport1p3/name"] = machine.Port + "\n"
	if _, err := machine.FindPort(tree(t, files)); verdict.As(err).Check != "machine.channel" {
		t.Errorf("two ports: %v", err)
	}
}

func TestSettings(t *testing.T) {
	all := map[string]string{}
	for name := range machine.Settings() {
		all[name] = "7\n"
	}
	root := tree(t, all)
	if err := machine.ApplySettings(root); err != nil {
		t.Fatal(err)
	}
	for name, want := range machine.Settings() {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// A kernel without one of them, or one that keeps its own mind.
	if err := os.Remove(filepath.Join(root, "kernel/sysrq")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", filepath.Join(root, "kernel/sysrq")); err != nil {
		t.Fatal(err)
	}
	if err := machine.ApplySettings(root); verdict.As(err).Check != "machine.setting" || !strings.Contains(err.Error(), "kernel/sysrq") {
		t.Errorf("a setting that does not hold: %v", err)
	}
	if err := machine.ApplySettings(t.TempDir()); verdict.As(err).Check != "machine.setting" {
		t.Errorf("no settings: %v", err)
	}
}

func TestInspect(t *testing.T) {
	const swaps, locked = "Filename\tType\tSize\tUsed\tPriority\n", "none integrity [confidentiality]\n"
	const backend = "sys/module/pstore/parameters/backend"
	for name, test := range map[string]struct{ lockdown, swaps, store, check string }{
		"good":              {locked, swaps, "(null)\n", ""},
		"not locked":        {"[none] integrity confidentiality\n", swaps, "(null)\n", "machine.lockdown"},
		"half locked":       {"none [integrity] confidentiality\n", swaps, "(null)\n", "machine.lockdown"},
		"no lockdown":       {"", swaps, "(null)\n", "machine.lockdown"},
		"swap":              {locked, swaps + "/dev/vda partition 1 0 -2\n", "(null)\n", "machine.swap"},
		"unknown swap":      {locked, "", "(null)\n", "machine.swap"},
		"a long message":    {strings.Repeat("x", 300), swaps, "(null)\n", "machine.lockdown"},
		"the host's tables": {locked, swaps, "erst\n", "machine.pstore"},
		"its variables":     {locked, swaps, "efi_pstore\n", "machine.pstore"},
		"unknown store":     {locked, swaps, "", "machine.pstore"},
		"a long store":      {locked, swaps, strings.Repeat("x", 300), "machine.pstore"},
	} {
		err := machine.Inspect(tree(t, map[string]string{"sys/kernel/security/lockdown": test.lockdown, "proc/swaps": test.swaps, backend: test.store}))
		if (err == nil) != (test.check == "") || err != nil && verdict.As(err).Check != test.check {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := machine.Inspect(tree(t, map[string]string{"sys/kernel/security/lockdown": locked, "proc/swaps": swaps})); err != nil {
		t.Errorf("a kernel that keeps nothing: %v", err)
	}
}

// TestNoByteCode: on SEV-SNP nothing measures ACPI's tables, so their byte code must not be in
// the kernel; elsewhere it is measured, or the host is not kept out anyway.
func TestNoByteCode(t *testing.T) {
	const line = "quiet erst_disable efi=noruntime\n"
	with := tree(t, map[string]string{"sys/firmware/acpi/pm_profile": "0\n", "proc/cmdline": line})
	for _, short := range []string{"quiet erst_disable\n", "quiet efi=noruntime\n", "erst_disablement efi=noruntime\n"} {
		if err := machine.ByteCode(tree(t, map[string]string{"proc/cmdline": short}), machine.Found{Platform: machine.SNP}); verdict.As(err).Check != "machine.acpi" {
			t.Errorf("SEV-SNP with %q: %v", short, err)
		}
	}
	if err := machine.ByteCode(with, machine.Found{Platform: machine.SNP}); verdict.As(err).Check != "machine.acpi" {
		t.Errorf("SEV-SNP with byte code: %v", err)
	}
	if err := machine.ByteCode(tree(t, map[string]string{"proc/cmdline": line}), machine.Found{Platform: machine.SNP}); err != nil {
		t.Errorf("SEV-SNP without: %v", err)
	}
	for _, p := range []wire.ID{machine.TDX, machine.TPM} {
		if err := machine.ByteCode(with, machine.Found{Platform: p}); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestHypervisor: the name comes from the host, and the kernel does as it says.
func TestHypervisor(t *testing.T) {
	const first = "<5>[    0.000000] Linux version 6.12.117+deb12-cloud-amd64 (gcc-12)\n<6>[    0.000000] Command line: quiet\n"
	for name, test := range map[string]struct {
		log  string
		good bool
	}{
		"KVM":           {first + "<6>[    0.000000] Hypervisor detected: KVM\n<6>[    0.000001] kvm-clock: using\n", true},
		"none":          {first, true},
		"Hyper-V":       {first + "<6>[    0.000000] Hypervisor detected: Microsoft Hyper-V\n", false},
		"Xen":           {first + "<6>[    0.000000] Hypervisor detected: Xen HVM\n", false},
		"like KVM":      {first + "<6>[    0.000000] Hypervisor detected: KVM2\n", false},
		"KVM afterward": {first + "<6>[    0.000000] Hypervisor detected: VMware\n<6>[    0.000000] Hypervisor detected: KVM\n", false},
		"a cut log":     {"<6>[    0.000000] Hypervisor detected: KVM\n", false},
		"no log":        {"", false},
	} {
		for _, p := range []wire.ID{machine.SNP, machine.TDX} {
			if err := machine.Hypervisor(test.log, machine.Found{Platform: p}); (err == nil) != test.good || err != nil && verdict.As(err).Check != "machine.hypervisor" {
				t.Errorf("%s on %s: %v", name, p, err)
			}
		}
		if err := machine.Hypervisor(test.log, machine.Found{Platform: machine.TPM}); err != nil {
			t.Errorf("%s with a TPM, whose host has all memory: %v", name, err)
		}
	}
}

func TestProgram(t *testing.T) {
	text := bytes.Repeat([]byte("program "), 1000)
	e := machine.Engine{Name: "engine", Size: int64(len(text)), Digest: wire.DigestOf(text)}
	disk := append(bytes.Clone(text), make([]byte, 192)...)
	f, err := machine.Program(bytes.NewReader(disk), e)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(disk))
	if n, _ := f.ReadAt(got, 0); !bytes.Equal(got[:n], text) {
		t.Errorf("%d bytes", n)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("the copy can be written")
	}
	if seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_SEAL == 0 {
		t.Errorf("seals %x, %v", seals, err)
	}
	for name, spoilt := range map[string][]byte{"flipped": append([]byte("q"), disk[1:]...), "cut": disk[:100], "empty": nil} {
		if _, err := machine.Program(bytes.NewReader(spoilt), e); verdict.As(err).Check != "machine.disk" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := machine.Program(broken{}, e); verdict.As(err).Check != "machine.disk" {
		t.Errorf("a disk that fails: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, unix.EIO }

func TestVerityTable(t *testing.T) {
	e := machine.Engine{DataBlocks: 3, Root: wire.Hash{1}, Salt: wire.Hash{2}}
	b := machine.VerityTable("/dev/vda", e)
	params := "1 /dev/vda /dev/vda 4096 4096 3 3 sha256 01" + strings.Repeat("0", 62) + " 02" + strings.Repeat("0", 62)
	if binary.LittleEndian.Uint64(b) != 0 || binary.LittleEndian.Uint64(b[8:]) != 24 || int(binary.LittleEndian.Uint32(b[20:])) != len(b) || len(b)%8 != 0 ||
		string(bytes.TrimRight(b[24:40], "\x00")) != "verity" || string(bytes.TrimRight(b[40:], "\x00")) != params || b[len(b)-1] != 0 {
		t.Errorf("%q", b)
	}
}

// late is a port that reads as ended until its host comes.
type late struct {
	ends int
	data []string
}

func (l *late) Read(b []byte) (int, error) {
	if l.ends > 0 {
		l.ends--
		return 0, io.EOF
	}
	if len(l.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, l.data[0])
	l.data = l.data[1:]
	return n, nil
}

func TestFromHost(t *testing.T) {
	var got bytes.Buffer
	machine.FromHost(&got, &late{ends: 3, data: []string{"one ", "two"}})
	if got.String() != "one two" {
		t.Errorf("%q", got.String())
	}
	got.Reset()
	machine.FromHost(&got, broken{}) // returns
	if got.Len() != 0 {
		t.Errorf("%q", got.String())
	}
}

// TestPump carries bytes both ways and ends with either side.
func TestPump(t *testing.T) {
	for name, host := range map[string]bool{"the host goes": true, "the agent goes": false} {
		hostEnd, port := pair(t)
		agentEnd, channel := pair(t)
		ended := make(chan bool)
		go func() { machine.Pump(port, channel); close(ended) }()
		for _, way := range [][2]*os.File{{hostEnd, agentEnd}, {agentEnd, hostEnd}} {
			if _, err := way[0].WriteString("hello"); err != nil {
				t.Fatal(err)
			}
			buffer := make([]byte, 5)
			if _, err := io.ReadFull(way[1], buffer); err != nil || string(buffer) != "hello" {
				t.Fatalf("%s: %q, %v", name, buffer, err)
			}
		}
		if host {
			hostEnd.Close()
			if n, err := agentEnd.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%s: the agent reads %d bytes, %v", name, n, err)
			}
		} else {
			agentEnd.Close()
		}
		<-ended
	}
}

func pair(t *testing.T) (a, b *os.File) {
	t.Helper()
	a, b, err := connected()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestSilenceKernel: consoles are taken away, and one that stays is an error.
func TestSilenceKernel(t *testing.T) {
	root := tree(t, map[string]string{"sys/class/tty/ttyS0/console": "Y\n", "sys/class/tty/ttyS1/console": "N\n"})
	if err := machine.SilenceKernel(root); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ttyS0", "ttyS1"} {
		if state, err := os.ReadFile(filepath.Join(root, "sys/class/tty", name, "console")); err != nil || strings.TrimSpace(string(state)) != "N" {
			t.Errorf("%s: %q, %v", name, state, err)
		}
	}
	stays := tree(t, map[string]string{"other": "Y\n", "sys/class/tty/ttyS1/console": "N\n"})
	if err := os.Mkdir(filepath.Join(stays, "sys/class/tty/ttyS0"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/proc/self/attr/none", filepath.Join(stays, "sys/class/tty/ttyS0/console")); err != nil {
		t.Fatal(err)
	}
	if err := machine.SilenceKernel(stays); err != nil {
		t.Errorf("a console that can't be asked: %v", err)
	}
}
