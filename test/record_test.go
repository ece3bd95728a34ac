package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/image"
	"strongroom.dev/internal/world"
	"strongroom.dev/keys"
	"strongroom.dev/room"
)

// recordedStudy is what recorded boots were judged by.
type recordedStudy struct {
	// Agreement is the signed agreement; it pins what was computed from the image's files.
	Agreement json.RawMessage `json:"agreement"`
	// Alpha signs for alpha's broker.
	Alpha keys.PublicKey `json:"alpha"`
}

// recordedBoot is what a machine showed alpha's broker.
type recordedBoot struct {
	About string `json:"about"`
	CPUs  int    `json:"cpus"`
	// Memory is in MiB.
	Memory int        `json:"memory"`
	At     time.Time  `json:"at"`
	Shown  room.Shown `json:"shown"`
}

// recordings is where they are, and recordAgain the variable that has them made again.
const (
	recordings  = "testdata/boots"
	recordAgain = "STRONGROOM_RECORD"
)

// boots are the machines that are recorded. change has a host start another one than agreed.
func boots() map[string]struct {
	about        string
	cpus, memory int
	change       func(t *testing.T, s *study, vm *host.VM)
} {
	return map[string]struct {
		about        string
		cpus, memory int
		change       func(t *testing.T, s *study, vm *host.VM)
	}{
		"1cpu-512mib":     {"the agreed image", 1, 512, nil},
		"2cpus-512mib":    {"the agreed image", 2, 512, nil},
		"1cpu-1024mib":    {"the agreed image", 1, 1024, nil},
		"2cpus-1024mib":   {"the agreed image", 2, 1024, nil},
		"command-line":    {"debug in place of quiet on the command line in the kernel image", 2, 512, inKernelImage("quiet panic=-1", "debug panic=-1")},
		"debug-kernel":    {"a kernel that calls itself one for debugging", 2, 512, inKernelImage("-cloud-amd64 (debian-kernel@", "-debug-amd64 (debian-kernel@")},
		"initrd":          {"an agent in the initrd of which a byte differs", 2, 512, alteredInitrd},
		"stub-arguments":  {"a command line for the stub beside the kernel image: -append", 2, 512, stubArguments},
		"credentials":     {"a credential beside the kernel image, on a disk of the host's", 2, 512, besideImage("evil.cred")},
		"extension-image": {"a system extension beside the kernel image, on a disk of the host's", 2, 512, besideImage("evil.raw")},
	}
}

// TestRecordBoots makes the recordings that TestRecordedBoots judges, when it is asked to: one
// boot of some 15 seconds each. They need to be made again only when a room's evidence changes its
// form.
func TestRecordBoots(t *testing.T) {
	if os.Getenv(recordAgain) == "" {
		t.Skip("set " + recordAgain + "=1 to boot machines and record what they show")
	}
	s := newStudy(t)
	if err := os.MkdirAll(recordings, 0o755); err != nil {
		t.Fatal(err)
	}
	var alpha keys.PublicKey
	job := s.job(t)
	for _, doc := range job.Parties {
		p, err := agreement.ParseParty(doc)
		if err != nil {
			t.Fatal(err)
		}
		if p.Name == "alpha" {
			alpha = p.Broker.ReleaseKey
		}
	}
	keep(t, "study.json", recordedStudy{job.Agreement, alpha})
	for name, b := range boots() {
		t.Run(name, func(t *testing.T) {
			vm := s.machines.VM(b.cpus, b.memory)
			if b.change != nil {
				b.change(t, s, vm)
			}
			shown, err := s.boot(t, vm, s.job(t), room.Released)
			t.Log(err)
			for _, e := range shown {
				if e.Broker == "alpha" {
					keep(t, name+".json", recordedBoot{b.about, b.cpus, b.memory, time.Now().UTC().Truncate(time.Second), e})
					return
				}
			}
			t.Error("it shows nothing to alpha's broker")
		})
	}
}

