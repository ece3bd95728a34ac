package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox/seccomp"
	"strongroom.dev/wire"
)

// workOrder is what the process is told that becomes the workload.
type workOrder struct {
	Argv         []string   `json:"argv"`
	Env          []string   `json:"env"`
	Directory    string     `json:"directory"`
	UID          int        `json:"uid"`
	GID          int        `json:"gid"`
	Groups       []int      `json:"groups"`
	Capabilities uint64     `json:"capabilities"`
	Deny         []string   `json:"deny"`
	Limits       CellLimits `json:"limits"`
	MayLack      []wire.ID  `json:"may_lack"`
}

// Descriptors of that process while it is ours.
const (
	workOrderFD  = 3
	workStatusFD = 4
	workGroupFD  = 5 // where it enters the group, if there is one
)

// spare is how many threads of the first process count with the workload's.
const spare = 64

// start starts the workload, and returns when it is executed. It runs in a user namespace
// of its own, which owns nothing: neither mounts nor network, nor the first process.
func (f *first) start() error {
	theirOrder, order, err := os.Pipe()
	if err != nil {
		return err
	}
	defer order.Close()
	status, theirStatus, err := os.Pipe()
	if err != nil {
		theirOrder.Close()
		return err
	}
	defer status.Close()
	pid, err := f.fork(theirOrder, theirStatus)
	theirOrder.Close()
	theirStatus.Close()
	if err != nil {
		return fmt.Errorf("starting a process: %w", err)
	}
	f.mu.Lock()
	f.running, f.busy = pid, true
	f.mu.Unlock()
	go f.reap(pid)
	data, err := json.Marshal(f.order.work())
	if err == nil {
		_, err = order.Write(data)
	}
	order.Close()
	text, rerr := io.ReadAll(io.LimitReader(status, maxText)) // ends when the workload is executed
	if len(text) > 0 {
		return errors.New(string(text))
	}
	return errors.Join(err, rerr)
}

// fork starts this program again, to become the workload. The new namespace takes its bound
// of processes, for all users together, from what bounds this process while it is made.
func (f *first) fork(order, status *os.File) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &before); err != nil {
		return 0, err
	}
	most := min(uint64(f.order.Limits.Processes)+spare, before.Max)
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: most, Max: before.Max}); err != nil {
		return 0, err
	}
	defer unix.Setrlimit(unix.RLIMIT_NPROC, &before)
	files := []uintptr{null.Fd(), f.stdout.Fd(), f.stderr.Fd(), order.Fd(), status.Fd()}
	if f.group != nil {
		files = append(files, f.group[groupFiles-1].Fd())
	}
	return syscall.ForkExec("/proc/self/exe", []string{os.Args[0], argWork}, &syscall.ProcAttr{Env: []string{}, Files: files, Sys: f.order.attributes()})
}

// attributes say how the workload's process is started: as user 0 of its namespace, or where
// there is one user only, as the one that it is to be.
func (o *cellOrder) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, Setsid: true, Credential: &syscall.Credential{}}
	if !o.lacks(UserRange) {
		attr.UidMappings, attr.GidMappings = rangeMap(0, 1), rangeMap(0, 1)
		attr.GidMappingsEnableSetgroups = true
		return attr
	}
	attr.Credential = &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID), NoSetGroups: true}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: o.UID, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: o.GID, Size: 1}}
	return attr
}

func (o *cellOrder) work() workOrder {
	return workOrder{Argv: o.Argv, Env: o.Env, Directory: o.Directory, UID: o.UID, GID: o.GID, Groups: o.Groups,
		Capabilities: o.Capabilities, Deny: o.Deny, Limits: o.Limits, MayLack: Layers(o.MayLack)}
}

// workMain is the process that becomes the workload: it gives up what the workload is not to
// have and executes it. It returns only if it can't.
func workMain() int {
	// Rights belong to threads; the one that executes the workload is the one that is left.
	runtime.LockOSThread()
	status := os.NewFile(workStatusFD, "status")
	err := keepDescriptors()
	var o workOrder
	if err == nil {
		err = json.NewDecoder(os.NewFile(workOrderFD, "order")).Decode(&o)
	}
	if err == nil {
		err = o.execute()
	}
	io.WriteString(status, err.Error()[:min(len(err.Error()), maxText)])
	return 127
}

func (o workOrder) lacks(layer wire.ID) bool { return slices.Contains(o.MayLack, layer) }

