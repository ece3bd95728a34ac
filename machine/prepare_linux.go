package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"strongroom.dev/verdict"
)

const (
	configPath = "/machine.json"
	modulePath = "/modules"
)

// prepare makes the machine's kernel one that a room may run on: file systems, modules,
// settings; and leaves the initrd, whose files then are gone.
func prepare() (Config, error) {
	data, err := readAll(configPath, MaxConfig)
	if err != nil {
		return Config{}, err
	}
	config, err := Parse(data)
	if err != nil {
		return Config{}, err
	}
	if err := mountAll(newRoot); err != nil {
		return Config{}, err
	}
	if err := quiet(); err != nil {
		return Config{}, err
	}
	if err := loadModules(config.Modules); err != nil {
		return Config{}, err
	}
	if err := mountLate(newRoot); err != nil {
		return Config{}, err
	}
	if err := switchRoot(); err != nil {
		return Config{}, err
	}
	if err := applySettings("/proc/sys"); err != nil {
		return Config{}, err
	}
	return config, inspect("/")
}

// newRoot is where the root is put together that the machine then has: an empty one. The
// sandbox of the agent can't leave the kernel's first root, and no file of the initrd is
// needed any more.
const newRoot = "/newroot"

type mount struct {
	kind, at string
	flags    uintptr
	options  string
}

// mountAll mounts what needs no module.
func mountAll(root string) error {
	const strict = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return mountEach(root, []mount{
		{"tmpfs", "", strict, "mode=0555,size=1m,nr_inodes=64"},
		{"proc", "proc", strict, ""},
		{"sysfs", "sys", strict, ""},
		{"devtmpfs", "dev", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755"},
		{"tmpfs", "tmp", strict, "mode=0700,size=64k,nr_inodes=16"}, // where the sandbox puts its root
		{"securityfs", "sys/kernel/security", strict, ""},
		{"cgroup2", "sys/fs/cgroup", strict, ""}, // what bounds a container's memory
	})
}

func mountEach(root string, mounts []mount) error {
	for _, m := range mounts {
		at := filepath.Join(root, m.at)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return fmt.Errorf("mounting %s: %w", m.kind, err)
		}
		if err := unix.Mount(m.kind, at, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mounting %s at /%s: %w", m.kind, m.at, err)
		}
	}
	return nil
}

// mountLate mounts configfs if the image has its module: only processors' evidence needs it.
func mountLate(root string) error {
	const place = "sys/kernel/config"
	if _, err := os.Stat(filepath.Join(root, place)); err != nil {
		return nil
	}
	return mountEach(root, []mount{{"configfs", place, unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""}})
}

// switchRoot makes newRoot the root, and frees what the initrd took. The program itself
// stays: it is what agents are started from.
func switchRoot() error {
	for _, path := range []string{configPath, modulePath} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("leaving the initrd: %w", err)
		}
	}
	if err := unix.Chdir(newRoot); err != nil {
		return fmt.Errorf("leaving the initrd: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("leaving the initrd: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("leaving the initrd: %w", err)
	}
	return unix.Chdir("/")
}

// quiet takes the serial port's input away: nobody outside has a say.
func quiet() error {
	null, err := os.Open(filepath.Join(newRoot, "dev/null"))
	if err != nil {
		return err
	}
	defer null.Close()
	return unix.Dup3(int(null.Fd()), 0, 0)
}

