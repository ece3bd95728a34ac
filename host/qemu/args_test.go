package qemu_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/attest"
	"strongroom.dev/host/qemu"
	"strongroom.dev/machine"
	"strongroom.dev/verdict"
)

var update = flag.Bool("update", false, "write the golden files anew")

func body() []byte { return []byte("an agreement") }

// tpm is a machine as the host starts it: descriptors for sockets.
func tpm() qemu.Config {
	return qemu.Config{
		Platform: qemu.TPM, Accel: qemu.TCG, CPUs: 2, Memory: 512,
		Firmware: "/image/OVMF_CODE.fd", Variables: "/run/vm/variables.fd", Kernel: "/image/room.efi",
		Disks:   []qemu.Disk{{Serial: "engine-0", Path: "/image/strongroom-sql.disk"}, {Serial: "input-0", Path: "/data/a,b.age"}},
		Channel: qemu.Socket{FD: 3}, Console: "/proc/self/fd/4", TPM: qemu.Socket{FD: 5},
	}
}

func confidential(c qemu.Config) qemu.Config {
	c.Accel, c.Memory, c.Firmware, c.Variables, c.TPM = qemu.KVM, 4096, "/image/OVMF.fd", "", qemu.Socket{}
	c.InitData, c.ShortInitData = attest.InitData(body()), attest.ShortInitData(body())
	return c
}

func snp() qemu.Config {
	c := confidential(tpm())
	c.Platform = qemu.SNP
	c.SNP = qemu.SNPConfig{Policy: qemu.DefaultPolicy, CPU: qemu.DefaultCPU, CBit: 51, ReducedBits: 1, Line: "console=ttyS0 " + machine.NoByteCode}
	return c
}

func tdx() qemu.Config {
	c := confidential(tpm())
	c.Platform, c.CPUs = qemu.TDX, 8
	c.TDX = qemu.TDXConfig{QuoteSocket: "/var/run/tdx-qgs/qgs.socket"}
	return c
}

func TestCommandLines(t *testing.T) {
	kvm, vsock, paths, many := tpm(), tdx(), tpm(), tpm()
	kvm.Accel, kvm.CPUs = qemu.KVM, 1
	vsock.TDX = qemu.TDXConfig{QuoteCID: 2, QuotePort: 4050}
	paths.Channel, paths.TPM, paths.Console = qemu.Socket{Path: "/run/vm/channel"}, qemu.Socket{Path: "/run/vm/tpm"}, "/var/log/room.log"
	for i := range 10 {
		many.Disks = append(many.Disks, qemu.Disk{Serial: "input-" + string(rune('a'+i)), Path: "/data/x.age"})
	}
	for name, c := range map[string]qemu.Config{"tpm-tcg": tpm(), "tpm-kvm": kvm, "tpm-paths": paths, "tpm-disks": many, "snp": snp(), "tdx": tdx(), "tdx-vsock": vsock} {
		t.Run(name, func(t *testing.T) {
			args, err := c.Args()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, qemu.Line("qemu-system-x86_64", args))
		})
	}
	control, err := qemu.TPMConfig{State: "/run/vm/tpm", Control: qemu.Socket{FD: 3}}.Args()
	if err != nil {
		t.Fatal(err)
	}
	path, err := qemu.TPMConfig{State: "/run/vm/tpm", Control: qemu.Socket{Path: "/run/vm/tpm.sock"}}.Args()
	if err != nil {
		t.Fatal(err)
	}
	commands, err := qemu.TPMConfig{State: "/run/vm/tpm", Commands: qemu.Socket{FD: 3}}.Args()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "swtpm", qemu.Line("swtpm", control)+"\n"+qemu.Line("swtpm", path)+"\n"+qemu.Line("swtpm", commands))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got+"\n"); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestNothingElse: no command line has another way into the machine, on any platform.
