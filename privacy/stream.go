package privacy

import (
	"encoding/binary"
	"math/big"
	"math/bits"

	"strongroom.dev/wire"
)

// Stream gives the random bits that one number's noise is made of. Without the run's secret
// they can't be told from chance; with it they are always the same (R14). A Stream is used by
// one goroutine and for one thing.
type Stream struct {
	key   wire.Hash
	block uint64
	rest  []byte
}

// NewStream gives the stream of one purpose in one column and group of a run. The seed is the
// run's own and known to nobody outside the room: 32 bytes that derive from every owner's
// secret. No stream tells anything of another one (spec/privacy.md, section 3).
func NewStream(seed [32]byte, column string, group []byte, purpose string) *Stream {
	return &Stream{key: wire.SHA256("strongroom/noise/v1", seed[:], []byte(column), group, []byte(purpose))}
}

// Read fills p; it never fails.
func (s *Stream) Read(p []byte) (int, error) {
	for done := 0; done < len(p); {
		if len(s.rest) == 0 {
			block := wire.SHA256("strongroom/noise-block/v1", s.key[:], wire.Uint64(s.block))
			s.block++
			s.rest = block[:]
		}
		n := copy(p[done:], s.rest)
		s.rest = s.rest[n:]
		done += n
	}
	return len(p), nil
}

// below64 gives a number from 0 to n-1, each as likely: the fewest whole bytes that hold n-1,
// big-endian, spare bits cleared, drawn again while it is n or more.
func (s *Stream) below64(n uint64) uint64 {
	width := bits.Len64(n - 1)
	size := (width + 7) / 8
	var buffer [8]byte
	for {
		s.Read(buffer[8-size:])
		if x := binary.BigEndian.Uint64(buffer[:]) & (1<<width - 1); x < n {
			return x
		}
	}
}

// below is below64 for larger numbers.
func (s *Stream) below(n *big.Int) *big.Int {
	if n.IsUint64() {
		return new(big.Int).SetUint64(s.below64(n.Uint64()))
	}
	width := new(big.Int).Sub(n, big.NewInt(1)).BitLen()
	buffer := make([]byte, (width+7)/8)
	for {
		s.Read(buffer)
		if spare := len(buffer)*8 - width; spare > 0 {
			buffer[0] &= 0xff >> spare
		}
		if x := new(big.Int).SetBytes(buffer); x.Cmp(n) < 0 {
			return x
		}
	}
}

// CellKey gives the bytes that a group's streams are named by: those of its values in
// canonical text, nil for NULL, in the order of the group expressions.
func CellKey(values []*string) []byte {
	fields := make([][]byte, 0, len(values))
	for _, v := range values {
		if v == nil {
			fields = append(fields, []byte{0})
		} else {
			fields = append(fields, append([]byte{1}, *v...))
		}
	}
	return wire.Tuple("strongroom/noise-cell/v1", fields...)
}
