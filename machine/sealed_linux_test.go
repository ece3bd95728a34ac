package machine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
	"strongroom.dev/device"
	"strongroom.dev/machine"
)

// sealedSize is the size of the file systems that a machine makes here; their disks are larger.
const sealedSize = 32 << 20

// sealedText is what the host must not find on a disk that a room writes to.
const sealedText = "plain text of a container, on the way to its disk"

// sealedChecks are what a machine does with disks that a container writes to.
func sealedChecks() []guestCheck {
	key, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	return []guestCheck{
		{"mounted scratch", func() error { return withSealed("disk-3", device.ScratchMount, nil, scratchIsEmpty) }},
		{"scratch again, and empty", func() error { return withSealed("disk-3", device.ScratchMount, nil, scratchIsEmpty) }},
		{"scratch without a disk", func() error { return sealedRefused("disk-9", device.ScratchMount, nil, "machine.disk") }},
		{"scratch too small", func() error { return sealedRefused("disk-5", device.ScratchMount, nil, "machine.disk") }},
		{"volume without a key", func() error { return sealedRefused("disk-4", device.VolumeMount, key[:31], "machine.mount") }},
		{"volume on an image", func() error { return sealedRefused("disk-2", device.VolumeMount, key, "volume.disk") }},
		{"new volume", func() error { return withSealed("disk-4", device.VolumeMount, key, writeVolume) }},
		{"volume kept", func() error { return withSealed("disk-4", device.VolumeMount, key, readVolume) }},
		{"volume under another key", func() error { return sealedRefused("disk-4", device.VolumeMount, other, "volume.disk") }},
		{"volume still kept", func() error { return withSealed("disk-4", device.VolumeMount, key, readVolume) }},
		{"volume with a changed block", changedBlock},
	}
}

// withSealed mounts a disk, does something there, and lets go.
func withSealed(disk string, kind device.MountKind, key []byte, do func(dir int) error) error {
	if path, err := machine.FindDisk("/", disk); err == nil {
		held, err := os.Open(path) // as the agent holds it
		if err != nil {
			return err
		}
		defer held.Close()
	}
	f, err := machine.NewMounter().Mount(context.Background(), device.Mount{Disk: disk, Kind: kind, Bytes: sealedSize, Key: key})
	if err != nil {
		return err
	}
	dir, err := unix.Openat(int(f.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == nil {
		err = asUser(func() error { return do(dir) })
		unix.Syncfs(dir)
		unix.Close(dir)
	}
	f.Close()
	return errors.Join(err, machine.UnmapSealed(disk))
}

// asUser does something as user 0 of cells: root of the machine has no place on their disks.
func asUser(do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const nobody = 65534
	unix.SetfsgidRetGid(nobody)
	unix.SetfsuidRetUid(nobody)
	defer unix.SetfsuidRetUid(0)
	defer unix.SetfsgidRetGid(0)
	return do()
}

func sealedRefused(disk string, kind device.MountKind, key []byte, check string) error {
	return refusal(withSealed(disk, kind, key, func(int) error { return nil }), check)
}

func scratchIsEmpty(dir int) error {
	buffer := make([]byte, 4096)
	n, err := unix.Getdents(dir, buffer)
	if _, _, names := unix.ParseDirent(buffer[:max(n, 0)], -1, nil); err != nil || len(names) > 0 {
		return fmt.Errorf("%v, %v", names, err)
	}
	return writeAt(dir, "file")
}

func writeVolume(dir int) error { return writeAt(dir, "volume/file") }

func writeAt(dir int, name string) error {
	fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if _, err := f.Write(bytes.Repeat([]byte(sealedText+"\n"), 20000)); err != nil {
		return err
	}
	return f.Sync()
}

func readVolume(dir int) error {
	fd, err := unix.Openat(dir, "volume/file", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "file")
	defer f.Close()
	want := bytes.Repeat([]byte(sealedText+"\n"), 20000)
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("other content")
	}
	return nil
}

// changedBlock flips a bit in the last block of the disk that is not empty, as a host can: it is
// the file's, and reading that is an error. Then in all others: the file system is none any more.
func changedBlock() error {
	last, err := changeBlocks(1)
	if err != nil {
		return err
	}
	key := bytes.Repeat([]byte{1}, 32)
	if err := withSealed("disk-4", device.VolumeMount, key, readVolume); !errors.Is(err, unix.EILSEQ) && !errors.Is(err, unix.EIO) {
		return fmt.Errorf("%d block changed: %v", last, err)
	}
	all, err := changeBlocks(1 << 20)
	if err == nil {
		err = sealedRefused("disk-4", device.VolumeMount, key, "volume.disk")
	}
	if err != nil || all < 100 {
		return fmt.Errorf("%d blocks changed: %w", all, err)
	}
	return nil
}

// changeBlocks changes so many blocks at most, from the end of the disk to where dm-integrity begins.
func changeBlocks(most int) (changed int, err error) {
	path, err := machine.FindDisk("/", "disk-4")
	if err != nil {
		return 0, err
	}
	disk, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer disk.Close()
	block := make([]byte, 4096)
	for at := int64(sealedSize * 3 / 2); at > 64<<10 && changed < most; {
		at -= 4096
		if _, err := disk.ReadAt(block, at); err != nil {
			return 0, err
		}
		if bytes.Count(block, []byte{0}) > 1000 {
			continue
		}
		block[17] ^= 1
		if _, err := disk.WriteAt(block, at); err != nil {
			return 0, err
		}
		changed++
	}
	return changed, disk.Sync()
}
