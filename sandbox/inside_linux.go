package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox/seccomp"
)

// controlFD is where a helper keeps its end of the control socket: out of the way of the
// program's descriptors.
const controlFD = helperFD - 1

// helperMain is the helper's process: it shuts itself in, says so, waits for its order and
// becomes the program. It returns only if it can't.
func helperMain() int {
	runtime.LockOSThread()
	if err := unix.Dup3(3, controlFD, unix.O_CLOEXEC); err != nil {
		return 1
	}
	if err := keepDescriptors(); err != nil {
		return 1
	}
	r := ready{Lacks: enclose(argument(2), true, false)}
	if err := dropRights(); err != nil {
		r.Error = err.Error()
	}
	if err := landlock(visibleCgroup()...); err != nil {
		r.Lacks = append(r.Lacks, Lack{Landlock, err.Error()})
	}
	if say(r) != nil || r.Error != "" {
		return 1
	}
	// Only a failure is ever answered; it quotes nothing but the kernel.
	say(ready{Error: obey().Error()})
	return 1
}

func say(r ready) error {
	message, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = unix.Write(controlFD, message) // the last filter allows no other way of sending
	return err
}

// obey waits for the order and carries it out; it returns only with an error.
func obey() error {
	buffer, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*maxPassed))
	n, oobn, flags, err := recvmsg(controlFD, buffer, oob)
	if err != nil {
		return err
	}
	if n == 0 {
		os.Exit(0) // the agent ended without an order
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return fmt.Errorf("an order that was cut")
	}
	var o order
	if err := json.Unmarshal(buffer[:n], &o); err != nil {
		return err
	}
	fds, err := passed(oob[:oobn])
	if err != nil {
		return err
	}
	if err := arrange(fds); err != nil {
		return fmt.Errorf("arranging descriptors: %w", err)
	}
	return o.execute()
}

func passed(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("an order without descriptors")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) < 2 {
		return nil, fmt.Errorf("an order without descriptors")
	}
	return fds, nil
}

// arrange puts the program at helperFD, its connection at 3 and its files from FirstFile up.
func arrange(fds []int) error {
	high := make([]int, len(fds))
	for i, fd := range fds {
		var err error
		if high[i], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, helperFD+1); err != nil {
			return err
		}
		unix.Close(fd)
	}
	if err := unix.Dup3(high[0], helperFD, unix.O_CLOEXEC); err != nil {
		return err
	}
	if err := unix.Dup3(high[1], 3, 0); err != nil {
		return err
	}
	for i, fd := range high[2:] {
		if _, err := unix.FcntlInt(uintptr(FirstFile+i), unix.F_GETFD, 0); err != unix.EBADF {
			return fmt.Errorf("descriptor %d is in use", FirstFile+i)
		}
		if err := unix.Dup3(fd, FirstFile+i, 0); err != nil {
			return err
		}
	}
	return nil
}

// execute sets the limits, puts the last layer on and becomes the program. All memory that
// is needed is there before the limits bite.
func (o order) execute() error {
	argv, err := syscall.SlicePtrFromStrings(o.Args)
	if err != nil {
		return err
	}
	env, empty := []*byte{nil}, new(byte)
	missing := Layers(o.MayLack)
	if !slices.Contains(missing, UserNamespace) {
		if err := o.Limits.setThreads(); err != nil {
			return fmt.Errorf("limit of threads: %w", err)
		}
	}
	if err := o.Limits.set(); err != nil {
		return err
	}
	if err := (seccomp.Filter{Rules: helperCalls()}).Install(false); err != nil && !slices.Contains(missing, Seccomp) {
		return fmt.Errorf("%s: %w", Seccomp, err)
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVEAT, helperFD, uintptr(unsafe.Pointer(empty)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return fmt.Errorf("executing the program: %w", errno)
}