func keep(t *testing.T, name string, v any) {
	t.Helper()
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(recordings, name), append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// inKernelImage has the machine start a kernel image in which a text is another, as long.
func inKernelImage(old, text string) func(*testing.T, *study, *host.VM) {
	return func(t *testing.T, s *study, vm *host.VM) {
		kernel := &vm.Launch.Machine.Kernel
		data, err := os.ReadFile(*kernel)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(data, []byte(old)) == 0 || len(old) != len(text) {
			t.Fatalf("no %q in the kernel image", old)
		}
		*kernel = filepath.Join(t.TempDir(), "room.efi")
		if err := os.WriteFile(*kernel, bytes.Replace(data, []byte(old), []byte(text), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// alteredInitrd has it start an image built with another agent.
func alteredInitrd(t *testing.T, _ *study, vm *host.VM) {
	bin := programs(t)
	agent, err := os.ReadFile(filepath.Join(bin, "strongroom-agent"))
	if err != nil {
		t.Fatal(err)
	}
	dir, text := t.TempDir(), []byte("a defect in the agent: report it")
	at := bytes.Index(agent, text)
	if at < 0 {
		t.Fatalf("the agent does not hold the text %q", text)
	}
	agent[at] ^= 0x20
	path := filepath.Join(dir, "agent")
	if err := os.WriteFile(path, agent, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(bin, "strongroom"), "image", "build", "-o", filepath.Join(dir, "image"), "--agent", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	vm.Launch.Machine.Kernel = filepath.Join(dir, "image", image.FileUKI)
}

// withQEMU puts a script in QEMU's place; %s in it is QEMU.
func withQEMU(text string) func(*testing.T, *study, *host.VM) {
	return func(t *testing.T, _ *study, vm *host.VM) {
		path := filepath.Join(t.TempDir(), "qemu")
		if err := os.WriteFile(path, fmt.Appendf([]byte("#!/bin/bash\n"), text, vm.Launch.Programs.QEMU), 0o700); err != nil {
			t.Fatal(err)
		}
		vm.Launch.Programs.QEMU = path
	}
}

// stubArguments has the stub take the image's command line with a word more.
func stubArguments(t *testing.T, s *study, vm *host.VM) {
	line, err := os.ReadFile(filepath.Join(s.machines.Image, image.FileCmdline))
	if err != nil {
		t.Fatal(err)
	}
	withQEMU(`exec %s "$@" -append '`+string(line)+` nokaslr'`)(t, s, vm)
}

// besideImage boots the image from a file system on which it has company: systemd's stub takes in
// what lies in a folder of its name.
func besideImage(name string) func(*testing.T, *study, *host.VM) {
	return func(t *testing.T, s *study, vm *host.VM) {
		kernel, err := os.ReadFile(vm.Launch.Machine.Kernel)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "esp")
		extra := filepath.Join(dir, "EFI", "BOOT", "BOOTX64.EFI.extra.d")
		if err := os.MkdirAll(extra, 0o700); err != nil {
			t.Fatal(err)
		}
		for path, data := range map[string][]byte{filepath.Join(dir, "EFI", "BOOT", "BOOTX64.EFI"): kernel, filepath.Join(extra, name): []byte("what the host would have a room read")} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		withQEMU(`args=(); while [ $# -gt 0 ]; do if [ "$1" = -kernel ]; then shift; else args+=("$1"); fi; shift; done
exec %s "${args[@]}" -drive if=none,id=esp,format=raw,readonly=on,file=fat:`+dir+` -device virtio-blk-pci,drive=esp`)(t, s, vm)
	}
}

// readStudy and readBoots read the recordings.
func readStudy(t *testing.T) (s recordedStudy) {
	t.Helper()
	readRecording(t, "study.json", &s)
	return s
}

func readBoots(t *testing.T) map[string]recordedBoot {
	t.Helper()
	all := map[string]recordedBoot{}
	for name := range maps.Keys(boots()) {
		var b recordedBoot
		readRecording(t, name+".json", &b)
		all[name] = b
	}
	return all
}

func readRecording(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recordings, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

// quotedIn gives what recorded evidence carries.
func quotedIn(t *testing.T, b recordedBoot) map[string]string {
	t.Helper()
	quoted, err := world.Quoted(b.Shown)
	if err != nil {
		t.Fatal(err)
	}
	return quoted
}