func TestNothingElse(t *testing.T) {
	for _, c := range []qemu.Config{tpm(), snp(), tdx()} {
		args, err := c.Args()
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Join(args, " ")
		for _, want := range []string{"-nodefaults", "-no-user-config", "-display none", "-monitor none", "-nic none", "-no-reboot", "-sandbox on,"} {
			if !strings.Contains(line, want) {
				t.Errorf("%s: no %s in %s", c.Platform, want, line)
			}
		}
		for _, never := range []string{"-netdev", "-qmp", "-gdb", "-vnc", "-s ", "hostfwd", "-append", "-initrd", "-fw_cfg", "debugcon", "stdio", "usb", "virtfs", "-incoming"} {
			if never == "-append" && c.Platform == qemu.SNP {
				continue // its hash is in the launch digest
			}
			if strings.Contains(line, never) {
				t.Errorf("%s: %s in %s", c.Platform, never, line)
			}
		}
		if n := strings.Count(line, "-chardev "); n != strings.Count(line, "id=console,")+strings.Count(line, "id=channel,")+strings.Count(line, "id=tpm,") {
			t.Errorf("%s: %d character devices: %s", c.Platform, n, line)
		}
		for _, disk := range args {
			if strings.HasPrefix(disk, "if=none") && !strings.Contains(disk, "readonly=on") {
				t.Errorf("%s: a disk that can be written: %s", c.Platform, disk)
			}
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for name, c := range map[string]struct {
		make   func() qemu.Config
		change func(*qemu.Config)
	}{
		"nothing":                    {func() qemu.Config { return qemu.Config{} }, nil},
		"no accelerator":             {tpm, func(c *qemu.Config) { c.Accel = "" }},
		"snp in software":            {snp, func(c *qemu.Config) { c.Accel = qemu.TCG }},
		"tdx in software":            {tdx, func(c *qemu.Config) { c.Accel = qemu.TCG }},
		"no processor":               {tpm, func(c *qemu.Config) { c.CPUs = 0 }},
		"too many processors":        {tpm, func(c *qemu.Config) { c.CPUs = 256 }},
		"little memory":              {tpm, func(c *qemu.Config) { c.Memory = 255 }},
		"too much memory":            {tpm, func(c *qemu.Config) { c.Memory = 1<<20 + 1 }},
		"no firmware":                {tpm, func(c *qemu.Config) { c.Firmware = "" }},
		"a relative path":            {tpm, func(c *qemu.Config) { c.Firmware = "OVMF.fd" }},
		"a path of two lines":        {tpm, func(c *qemu.Config) { c.Kernel = "/a\nb" }},
		"no variables":               {tpm, func(c *qemu.Config) { c.Variables = "" }},
		"no console":                 {tpm, func(c *qemu.Config) { c.Console = "" }},
		"no channel":                 {tpm, func(c *qemu.Config) { c.Channel = qemu.Socket{} }},
		"the channel on output":      {tpm, func(c *qemu.Config) { c.Channel = qemu.Socket{FD: 1} }},
		"two channels":               {tpm, func(c *qemu.Config) { c.Channel.Path = "/x" }},
		"no TPM":                     {tpm, func(c *qemu.Config) { c.TPM = qemu.Socket{} }},
		"a disk without name":        {tpm, func(c *qemu.Config) { c.Disks[0].Serial = "" }},
		"a disk's name too long":     {tpm, func(c *qemu.Config) { c.Disks[0].Serial = strings.Repeat("a", 21) }},
		"a disk's name with options": {tpm, func(c *qemu.Config) { c.Disks[0].Serial = "a,b=c" }},
		"two disks of a name":        {tpm, func(c *qemu.Config) { c.Disks[1].Serial = c.Disks[0].Serial }},
		"a disk without path":        {tpm, func(c *qemu.Config) { c.Disks[0].Path = "" }},
		"too many disks":             {tpm, func(c *qemu.Config) { c.Disks = make([]qemu.Disk, qemu.MaxDisks+1) }},
		"no host data":               {snp, func(c *qemu.Config) { c.ShortInitData = [32]byte{} }},
		"no mrconfigid":              {tdx, func(c *qemu.Config) { c.InitData = [48]byte{} }},
		"no policy":                  {snp, func(c *qemu.Config) { c.SNP.Policy = 0 }},
		"a policy that debugs":       {snp, func(c *qemu.Config) { c.SNP.Policy |= 1 << 19 }},
		"a policy that migrates":     {snp, func(c *qemu.Config) { c.SNP.Policy |= 1 << 18 }},
		"no processor model":         {snp, func(c *qemu.Config) { c.SNP.CPU = "" }},
		"a model with options":       {snp, func(c *qemu.Config) { c.SNP.CPU = "EPYC,+x" }},
		"no encryption bit":          {snp, func(c *qemu.Config) { c.SNP.CBit = 0 }},
		"no reduced bits":            {snp, func(c *qemu.Config) { c.SNP.ReducedBits = 0 }},
		"no command line":            {snp, func(c *qemu.Config) { c.SNP.Line = "" }},
		"a long command line":        {snp, func(c *qemu.Config) { c.SNP.Line = strings.Repeat("a", 2048) }},
		"a command line of two":      {snp, func(c *qemu.Config) { c.SNP.Line = "a\nb" }},
		"no quotes":                  {tdx, func(c *qemu.Config) { c.TDX = qemu.TDXConfig{} }},
		"a relative quote socket":    {tdx, func(c *qemu.Config) { c.TDX.QuoteSocket = "qgs" }},
	} {
		t.Run(name, func(t *testing.T) {
			config := c.make()
			if c.change != nil {
				c.change(&config)
			}
			args, err := config.Args()
			if verdict.Exit(err) != int(verdict.Usage) || args != nil {
				t.Errorf("%v, %v", args, err)
			}
		})
	}
	for name, c := range map[string]qemu.TPMConfig{
		"nothing":             {},
		"no socket":           {State: "/tpm"},
		"two sockets":         {State: "/tpm", Control: qemu.Socket{FD: 3}, Commands: qemu.Socket{FD: 4}},
		"a path for commands": {State: "/tpm", Commands: qemu.Socket{Path: "/x"}},
		"a comma":             {State: "/tpm,mode=0777", Control: qemu.Socket{FD: 3}},
	} {
		if args, err := c.Args(); err == nil {
			t.Errorf("%s: %v", name, args)
		}
	}
}

// TestConsole: a machine's text arrives, and nothing that steers a terminal.
func TestConsole(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\r\n":                       "plain\ttext\n",
		"\x1b[2J\x1b[01;01Hword\x1b[0m\n":       "word\n",
		"\x1b]0;title\x07\x1bc\x00\x7f\x9bdone": "0;titledone",
		strings.Repeat("x", 200):                strings.Repeat("x", 100) + "\n(the machine prints more; it is not kept)\n",
	} {
		for _, step := range []int{1, 3, len(in)} {
			var got strings.Builder
			c := qemu.NewConsole(&got, 100)
			for rest := in; rest != ""; rest = rest[min(step, len(rest)):] {
				part := rest[:min(step, len(rest))]
				if n, err := c.Write([]byte(part)); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
			}
			if got.String() != want {
				t.Errorf("%q in steps of %d: got %q", in, step, got.String())
			}
		}
	}
}

// TestArgsWritable: only a disk that says so can be written.
func TestArgsWritable(t *testing.T) {
	c := tpm()
	c.Disks = []qemu.Disk{{Serial: "disk-0", Path: "/image.disk"}, {Serial: "disk-1", Path: "/volume", Writable: true}}
	args, err := c.Args()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"if=none,id=disk0,format=raw,readonly=on,file=/image.disk", "if=none,id=disk1,format=raw,readonly=off,file=/volume"} {
		if !slices.Contains(args, want) {
			t.Errorf("%s is not in %q", want, args)
		}
	}
}
