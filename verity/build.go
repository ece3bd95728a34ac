package verity

import (
	"fmt"
	"io"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Build gives the tree of a disk's data as it is read, and the root: what [Tree] gives, of
// data of up to 8 GiB that is not held in memory. blocks is how many blocks r has.
func Build(r io.Reader, blocks int64, salt []byte) (tree []byte, root wire.Hash, err error) {
	if blocks < 1 || treeSize(blocks) > MaxTree || len(salt) > 256 {
		return nil, root, verdict.Misuse("verity.data", "one block or more, up to 8 GiB, and a salt of at most 256 bytes", fmt.Sprintf("%d blocks", blocks), "make the image smaller")
	}
	h := newHasher(salt)
	leaves := make([]byte, 0, (blocks+perBlock-1)/perBlock*BlockSize)
	block := make([]byte, BlockSize)
	var sum wire.Hash
	for range blocks {
		if _, err := io.ReadFull(r, block); err != nil {
			return nil, root, err
		}
		sum = h.block(block)
		leaves = append(leaves, sum[:]...)
	}
	if blocks == 1 {
		return nil, sum, nil
	}
	levels := [][]byte{leaves[:cap(leaves)]}
	for top := levels[0]; len(top) > BlockSize; top = levels[len(levels)-1] {
		levels = append(levels, h.level(top))
	}
	for i := len(levels) - 1; i >= 0; i-- {
		tree = append(tree, levels[i]...)
	}
	return tree, h.block(levels[len(levels)-1]), nil
}
