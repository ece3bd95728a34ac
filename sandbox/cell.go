package sandbox

import (
	"fmt"
	"net/netip"
	"os"
	"path"
	"strings"

	"strongroom.dev/sandbox/tree"
	"strongroom.dev/wire"
)

// The layers that only cells have, by the names agreements know them by.
const (
	// UserRange: users 0 to 65535 in the cell. Without it there is one user, the one that the
	// first process is to be, and every file is its own.
	UserRange wire.ID = "user-range"
	// MemoryGroup: the cell's memory and processes are bounded all together. Without it memory
	// is bounded for each process alone, and what lies in shared memory is not.
	MemoryGroup wire.ID = "memory-group"
)

// Cell says what to run in a cell, on which root, in what surroundings.
type Cell struct {
	Root Root
	// Argv is what is started; its first is an absolute path in the root. Env is the whole of
	// its environment, NAME=VALUE.
	Argv, Env []string
	// Directory is the working directory, absolute.
	Directory string
	UID, GID  int // 0 to 65535
	Groups    []int
	// Capabilities are what the first process has and can't exceed, such as CAP_CHOWN: of
	// AllowedCapabilities. They hold over what the cell's own users own, and nothing else.
	Capabilities []string
	// Deny are system calls by name that the standard profile allows and this cell does not.
	Deny []string
	// Mounts are made in order. Their paths must exist in a root that is a mount; in one that is
	// unpacked they are made.
	Mounts []Mount
	// Hosts are names in /etc/hosts besides localhost, and their addresses.
	Hosts []Host
	// Listen are the addresses, such as 127.1.0.1:443, at which the cell's connections come to
	// the agent: see [CellProcess.Accept]. All in 127.0.0.0/8.
	Listen []string
	Limits CellLimits
}

// Root is what a cell's root is: exactly one of Unpack and Mount. It is read-only once it is
// whole, without devices and without power in setuid bits.
type Root struct {
	// Unpack writes the tree into memory; it need not close the writer. Limits bound it.
	Unpack func(w *tree.Writer) error
	Limits tree.Limits
	// Mount is a detached mount (fsmount(2), open_tree(2)).
	Mount *os.File
}

// Host is a name and its address.
type Host struct{ Name, Address string }

// MountKind says what a mount of a cell is.
type MountKind string

// The kinds of mounts of a cell.
const (
	MemoryMount   MountKind = "memory"   // an empty directory in memory, of at most Bytes
	FileMount     MountKind = "file"     // one read-only file with File's content, at most MaxFileMount bytes
	AttachedMount MountKind = "attached" // File is a detached mount
)

// MaxFileMount is how large a file may be that is mounted: it lies in memory twice for a moment.
const MaxFileMount = 16 << 30

// Mount is something at a path of a cell. None has set-user-ID programs or devices.
type Mount struct {
	Path string // absolute and clean
	Kind MountKind
	File *os.File
	// Bytes bounds a memory mount.
	Bytes int64
	// Mode and owner are those of the directory or file. An attached mount's own stay if Keep.
	Mode     uint32
	UID, GID int
	Keep     bool
	// ReadOnly holds for memory and attached mounts; files are read-only always. Exec says that
	// programs may be executed from it; a file's never are.
	ReadOnly bool
	Exec     bool
}

// CellLimits bound what a cell uses. Zero values are replaced as the members say, never by
// "unlimited".
type CellLimits struct {
	// Memory in bytes, mounts of kind memory and /dev/shm included, an unpacked root and files
	// not; 0 means 1 GiB.
	Memory int64 `json:"memory"`
	// Processes bounds processes and threads, all users together; 0 means 256.
	Processes int64 `json:"processes"`
	// Files bounds open descriptors of a process; 0 means 1024.
	Files int64 `json:"files"`
}

func (l CellLimits) filled() CellLimits {
	fill := func(v *int64, standard int64) {
		if *v <= 0 {
			*v = standard
		}
	}
	fill(&l.Memory, 1<<30)
	fill(&l.Processes, 256)
	fill(&l.Files, 1024)
	return l
}

