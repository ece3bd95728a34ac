package tpm2

import "encoding/binary"

// reader reads big-endian fields; short is set once something is missing or too long.
type reader struct {
	data  []byte
	at    int
	short bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.data)-r.at {
		r.short, r.at = true, len(r.data)
		return nil
	}
	r.at += n
	return r.data[r.at-n : r.at : r.at]
}

// sized reads a TPM2B: a length of 16 bits, at most so much, and the bytes.
func (r *reader) sized(most int) []byte {
	return r.upTo(int(r.u16()), most)
}

// upTo reads n bytes, at most so many.
func (r *reader) upTo(n, most int) []byte {
	if n > most {
		r.short, r.at = true, len(r.data)
		return nil
	}
	return r.take(n)
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}
