package tilelog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
	"strongroom.dev/ledger"
	"strongroom.dev/wire"
)

// tree is the Merkle tree: full tiles on disk, the right edge in memory. It is not safe for
// concurrent writing.
type tree struct {
	dir  string
	base int64 // entries before this are in full tiles on disk; a multiple of tileWidth
	// edge holds the unfinished tile of each level from 1 up, as of base; edge[0] is unused,
	// since base ends a tile of level 0.
	edge [maxLevel + 2][]tlog.Hash
	tail [][]byte // entries from base on
	// nodes are the hashes of the complete subtrees of the tail, by height.
	nodes [tileHeight + 1][]tlog.Hash
}

func (t *tree) size() int64 { return t.base + int64(len(t.tail)) }

// add puts an entry at the end.
func (t *tree) add(entry []byte) {
	t.tail = append(t.tail, entry)
	h := tlog.Hash(ledger.LeafHash(entry))
	t.nodes[0] = append(t.nodes[0], h)
	for level := 0; level < tileHeight && len(t.nodes[level])%2 == 0; level++ {
		pair := t.nodes[level][len(t.nodes[level])-2:]
		t.nodes[level+1] = append(t.nodes[level+1], tlog.NodeHash(pair[0], pair[1]))
	}
}

// root gives the root of the first size entries.
func (t *tree) root(size int64) (wire.Hash, error) {
	h, err := tlog.TreeHash(size, t)
	return wire.Hash(h), err
}

// ReadHashes is tlog.HashReader's.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	read := make(map[string][]tlog.Hash) // tiles of this call
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		h, err := t.hash(level, n, read)
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}

// hash gives the root of the complete subtree of 2^level entries, number n.
func (t *tree) hash(level int, n int64, read map[string][]tlog.Hash) (tlog.Hash, error) {
	first, end := n<<level, (n+1)<<level
	switch {
	case end > t.size():
		return tlog.Hash{}, fmt.Errorf("subtree %d of height %d is beyond the %d entries", n, level, t.size())
	case end <= t.base:
		return t.stored(level, n, read)
	case first >= t.base && level <= tileHeight:
		return t.nodes[level][(first-t.base)>>level], nil
	}
	left, err := t.hash(level-1, 2*n, read)
	if err != nil {
		return tlog.Hash{}, err
	}
	right, err := t.hash(level-1, 2*n+1, read)
	return tlog.NodeHash(left, right), err
}

// stored gives a hash below base: from a full tile, or from the edge of its level.
func (t *tree) stored(level int, n int64, read map[string][]tlog.Hash) (tlog.Hash, error) {
	tileLevel, within := level/tileHeight, level%tileHeight
	first := n << within // of 1<<within neighbours on the tile's own level
	tile, offset := first/tileWidth, first%tileWidth
	var hashes []tlog.Hash
	if (tile+1)<<(tileHeight*(tileLevel+1)) <= t.base {
		path := tilePath(tileLevel, tile, tileWidth)
		if read[path] == nil {
			full, err := readTile(t.dir, path)
			if err != nil {
				return tlog.Hash{}, err
			}
			read[path] = full
		}
		hashes = read[path]
	} else {
		hashes = t.edge[tileLevel]
	}
	return subtreeRoot(hashes[offset : offset+1<<within]), nil
}

func readTile(dir, path string) ([]tlog.Hash, error) {
	data, err := readBounded(dir, path, tileWidth*tlog.HashSize)
	if err != nil {
		return nil, err
	}
	return parseTile(data, tileWidth)
}

// readBounded reads a file of at most limit bytes below dir; path has slashes.
func readBounded(dir, path string, limit int64) ([]byte, error) {
	name := filepath.Join(dir, filepath.FromSlash(path))
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, at most %d expected", name, info.Size(), limit)
	}
	return os.ReadFile(name)
}

// loadEdge rebuilds the right edge as of base from the full tiles.
func (t *tree) loadEdge(base int64) error {
	t.base = base
	for level := 1; base>>(tileHeight*level) > 0; level++ {
		count := base >> (tileHeight * level)
		t.edge[level] = nil
		for n := count - count%tileWidth; n < count; n++ {
			below, err := readTile(t.dir, tilePath(level-1, n, tileWidth))
			if err != nil {
				return err
			}
			t.edge[level] = append(t.edge[level], subtreeRoot(below))
		}
	}
	return nil
}

// fullTile is a file that becomes final.
type fullTile struct {
	path string
	data []byte
}

// fill gives the files that the first tileWidth entries of the tail complete, lowest level
// first, and the edge after them. It changes nothing.
func (t *tree) fill() (files []fullTile, edge [maxLevel + 2][]tlog.Hash) {
	n := t.base / tileWidth
	files = append(files,
		fullTile{tilePath(entriesLevel, n, tileWidth), appendBundle(nil, t.tail[:tileWidth])},
		fullTile{tilePath(0, n, tileWidth), encodeTile(t.nodes[0][:tileWidth])})
	for level := range edge {
		edge[level] = slices.Clone(t.edge[level])
	}
	up := t.nodes[tileHeight][0]
	for level := 1; ; level++ {
		edge[level] = append(edge[level], up)
		if len(edge[level]) < tileWidth {
			return files, edge
		}
		n /= tileWidth
		files = append(files, fullTile{tilePath(level, n, tileWidth), encodeTile(edge[level])})
		up, edge[level] = subtreeRoot(edge[level]), nil
	}
}

// advance moves base over the tiles that fill gave, once they are durable.
func (t *tree) advance(edge [maxLevel + 2][]tlog.Hash) {
	t.base += tileWidth
	t.edge = edge
	t.tail = slices.Clone(t.tail[tileWidth:])
	for level := range t.nodes {
		t.nodes[level] = slices.Clone(t.nodes[level][tileWidth>>level:])
	}
}

// tile gives the bytes of a hash tile or entry bundle of the given width. Both are below
// the tree's size.
func (t *tree) tile(level int, n int64, width int) ([]byte, error) {
	if (n+1)<<(tileHeight*(max(level, 0)+1)) <= t.base {
		return t.fromFull(level, n, width)
	}
	first := n * tileWidth
	if level == entriesLevel {
		return appendBundle(nil, t.tail[first-t.base:][:width]), nil
	}
	var out []byte
	read := make(map[string][]tlog.Hash)
	for i := range int64(width) {
		h, err := t.hash(tileHeight*level, first+i, read)
		if err != nil {
			return nil, err
		}
		out = append(out, h[:]...)
	}
	return out, nil
}

// fromFull gives the first part, or all, of a full tile on disk.
func (t *tree) fromFull(level int, n int64, width int) ([]byte, error) {
	data, err := readBounded(t.dir, tilePath(level, n, tileWidth), maxBundle)
	if err != nil || width == tileWidth {
		return data, err
	}
	if level != entriesLevel {
		hashes, err := parseTile(data, tileWidth)
		if err != nil {
			return nil, err
		}
		return encodeTile(hashes[:width]), nil
	}
	entries, err := parseBundle(data, tileWidth)
	if err != nil {
		return nil, err
	}
	return appendBundle(nil, entries[:width]), nil
}
