package oci

import (
	"crypto/sha256"
	"io"

	"strongroom.dev/agreement"
	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
	"strongroom.dev/verity"
	"strongroom.dev/wire"
)

// Disk is what was written as a disk.
type Disk struct {
	agreement.VerityDisk
	SHA256 wire.Hash // of the whole file
	Size   int64     // of the whole file, in bytes
	Files  int       // entries of the tree
}

// Salt gives the salt of an image's disk. It comes from the manifest, so that whoever
// prepares the same image gets the same root.
func Salt(manifest wire.Hash) wire.Hash {
	return wire.SHA256("strongroom/container-disk/v1", manifest[:])
}

// WriteDisk writes an image's file system and the Merkle tree behind it.
func WriteDisk(w io.Writer, entries []erofs.Entry, manifest wire.Hash) (Disk, error) {
	return WriteData(w, entries, Salt(manifest))
}

// WriteData writes a file system and the Merkle tree behind it, under a salt.
func WriteData(w io.Writer, entries []erofs.Entry, salt wire.Hash) (d Disk, err error) {
	sum := sha256.New()
	size := new(length)
	d.Salt = salt
	out, err := verity.NewWriter(io.MultiWriter(w, sum, size), d.Salt[:])
	if err != nil {
		return d, err
	}
	if _, err := erofs.Write(out, entries); err != nil {
		return d, err
	}
	if d.Root, d.Blocks, err = out.Finish(); err != nil {
		return d, err
	}
	d.SHA256, d.Size, d.Files = wire.Hash(sum.Sum(nil)), int64(*size), len(entries)
	return d, nil
}

type length int64

func (l *length) Write(p []byte) (int, error) {
	*l += length(len(p))
	return len(p), nil
}

// ReadDisk gives the entries of a disk, every block of which is checked as it is read.
func ReadDisk(disk io.ReaderAt, d agreement.VerityDisk) (list []erofs.Entry, err error) {
	checked, err := verity.NewReader(disk, d.Blocks, d.Salt[:], d.Root)
	if err != nil {
		return nil, err
	}
	fs, err := erofs.Read(checked, checked.Size())
	if err != nil {
		return nil, err
	}
	err = fs.Walk(func(e erofs.Entry) error { list = append(list, e); return nil })
	if err != nil {
		return nil, verdict.As(err)
	}
	return list, nil
}
