package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox"
	"strongroom.dev/wire"
)

// clockSynced asks the kernel whether something keeps the clock right.
func clockSynced() (synced, known bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return state != unix.TIME_ERROR, err == nil
}

// examineKernel tries what a room's sandbox is made of.
func examineKernel(ctx context.Context, d *diagnosis) {
	const mend = "host on a machine whose kernel allows it; an agreement's dev platform can go without, if it says may_lack"
	try := func(id wire.ID, expected, got string, ok bool) {
		d.check(forHosting, "kernel."+string(id), ok, expected, got, mend)
	}
	for _, ns := range []struct {
		id   wire.ID
		flag uintptr
	}{
		{sandbox.UserNamespace, 0}, {sandbox.MountNamespace, unix.CLONE_NEWNS},
		{sandbox.PIDNamespace, unix.CLONE_NEWPID}, {sandbox.NetworkNamespace, unix.CLONE_NEWNET},
	} {
		err := inNamespace(ctx, ns.flag)
		try(ns.id, "a process of an ordinary user can have its own", errorText(err, "allowed"), err == nil)
	}
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		try(sandbox.Landlock, "Landlock ABI 1 or newer", errno.Error(), false)
	} else {
		try(sandbox.Landlock, "Landlock ABI 1 or newer", fmt.Sprintf("ABI %d", abi), true)
	}
	action := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	_, _, errno = unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	try(sandbox.Seccomp, "seccomp filters that kill", errnoText(errno, "available"), errno == 0)
	fd, err := unix.MemfdCreate("doctor", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
		unix.Close(fd)
	}
	try("memfd", "memory files that can be sealed", errorText(err, "available"), err == nil)
	fd, err = unix.MemfdSecret(0)
	if err == nil {
		unix.Close(fd)
	}
	// Nothing depends on it: it keeps keys out of the kernel's own reach where it is there.
	got := "available"
	if err != nil {
		got = err.Error() + ": rooms do without it"
	}
	d.check(forHosting, "kernel.memfd-secret", true, "secret memory, if the kernel has it", got, "")
	examineContainers(d)
}

// inNamespace runs this program's shortest verb in a new user namespace, and one more.
func inNamespace(ctx context.Context, flag uintptr) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{os.Args[0], "version"}
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | flag,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	return cmd.Run()
}

func errorText(err error, otherwise string) string {
	if err != nil {
		return err.Error()
	}
	return otherwise
}

func errnoText(errno syscall.Errno, otherwise string) string {
	if errno != 0 {
		return errno.Error()
	}
	return otherwise
}
