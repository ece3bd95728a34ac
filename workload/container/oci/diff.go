package oci

import (
	"fmt"
	"io"

	"slices"

	"strongroom.dev/agreement"
	"strongroom.dev/erofs"
	"strongroom.dev/wire"
)

// Change is what became of one path between two disks.
type Change struct {
	Path string `json:"path"`
	// Kind is "added", "removed" or "changed".
	Kind string `json:"kind"`
	// Words say what of it.
	Words string `json:"words"`
}

// Diff compares two disks, both of which are checked as they are read.
func Diff(before, after io.ReaderAt, was, is agreement.VerityDisk) ([]Change, error) {
	old, err := ReadDisk(before, was)
	if err != nil {
		return nil, fmt.Errorf("the first disk: %w", err)
	}
	fresh, err := ReadDisk(after, is)
	if err != nil {
		return nil, fmt.Errorf("the second disk: %w", err)
	}
	return compare(byPath(old), byPath(fresh))
}

// byPath gives entries by their paths, links as the files that they name.
func byPath(list []erofs.Entry) map[string]erofs.Entry {
	out := make(map[string]erofs.Entry, len(list))
	for _, e := range list {
		if e.Link != "" {
			path := e.Path
			e = out[e.Link] // the file stands before its further names
			e.Path = path
		}
		out[e.Path] = e
	}
	return out
}

func compare(before, after map[string]erofs.Entry) (changes []Change, err error) {
	for path, old := range before {
		fresh, found := after[path]
		if !found {
			changes = append(changes, Change{path, "removed", describe(old)})
			continue
		}
		words, err := difference(old, fresh)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if words != "" {
			changes = append(changes, Change{path, "changed", words})
		}
	}
	for path, fresh := range after {
		if _, found := before[path]; !found {
			changes = append(changes, Change{path, "added", describe(fresh)})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return erofs.Compare(a.Path, b.Path) })
	return changes, nil
}

func describe(e erofs.Entry) string {
	owner := fmt.Sprintf("%04o, %d:%d", e.Mode&0o7777, e.UID, e.GID)
	switch e.Type() {
	case erofs.Directory:
		return "directory, " + owner
	case erofs.Symlink:
		return "link to " + e.Target
	case erofs.Pipe:
		return "pipe, " + owner
	}
	return fmt.Sprintf("%d bytes, %s", e.Size, owner)
}

// difference says what differs between two entries of one path; times say nothing.
func difference(a, b erofs.Entry) (string, error) {
	if x, y := describe(a), describe(b); x != y {
		return x + " became " + y, nil
	}
	if a.Type() != erofs.Regular || a.Size == 0 {
		return "", nil
	}
	x, err := contentHash(a)
	if err != nil {
		return "", err
	}
	y, err := contentHash(b)
	if err != nil || x == y {
		return "", err
	}
	return fmt.Sprintf("other %d bytes, %s", b.Size, fmt.Sprintf("%04o, %d:%d", b.Mode&0o7777, b.UID, b.GID)), nil
}

func contentHash(e erofs.Entry) (wire.Hash, error) {
	r, err := e.Open()
	if err != nil {
		return wire.Hash{}, err
	}
	sum, _, err := wire.HashReader(r)
	return sum, err
}
