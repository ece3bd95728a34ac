package seal

import (
	"bytes"
	"crypto/sha256"
	"math/bits"

	"strongroom.dev/wire"
)

// LeafSize is the length of a leaf's chunk in bytes; the file's last may be shorter
// (spec/root.md).
const LeafSize = 64 << 10

const (
	leafDomain = "strongroom/sealed-leaf/v1"
	nodeDomain = "strongroom/sealed-node/v1"
)

// leafHash hashes one chunk: wire.SHA256(leafDomain, chunk) without the copy that making
// a tuple of it would be.
func leafHash(prefix, chunk []byte) (h wire.Hash) {
	if len(chunk) != LeafSize {
		return wire.SHA256(leafDomain, chunk)
	}
	d := sha256.New()
	d.Write(prefix)
	d.Write(chunk)
	d.Sum(h[:0])
	return h
}

// leafPrefix gives the bytes that stand before a whole chunk in the tuple that is hashed.
func leafPrefix() []byte {
	tuple := wire.Tuple(leafDomain, make([]byte, LeafSize))
	return bytes.Clone(tuple[:len(tuple)-LeafSize])
}

// RootHasher computes the Merkle root of a sealed file (spec/root.md) from the file's
// bytes, written in order. It holds one chunk and one hash for each level of the tree.
type RootHasher struct {
	prefix  []byte
	partial []byte // bytes of the leaf begun
	leaves  uint64
	stack   []wire.Hash // roots of whole subtrees, one for each bit set in leaves, largest first
}

// NewRootHasher starts at offset 0 of a file.
func NewRootHasher() *RootHasher {
	return &RootHasher{prefix: leafPrefix(), partial: make([]byte, 0, LeafSize)}
}

// Write takes the next bytes of the file. It never fails.
func (r *RootHasher) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(r.partial) == 0 && len(p) >= LeafSize {
			r.add(leafHash(r.prefix, p[:LeafSize]))
			p = p[LeafSize:]
			continue
		}
		take := min(LeafSize-len(r.partial), len(p))
		r.partial = append(r.partial, p[:take]...)
		p = p[take:]
		if len(r.partial) == LeafSize {
			r.add(leafHash(r.prefix, r.partial))
			r.partial = r.partial[:0]
		}
	}
	return n, nil
}

// join takes the next bytes of the file, the whole leaves of which were hashed already
// by [hashLeaves].
func (r *RootHasher) join(p []byte, hashed []wire.Hash) {
	head := min(len(p), (LeafSize-len(r.partial))%LeafSize)
	r.Write(p[:head])
	for _, h := range hashed {
		r.add(h)
	}
	r.Write(p[head+len(hashed)*LeafSize:])
}

// hashLeaves hashes the leaves that lie wholly in p, which starts at the given offset of
// the file.
func hashLeaves(out []wire.Hash, prefix, p []byte, offset int64) []wire.Hash {
	head := int((LeafSize - offset%LeafSize) % LeafSize)
	for ; head+LeafSize <= len(p); head += LeafSize {
		out = append(out, leafHash(prefix, p[head:head+LeafSize]))
	}
	return out
}

// add appends a leaf and merges the subtrees it completes.
func (r *RootHasher) add(h wire.Hash) {
	r.leaves++
	for range bits.TrailingZeros64(r.leaves) {
		h = nodeHash(r.pop(), h)
	}
	r.stack = append(r.stack, h)
}

func (r *RootHasher) pop() wire.Hash {
	h := r.stack[len(r.stack)-1]
	r.stack = r.stack[:len(r.stack)-1]
	return h
}

func nodeHash(left, right wire.Hash) wire.Hash { return wire.SHA256(nodeDomain, left[:], right[:]) }

// Sum gives the root of the bytes written so far; more may follow. A file of no bytes has
// one leaf, of the empty chunk.
func (r *RootHasher) Sum() wire.Hash {
	stack := r.stack
	var h wire.Hash
	if len(r.partial) > 0 || r.leaves == 0 {
		h = wire.SHA256(leafDomain, r.partial)
	} else {
		h, stack = stack[len(stack)-1], stack[:len(stack)-1]
	}
	for i := len(stack) - 1; i >= 0; i-- {
		h = nodeHash(stack[i], h)
	}
	return h
}
