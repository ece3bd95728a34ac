//go:build linux

package qemu_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/host/qemu"
	"strongroom.dev/verdict"
)

// buffer is written by a machine while a test reads it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// script writes a program that stands for another.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutTPM is a machine that needs no software TPM, run by a script.
func withoutTPM(t *testing.T, text string) qemu.Launch {
	t.Helper()
	c := snp()
	c.Channel, c.Console = qemu.Socket{}, ""
	return qemu.Launch{Machine: c, Programs: qemu.Programs{QEMU: script(t, text)}, Dir: t.TempDir()}
}

func ended(t *testing.T, r *qemu.Running, within time.Duration) error {
	t.Helper()
	select {
	case <-r.Done():
	case <-time.After(within):
		t.Fatal("the machine goes on")
	}
	return r.Err()
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMachineEnds(t *testing.T) {
	for name, c := range map[string]struct{ script, check, got string }{
		"powers off":     {"echo hello >&4; exit 0", "", ""},
		"dies early":     {"echo 'qemu: no such device' >&2; exit 1", "vm.program", "qemu: no such device"},
		"is killed":      {"kill -9 $$", "vm.program", "killed"},
		"writes garbage": {"head -c 100000 /dev/urandom >&2; head -c 3000000 /dev/zero >&4; exit 3", "vm.program", "exit status 3"},
		"KVM breaks":     {"echo 'KVM internal error. Suberror: 1' >&2; sleep 60", "vm.kvm", "KVM internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			var console buffer
			l := withoutTPM(t, c.script)
			l.Console = &console
			r, err := qemu.Start(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			err = ended(t, r, 20*time.Second)
			if c.check == "" {
				if err != nil || console.String() != "hello\n" {
					t.Errorf("ended with %v, console %q", err, console.String())
				}
			} else if e := verdict.As(err); e.Check != c.check || e.Kind != verdict.Broken || !strings.Contains(e.Got, c.got) {
				t.Errorf("ended with %v", err)
			}
			if n := len(console.String()); n > qemu.MaxConsole+100 {
				t.Errorf("%d bytes of console were kept", n)
			}
			if _, err := r.Channel().Read(make([]byte, 1)); err == nil {
				t.Error("the channel of a machine that is gone can be read")
			}
			empty(t, l.Dir)
		})
	}
}

// TestChannel: what the machine has as descriptor 3 is the other end of the channel.
func TestChannel(t *testing.T) {
	r, err := qemu.Start(t.Context(), withoutTPM(t, "read line <&3; echo \"got $line\" >&3; exit 0"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Channel().Write([]byte("one\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 8)
	if _, err := io.ReadFull(r.Channel(), answer); err != nil || string(answer) != "got one\n" {
		t.Errorf("%q, %v", answer, err)
	}
	if err := ended(t, r, 10*time.Second); err != nil {
		t.Error(err)
	}
}

func TestStopAndCancel(t *testing.T) {
	l := withoutTPM(t, "sleep 60 & echo $! > "+filepath.Join(t.TempDir(), "x")+"; wait")
	r, err := qemu.Start(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	r.Stop()
	if verdict.As(ended(t, r, time.Second)).Check != "vm.ended" {
		t.Errorf("stopped: %v", r.Err())
	}
	empty(t, l.Dir)
	ctx, cancel := context.WithCancel(t.Context())
	if r, err = qemu.Start(ctx, l); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := ended(t, r, 10*time.Second); err == nil {
		t.Error("a cancelled machine ended well")
	}
	empty(t, l.Dir)
}

func TestStartRefused(t *testing.T) {
	for name, change := range map[string]func(*qemu.Launch){
		"no QEMU":       func(l *qemu.Launch) { l.Programs.QEMU = "" },
		"no such QEMU":  func(l *qemu.Launch) { l.Programs.QEMU = "/none" },
		"a bad machine": func(l *qemu.Launch) { l.Machine.CPUs = 0 },
		"no TPM tools":  func(l *qemu.Launch) { l.Machine = tpm() },
		"no authority": func(l *qemu.Launch) {
			l.Machine = tpm()
			l.Programs = qemu.Programs{QEMU: l.Programs.QEMU, SWTPM: "/x", Setup: "/x", LocalCA: "/x"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := withoutTPM(t, "exit 0")
			change(&l)
			if r, err := qemu.Start(t.Context(), l); err == nil {
				r.Stop()
				t.Error("it starts")
			}
			empty(t, l.Dir)
		})
	}
}

// TestDiesWithTheHost kills a process that has started a machine, or is making a TPM with a
// program that started another: the kernel takes them with it.
func TestDiesWithTheHost(t *testing.T) {
	const variable = "STRONGROOM_TEST_MACHINE"
	// Each starts its program, which writes its process to dir/pid.
	hosts := map[string]func(dir string){
		"machine": func(dir string) {
			l := withoutTPM(t, "echo $$ > "+dir+"/pid.new; mv "+dir+"/pid.new "+dir+"/pid; exec sleep 60")
			l.Dir = dir
			r, err := qemu.Start(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			<-r.Done()
		},
		"child": func(dir string) {
			setup := script(t, "sleep 60 & echo $! > "+dir+"/pid.new; mv "+dir+"/pid.new "+dir+"/pid; wait")
			_, err := qemu.NewCA(t.Context(), filepath.Join(dir, "ca"), qemu.Programs{SWTPM: setup, Setup: setup, LocalCA: setup})
			t.Fatal(err)
		},
	}
	if name, dir, found := strings.Cut(os.Getenv(variable), ":"); found {
		hosts[name](dir)
		return
	}
	for name := range hosts {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			host := exec.Command(os.Args[0], "-test.run=^TestDiesWithTheHost$")
			host.Env = append(os.Environ(), variable+"="+name+":"+dir)
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			pid := started(t, dir)
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = host.Wait()
			gone(t, pid)
			if name == "machine" {
				swept(t, dir)
			}
		})
	}
}

// started waits for the process that dir/pid names.
func started(t *testing.T, dir string) int {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if data, err := os.ReadFile(filepath.Join(dir, "pid")); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
				return pid
			}
		}
	}
	t.Fatal("nothing was started")
	return 0
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); unix.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Fatal("it outlives its host")
		}
	}
}

