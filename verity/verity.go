// Package verity makes the Merkle trees by which Linux's dm-verity checks a read-only disk
// block by block: hash type 1, SHA-256, data and hash blocks of 4096 bytes
// (Documentation/admin-guide/device-mapper/verity.rst of the kernel).
//
// There is no superblock: root, salt and the number of blocks are measured configuration of
// whoever mounts the disk, and nothing is read from it before it is checked.
package verity

import (
	"crypto/sha256"
	"hash"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// BlockSize is the size of data blocks and hash blocks, in bytes.
const BlockSize = 4096

// MaxData bounds the data of one disk that [Tree] and [Disk] hold in memory, in bytes.
const MaxData = 1 << 30

// MaxBlocks bounds the data blocks of one disk that is written or read block by block: 1 TiB.
const MaxBlocks = 1 << 28

// perBlock is how many hashes a block of the tree holds.
const perBlock = BlockSize / sha256.Size

// Blocks is the number of data blocks that size bytes take.
func Blocks(size int64) int64 { return (size + BlockSize - 1) / BlockSize }

// Tree gives the tree of data, whole blocks of it, and the tree's root. The tree is laid out
// as the kernel reads it: the top block first, the hashes of the data last. One block of
// data has an empty tree. Errors are of kind Usage.
func Tree(data, salt []byte) (tree []byte, root wire.Hash, err error) {
	if len(data) == 0 || len(data)%BlockSize != 0 || len(data) > MaxData {
		return nil, root, verdict.Misuse("verity.data", "one whole block of 4096 bytes or more, up to 1 GiB", "another length", "pad the data with zeros")
	}
	if len(salt) > 256 {
		return nil, root, verdict.Misuse("verity.salt", "at most 256 bytes", "more", "take a shorter salt")
	}
	h := newHasher(salt)
	var levels [][]byte
	for len(data) > BlockSize {
		data = h.level(data)
		levels = append(levels, data)
	}
	for i := len(levels) - 1; i >= 0; i-- {
		tree = append(tree, levels[i]...)
	}
	return tree, h.block(data), nil
}

// Disk gives program as a disk: padded with zeros to whole blocks, the tree behind it.
// blocks is the number of data blocks, which is where the tree starts.
func Disk(program, salt []byte) (disk []byte, root wire.Hash, blocks int64, err error) {
	blocks = Blocks(int64(len(program)))
	if blocks > MaxData/BlockSize {
		blocks = 0 // Tree says so
	}
	disk = make([]byte, blocks*BlockSize, blocks*BlockSize+treeSize(blocks))
	copy(disk, program)
	tree, root, err := Tree(disk, salt)
	if err != nil {
		return nil, root, 0, err
	}
	return append(disk, tree...), root, blocks, nil
}

// treeSize is the size in bytes of the tree over so many data blocks.
func treeSize(blocks int64) (size int64) {
	for blocks > 1 {
		blocks = (blocks + perBlock - 1) / perBlock
		size += blocks * BlockSize
	}
	return size
}

// hasher hashes blocks behind one salt (hash type 1: the salt comes first).
type hasher struct {
	salt []byte
	h    hash.Hash
}

func newHasher(salt []byte) hasher { return hasher{salt, sha256.New()} }

func (h hasher) block(data []byte) (sum wire.Hash) {
	h.h.Reset()
	h.h.Write(h.salt)
	h.h.Write(data)
	h.h.Sum(sum[:0])
	return sum
}

// level gives the hashes of data's blocks, padded with zeros to whole blocks.
func (h hasher) level(data []byte) []byte {
	blocks := len(data) / BlockSize
	out := make([]byte, 0, (blocks+perBlock-1)/perBlock*BlockSize)
	for ; len(data) > 0; data = data[BlockSize:] {
		sum := h.block(data[:BlockSize])
		out = append(out, sum[:]...)
	}
	return out[:cap(out)]
}