// loadModules loads kernel modules in order. A driver without its device is no error: one
// image runs on several kinds of machine.
func loadModules(names []string) error {
	for _, name := range names {
		err := loadModule(filepath.Join(modulePath, name+".ko"))
		if err != nil && err != unix.ENODEV {
			return verdict.Refuse("machine.module", "the kernel module "+name+", signed for this kernel", err.Error(), "build the image anew: kernel and modules must be of one package")
		}
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// setting is a file of /proc/sys and what it has to hold.
type setting struct{ name, value string }

// settings close what a room never needs (Documentation/admin-guide/sysctl). The last two
// can't be opened again.
func settings() []setting {
	return []setting{
		{"kernel/sysrq", "0"},                     // keys of the host's
		{"kernel/core_pattern", ""},               // no memory of a process is written anywhere
		{"kernel/core_pipe_limit", "0"},           //
		{"fs/suid_dumpable", "0"},                 //
		{"kernel/panic", "-1"},                    // a kernel that panics resets the machine at once
		{"kernel/panic_on_oops", "1"},             //
		{"kernel/print-fatal-signals", "0"},       // registers of a process on the console
		{"debug/exception-trace", "0"},            //
		{"kernel/printk", "1 4 1 1"},              // emergencies only
		{"kernel/kptr_restrict", "2"},             //
		{"kernel/dmesg_restrict", "1"},            //
		{"kernel/perf_event_paranoid", "3"},       //
		{"kernel/yama/ptrace_scope", "2"},         //
		{"kernel/io_uring_disabled", "2"},         //
		{"kernel/randomize_va_space", "2"},        //
		{"vm/unprivileged_userfaultfd", "0"},      //
		{"vm/mmap_min_addr", "65536"},             //
		{"dev/tty/ldisc_autoload", "0"},           //
		{"net/core/bpf_jit_harden", "2"},          //
		{"kernel/unprivileged_bpf_disabled", "1"}, //
		{"kernel/kexec_load_disabled", "1"},       //
		{"kernel/modules_disabled", "1"},          //
	}
}

// applySettings writes every setting and reads it back: one that doesn't hold is no room.
func applySettings(dir string) error {
	for _, s := range settings() {
		path := filepath.Join(dir, s.name)
		if err := os.WriteFile(path, []byte(s.value+"\n"), 0); err != nil {
			return refuseSetting(s, err.Error())
		}
		data, err := readAll(path, 4096)
		if err != nil {
			return refuseSetting(s, err.Error())
		}
		if got := strings.Join(strings.Fields(string(data)), " "); got != s.value {
			return refuseSetting(s, got)
		}
	}
	return nil
}

func refuseSetting(s setting, got string) error {
	return verdict.Refuse("machine.setting", "/proc/sys/"+s.name+" of "+s.value, verdict.Printable(verdict.Short(got)), "build the image with the kernel that image.lock names")
}

// acpiInterpreter is there where the kernel took in ACPI's byte code.
const acpiInterpreter = "sys/firmware/acpi"

// refuseByteCode refuses SEV-SNP with ACPI's byte code: the host writes it, nothing measures it
// there, and it can reach all memory (spec/host-interface.md, section 3).
func refuseByteCode(root string, found Found) error {
	if found.Platform != SNP {
		return nil
	}
	line, err := readShort(root, "proc/cmdline")
	words := strings.Fields(line)
	for _, word := range []string{"erst_disable", "efi=noruntime"} {
		if err != nil || !slices.Contains(words, word) {
			return verdict.Refuse("machine.acpi", "a kernel told "+word+": the host's tables and firmware are programs too", verdict.Printable(verdict.Short(line))+reason(err), "start the image with its own command line")
		}
	}
	if !there(root, acpiInterpreter) {
		return nil
	}
	return verdict.Refuse("machine.acpi", "a kernel that takes in no byte code of the host's", "/"+acpiInterpreter, "start the image with \""+NoByteCode+"\" on the kernel's command line, as strongroom host does")
}

// inspect looks at what the kernel was started with: it decides whether the settings hold.
func inspect(root string) error {
	lock, err := readShort(root, "sys/kernel/security/lockdown")
	if err != nil || !strings.Contains(lock, "[confidentiality]") {
		return verdict.Refuse("machine.lockdown", "a kernel locked down for confidentiality", verdict.Printable(lock)+reason(err), "start the image with its own command line")
	}
	swaps, err := readAll(filepath.Join(root, "proc/swaps"), 4096)
	if err != nil || bytes.Count(swaps, []byte("\n")) != 1 {
		return verdict.Refuse("machine.swap", "no swap", verdict.Printable(verdict.Short(string(swaps)))+reason(err), "start the image with its own command line")
	}
	return inspectStore(root)
}

// inspectStore refuses a kernel that has found a place to keep its log in over a crash
// (Documentation/ABI/testing/pstore): tables, variables or memory of the host's, which a panic
// would write registers and messages to. No module is loaded after this, so none comes later.
func inspectStore(root string) error {
	backend, err := readShort(root, "sys/module/pstore/parameters/backend")
	if errors.Is(err, fs.ErrNotExist) { // a kernel that can't
		return nil
	}
	if err != nil || backend != "(null)" { // as the kernel writes that there is none
		return verdict.Refuse("machine.pstore", "a kernel that keeps no log over a crash", verdict.Printable(verdict.Short(backend))+reason(err), "start the image with its own command line")
	}
	return nil
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
