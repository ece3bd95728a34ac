package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/verdict"
)

const (
	// users is whom a room's user 0 is outside, if root starts it: nobody.
	users = 65534
	// busy is how long a file may still be mounted after its room has ended.
	busy  = 5 * time.Second
	block = 4096 // bytes; of every file system made here
)

// Open gives the file system in the file at path as a detached mount. It makes it if there is
// none, of so many bytes, and lets it grow to them; the file is sparse. Only root can. A file
// is open once at a time.
func Open(path string, bytes int64) (*os.File, error) {
	if os.Geteuid() != 0 {
		return nil, refuse("a host run by root, which can mount volumes", "an ordinary user", "run it as root, or in a virtual machine")
	}
	bytes = bytes / block * block
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path, bytes); err != nil {
			return nil, err
		}
	}
	file, grown, err := take(path, bytes)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if grown {
		if err := grow(path); err != nil {
			return nil, err
		}
	}
	mount, err := mountFile(file)
	if err != nil {
		return nil, err
	}
	if err := makeDirectory(mount); err != nil {
		mount.Close()
		return nil, err
	}
	return mount, nil
}

// create makes a file system, in a new file that is then put in its place.
func create(path string, bytes int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // renamed, if all went well
	err = f.Truncate(bytes)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	out, err := exec.Command(program("mkfs.ext4"), "-q", "-F", "-m", "0", "-b", fmt.Sprint(block), "-O", "encrypt", "-E", "nodiscard", f.Name()).CombinedOutput()
	if errors.Is(err, fs.ErrNotExist) {
		return refuse("mkfs.ext4", "none on this host", "install e2fsprogs")
	}
	if err != nil {
		return &verdict.Error{Kind: verdict.Broken, Check: "host.volume", Expected: "mkfs.ext4 to make a file system", Got: verdict.Short(string(out)), Err: err}
	}
	return os.Rename(f.Name(), path)
}

// take opens the file under a lock that belongs to the open file: the loop device keeps that,
// and with it the lock, for as long as it exists.
func take(path string, bytes int64) (f *os.File, grown bool, err error) {
	if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, false, err
	}
	for until := time.Now().Add(busy); ; time.Sleep(50 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(until) {
			break
		}
	}
	if err == nil {
		var info os.FileInfo
		if info, err = f.Stat(); err == nil && info.Size() < bytes {
			grown, err = true, f.Truncate(bytes)
		}
	} else if err == unix.EWOULDBLOCK {
		err = refuse("a volume that no room has", "one that is in use", "end the other room first")
	}
	if err != nil {
		f.Close()
		return nil, false, err
	}
	return f, grown, nil
}

// mountFile mounts a file, detached, by a loop device that ends with the mount.
func mountFile(file *os.File) (*os.File, error) {
	device, err := loop(file)
	if err != nil {
		return nil, refuse("a free loop device", err.Error(), "load the module loop: modprobe loop")
	}
	defer device.Close()
	config, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, refuse("a kernel with ext4", err.Error(), "load the module ext4")
	}
	defer unix.Close(config)
	err = unix.FsconfigSetString(config, "source", device.Name())
	if err == nil {
		err = unix.FsconfigCreate(config)
	}
	var fd int
	if err == nil {
		fd, err = unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	}
	if err != nil {
		return nil, refuse("an ext4 file system in the volume's file", err.Error(), "see the kernel's log, and fsck.ext4")
	}
	return os.NewFile(uintptr(fd), "volume"), nil
}

// loop makes a block device of a file, which goes when nobody has it open or mounted.
func loop(file *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range 100 { // others may take the number in between
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) { // a /dev that nobody fills
			if err = unix.Mknod(fmt.Sprintf("/dev/loop%d", n), unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd()), Size: block}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		device.Close()
		if err != unix.EBUSY {
			return nil, err
		}
	}
	return nil, errors.New("none stays free")
}

// grow makes the file system in a file that has grown as large as that.
func grow(path string) error {
	for _, args := range [][]string{{"e2fsck", "-f", "-p", path}, {"resize2fs", path}} {
		out, err := exec.Command(program(args[0]), args[1:]...).CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) && args[0] == "e2fsck" && exit.ExitCode() == 1 { // it mended something
			err = nil
		}
		if err != nil {
			return &verdict.Error{Kind: verdict.Broken, Check: "host.volume", Expected: args[0] + " to let the volume grow", Got: verdict.Short(string(out)), Fix: "grow it by hand", Err: err}
		}
	}
	return nil
}

// program finds a program of e2fsprogs, which are not in an ordinary user's path.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}

// makeDirectory makes the directory that the room encrypts, its own.
func makeDirectory(mount *os.File) error {
	err := unix.Mkdirat(int(mount.Fd()), Directory, 0o700)
	if err == unix.EEXIST {
		return nil
	}
	if err == nil {
		err = unix.Fchownat(int(mount.Fd()), Directory, users, users, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return &verdict.Error{Kind: verdict.Broken, Check: "host.volume", Expected: "a directory for the room", Got: err.Error(), Err: err}
	}
	return nil
}
