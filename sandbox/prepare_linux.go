package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cellNamespaces are those of a cell.
const cellNamespaces = allNamespaces | unix.CLONE_NEWCGROUP

// prepareCells starts n cells and waits until each is ready. Where none can be, noCell says
// why: work without containers goes on. groups are for a cell each, or there are none.
func (in *Inside) prepareCells(n int, groups [][]*os.File) {
	for i := range n {
		var files []*os.File
		if i < len(groups) {
			files = groups[i]
		}
		c, err := startCellProcess(files)
		closeAll(files)
		if err != nil {
			in.noCell = fmt.Errorf("preparing it: %w", err)
			return
		}
		in.cells = append(in.cells, c)
	}
	for _, c := range in.cells {
		c.link.file.SetReadDeadline(time.Now().Add(patience))
		m, files, err := c.link.receive()
		closeAll(files)
		c.link.file.SetReadDeadline(time.Time{})
		if err == nil && m.Error != "" {
			err = fmt.Errorf("%s", m.Error)
		}
		if err != nil {
			in.noCell = fmt.Errorf("preparing it: %w", err)
			in.closeCells()
			return
		}
		c.lacks = m.Lacks
		in.CellLacks = m.Lacks // every cell's are the same
	}
}

// startCellProcess starts a cell in all its namespaces, or in all but the last, which older
// kernels don't have.
func startCellProcess(group []*os.File) (*cell, error) {
	c, err := startCellIn(cellNamespaces, group)
	if err != nil {
		c, err = startCellIn(cellNamespaces&^unix.CLONE_NEWCGROUP, group)
	}
	return c, err
}

func startCellIn(flags uintptr, group []*os.File) (*cell, error) {
	control, theirControl, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	defer theirControl.Close()
	stream, theirStream, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer theirStream.Close()
	if control, err = polled(control); err != nil {
		return nil, err
	}
	if stream, err = polled(stream); err != nil {
		return nil, err
	}
	c := &cell{link: &link{file: control}, stream: stream}
	c.cmd = exec.Command("/proc/self/exe", argCell, strconv.Itoa(len(group)))
	c.cmd.Args[0] = os.Args[0]
	c.cmd.Env = []string{}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.cmd.ExtraFiles = append([]*os.File{theirControl, theirStream}, group...)
	c.cmd.SysProcAttr = cellAttributes(flags)
	c.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := c.cmd.Start(); err != nil {
		control.Close()
		stream.Close()
		return nil, fmt.Errorf("the kernel makes none of its namespaces: %w", err)
	}
	return c, nil
}

// cellAttributes say how a cell's first process is started: as user 0 of its namespace.
func cellAttributes(flags uintptr) *syscall.SysProcAttr {
	attr := attributes(flags)
	if hasRange() {
		attr.UidMappings, attr.GidMappings = rangeMap(0, 1), rangeMap(0, 1)
		attr.GidMappingsEnableSetgroups = true
		attr.Credential = &syscall.Credential{}
	}
	return attr
}

func (in *Inside) closeCells() {
	for _, c := range in.cells {
		c.cmd.Process.Kill()
		c.cmd.Wait()
		c.link.file.Close()
		c.stream.Close()
	}
	in.cells = nil
}

// detachDirectories puts a detached mount of each directory among the descriptors that were
// handed over in its place. Cells can't mount what belongs to another mount namespace, and
// can mount this. What fails stays what it is, and fails where it is mounted.
func detachDirectories() {
	for fd := 3; fd < MaxFiles; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		mount, err := detached(fd, st)
		if err != nil {
			continue
		}
		unix.Dup3(mount, fd, 0)
		unix.Close(mount)
	}
}

// detached gives a detached mount of the directory: by its descriptor, or in a namespace that
// has its own copies of all mounts by the path that leads to it, if it leads to this very one.
func detached(fd int, st unix.Stat_t) (int, error) {
	const flags = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH
	mount, err := unix.OpenTree(fd, "", flags)
	if err == nil || err != unix.EINVAL {
		return mount, err
	}
	name, err := os.Readlink(filepath.Join("/proc/self/fd", strconv.Itoa(fd)))
	if err != nil {
		return -1, err
	}
	here, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(here)
	var found unix.Stat_t
	if err := unix.Fstat(here, &found); err != nil {
		return -1, err
	}
	if found.Dev != st.Dev || found.Ino != st.Ino {
		return -1, fmt.Errorf("%s is another directory", name)
	}
	return unix.OpenTree(here, "", flags)
}
