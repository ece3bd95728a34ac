//go:build linux

package qemu_test

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/host/qemu"
	"strongroom.dev/image/cloud"
	"strongroom.dev/verdict"
)

const (
	code      = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	variables = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// needs skips a test where what it runs is absent, and fails it where it must be there.
func needs(t *testing.T, programs qemu.Programs, firmware bool) {
	t.Helper()
	err := errors.Join(programs.CheckQEMU(), programs.CheckTPM())
	if firmware {
		_, codeErr := os.Stat(code)
		err = errors.Join(err, codeErr)
	}
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("scripts/setup installs what is missing: %v", err)
	}
	t.Skipf("scripts/setup installs what is missing: %v", err)
}

func newCA(t *testing.T, programs qemu.Programs) *qemu.CA {
	t.Helper()
	ca, err := qemu.NewCA(t.Context(), filepath.Join(t.TempDir(), "ca"), programs)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestCA(t *testing.T) {
	programs := qemu.FindPrograms()
	needs(t, programs, false)
	dir := filepath.Join(t.TempDir(), "home", "tpm")
	if _, err := qemu.OpenCA(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none there: %v", err)
	}
	ca, err := qemu.NewCA(t.Context(), dir, programs)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(ca.Certificates()[1])
	if err != nil {
		t.Fatal(err)
	}
	if ca.Root() != sha256.Sum256(root.RawSubjectPublicKeyInfo) {
		t.Error("the root's fingerprint is not that of its key")
	}
	if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
		t.Errorf("left beside it: %v, %v", entries, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := qemu.NewCA(t.Context(), dir, programs); verdict.Exit(err) != int(verdict.Usage) {
		t.Errorf("made over another: %v", err)
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if again, err := qemu.OpenCA(moved); err != nil || again.Root() != ca.Root() {
		t.Errorf("moved: %v", err)
	}
	// A root that did not sign the issuer is another authority's.
	other := newCA(t, programs)
	if err := os.WriteFile(filepath.Join(moved, "swtpm-localca-rootca-cert.pem"), pemOf(other.Certificates()[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := qemu.OpenCA(moved); verdict.As(err).Check != "vm.tpm_ca" {
		t.Errorf("mixed up: %v", err)
	}
	if err := os.Remove(filepath.Join(moved, "issuercert.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := qemu.OpenCA(moved); verdict.As(err).Check != "vm.tpm_ca" || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half of one: %v", err)
	}
}

// TestFakeTPMTools: tools that fail stop the start, and what they say is told.
func TestFakeTPMTools(t *testing.T) {
	bad := script(t, "echo 'no entropy' >&2; exit 1")
	_, err := qemu.NewCA(t.Context(), filepath.Join(t.TempDir(), "ca"), qemu.Programs{SWTPM: bad, Setup: bad, LocalCA: bad})
	if e := verdict.As(err); e.Check != "vm.program" || !strings.Contains(e.Got, "no entropy") {
		t.Errorf("setup that fails: %v", err)
	}
	programs := qemu.FindPrograms()
	needs(t, programs, false)
	ca := newCA(t, programs)
	for name, text := range map[string]string{
		"dies at once":   "exit 1",
		"writes garbage": "head -c 4096 /dev/zero >&3; sleep 1",
		"refuses":        `head -c 20 <&3 >/dev/null; printf '\200\001\000\000\000\012\000\000\001\001' >&3; sleep 1`,
	} {
		l := tpmLaunch(t, programs, ca)
		l.Programs.SWTPM = script(t, text)
		if r, err := qemu.Start(t.Context(), l); err == nil {
			r.Stop()
			t.Errorf("%s: it starts", name)
		} else if e := verdict.As(err); e.Kind != verdict.Broken || e.Check != "vm.tpm" {
			t.Errorf("%s: %v", name, err)
		}
		empty(t, l.Dir)
	}
}

func tpmLaunch(t *testing.T, programs qemu.Programs, ca *qemu.CA) qemu.Launch {
	t.Helper()
	c := tpm()
	c.Channel, c.TPM, c.Console, c.Disks = qemu.Socket{}, qemu.Socket{}, "", nil
	c.Firmware, c.Variables = code, variables
	return qemu.Launch{Machine: c, Programs: programs, CA: ca, Dir: t.TempDir()}
}

// TestMachineLosesItsTPM: a machine whose TPM is gone is none, and is killed.
func TestMachineLosesItsTPM(t *testing.T) {
	programs := qemu.FindPrograms()
	needs(t, programs, false)
	l := tpmLaunch(t, programs, newCA(t, programs))
	l.Machine.Variables = script(t, "")
	// Commands are for the real one; under QEMU's control it dies.
	l.Programs.SWTPM = script(t, `case "$*" in *--fd*) exec `+programs.SWTPM+` "$@";; esac; echo gone >&2; exit 1`)
	l.Programs.QEMU = script(t, "sleep 60")
	r, err := qemu.Start(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if e := verdict.As(ended(t, r, 20*time.Second)); e.Check != "vm.tpm" || !strings.Contains(e.Got, "gone") {
		t.Errorf("ended with %v", e)
	}
	empty(t, l.Dir)
}

// TestMachineBoots boots the firmware with a TPM and every device, from a program that says
// one word on the console and resets the machine.
func TestMachineBoots(t *testing.T) {
	programs := qemu.FindPrograms()
	needs(t, programs, true)
	l := tpmLaunch(t, programs, newCA(t, programs))
	l.Machine.Kernel = filepath.Join(t.TempDir(), "room.efi")
	// mov dx, 0x3f8; mov al, c; out dx, al; ...; mov dx, 0xcf9; mov al, 6; out dx, al; hlt
	program := []byte{0x66, 0xba, 0xf8, 0x03}
	for _, c := range []byte("word\n") {
		program = append(program, 0xb0, c, 0xee)
	}
	program = append(program, 0x66, 0xba, 0xf9, 0x0c, 0xb0, 6, 0xee, 0xf4, 0xeb, 0xfd)
	if err := os.WriteFile(l.Machine.Kernel, qemu.Program(program), 0o600); err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(t.TempDir(), "odd,name.age")
	if err := os.WriteFile(odd, []byte("not a multiple of a sector"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.Machine.Disks = append(l.Machine.Disks, qemu.Disk{Serial: "input-" + string(rune('0'+i)), Path: odd})
	}
	var console buffer
	l.Console = &console
	r, err := qemu.Start(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	if err := ended(t, r, 2*time.Minute); err != nil {
		t.Fatalf("%v\n%s", err, console.String())
	}
	if !strings.Contains(console.String(), "word\n") {
		t.Errorf("console: %q", console.String())
	}
	empty(t, l.Dir)
}

// TestProbe runs the probe's machine in software: it gets through the firmware.
func TestProbe(t *testing.T) {
	programs := qemu.FindPrograms()
	needs(t, programs, true)
	program := filepath.Join(t.TempDir(), "probe.efi")
	if err := os.WriteFile(program, qemu.ProbeProgram(), 0o600); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "variables.fd")
	data, err := os.ReadFile(variables)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, data, 0o600); err != nil {
		t.Fatal(err)
	}
	args := qemu.ProbeArgs(code, own, program)
	args[slices.Index(args, qemu.KVM)] = qemu.TCG
	args[slices.Index(args, "host")] = "max"
	err = exec.CommandContext(t.Context(), programs.QEMU, args...).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != qemu.ProbeExit {
		t.Errorf("ended with %v", err)
	}
}

// TestDiskBoots boots a cloud's disk, in software: firmware of its own finds the program.
func TestDiskBoots(t *testing.T) {
	programs := qemu.FindPrograms()
	needs(t, programs, true)
	disk, err := cloud.NewDisk(qemu.ProbeProgram(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "disk.vhd")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(disk.WriteVHD(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "variables.fd")
	data, err := os.ReadFile(variables)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, data, 0o600); err != nil {
		t.Fatal(err)
	}
	args := qemu.ProbeArgs(code, own, path)
	args[slices.Index(args, qemu.KVM)] = qemu.TCG
	args[slices.Index(args, "host")] = "max"
	at := slices.Index(args, "-kernel")
	// QEMU reads the footer, as a cloud would, and shows the bytes in front of it.
	args = slices.Replace(args, at, at+2, "-drive", "if=none,id=disk,format=vpc,readonly=on,file="+path, "-device", "virtio-blk-pci,drive=disk")
	err = exec.CommandContext(t.Context(), programs.QEMU, args...).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != qemu.ProbeExit {
		t.Errorf("ended with %v", err)
	}
}

// TestProveHere: on any machine the answer comes in time, and says why.
func TestProveHere(t *testing.T) {
	programs := qemu.FindPrograms()
	needs(t, programs, true)
	began := time.Now()
	if err := qemu.Prove(t.Context(), programs, code, variables); err != nil && verdict.As(err).Check != "vm.kvm" {
		t.Error(err)
	} else if err != nil {
		t.Logf("no KVM here: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}
