package tilelog

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// entriesLevel is the place of entry bundles in tile paths, where hash tiles have a level.
const entriesLevel = -1

// tilePath gives the path of a tile below the log's directory, with slashes (C2SP
// tlog-tiles, "Merkle Tree" and "Log entries"). Width tileWidth is a full tile.
func tilePath(level int, n int64, width int) string {
	place := "entries"
	if level != entriesLevel {
		place = fmt.Sprint(level)
	}
	number := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		number = fmt.Sprintf("x%03d/%s", n%1000, number)
	}
	path := "tile/" + place + "/" + number
	if width < tileWidth {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}

// appendBundle adds entries to a bundle: each behind its length in two bytes.
func appendBundle(out []byte, entries [][]byte) []byte {
	for _, e := range entries {
		out = binary.BigEndian.AppendUint16(out, uint16(len(e)))
		out = append(out, e...)
	}
	return out
}

// parseBundle reads exactly count entries. They share data's memory.
func parseBundle(data []byte, count int) ([][]byte, error) {
	if count < 0 || len(data) < 2*count {
		return nil, fmt.Errorf("bundle of %d bytes is too short for %d entries", len(data), count)
	}
	entries := make([][]byte, 0, count)
	for i := range count {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("bundle ends inside entry %d of %d", i, count)
		}
		n := int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:2+n:2+n])
		data = data[2+n:]
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("%d bytes after the last of %d entries", len(data), count)
	}
	return entries, nil
}

// encodeTile gives a tile's bytes.
func encodeTile(hashes []tlog.Hash) []byte {
	out := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

// parseTile reads a tile of exactly width hashes.
func parseTile(data []byte, width int) ([]tlog.Hash, error) {
	if len(data) != width*tlog.HashSize {
		return nil, fmt.Errorf("tile of %d bytes, expected %d", len(data), width*tlog.HashSize)
	}
	out := make([]tlog.Hash, width)
	for i := range out {
		out[i] = tlog.Hash(data[i*tlog.HashSize:])
	}
	return out, nil
}

// subtreeRoot hashes a power of two of neighbours to their common ancestor.
func subtreeRoot(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := len(hashes) / 2
	return tlog.NodeHash(subtreeRoot(hashes[:half]), subtreeRoot(hashes[half:]))
}