// execute becomes the workload. The order matters: the right to do a step goes in a later one.
func (o workOrder) execute() error {
	argv, err := syscall.SlicePtrFromStrings(o.Argv)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(o.Env)
	if err != nil {
		return err
	}
	filter, err := seccomp.Profile(o.Deny)
	if err != nil {
		return err
	}
	if err := o.limit(); err != nil {
		return err
	}
	if err := o.become(); err != nil {
		return err
	}
	unix.Umask(0o022)
	if err := unix.Chdir(o.Directory); err != nil {
		return fmt.Errorf("working directory %s: %w", o.Directory, err)
	}
	if err := plainSignals(); err != nil {
		return err
	}
	if err := filter.Install(false); err != nil && !o.lacks(Seccomp) {
		return fmt.Errorf("%s: %w", Seccomp, err)
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(argv[0])), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])))
	return fmt.Errorf("executing %s: %w", o.Argv[0], errno)
}

// limit enters the group and bounds each process. Without a group what a process writes in
// memory of its own is bounded, with the stacks of its threads, of which C libraries reserve 8
// MiB each.
func (o workOrder) limit() error {
	const stack = 8 << 20
	type limit struct {
		which int
		value int64
	}
	limits := []limit{{unix.RLIMIT_CORE, noCore}, {unix.RLIMIT_NOFILE, o.Limits.Files}, {unix.RLIMIT_NPROC, o.Limits.Processes}}
	if o.lacks(MemoryGroup) {
		limits = append(limits, limit{unix.RLIMIT_DATA, o.Limits.Memory + stack*o.Limits.Processes})
	} else if _, err := os.NewFile(workGroupFD, "group").WriteString("0"); err != nil { // 0: itself
		return fmt.Errorf("entering the group: %w", err)
	}
	for _, l := range limits {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.which, &now); err != nil {
			return err
		}
		value := min(uint64(l.value), now.Max)
		if err := unix.Setrlimit(l.which, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit %d: %w", l.which, err)
		}
	}
	return nil
}

// become takes on the workload's user and the capabilities it keeps: user 0 has them by the
// bounding set, as it gains in executing what that allows; others as ambient ones. With
// no_new_privs nothing that is executed has more.
func (o workOrder) become() error {
	kept := o.Capabilities
	if o.lacks(UserRange) && o.UID != 0 {
		kept = 0 // executing this program has taken them
	}
	for c := uint(0); c <= unix.CAP_LAST_CAP; c++ {
		if kept&(1<<c) != 0 {
			continue
		}
		if err := thread(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0); err != nil && err != unix.EINVAL && err != unix.EPERM {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	if !o.lacks(UserRange) {
		if err := o.setUser(); err != nil {
			return err
		}
	}
	inheritable := kept
	if o.UID == 0 {
		inheritable = 0
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: uint32(kept), Permitted: uint32(kept), Inheritable: uint32(inheritable)},
		{Effective: uint32(kept >> 32), Permitted: uint32(kept >> 32), Inheritable: uint32(inheritable >> 32)}}
	if err := thread(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0); err != nil {
		return fmt.Errorf("setting capabilities: %w", err)
	}
	if err := thread(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		return fmt.Errorf("clearing ambient capabilities: %w", err)
	}
	for c := uint(0); c < 64; c++ {
		if inheritable&(1<<c) == 0 {
			continue
		}
		if err := thread(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c)); err != nil {
			return fmt.Errorf("keeping capability %d: %w", c, err)
		}
	}
	return thread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}

// setUser changes to the workload's user and groups and keeps capabilities over it.
func (o workOrder) setUser() error {
	groups := make([]uint32, len(o.Groups)+1) // one more, so that there is an address
	for i, g := range o.Groups {
		groups[i] = uint32(g)
	}
	if err := thread(unix.SYS_SETGROUPS, uintptr(len(o.Groups)), uintptr(unsafe.Pointer(&groups[0])), 0); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	if err := thread(unix.SYS_SETRESGID, uintptr(o.GID), uintptr(o.GID), uintptr(o.GID)); err != nil {
		return fmt.Errorf("group %d: %w", o.GID, err)
	}
	if err := thread(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
		return err
	}
	if err := thread(unix.SYS_SETRESUID, uintptr(o.UID), uintptr(o.UID), uintptr(o.UID)); err != nil {
		return fmt.Errorf("user %d: %w", o.UID, err)
	}
	return nil
}

// plainSignals gives the workload signals as every program expects them: none ignored, as
// whoever started the room may have had some, and none blocked.
func plainSignals() error {
	const lastSignal = 64
	var standard [4]uint64 // struct sigaction of the kernel: the standard reaction
	for s := uintptr(1); s <= lastSignal; s++ {
		if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, s, uintptr(unsafe.Pointer(&standard)), 0, 8, 0, 0); errno != 0 && errno != unix.EINVAL {
			return fmt.Errorf("signal %d: %w", s, errno)
		}
	}
	var none uint64
	if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// thread makes a call whose effect is this thread's own.
//
//go:uintptrescapes
func thread(trap, a1, a2, a3 uintptr) error {
	if _, _, errno := syscall.RawSyscall6(trap, a1, a2, a3, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
