package sandbox

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox/tree"
)

// Attributes of every mount of a cell, and of those that nothing is executed from.
const (
	plain    = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	plainest = plain | unix.MOUNT_ATTR_NOEXEC
)

// rootMaker puts a cell's root together, by the calls that take descriptors and no paths
// (Linux 5.12). It stands in the agent's empty root, whose /root is where it works, and ends
// in the new one.
type rootMaker struct {
	order *cellOrder
	files []*os.File
	root  int // the new root, O_PATH
	stage int // where files are made that are then bound, O_PATH
	dev   int // the machine's devices, O_PATH
	// later are mounts that become read-only when everything is in its place.
	later []int
	made  int   // files in stage
	held  []int // descriptors that are let go of in the end
}

const stagePlace = "/root"

// makeRoot makes the root and enters it: nothing of the old one can be reached then.
func (o *cellOrder) makeRoot(r io.Reader, files []*os.File) error {
	m := &rootMaker{order: o, files: files}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"a place to work in", m.makeStage},
		{"the root", func() error { return m.makeTree(r) }},
		{"/proc", m.proc},
		{"/dev", m.devices},
		{"mounts", m.mounts},
		{"/etc", m.names},
		{"making it read-only", m.seal},
		{"entering it", m.enter},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// hold keeps a descriptor until the root is whole.
func (m *rootMaker) hold(fd int, err error) (int, error) {
	if err == nil {
		m.held = append(m.held, fd)
	}
	return fd, err
}

// newMount makes a detached mount of a new file system.
func (m *rootMaker) newMount(kind string, attributes int, options ...string) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		if err := unix.FsconfigSetString(fs, name, value); err != nil {
			return -1, fmt.Errorf("%s: %w", option, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return m.hold(unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes))
}

// attach moves a detached mount to a place that is open.
func attach(mount, at int) error {
	return unix.MoveMount(mount, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// restrict adds attributes to a mount, and to those below it.
func restrict(mount int, attributes uint64) error {
	return unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: attributes})
}

// bound gives a detached mount of what is at a path of a mount in this namespace.
func (m *rootMaker) bound(dir int, name string, attributes uint64) (int, error) {
	mount, err := m.hold(unix.OpenTree(dir, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH))
	if err != nil {
		return -1, err
	}
	return mount, restrict(mount, attributes)
}

// memory gives the options of an empty file system in memory.
func memory(bytes, entries int64, mode uint32, uid, gid int) []string {
	return []string{"size=" + strconv.FormatInt(bytes, 10), "nr_inodes=" + strconv.FormatInt(entries, 10),
		"mode=" + strconv.FormatUint(uint64(mode), 8), "uid=" + strconv.Itoa(uid), "gid=" + strconv.Itoa(gid)}
}

const page = 4096

