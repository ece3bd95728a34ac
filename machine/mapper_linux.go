package machine

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's device mapper, by its control device (linux/dm-ioctl.h).
const (
	mapperControl = "/dev/mapper/control"

	dmCreate  = 0xc138fd03
	dmRemove  = 0xc138fd04
	dmSuspend = 0xc138fd06 // without the suspend flag: resume
	dmLoad    = 0xc138fd09

	dmHeader   = 312 // struct dm_ioctl
	dmSpec     = 40  // struct dm_target_spec
	dmReadOnly = 1
	sector     = 512
)

// target is what a mapped device does: one kernel target over the whole of it.
type target struct {
	kind     string
	sectors  int64
	params   string
	readOnly bool
}

// mapped makes a device that the kernel maps, and gives the path of its node.
func mapped(name string, t target) (string, error) {
	control, err := os.OpenFile(mapperControl, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	answer, err := mapperCall(control, dmCreate, name, 0, nil)
	if err != nil {
		return "", fmt.Errorf("making a mapped device: %w", err)
	}
	var flags uint32
	if t.readOnly {
		flags = dmReadOnly
	}
	if _, err = mapperCall(control, dmLoad, name, flags, t.bytes()); err == nil {
		_, err = mapperCall(control, dmSuspend, name, 0, nil)
	}
	if err != nil {
		mapperCall(control, dmRemove, name, 0, nil) // the first error says more
		return "", fmt.Errorf("loading %s: %w", t.kind, err)
	}
	minor := binary.NativeEndian.Uint64(answer[40:]) & 0xff
	return fmt.Sprintf("/dev/dm-%d", minor), nil
}

// unmapped removes a mapped device; with a key in its table the kernel forgets the key.
func unmapped(name string) error {
	control, err := os.OpenFile(mapperControl, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	_, err = mapperCall(control, dmRemove, name, 0, nil)
	return err
}

// bytes gives the target as struct dm_target_spec and its parameters.
func (t target) bytes() []byte {
	size := (dmSpec + len(t.params) + 1 + 7) &^ 7
	b := make([]byte, size)
	binary.NativeEndian.PutUint64(b[8:], uint64(t.sectors))
	binary.NativeEndian.PutUint32(b[20:], uint32(size))
	copy(b[24:40], t.kind)
	copy(b[dmSpec:], t.params)
	return b
}

func mapperCall(control *os.File, call uintptr, name string, flags uint32, targets []byte) ([]byte, error) {
	b := make([]byte, 16<<10)
	defer clear(b) // a table may hold a key
	binary.NativeEndian.PutUint32(b[0:], 4)
	binary.NativeEndian.PutUint32(b[12:], uint32(len(b)))
	binary.NativeEndian.PutUint32(b[16:], dmHeader)
	if targets != nil {
		binary.NativeEndian.PutUint32(b[20:], 1)
	}
	binary.NativeEndian.PutUint32(b[28:], flags)
	copy(b[48:48+127], name)
	if copy(b[dmHeader:], targets) < len(targets) {
		return nil, fmt.Errorf("a table of %d bytes", len(targets))
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), call, uintptr(unsafe.Pointer(&b[0]))); errno != 0 {
		return nil, errno
	}
	return append([]byte{}, b[:dmHeader]...), nil
}

// verityTarget checks an engine's disk against the configuration.
func verityTarget(disk string, e Engine) target {
	return verityTable(disk, e.DataBlocks, hex.EncodeToString(e.Root[:]), hex.EncodeToString(e.Salt[:]))
}

// verityTable checks every block of a disk that is read against a root: a tree of SHA-256 right
// behind the data, without a header (Documentation/admin-guide/device-mapper/verity).
func verityTable(disk string, blocks int64, root, salt string) target {
	return target{
		kind:     "verity",
		sectors:  blocks * BlockSize / sector,
		params:   fmt.Sprintf("1 %s %s %d %d %d %d sha256 %s %s", disk, disk, BlockSize, BlockSize, blocks, blocks, root, salt),
		readOnly: true,
	}
}
