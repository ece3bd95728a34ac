//go:build linux

package host_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom.dev/host"
	"strongroom.dev/host/qemu"
	"strongroom.dev/verdict"
)

// console is what a room's machine printed.
type console struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

// machine is a host whose rooms are machines of a script that stands for QEMU.
func machine(t *testing.T, text string) host.Config {
	t.Helper()
	return host.Config{Dir: t.TempDir(), VM: &host.VM{
		Engines: []host.Engine{{Name: "strongroom-sql", Path: "/image/sql.disk"}, {Name: "other", Path: "/image/other.disk"}},
		Launch: qemu.Launch{Dir: t.TempDir(), Programs: qemu.Programs{QEMU: program(t, t.TempDir(), "qemu", text)}, Machine: qemu.Config{
			Platform: qemu.SNP, Accel: qemu.KVM, CPUs: 2, Memory: 1024, Firmware: "/image/OVMF.fd", Kernel: "/image/room.efi",
			SNP: qemu.SNPConfig{Policy: qemu.DefaultPolicy, CPU: qemu.DefaultCPU, CBit: 51, ReducedBits: 1, Line: "console=ttyS0"},
		}},
	}}
}

// TestMachineThatFails: whatever a machine does instead of the room's work, the host says so.
func TestMachineThatFails(t *testing.T) {
	w := worldOf(t, image(t, "exit 0"))
	for name, c := range map[string]struct{ script, check, got string }{
		"dies early":     {"echo 'no SEV here' >&2; exit 1", "vm.program", "no SEV here"},
		"powers off":     {"exit 0", "room.ended", "without a word"},
		"talks rubbish":  {"echo rubbish >&3; exit 0", "room.ended", ""},
		"breaks halfway": {"printf 'strongroom/channel/v1\\n' >&3; sleep 0.1; echo 'bus error' >&2; exit 1", "vm.program", "bus error"},
	} {
		t.Run(name, func(t *testing.T) {
			job, _, err := w.Job("counts", map[string]string{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := host.Start(t.Context(), machine(t, c.script), "room", job)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			e := verdict.As(r.Wait(ctx))
			if e == nil || e.Kind != verdict.Broken || e.Check != c.check && name != "talks rubbish" || !strings.Contains(e.Got, c.got) {
				t.Errorf("ended with %v", e)
			}
		})
	}
}

// TestMachineGetsItsDisks: engines in the image's order, then inputs in the job's.
func TestMachineGetsItsDisks(t *testing.T) {
	w := worldOf(t, image(t, "exit 0"))
	job, _, err := w.Job("counts", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	c := machine(t, `echo "$@" >&4`)
	var log console
	c.Log = &log
	r, err := host.Start(t.Context(), c, "room", job)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Wait(t.Context())
	serials := regexp.MustCompile(`serial=([a-z0-9-]+)`).FindAllString(log.String(), -1)
	if !slices.Equal(serials, []string{"serial=engine-0", "serial=engine-1", "serial=input-0"}) {
		t.Errorf("disks %v", serials)
	}
	files := regexp.MustCompile(`readonly=on,file=(\S+)`).FindAllStringSubmatch(log.String(), -1)
	if len(files) != 3 || files[1][1] != "/image/other.disk" || files[2][1] != job.Inputs[0].Path {
		t.Errorf("files %v", files)
	}
	if !strings.Contains(log.String(), "host-data=") {
		t.Error("the machine is not started for an agreement")
	}
}

// TestMachineOfNothing: a host without machine and programs starts nothing.
func TestMachineOfNothing(t *testing.T) {
	w := worldOf(t, image(t, "exit 0"))
	job, _, err := w.Job("counts", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]host.Config{"nothing": {}, "no folder": {VM: machine(t, "").VM}, "an empty machine": {Dir: t.TempDir(), VM: &host.VM{}}} {
		if r, err := host.Start(t.Context(), c, "room", job); verdict.Exit(err) != int(verdict.Usage) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

// TestStopKillsMachine: the room ends, and says that it was stopped.
func TestStopKillsMachine(t *testing.T) {
	w := worldOf(t, image(t, "exit 0"))
	job, _, err := w.Job("counts", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := host.Start(t.Context(), machine(t, "sleep 60"), "room", job)
	if err != nil {
		t.Fatal(err)
	}
	r.Stop()
	if err := r.Wait(t.Context()); verdict.As(err).Check != "room.stopped" {
		t.Errorf("ended with %v", err)
	}
}

// TestSlowStart: while a machine takes its time to start, a host answers, counts it, and at
// its end takes it along.
func TestSlowStart(t *testing.T) {
	w := worldOf(t, image(t, "exit 0"))
	job, _, err := w.Job("counts", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	started, released := filepath.Join(dir, "started"), filepath.Join(dir, "released")
	c := machine(t, "sleep 60")
	// Making a TPM takes until it is released, and fails.
	m := &c.VM.Launch
	slow := program(t, dir, "setup", "touch "+started+"; while ! test -e "+released+"; do sleep 0.02; done; exit 1")
	m.Machine.Platform, m.Machine.Variables = qemu.TPM, slow
	m.Programs.SWTPM, m.Programs.Setup, m.Programs.LocalCA = slow, slow, slow
	m.CA = &qemu.CA{}
	manager, err := host.NewManager(c, dataDir(t, job), 1, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := manager.Start(t.Context(), job); ended <- err }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(started); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("the first room does not start")
		}
	}
	if _, err := manager.Start(t.Context(), job); verdict.As(err).Check != "host.rooms" {
		t.Errorf("a second room: %v", err)
	}
	if all := manager.All(); len(all) != 0 {
		t.Errorf("rooms %v", all)
	}
	if err := os.WriteFile(released, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a room without a TPM started")
	}
	manager.Close()
	if _, err := manager.Start(t.Context(), job); verdict.As(err).Check != "host.rooms" {
		t.Errorf("started after the end: %v", err)
	}
}
