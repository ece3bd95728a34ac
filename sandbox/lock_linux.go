package sandbox

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox/seccomp"
)

// onAll makes a system call on every thread of the process: rights belong to threads, and a
// Go program has several before main starts. It works because the agent links no cgo.
//
//go:uintptrescapes
func onAll(trap, a1, a2, a3 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall(trap, a1, a2, a3); errno != 0 {
		return errno
	}
	return nil
}

// lockProcess gives up everything the process does not need, on all threads. The error is
// for what is no layer but has to work everywhere.
func lockProcess(limits Limits, calls []seccomp.Rule) ([]Lack, error) {
	if err := dropRights(); err != nil {
		return nil, err
	}
	if err := limits.set(); err != nil {
		return nil, err
	}
	var lacks []Lack
	if err := landlock(); err != nil {
		lacks = append(lacks, Lack{Landlock, err.Error()})
	}
	if err := (seccomp.Filter{Rules: calls}).Install(true); err != nil {
		lacks = append(lacks, Lack{Seccomp, err.Error()})
	}
	return lacks, nil
}

// dropRights gives up all capabilities and every way to gain one. The order matters: the
// bounding set can be emptied only by a process that still has CAP_SETPCAP.
func dropRights() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		err := onAll(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0)
		if err == syscall.EPERM { // no right to, so no capability either, and no_new_privs follows
			break
		}
		if err != nil && err != syscall.EINVAL { // EINVAL: a capability this kernel does not have
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	if err := onAll(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		return fmt.Errorf("dropping ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := onAll(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	if err := onAll(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("no core dumps: %w", err)
	}
	return nil
}

// noCore is the limit with which no core is dumped: one of 0 holds for files alone, and not
// for programs that the machine's kernel.core_pattern pipes cores to (core(5)).
const noCore = 1

func (l Limits) set() error {
	l = l.filled()
	for _, r := range []struct {
		name  string
		which int
		value int64
	}{
		{"core size", unix.RLIMIT_CORE, noCore},
		{"file size", unix.RLIMIT_FSIZE, -1}, // memory files are files
		{"locks", unix.RLIMIT_MEMLOCK, 0},
		{"queues", unix.RLIMIT_MSGQUEUE, 0},
		{"memory", unix.RLIMIT_DATA, l.Memory},
		{"address space", unix.RLIMIT_AS, l.Memory + AddressSlack},
		{"processor time", unix.RLIMIT_CPU, l.CPUSeconds},
		{"descriptors", unix.RLIMIT_NOFILE, l.Files},
	} {
		if r.value < 0 {
			continue
		}
		var now unix.Rlimit
		if err := unix.Getrlimit(r.which, &now); err != nil {
			return fmt.Errorf("limit of %s: %w", r.name, err)
		}
		value := min(uint64(r.value), now.Max)
		if err := unix.Setrlimit(r.which, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit of %s: %w", r.name, err)
		}
	}
	return nil
}

// setThreads bounds threads; only inside a user namespace, where no one else's are counted.
func (l Limits) setThreads() error {
	n := uint64(l.filled().Threads)
	return unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: n, Max: n})
}

// landlockAttr is struct landlock_ruleset_attr of ABI 6.
type landlockAttr struct{ fs, net, scoped uint64 }

// landlock denies every access that the kernel's version of Landlock knows but reading what
// is at the paths given, usually none: descriptors that are open already stay usable, and
// memory files belong to no file system that Landlock rules over.
func landlock(readable ...string) error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return errno
	}
	attr := landlockAttr{fs: 1<<13 - 1} // ABI 1: execute to make-symlink
	size := unsafe.Sizeof(attr.fs)
	for _, step := range []struct {
		abi uintptr
		add func()
	}{
		{2, func() { attr.fs |= unix.LANDLOCK_ACCESS_FS_REFER }},
		{3, func() { attr.fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE }},
		{4, func() {
			attr.net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
			size = unsafe.Offsetof(attr.scoped)
		}},
		{5, func() { attr.fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV }},
		{6, func() { attr.scoped, size = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, unsafe.Sizeof(attr) }},
	} {
		if abi >= step.abi {
			step.add()
		}
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(fd))
	for _, path := range readable {
		if err := mayRead(fd, path); err != nil && err != unix.ENOENT {
			return err
		}
	}
	return onAll(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
}

func mayRead(ruleset uintptr, path string) error {
	at, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: unix.LANDLOCK_ACCESS_FS_READ_FILE, Parent_fd: int32(at)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
