//go:build linux

package seccomp_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox/seccomp"
)

// attempt is what the test program, started again, tries with a filter on.
func attempt(name string) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	f, err := seccomp.Profile(strings.Fields(os.Getenv("DENY")))
	if err != nil {
		return err
	}
	if err := f.Install(false); err != nil {
		return err
	}
	socket := func(family, kind, protocol int) error { _, err := unix.Socket(family, kind, protocol); return err }
	ioctl := func(command uint) error { _, err := unix.IoctlGetInt(0, command); return err }
	raw := func(number, argument uintptr) error {
		if _, _, errno := unix.RawSyscall(number, argument, 0, 0); errno != 0 {
			return errno
		}
		return nil
	}
	switch name {
	case "nothing":
		return nil
	case "unix":
		return socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	case "tcp":
		return socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	case "udp":
		return socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	case "route":
		return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	case "raw":
		return socket(unix.AF_INET, unix.SOCK_RAW, 1)
	case "sctp":
		return socket(unix.AF_INET, unix.SOCK_SEQPACKET, 132)
	case "audit":
		return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT)
	case "vsock":
		return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	case "ordinary ioctl":
		return ioctl(unix.TIOCINQ)
	case "tiocsti":
		return ioctl(unix.TIOCSTI)
	case "fscrypt":
		return ioctl(unix.FS_IOC_ADD_ENCRYPTION_KEY)
	case "personality":
		return raw(unix.SYS_PERSONALITY, 0)
	case "no randomness":
		return raw(unix.SYS_PERSONALITY, 0x40000)
	case "clone3":
		return raw(unix.SYS_CLONE3, 0)
	case "beyond":
		return raw(4000, 0)
	case "x32":
		return raw(0x40000000+unix.SYS_GETPID, 0)
	case "getpid":
		return raw(unix.SYS_GETPID, 0)
	}
	return errors.New("no such attempt")
}

func TestMain(m *testing.M) {
	if name := os.Getenv("ATTEMPT"); name != "" {
		if err := attempt(name); err != nil {
			os.Stdout.WriteString(err.Error())
		} else {
			os.Stdout.WriteString("allowed")
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestProfile(t *testing.T) {
	const allowed, denied, none, family = "allowed", "operation not permitted", "function not implemented", "address family not supported by protocol"
	for _, c := range []struct{ attempt, deny, want string }{
		{"nothing", "", allowed}, {"unix", "", allowed}, {"tcp", "", allowed}, {"udp", "", allowed}, {"route", "", allowed},
		{"raw", "", family}, {"sctp", "", family}, {"audit", "", family}, {"vsock", "", family},
		{"ordinary ioctl", "", "inappropriate ioctl for device"}, {"tiocsti", "", denied}, {"fscrypt", "", denied},
		{"personality", "", allowed}, {"no randomness", "", denied}, {"clone3", "", none}, {"beyond", "", none}, {"x32", "", "signal: bad system call"},
		{"tcp", "socket", denied}, {"unix", "socket socketpair", denied}, {"getpid", "getpid", denied}, {"ordinary ioctl", "ioctl", denied},
		{"getpid", "socket", allowed},
		{"nothing", "mount", `the seccomp profile default has no system call "mount"`},
		{"nothing", "no-such-call", `the seccomp profile default has no system call "no-such-call"`},
	} {
		if c.attempt == "x32" && runtime.GOARCH != "amd64" {
			continue
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "ATTEMPT="+c.attempt, "DENY="+c.deny)
		out, err := cmd.Output() // standard input is the null device
		got := string(out)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s, denied %q: %s, expected %s", c.attempt, c.deny, got, c.want)
		}
	}
}

// TestProfileNeverHas: calls that no list of denied ones need name.
func TestProfileNeverHas(t *testing.T) {
	for _, call := range strings.Fields(`mount umount2 pivot_root fsopen fsmount fsconfig fspick move_mount open_tree mount_setattr setns unshare
		ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp add_key request_key keyctl bpf perf_event_open userfaultfd io_uring_setup
		io_uring_enter io_uring_register init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct quotactl
		settimeofday clock_settime adjtimex clock_adjtime sethostname setdomainname syslog name_to_handle_at open_by_handle_at iopl ioperm
		modify_ldt fanotify_init lookup_dcookie nfsservctl vhangup clone3 process_madvise`) {
		if _, err := seccomp.Profile([]string{call}); err == nil {
			t.Errorf("the profile has %s", call)
		}
	}
}
