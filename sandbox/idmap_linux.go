package sandbox

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// MapForCells makes the users of a detached mount's files, 0 to 65535 as the disk has them,
// the users of cells (Linux 5.12, on file systems that know mapped mounts). Only root of the
// machine can, before the mount is attached anywhere; its program must call [Main] first thing.
func MapForCells(mount *os.File) error {
	ns, err := cellUsers()
	if err != nil {
		return fmt.Errorf("making a user namespace: %w", err)
	}
	defer ns.Close()
	err = unix.MountSetattr(int(mount.Fd()), "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())})
	if err != nil {
		return fmt.Errorf("mapping the users of a mount: %w", err)
	}
	return nil
}

// cellUsers gives a user namespace with the users of cells and nothing in it.
func cellUsers() (*os.File, error) {
	cmd := exec.Command("/proc/self/exe", argHold)
	cmd.Env = []string{}
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	ids := rangeMap(nobodyID, hostIDs)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer cmd.Wait()
	defer hold.Close()
	return os.Open("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/user")
}

// holdMain keeps its namespace until its standard input ends.
func holdMain() int {
	io.Copy(io.Discard, os.Stdin)
	return 0
}
