package container

import (
	"context"
	"io"
	"os"

	"strongroom.dev/agreement"
	"strongroom.dev/erofs"
	"strongroom.dev/sandbox/tree"
	"strongroom.dev/verdict"
	"strongroom.dev/verity"
)

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
