package container

import (
	"context"
	"fmt"
	"io"
	"os"

	"strongroom.dev/agreement"
	"strongroom.dev/erofs"
	"strongroom.dev/sandbox/tree"
	"strongroom.dev/verdict"
	"strongroom.dev/verity"
)

// MaxUnpacked bounds a disk whose files a room unpacks into memory, in bytes: its tree is held
// in memory too ([verity.MaxTree]).
const MaxUnpacked = 8 << 30

// CheckSizes refuses a container whose disks are too large to be unpacked into memory: a sealed
// image, and every disk where the kernel mounts none (mounted is false).
func CheckSizes(c agreement.Container, mounted bool) error {
	if err := checkSize("the image", c.Image.Disk, mounted && c.Image.Sealed == ""); err != nil {
		return err
	}
	for _, m := range c.Mounts {
		if m.Kind == agreement.Data && m.Disk != nil {
			if err := checkSize("the disk at "+m.Path, *m.Disk, mounted); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkSize(what string, d agreement.VerityDisk, mounted bool) error {
	if mounted || d.Blocks <= MaxUnpacked/verity.BlockSize {
		return nil
	}
	return verdict.Refuse("container.size", fmt.Sprintf("at most %d GiB in %s, which is unpacked into memory: it is sealed, or the room mounts no disks (dev)", MaxUnpacked>>30, what),
		fmt.Sprintf("%.1f GiB", float64(d.Blocks)*verity.BlockSize/(1<<30)), "run it unsealed in a virtual machine, or make it smaller: what is large and no secret goes into a disk of its own (strongroom container disk)")
}

// CheckDisk reads all of a disk and compares it with the agreed root, so that a wrong one is
// found before a run is paid for. What is read later is checked again.
func CheckDisk(ctx context.Context, disk *os.File, agreed agreement.VerityDisk) error {
	checked, err := verity.NewReader(disk, agreed.Blocks, agreed.Salt[:], agreed.Root)
	if err != nil {
		return err
	}
	buffer := make([]byte, 1<<20)
	for at := int64(0); at < checked.Size(); at += int64(len(buffer)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := checked.ReadAt(buffer, at); err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// give gives one entry of a disk as a cell's tree has it. Extended attributes stay behind: no
// program gains anything by its file.
func give(e erofs.Entry, yield func(tree.Entry, io.Reader) error) error {
	if e.Link != "" {
		return yield(tree.Entry{Path: e.Path, Type: tree.Link, Target: e.Link}, nil)
	}
	kinds := map[uint32]tree.Type{erofs.Directory: tree.Directory, erofs.Regular: tree.Regular, erofs.Symlink: tree.Symlink, erofs.Pipe: tree.Pipe}
	kind, found := kinds[e.Type()]
	if !found {
		return verdict.NotGenuine("container.image", "files, directories, links and pipes", verdict.Short(e.Path), "prepare the image anew")
	}
	out := tree.Entry{Path: e.Path, Type: kind, Mode: e.Mode & 0o7777, UID: e.UID, GID: e.GID, MTime: e.MTime, Size: e.Size, Target: e.Target}
	if e.Open == nil {
		return yield(out, nil)
	}
	content, err := e.Open()
	if err != nil {
		return err
	}
	return yield(out, content)
}
