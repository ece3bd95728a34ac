package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox/seccomp"
)

// Task is what a keeper does with a request and the files that came with it, which are closed
// afterwards: it gives an answer and perhaps a file, which goes to who asked. It is called
// once at a time.
type Task func(request []byte, files []*os.File) (answer []byte, file *os.File)

// keeper is a process of this program's own code that has the rights which the program gives
// up over what the users of cells own, and a directory, KeeperPlace, to mount in.
type keeper struct {
	cmd   *exec.Cmd
	link  *link
	asked sync.Mutex // one request at a time
	next  int64
}

// KeeperPlace is an empty directory in a keeper's own small file system.
const KeeperPlace = stagePlace

// prepareKeeper starts the keeper. Where none can be, Keep says why.
func (in *Inside) prepareKeeper() {
	k, err := startKeeper()
	if err != nil {
		in.noKeeper = fmt.Errorf("preparing a keeper: %w", err)
		return
	}
	in.keeper = k
}

func startKeeper() (*keeper, error) {
	control, theirs, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if control, err = polled(control); err != nil {
		return nil, err
	}
	k := &keeper{link: &link{file: control}}
	k.cmd = exec.Command("/proc/self/exe", argKeeper)
	k.cmd.Args[0] = os.Args[0]
	k.cmd.Env = []string{}
	k.cmd.Stdin, k.cmd.Stdout, k.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	k.cmd.ExtraFiles = []*os.File{theirs}
	k.cmd.SysProcAttr = cellAttributes(allNamespaces)
	k.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := k.cmd.Start(); err != nil {
		control.Close()
		return nil, err
	}
	control.SetReadDeadline(time.Now().Add(patience))
	m, files, err := k.link.receive()
	closeAll(files)
	control.SetReadDeadline(time.Time{})
	if err == nil && m.Error != "" {
		err = errors.New(m.Error)
	}
	if err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *keeper) close() {
	k.cmd.Process.Kill()
	k.cmd.Wait()
	k.link.file.Close()
}

// Keep asks the keeper. When ctx ends first, the keeper is of no use any more.
func (in *Inside) Keep(ctx context.Context, request []byte, files ...*os.File) (answer []byte, file *os.File, err error) {
	if in.keeper == nil {
		return nil, nil, errors.Join(errors.New("no keeper"), in.noKeeper)
	}
	k := in.keeper
	k.asked.Lock()
	defer k.asked.Unlock()
	defer context.AfterFunc(ctx, func() { k.cmd.Process.Kill() })()
	k.next++
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	if err := k.link.send(message{ID: k.next, Data: request}, fds...); err != nil {
		return nil, nil, fmt.Errorf("keeper: %w", err)
	}
	m, got, err := k.link.receive()
	if err == nil && (m.ID != k.next || len(got) > 1) {
		err = errors.New("another answer than that asked for")
	}
	if err != nil {
		closeAll(got)
		return nil, nil, fmt.Errorf("keeper: %w", errors.Join(context.Cause(ctx), err))
	}
	if len(got) == 1 {
		file = got[0]
	}
	return m.Data, file, nil
}

// keeperMain is the keeper's process. It ends when the agent closes its end.
func keeperMain(task []Task) int {
	control, err := polledFD(3)
	if err != nil || len(task) != 1 {
		return 1
	}
	f := &first{link: &link{file: control}}
	if err := errors.Join(f.shut(), keeperRights(), keeperPlace(), keeperFilter()); err != nil {
		f.link.send(message{Error: err.Error()})
		return 1
	}
	if f.link.send(message{}) != nil {
		return 1
	}
	for {
		m, files, err := f.link.receive()
		if err != nil {
			return 0
		}
		answer, file := task[0](m.Data, files)
		closeAll(files)
		var fds []int
		if file != nil {
			fds = append(fds, int(file.Fd()))
		}
		err = f.link.send(message{ID: m.ID, Data: answer}, fds...)
		if file != nil {
			file.Close()
		}
		if err != nil {
			return 1
		}
	}
}

// keeperRights gives up what a keeper does not need: it mounts, and reads and owns files of
// the users of cells. What it has holds over these alone.
func keeperRights() error {
	keep := []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_CHOWN, unix.CAP_FSETID}
	kept := map[uintptr]bool{}
	var set [2]unix.CapUserData
	for _, c := range keep {
		kept[c] = true
		set[c/32].Permitted |= 1 << (c % 32)
		set[c/32].Effective |= 1 << (c % 32)
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if kept[c] {
			continue
		}
		if err := onAll(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); err != nil && err != syscall.EINVAL {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := onAll(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&set)), 0); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	return onAll(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}

// keeperFilter leaves it only the calls that it needs. A kernel without filters has none for
// the program itself either, which says that it lacks them.
func keeperFilter() error {
	err := (seccomp.Filter{Rules: keeperCalls()}).Install(true)
	if err == unix.ENOSYS || err == unix.EINVAL {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", Seccomp, err)
	}
	return nil
}

// keeperPlace mounts a small file system to work in.
func keeperPlace() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	return unix.Mount("none", KeeperPlace, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size="+strconv.Itoa(1<<20)+",mode=0700")
}