// Exit is how the first process ended.
type Exit struct {
	Code   int `json:"code"`   // its exit code, if Signal is 0
	Signal int `json:"signal"` // the signal that ended it
}

// Bounds of an order; what the kernel or the room bounds elsewhere has none here.
const (
	maxID     = 1<<16 - 1
	maxMounts = 100
	maxHosts  = 1000
	maxListen = 100
)

// check says what is wrong with a cell before anything is done.
func (c Cell) check() error {
	switch {
	case (c.Root.Unpack == nil) == (c.Root.Mount == nil):
		return fmt.Errorf("a root is either unpacked or a mount")
	case len(c.Argv) == 0 || !cleanPath(c.Argv[0]):
		return fmt.Errorf("argv does not begin with an absolute path")
	case c.Directory != "/" && !cleanPath(c.Directory):
		return fmt.Errorf("directory %q is not absolute and clean", c.Directory)
	case c.UID < 0 || c.UID > maxID || c.GID < 0 || c.GID > maxID:
		return fmt.Errorf("user %d:%d, 0 to %d expected", c.UID, c.GID, maxID)
	case len(c.Mounts) > maxMounts || len(c.Hosts) > maxHosts || len(c.Listen) > maxListen || len(c.Groups) > 32:
		return fmt.Errorf("more than %d mounts, %d hosts, %d addresses or 32 groups", maxMounts, maxHosts, maxListen)
	}
	for _, g := range c.Groups {
		if g < 0 || g > maxID {
			return fmt.Errorf("group %d, 0 to %d expected", g, maxID)
		}
	}
	for _, text := range append(append([]string{}, c.Argv...), c.Env...) {
		if strings.ContainsRune(text, 0) {
			return fmt.Errorf("a zero byte in argv or environment")
		}
	}
	for _, m := range c.Mounts {
		if err := m.check(); err != nil {
			return fmt.Errorf("mount %q: %w", m.Path, err)
		}
	}
	return c.checkNames()
}

func (c Cell) checkNames() error {
	for _, h := range c.Hosts {
		if _, err := netip.ParseAddr(h.Address); err != nil || h.Name == "" || len(h.Name) > 253 || strings.ContainsAny(h.Name, " \t\r\n#\x00") {
			return fmt.Errorf("host %q at %q can't be in /etc/hosts", h.Name, h.Address)
		}
	}
	for _, text := range c.Listen {
		addr, err := netip.ParseAddrPort(text)
		if err != nil || !addr.Addr().Is4() || !addr.Addr().IsLoopback() || addr.Port() == 0 {
			return fmt.Errorf("address %q is not one of 127.0.0.0/8 with a port", text)
		}
	}
	return nil
}

func (m Mount) check() error {
	switch {
	case !cleanPath(m.Path):
		return fmt.Errorf("its path is not absolute, clean and below the root")
	case reserved(m.Path):
		return fmt.Errorf("the room itself mounts there")
	case m.Mode > 0o7777 || m.UID < 0 || m.UID > maxID || m.GID < 0 || m.GID > maxID:
		return fmt.Errorf("mode %o and owner %d:%d can't be", m.Mode, m.UID, m.GID)
	}
	switch m.Kind {
	case MemoryMount:
		if m.Bytes <= 0 || m.File != nil {
			return fmt.Errorf("a mount of kind %q has a size and no file", m.Kind)
		}
	case FileMount, AttachedMount:
		if m.File == nil {
			return fmt.Errorf("a mount of kind %q has a file", m.Kind)
		}
	default:
		return fmt.Errorf("there is no kind %q", m.Kind)
	}
	return nil
}

func cleanPath(p string) bool {
	return len(p) > 1 && p[0] == '/' && path.Clean(p) == p && len(p) < tree.MaxPath && !strings.ContainsRune(p, 0)
}

// reserved are the places whose content a cell depends on. /dev/shm may be somebody's.
func reserved(p string) bool {
	for _, own := range []string{"/proc", "/sys", "/dev"} {
		if (p == own || strings.HasPrefix(p, own+"/")) && p != sharedMemory {
			return true
		}
	}
	return p == "/etc/hosts" || p == "/etc/hostname" || p == "/etc/resolv.conf"
}

const sharedMemory = "/dev/shm"
