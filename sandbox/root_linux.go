package sandbox

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// emptyRoot changes the root to an empty read-only file system with nothing but /proc, for
// this process's pid namespace, and /root, an empty directory where the next one goes. last
// says that there will be none: the kernel lets nobody mount a /proc who sees less of one.
// devices says that /dev stays with what cells need of it, which nothing else can open.
func emptyRoot(last, devices bool) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	place, err := mountPlace()
	if err != nil {
		return err
	}
	if err := unix.Mount("none", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=64k,nr_inodes=16,mode=0555"); err != nil {
		return fmt.Errorf("mounting an empty root: %w", err)
	}
	if err := unix.Chdir(place); err != nil {
		return err
	}
	for _, dir := range []string{"proc", "root"} {
		if err := unix.Mkdir(dir, 0o555); err != nil {
			return err
		}
	}
	if err := mountProc(); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if last {
		hideCgroup()
	}
	if devices {
		keepDevices()
	}
	if err := unix.Mount("", ".", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("making the root read-only: %w", err)
	}
	// pivot_root(2): with both arguments the same, the old root lies over the new one until
	// it is unmounted.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("letting go of the old root: %w", err)
	}
	return unix.Chdir("/")
}

// cellDevices are all the devices that there are in a cell. None of them knows anything.
func cellDevices() []string { return []string{"null", "zero", "full", "random", "urandom", "tty"} }

// keepDevices binds the machine's devices to files in the root to be, the current directory.
// Nodes made in a user namespace would open nothing. What fails is missed by cells alone.
func keepDevices() {
	if unix.Mkdir("dev", 0o555) != nil {
		return
	}
	for _, name := range cellDevices() {
		if unix.Mknod("dev/"+name, unix.S_IFREG|0o444, 0) == nil {
			unix.Mount("/dev/"+name, "dev/"+name, "", unix.MS_BIND, "") // see above
		}
	}
}

// mountProc mounts /proc for the process's own pid namespace; without one, that of others.
func mountProc() error {
	if os.Getpid() != 1 {
		return unix.Mount("/proc", "proc", "", unix.MS_BIND|unix.MS_REC, "")
	}
	return unix.Mount("proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// hideCgroup takes /proc/self/cgroup away from a process that stays process 1. Programs that
// find it but may not read it, as DuckDB, end there; a socket is no file to them. It is no
// layer: where it fails, the program says so itself.
func hideCgroup() {
	const hidden = "proc/1/cgroup"
	if os.Getpid() == 1 && unix.Mknod("nothing", unix.S_IFSOCK, 0) == nil {
		unix.Mount("nothing", hidden, "", unix.MS_BIND, "") // see above
	}
}

// visibleCgroup gives the paths that say what the machine's limits are, where a missing layer
// leaves them in sight. They say nothing about data.
func visibleCgroup() []string {
	if info, err := os.Stat("/proc/self/cgroup"); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return []string{"/proc/self/cgroup", "/sys/fs/cgroup"}
}

// mountPlace finds any directory to mount over; what is there stays as it is for everyone else.
func mountPlace() (string, error) {
	for _, dir := range []string{"/root", "/tmp", "/mnt", "/var", "/dev", "/usr"} {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no directory to mount an empty root on")
}
