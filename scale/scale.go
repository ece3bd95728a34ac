// Package scale reads SCALE ("simple concatenated aggregate little-endian"), the encoding
// in which dstack wraps evidence: lengths and vectors of bytes. It allocates nothing.
package scale

import (
	"encoding/binary"
	"errors"
)

// Reader is what is still to be read.
type Reader []byte

// Take reads n bytes.
func (r *Reader) Take(n int) ([]byte, error) {
	if n < 0 || n > len(*r) {
		return nil, errors.New("SCALE: cut short")
	}
	taken := (*r)[:n:n]
	*r = (*r)[n:]
	return taken, nil
}

// Compact reads a length below 2^30: the two low bits of its first byte say how many bytes it
// has. It must have as few as can be.
func (r *Reader) Compact() (int, error) {
	b := *r
	if len(b) == 0 {
		return 0, errors.New("SCALE: cut short")
	}
	size, least := 1, 0
	switch b[0] & 3 {
	case 1:
		size, least = 2, 1<<6
	case 2:
		size, least = 4, 1<<14
	case 3:
		return 0, errors.New("SCALE: a length beyond 1 GiB")
	}
	raw, err := r.Take(size)
	if err != nil {
		return 0, err
	}
	var wide [4]byte
	copy(wide[:], raw)
	n := int(binary.LittleEndian.Uint32(wide[:]) >> 2)
	if n < least {
		return 0, errors.New("SCALE: a length not in its shortest form")
	}
	return n, nil
}

// Vector reads a length and that many bytes.
func (r *Reader) Vector() ([]byte, error) {
	n, err := r.Compact()
	if err != nil {
		return nil, err
	}
	return r.Take(n)
}
