package verity

import (
	"fmt"
	"io"
	"slices"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Writer writes a disk of any size: what goes through it, then padding and the tree. It holds
// a 128th of the data in memory.
type Writer struct {
	w      io.Writer
	h      hasher
	block  []byte // the last one, while it is not whole
	hashes []byte // of all blocks before it
	blocks int64
}

// NewWriter starts a disk at w. The salt is at most 256 bytes.
func NewWriter(w io.Writer, salt []byte) (*Writer, error) {
	if len(salt) > 256 {
		return nil, verdict.Misuse("verity.salt", "at most 256 bytes", "more", "take a shorter salt")
	}
	return &Writer{w: w, h: newHasher(slices.Clone(salt)), block: make([]byte, 0, BlockSize)}, nil
}

// Write takes data.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	for rest := p[:n]; len(rest) > 0; {
		k := min(len(rest), BlockSize-len(w.block))
		w.block = append(w.block, rest[:k]...)
		rest = rest[k:]
		if len(w.block) == BlockSize {
			if w.blocks++; w.blocks > MaxBlocks {
				return n, verdict.Misuse("verity.data", fmt.Sprintf("at most %d blocks", MaxBlocks), "more", "make the disk smaller")
			}
			sum := w.h.block(w.block)
			w.hashes = append(w.hashes, sum[:]...)
			w.block = w.block[:0]
		}
	}
	return n, err
}

// Finish pads the data with zeros to whole blocks and writes the tree behind it; blocks is
// the number of data blocks. A disk without data is of kind Usage.
func (w *Writer) Finish() (root wire.Hash, blocks int64, err error) {
	if k := len(w.block); k > 0 {
		if _, err := w.Write(make([]byte, BlockSize-k)); err != nil {
			return root, 0, err
		}
	}
	if w.blocks == 0 {
		return root, 0, verdict.Misuse("verity.data", "one block of data or more", "none", "write the data first")
	}
	level := w.hashes
	if w.blocks == 1 {
		copy(root[:], level)
		return root, 1, nil
	}
	level = append(level, make([]byte, -len(level)&(BlockSize-1))...)
	levels := [][]byte{level}
	for len(level) > BlockSize {
		level = w.h.level(level)
		levels = append(levels, level)
	}
	for _, l := range slices.Backward(levels) {
		if _, err := w.w.Write(l); err != nil {
			return root, 0, err
		}
	}
	return w.h.block(level), w.blocks, nil
}

// DiskBlocks is the number of blocks of a whole disk: of data, and of the tree behind it.
func DiskBlocks(data int64) int64 { return data + treeSize(data)/BlockSize }
