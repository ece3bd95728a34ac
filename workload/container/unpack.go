package container

import (
	"fmt"
	"io"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/erofs"
	"strongroom.dev/sandbox/tree"
	"strongroom.dev/verdict"
	"strongroom.dev/verity"
)

// maxEntries is ten times what the largest images have.
const maxEntries = 4 << 20

// treeLimits bound what comes out of a disk: nothing on it is compressed.
func treeLimits(d agreement.VerityDisk) tree.Limits {
	return tree.Limits{Entries: maxEntries, Bytes: d.Blocks * verity.BlockSize}
}

// unpack writes an image's tree with data disks in their places: what the image has there is
// hidden, as by a mount.
func unpack(w *tree.Writer, image merged, data []merged) error {
	u := &unpacker{w: w, data: data, seen: map[string]bool{}}
	if err := walk(image, u.image); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	for _, d := range data {
		if err := u.parents(d.path); err != nil {
			return err
		}
		err := walk(d, func(e tree.Entry, content io.Reader) error { return w.Add(below(d.path, e), content) })
		if err != nil {
			return fmt.Errorf("disk of %s: %w", d.path, err)
		}
	}
	return nil
}

// unpacker remembers the image's directories on the way to data disks.
type unpacker struct {
	w    *tree.Writer
	data []merged
	seen map[string]bool
}

func (u *unpacker) image(e tree.Entry, content io.Reader) error {
	for _, d := range u.data {
		switch {
		case e.Path == d.path && e.Type != tree.Directory:
			return verdict.Refuse("container.data", "a directory, or nothing, at "+d.path+" in the image", "something else", "mount it elsewhere")
		case e.Path == d.path || strings.HasPrefix(e.Path, d.path+"/"):
			return nil // hidden
		case strings.HasPrefix(d.path, e.Path+"/"):
			u.seen[e.Path] = true
		}
	}
	return u.w.Add(e, content)
}

// parents makes the directories that lead to a path and are not in the image.
func (u *unpacker) parents(path string) error {
	for i, c := range path {
		if dir := path[:i]; c == '/' && !u.seen[dir] {
			u.seen[dir] = true
			if err := u.w.Add(tree.Entry{Path: dir, Type: tree.Directory, Mode: 0o755}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// below moves an entry of a disk below the path where the disk is mounted.
func below(path string, e tree.Entry) tree.Entry {
	if e.Path == "." {
		e.Path = path
	} else {
		e.Path = path + "/" + e.Path
	}
	if e.Type == tree.Link {
		e.Target = path + "/" + e.Target
	}
	return e
}

// walk gives every entry of a disk, whose blocks are checked as they are read.
func walk(d merged, yield func(tree.Entry, io.Reader) error) error {
	checked, err := verity.NewReader(d.file, d.disk.Blocks, d.disk.Salt[:], d.disk.Root)
	if err != nil {
		return err
	}
	fs, err := erofs.Read(checked, d.disk.Blocks*verity.BlockSize)
	if err != nil {
		return err
	}
	return fs.Walk(func(e erofs.Entry) error { return give(e, yield) })
}