// makeStage mounts a small file system over the agent's empty directory.
func (m *rootMaker) makeStage() error {
	var bytes int64
	for _, f := range m.files {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			bytes += st.Size + page
		}
	}
	mount, err := m.newMount("tmpfs", plainest, memory(bytes+1<<20, 1000, 0o700, 0, 0)...)
	if err != nil {
		return err
	}
	at, err := m.hold(unix.Open(stagePlace, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
	if err != nil {
		return err
	}
	if err := attach(mount, at); err != nil {
		return err
	}
	if err := unix.Mkdir(stagePlace+"/root", 0o700); err != nil {
		return err
	}
	m.stage = mount
	m.dev, err = m.hold(unix.Open("/dev", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
	return err
}

// makeTree mounts the root: what is unpacked from r, or what was handed over.
func (m *rootMaker) makeTree(r io.Reader) error {
	at, err := m.hold(unix.Open(stagePlace+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0))
	if err != nil {
		return err
	}
	if !m.order.Unpack {
		f, err := m.nextFile()
		if err != nil {
			return err
		}
		m.root = int(f.Fd())
		if err := restrict(m.root, plain|unix.MOUNT_ATTR_RDONLY); err != nil {
			return err
		}
		return attach(m.root, at)
	}
	limits := m.order.Tree
	if limits.Entries < 0 || limits.Entries > math.MaxInt32 || limits.Bytes < 0 || limits.Bytes > tree.MaxSize {
		return errors.New("its limits can't be")
	}
	const own = 200 // directories that are made for mounts
	size := limits.Bytes + (limits.Entries+own)*page
	if m.root, err = m.newMount("tmpfs", plain, memory(size, limits.Entries+own, 0o755, 0, 0)...); err != nil {
		return err
	}
	if err := attach(m.root, at); err != nil {
		return err
	}
	m.later = append(m.later, m.root)
	dir, err := unix.Openat(m.root, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(dir), "root")
	defer f.Close()
	var owners tree.Owners
	if m.order.lacks(UserRange) {
		owners = func(uint32, uint32) (int, int) { return 0, 0 }
	}
	return tree.Unpack(tree.NewReader(r, limits), f, owners)
}

func (m *rootMaker) nextFile() (*os.File, error) {
	if len(m.files) == 0 {
		return nil, errors.New("a descriptor is missing")
	}
	f := m.files[0]
	m.files = m.files[1:]
	return f, nil
}

// open opens what is at an absolute path of the new root, through no link.
func (m *rootMaker) open(name string) (int, error) {
	return unix.Openat2(m.root, "."+path.Clean(name), &unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
}

// place opens the place of a mount, which is made in a root that is unpacked.
func (m *rootMaker) place(name string, dir bool) (int, error) {
	fd, err := m.open(name)
	if errors.Is(err, unix.ENOENT) && m.order.Unpack {
		if err := m.makePlace(name, dir); err != nil {
			return -1, err
		}
		fd, err = m.open(name)
	}
	if errors.Is(err, unix.ELOOP) {
		return -1, fmt.Errorf("%s goes through a symbolic link of the image", name)
	}
	if err != nil {
		return -1, fmt.Errorf("%s is not in the image: %w", name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, err
	}
	if isDir, isFile := st.Mode&unix.S_IFMT == unix.S_IFDIR, st.Mode&unix.S_IFMT == unix.S_IFREG; dir && !isDir || !dir && !isFile {
		unix.Close(fd)
		return -1, fmt.Errorf("%s is of another kind in the image", name)
	}
	return fd, nil
}

// makePlace makes a directory or an empty file, and the directories above it.
func (m *rootMaker) makePlace(name string, dir bool) error {
	above := path.Dir(name)
	if above != "/" {
		if fd, err := m.place(above, true); err != nil {
			return err
		} else {
			unix.Close(fd)
		}
	}
	fd, err := m.open(above)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if dir {
		return unix.Mkdirat(fd, path.Base(name), 0o755)
	}
	return unix.Mknodat(fd, path.Base(name), unix.S_IFREG|0o644, 0)
}

// put attaches a mount at a path.
func (m *rootMaker) put(mount int, name string, dir bool) error {
	at, err := m.place(name, dir)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	return attach(mount, at)
}

// mounts puts the order's mounts in their places.
func (m *rootMaker) mounts() error {
	for _, c := range m.order.Mounts {
		if err := m.mount(c); err != nil {
			return fmt.Errorf("%s: %w", c.Path, err)
		}
	}
	return nil
}

func (m *rootMaker) mount(c cellMount) error {
	c.UID, c.GID = m.order.owner(c.UID), m.order.owner(c.GID)
	attributes := uint64(plainest)
	if c.Exec {
		attributes = plain
	}
	switch c.Kind {
	case MemoryMount:
		mount, err := m.newMount("tmpfs", int(attributes), memory(c.Bytes, c.Bytes/page+1000, c.Mode, c.UID, c.GID)...)
		if err != nil {
			return err
		}
		if c.ReadOnly {
			m.later = append(m.later, mount)
		}
		return m.put(mount, c.Path, true)
	case FileMount:
		f, err := m.nextFile()
		if err != nil {
			return err
		}
		return m.file(f, c)
	case AttachedMount:
		f, err := m.nextFile()
		if err != nil {
			return err
		}
		return m.attached(int(f.Fd()), c, attributes)
	}
	return fmt.Errorf("there is no kind %q", c.Kind)
}

func (m *rootMaker) attached(mount int, c cellMount, attributes uint64) error {
	if c.ReadOnly {
		attributes |= unix.MOUNT_ATTR_RDONLY
	} else if !c.Keep {
		if err := unix.Fchownat(mount, "", c.UID, c.GID, unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("its owner: %w", err)
		}
		if err := unix.Fchmodat(mount, ".", c.Mode, 0); err != nil {
			return fmt.Errorf("its mode: %w", err)
		}
	}
	if err := restrict(mount, attributes); err != nil {
		return err
	}
	return m.put(mount, c.Path, true)
}

// file copies a memory file, which no mount can show, into the stage and binds it.
func (m *rootMaker) file(f *os.File, c cellMount) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > MaxFileMount {
		return fmt.Errorf("its content is no regular file of at most %d bytes", int64(MaxFileMount))
	}
	return m.bindContent(io.NewSectionReader(f, 0, st.Size), c)
}

func (m *rootMaker) bindContent(content io.Reader, c cellMount) error {
	m.made++
	name := "file-" + strconv.Itoa(m.made)
	fd, err := unix.Openat(m.stage, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), name)
	_, err = io.Copy(to, content)
	if cerr := to.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := unix.Fchownat(m.stage, name, c.UID, c.GID, 0); err != nil {
		return err
	}
	if err := unix.Fchmodat(m.stage, name, c.Mode, 0); err != nil {
		return err
	}
	mount, err := m.bound(m.stage, name, plainest|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	return m.put(mount, c.Path, false)
}

// names puts /etc/hosts, hostname and resolv.conf over the image's. There is no server of
// names: all that can be reached stands in hosts.
func (m *rootMaker) names() error {
	hosts := "127.0.0.1\tlocalhost " + hostName + "\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	for _, h := range m.order.Hosts {
		hosts += h.Address + "\t" + h.Name + "\n"
	}
	if fd, err := m.open("/etc"); errors.Is(err, unix.ENOENT) && len(m.order.Hosts) == 0 {
		return nil // a program that needs none
	} else if err == nil {
		unix.Close(fd)
	}
	for _, f := range []struct{ path, text string }{
		{"/etc/hosts", hosts}, {"/etc/hostname", hostName + "\n"}, {"/etc/resolv.conf", "# No names but those in /etc/hosts.\n"},
	} {
		err := m.bindContent(strings.NewReader(f.text), cellMount{Path: f.path, Mode: 0o644})
		if err != nil && (f.path == "/etc/hosts" && len(m.order.Hosts) > 0 || !m.missing(f.path)) {
			return err
		}
	}
	return nil
}

// missing reports whether the image has no file at a path that could be bound over.
func (m *rootMaker) missing(name string) bool {
	fd, err := m.place(name, false)
	if err == nil {
		unix.Close(fd)
	}
	return err != nil
}

// seal makes what was filled read-only.
func (m *rootMaker) seal() error {
	for _, mount := range m.later {
		if err := restrict(mount, unix.MOUNT_ATTR_RDONLY); err != nil {
			return err
		}
	}
	return nil
}

// enter makes the new root the root, and lets go of the old one with all that is in it.
func (m *rootMaker) enter() error {
	root, err := unix.Open(stagePlace+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	if err := unix.Fchdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	for _, fd := range m.held {
		unix.Close(fd)
	}
	return unix.Chdir("/")
}
