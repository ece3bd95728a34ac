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
