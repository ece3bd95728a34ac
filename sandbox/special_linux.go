package sandbox

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// maskedPaths of /proc speak of the machine, and of keys; shownPaths can be read, not changed.
// They are those that container run-times hide.
func maskedPaths() []string {
	return []string{"acpi", "asound", "interrupts", "kallsyms", "kcore", "key-users", "keys", "kmsg", "kpagecgroup", "kpagecount", "kpageflags",
		"latency_stats", "modules", "sched_debug", "scsi", "sysrq-trigger", "timer_list", "timer_stats", "vmallocinfo"}
}

func shownPaths() []string { return []string{"bus", "driver", "fs", "irq", "mtrr", "sys"} }

// proc mounts /proc of the cell's own pid namespace.
func (m *rootMaker) proc() error {
	mount, err := m.newMount("proc", plainest)
	if err != nil {
		return err
	}
	if err := m.put(mount, "/proc", true); err != nil {
		return err
	}
	// Every port is the workload's: there is nobody else here.
	ports, err := unix.Openat(mount, "sys/net/ipv4/ip_unprivileged_port_start", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(ports, []byte("0"))
		unix.Close(ports)
	}
	if err != nil {
		return fmt.Errorf("allowing low ports: %w", err)
	}
	for _, name := range shownPaths() {
		if err := m.show(mount, name); err != nil {
			return fmt.Errorf("showing %s: %w", name, err)
		}
	}
	for _, name := range maskedPaths() {
		if err := m.mask(mount, name); err != nil {
			return fmt.Errorf("masking %s: %w", name, err)
		}
	}
	return nil
}

// show mounts what is at a place over itself, read-only.
func (m *rootMaker) show(proc int, name string) error {
	at, err := unix.Openat(proc, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(at)
	mount, err := m.bound(at, "", plainest|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	return attach(mount, at)
}

// mask mounts nothing over a place: an empty directory, or the null device.
func (m *rootMaker) mask(proc int, name string) error {
	at, err := unix.Openat(proc, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return err
	}
	var mount int
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		mount, err = m.newMount("tmpfs", plainest|unix.MOUNT_ATTR_RDONLY, memory(page, 2, 0o555, 0, 0)...)
	} else {
		mount, err = m.bound(m.dev, "null", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	}
	if err != nil {
		return err
	}
	return attach(mount, at)
}

// devices mounts a /dev with the few that there are, terminals of the cell's own, and shared
// memory unless the order mounts some.
func (m *rootMaker) devices() error {
	dev, err := m.newMount("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, memory(64<<10, 64, 0o755, 0, 0)...)
	if err != nil {
		return err
	}
	if err := m.put(dev, "/dev", true); err != nil {
		return err
	}
	m.later = append(m.later, dev)
	for _, name := range cellDevices() {
		if err := m.device(dev, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, link := range [][2]string{{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"}} {
		if err := unix.Symlinkat(link[0], dev, link[1]); err != nil {
			return err
		}
	}
	terminals, err := m.newMount("devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, "mode=0620", "ptmxmode=0666")
	if err != nil {
		return fmt.Errorf("pts: %w", err)
	}
	if err := unix.Mkdirat(dev, "pts", 0o755); err != nil {
		return err
	}
	if err := m.put(terminals, "/dev/pts", true); err != nil {
		return err
	}
	if err := unix.Mkdirat(dev, "shm", 0o755); err != nil {
		return err
	}
	if slices.ContainsFunc(m.order.Mounts, func(c cellMount) bool { return c.Path == sharedMemory }) {
		return nil
	}
	const bytes = 64 << 20 // as container run-times give
	shared, err := m.newMount("tmpfs", plainest, memory(min(bytes, m.order.Limits.Memory), 10_000, 0o1777, 0, 0)...)
	if err != nil {
		return err
	}
	return m.put(shared, sharedMemory, true)
}

// device binds one of the machine's devices, which the agent kept; one that it has not is not
// in the cell either.
func (m *rootMaker) device(dev int, name string) error {
	mount, err := m.bound(m.dev, name, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if errors.Is(err, unix.ENOENT) && name != "null" {
		return nil
	}
	if err != nil {
		return err
	}
	if err := unix.Mknodat(dev, name, unix.S_IFREG|0o666, 0); err != nil {
		return err
	}
	at, err := unix.Openat(dev, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return attach(mount, at)
}
