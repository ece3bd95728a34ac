// Package ready says what a machine lacks to host rooms of each platform, by name and with
// the mend. It reads files and asks programs for their versions; it changes nothing.
package ready

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"strongroom.dev/predict"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Machine is what is examined: this one ([This]), or one that a test makes up.
type Machine struct {
	// Files is the file system from "/" on.
	Files fs.FS
	// Look gives the path of a program, "" if there is none.
	Look func(name string) string
	// Ask runs a program and gives what it prints.
	Ask func(ctx context.Context, path string, args ...string) (string, error)
	// Open tells whether a device can be opened for reading and writing.
	Open func(path string) error
	// Prove runs a machine under KVM; nil if it works. It is not called where /dev/kvm can't be
	// opened.
	Prove func(ctx context.Context) error
	// Judge says why firmware can't start a room whose kernel is measured, nil if it can.
	Judge func(platform wire.ID, firmware []byte) error
	// Release gives the release of EDK II that firmware says it is, false if it says none.
	Release func(firmware []byte) (predict.FirmwareRelease, bool)
	// SEVFirmware asks /dev/sev for the version of the firmware behind it.
	SEVFirmware func() (major, minor, build int, err error)
}

// Asked is what the machine shall host.
type Asked struct {
	// Platform is "tpm", "snp" or "tdx".
	Platform wire.ID
	// Firmware is the path of the firmware to be used on snp or tdx, "" to look for one where
	// distributions put it.
	Firmware string
	// QuoteSocket is where the quote generation service listens, on tdx.
	QuoteSocket string
}

// Platforms are those that a machine can be examined for.
func Platforms() []wire.ID { return []wire.ID{"tpm", "snp", "tdx"} }

// examination collects findings.
type examination struct {
	Machine
	asked  Asked
	checks []verdict.Check
}

// Examine looks for everything that hosting rooms of a platform takes.
func (m Machine) Examine(ctx context.Context, asked Asked) ([]verdict.Check, error) {
	e := &examination{Machine: m, asked: asked}
	switch asked.Platform {
	case "tpm":
		e.tpm(ctx)
	case "snp":
		e.snp(ctx)
	case "tdx":
		e.tdx(ctx)
	default:
		return nil, verdict.Misuse("--platform", "tpm, snp or tdx", verdict.Short(string(asked.Platform)), "name one of them")
	}
	return e.checks, nil
}

// check adds a finding. The mend is said only where there is something to mend.
func (e *examination) check(id string, ok bool, expected, got, fix string) {
	if ok {
		fix = ""
	}
	e.checks = append(e.checks, verdict.Check{ID: id, OK: ok, Expected: expected, Got: verdict.Printable(verdict.Short(got)), Fix: fix})
}

// maxRead bounds a file: kernel configurations have some 300 KiB, firmware 4 MiB.
const maxRead = 16 << 20

// read gives a file of the machine, "" if it can't be read.
func (e *examination) read(name string) (string, error) {
	f, err := e.Files.Open(strings.TrimPrefix(name, "/"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRead))
	return string(data), err
}

// line gives a file's one line.
func (e *examination) line(name string) string {
	text, _ := e.read(name) // what can't be read holds nothing
	return strings.TrimSpace(text)
}

func (e *examination) exists(name string) bool {
	_, err := fs.Stat(e.Files, strings.TrimPrefix(name, "/"))
	return err == nil
}

// device checks that a device is there and that this user can open it.
func (e *examination) device(id, path, what, absent string) bool {
	if !e.exists(path) {
		e.check(id, false, what, "no "+path, absent)
		return false
	}
	err := e.Open(path)
	got, fix := path, "give this user access to "+path+": a group has it (ls -l "+path+"), usermod -aG GROUP USER adds to it"
	if err != nil {
		got = path + ": " + why(err)
	}
	e.check(id, err == nil, what, got, fix)
	return err == nil
}

func why(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// kernel checks the kernel's version. backports holds where another sign says that an older
// one has what is needed.
func (e *examination) kernel(id string, least version, backported bool) {
	release := e.line("/proc/sys/kernel/osrelease")
	v, known := parseVersion(release)
	got := release
	if !known {
		got = "unknown"
	}
	if backported && known && v.less(least) {
		got += ", which has it from a newer one"
	}
	e.check(id, known && (backported || !v.less(least)), "Linux "+least.String()+" or newer", got, "install a newer kernel")
}

// options checks what the kernel was built with.
func (e *examination) options(id string, want ...string) {
	release := e.line("/proc/sys/kernel/osrelease")
	config, place := e.kernelConfig(release)
	if config == nil {
		e.check(id, true, "a kernel built with "+strings.Join(want, ", "), "its configuration is nowhere to be read", "")
		return
	}
	var missing []string
	for _, option := range want {
		if v := config[option]; v != "y" && v != "m" {
			missing = append(missing, option)
		}
	}
	got := place
	if len(missing) > 0 {
		got = "without " + strings.Join(missing, ", ") + " (" + place + ")"
	}
	e.check(id, len(missing) == 0, "a kernel built with "+strings.Join(want, ", "), got, "install a kernel built with them")
}

// parameter checks a parameter of a kernel module.
func (e *examination) parameter(id, module, name, fix string) bool {
	file := path.Join("/sys/module", module, "parameters", name)
	value := e.line(file)
	ok := value == "Y" || value == "1"
	got := module + "." + name + "=" + value
	switch {
	case !e.exists("/sys/module/" + module):
		got, fix = "the module "+module+" is not loaded", "load it: modprobe "+module
	case value == "":
		got = module + " has no parameter " + name
	}
	e.check(id, ok, module+"."+name+"=Y", got, fix)
	return ok
}

// arguments gives the kernel's command line, by word.
func (e *examination) arguments() []string {
	return strings.Fields(e.line("/proc/cmdline"))
}

// argument reports a word on the kernel's command line, alone or in a list: name=a,b.
func (e *examination) argument(name, value string) bool {
	return slices.ContainsFunc(e.arguments(), func(word string) bool {
		n, v, _ := strings.Cut(word, "=")
		return n == name && (value == "" || slices.Contains(strings.Split(v, ","), value))
	})
}
