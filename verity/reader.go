package verity

import (
	"bytes"
	"fmt"
	"io"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// MaxTree bounds the tree of a disk that [NewReader] reads: it is held in memory, and belongs
// to 8 GiB of data.
const MaxTree = 65 << 20

// Reader reads the data of a disk that somebody else holds and may change at any time: every
// block is compared with the tree on every read, as the kernel's dm-verity does. It is safe
// for use by several goroutines if the disk is.
type Reader struct {
	disk   io.ReaderAt
	blocks int64
	salt   []byte
	root   wire.Hash
	leaves []byte // the hashes of the data's blocks, checked against the root
}

// NewReader reads the tree behind the data of a disk ([Disk]), and checks it against the
// root. blocks is the number of data blocks. A tree that is not the root's is refused
// (verity.root).
func NewReader(disk io.ReaderAt, blocks int64, salt []byte, root wire.Hash) (*Reader, error) {
	if blocks < 1 || len(salt) > 256 || blocks > MaxTree/BlockSize*perBlock || treeSize(blocks) > MaxTree {
		return nil, verdict.Misuse("verity.data", "one block or more, and a tree of at most 65 MiB", fmt.Sprintf("%d blocks", blocks), "mount a larger disk where the kernel checks it")
	}
	r := &Reader{disk: disk, blocks: blocks, salt: salt, root: root}
	h := newHasher(salt)
	at, want := blocks*BlockSize, root[:]
	for _, n := range levelBlocks(blocks) {
		level := make([]byte, n*BlockSize)
		if _, err := disk.ReadAt(level, at); err != nil {
			return nil, short(err)
		}
		if got := h.sums(level); !bytes.Equal(got, want[:len(got)]) {
			return nil, verdict.NotGenuine("verity.root", "the disk's tree under root "+root.Short(), "another tree", "get the disk again: this is another, or it was altered")
		}
		at, want = at+int64(len(level)), level
	}
	r.leaves = want
	return r, nil
}

// levelBlocks gives how many blocks each level of the tree has, the top first.
func levelBlocks(blocks int64) (levels []int64) {
	for blocks > 1 {
		blocks = (blocks + perBlock - 1) / perBlock
		levels = append([]int64{blocks}, levels...)
	}
	return levels
}

// sums gives the hashes of data's blocks, without padding.
func (h hasher) sums(data []byte) (out []byte) {
	for ; len(data) > 0; data = data[BlockSize:] {
		sum := h.block(data[:BlockSize])
		out = append(out, sum[:]...)
	}
	return out
}

func short(err error) error {
	return &verdict.Error{Kind: verdict.Invalid, Check: "verity.data", Expected: "a disk with all its blocks, and its tree behind them", Got: verdict.Short(err.Error()),
		Fix: "get the disk again: it was cut short, or can't be read", Err: err}
}

// Size is that of the data, in bytes.
func (r *Reader) Size() int64 { return r.blocks * BlockSize }

// ReadAt reads data, every block of which was checked. A wrong block is refused
// (verity.block); nothing of it is given.
func (r *Reader) ReadAt(p []byte, at int64) (n int, err error) {
	if at < 0 {
		return 0, fmt.Errorf("verity: offset %d", at)
	}
	h := newHasher(r.salt)
	block := make([]byte, BlockSize)
	for n < len(p) {
		if at >= r.Size() {
			return n, io.EOF
		}
		number := at / BlockSize
		into, whole := block, at%BlockSize == 0 && len(p)-n >= BlockSize
		if whole {
			into = p[n : n+BlockSize]
		}
		if err := r.read(h, into, number); err != nil {
			clear(into)
			return n, err
		}
		copied := BlockSize
		if !whole {
			copied = copy(p[n:], block[at%BlockSize:])
		}
		n, at = n+copied, at+int64(copied)
	}
	return n, nil
}

// read reads one block and checks it.
func (r *Reader) read(h hasher, into []byte, number int64) error {
	if _, err := r.disk.ReadAt(into, number*BlockSize); err != nil {
		return short(err)
	}
	want := r.root[:]
	if r.blocks > 1 {
		want = r.leaves[number*int64(len(r.root)):][:len(r.root)]
	}
	if got := h.block(into); !bytes.Equal(got[:], want) {
		return verdict.NotGenuine("verity.block", fmt.Sprintf("block %d as its tree has it", number), "another", "get the disk again: it was altered")
	}
	return nil
}
