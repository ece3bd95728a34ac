package machine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"strongroom.dev/device"
	"strongroom.dev/sandbox"
	"strongroom.dev/verdict"
)

// mounter mounts the disks of a container for the agent, each once.
type mounter struct {
	mu    sync.Mutex
	given map[string]bool
}

// Mount implements [device.Mounter].
func (m *mounter) Mount(_ context.Context, asked device.Mount) (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rest, found := strings.CutPrefix(asked.Disk, "disk-"); !found || len(rest) > 3 || strings.Trim(rest, "0123456789") != "" || m.given[asked.Disk] {
		return nil, verdict.Misuse("machine.mount", "a disk of the container that nobody has", verdict.Short(asked.Disk), "a defect in the agent: report it")
	}
	path, err := disk("/", asked.Disk)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, verdict.Refuse("machine.disk", "a virtio disk with the serial number "+asked.Disk, "none", "start the machine with the disks of its container")
	}
	if err != nil {
		return nil, err
	}
	f, err := mountDisk(path, asked)
	if err != nil {
		return nil, err
	}
	if m.given == nil {
		m.given = map[string]bool{}
	}
	m.given[asked.Disk] = true
	return f, nil
}

// mountDisk mounts one disk as its kind says, its users those of cells.
func mountDisk(path string, asked device.Mount) (f *os.File, err error) {
	switch asked.Kind {
	case device.VerityMount:
		f, err = mountVerity(path, asked)
	case device.ScratchMount:
		f, err = mountScratch(path, asked)
	case device.VolumeMount:
		f, err = mountVolume(path, asked)
	default:
		return nil, verdict.Misuse("machine.mount", "a kind of mount", verdict.Short(string(asked.Kind)), "a defect in the agent: report it")
	}
	if err != nil {
		return nil, err
	}
	if err := sandbox.MapForCells(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// mountVerity mounts a read-only file system (EROFS) whose blocks the kernel checks as they are
// read: a wrong one is an error to whoever reads it.
func mountVerity(from string, asked device.Mount) (*os.File, error) {
	refused := func(err error) error {
		return verdict.Refuse("machine.disk", fmt.Sprintf("a disk %s that leads to the agreed root %s", asked.Disk, asked.Root.Short()), err.Error(), "get the disk again: it is damaged, or another")
	}
	if asked.Blocks < 1 || asked.Blocks > maxBlocks || asked.Root.IsZero() {
		return nil, verdict.Misuse("machine.mount", "a root and a number of blocks", fmt.Sprint(asked.Blocks), "a defect in the agent: report it")
	}
	checked, err := mapped(asked.Disk, verityTable(from, asked.Blocks, hex.EncodeToString(asked.Root[:]), hex.EncodeToString(asked.Salt[:])))
	if err != nil {
		return nil, refused(err)
	}
	f, err := mountDetached("erofs", checked, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_RDONLY)
	if err == nil {
		if err = hasPlaces(f, asked.Places); err == nil {
			return f, nil
		}
		f.Close()
	} else {
		err = refused(err)
	}
	unmapped(asked.Disk) //nolint:errcheck // the first error says more; a mount that lingers holds the device
	return nil, err
}

// maxBlocks is 8 TiB of 4096 bytes, far above any image or data disk.
const maxBlocks = 1 << 31

// hasPlaces looks whether all paths are on a mounted disk. A path through a symbolic link is
// none of its own.
func hasPlaces(mount *os.File, places []string) error {
	for _, place := range places {
		fd, err := unix.Openat2(int(mount.Fd()), "."+path.Clean("/"+place), &unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
		if err != nil {
			return verdict.Refuse(device.MissingPlace, "a place to mount at in the image", verdict.Short(place), "prepare the image again, with the place in its container.yaml")
		}
		unix.Close(fd)
	}
	return nil
}

// mountDetached mounts a device, at no place.
func mountDetached(kind, from string, attributes int, options ...string) (*os.File, error) {
	config, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("a kernel with %s: %w", kind, err)
	}
	defer unix.Close(config)
	if err := unix.FsconfigSetString(config, "source", from); err != nil {
		return nil, err
	}
	if attributes&unix.MOUNT_ATTR_RDONLY != 0 {
		options = append(options, "ro")
	}
	for _, option := range options {
		name, value, valued := strings.Cut(option, "=")
		if valued {
			err = unix.FsconfigSetString(config, name, value)
		} else {
			err = unix.FsconfigSetFlag(config, name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, option %s: %w", kind, option, err)
		}
	}
	if err := unix.FsconfigCreate(config); err != nil {
		return nil, fmt.Errorf("mounting %s: %w", kind, err)
	}
	fd, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, fmt.Errorf("mounting %s: %w", kind, err)
	}
	return os.NewFile(uintptr(fd), kind), nil
}