// folders gives the machines' folders in a directory.
func folders(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "strongroom-vm-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// swept sees that what a killed host left in dir goes when the next machine starts there, and
// nothing else: no folder of a machine that runs, none without a lock, no link, no other name.
func swept(t *testing.T, dir string) {
	t.Helper()
	if len(folders(t, dir)) != 1 {
		t.Fatalf("a killed host leaves %v", folders(t, dir))
	}
	killed := folders(t, dir)[0]
	running := withoutTPM(t, "exec sleep 60")
	running.Dir = dir
	one, err := qemu.Start(t.Context(), running)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Stop()
	if left := folders(t, dir); len(left) != 1 || left[0] == killed {
		t.Fatalf("after the next start %v, %s was the killed host's", left, killed)
	}
	kept := []string{folders(t, dir)[0], filepath.Join(dir, "strongroom-vm-without"), filepath.Join(dir, "other"), filepath.Join(dir, "strongroom-vm-link"), filepath.Join(dir, "strongroom-vm-pipe")}
	if err := errors.Join(os.Mkdir(kept[1], 0o700), os.Mkdir(kept[2], 0o700), os.WriteFile(filepath.Join(kept[2], "owner"), nil, 0o600), os.Symlink(kept[2], kept[3]),
		os.Mkdir(kept[4], 0o700), unix.Mkfifo(filepath.Join(kept[4], "owner"), 0o600)); err != nil {
		t.Fatal(err)
	}
	two, err := qemu.Start(t.Context(), running)
	if err != nil {
		t.Fatal(err)
	}
	two.Stop()
	<-two.Done()
	for _, path := range kept {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("the sweep takes %s", path)
		}
	}
	if _, err := os.Lstat(filepath.Join(kept[2], "owner")); err != nil {
		t.Error("the sweep follows a link")
	}
}

// zombie reports a process that has ended and that nobody has waited for.
func zombie(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, found := strings.Cut(string(data), ") ")
	return err != nil || !found || strings.HasPrefix(state, "Z")
}

func TestProveWithFakes(t *testing.T) {
	for name, c := range map[string]struct{ script, got string }{
		"works":          {"exit 85", ""},
		"does nothing":   {"exit 0", "ended without its program"},
		"dies":           {"echo 'Assertion failed' >&2; exit 134", "Assertion failed"},
		"hangs":          {"sleep 60", "in 500ms"},
		"breaks":         {"echo 'KVM internal error. Suberror: 1' >&2; sleep 60", "KVM internal error"},
		"another's exit": {"exit 83", "exit"},
	} {
		t.Run(name, func(t *testing.T) {
			within := 10 * time.Second
			if name == "hangs" {
				within = 500 * time.Millisecond
			}
			err := qemu.ProveWithin(t.Context(), qemu.Programs{QEMU: script(t, c.script)}, "/x", "", within)
			if c.got == "" && err != nil || c.got != "" && (verdict.As(err).Check != "vm.kvm" || !strings.Contains(verdict.As(err).Got, c.got) && name != "another's exit") {
				t.Errorf("%v", err)
			}
		})
	}
}

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
