package room

import (
	"context"
	"fmt"
	"os"

	"strongroom.dev/agreement"
	"strongroom.dev/device"
	"strongroom.dev/verdict"
)

// mounts reports whether the machine's kernel mounts the container's disks.
func (s *service) mounts() bool { return s.run.machine.Mounts && s.Containers.Mount != nil }

// serial gives the number that a disk of the start message has in a machine: the disks lie in
// its order (spec/room.md, section 3).
func (s *service) serial(name string) (string, error) {
	for i, d := range s.start.Disks {
		if d.Disk == name {
			return fmt.Sprintf("disk-%d", i), nil
		}
	}
	return "", verdict.Misuse("room.disks", "the disk "+name+" of the container", "none", "hand it over: --disk "+name+"=FILE")
}

// mountVerity has the kernel mount a read-only disk that it checks against the agreed root.
func (s *service) mountVerity(ctx context.Context, name string, disk agreement.VerityDisk, places []string) (*os.File, error) {
	serial, err := s.serial(name)
	if err != nil {
		return nil, err
	}
	return s.Containers.Mount(ctx, device.Mount{Disk: serial, Kind: device.VerityMount, Root: disk.Root, Salt: disk.Salt, Blocks: disk.Blocks, Places: places})
}

// mountScratch has the kernel make an empty file system on a disk of the host's, under a key of
// its own.
func (s *service) mountScratch(ctx context.Context, name string, m agreement.Mount) (*os.File, error) {
	serial, err := s.serial(name)
	if err != nil {
		return nil, err
	}
	return s.Containers.Mount(ctx, device.Mount{Disk: serial, Kind: device.ScratchMount, Bytes: m.Bytes})
}

// mountVolume has the kernel mount a volume's disk, under a key that is derived from its own.
func (s *service) mountVolume(ctx context.Context, name string, m agreement.Mount, key [32]byte) (*os.File, error) {
	defer clear(key[:])
	serial, err := s.serial(name)
	if err != nil {
		return nil, err
	}
	return s.Containers.Mount(ctx, device.Mount{Disk: serial, Kind: device.VolumeMount, Bytes: m.Bytes, Key: key[:]})
}
