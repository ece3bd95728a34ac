package channel

// inbox holds what arrived on a stream and was not read yet, in pieces of MaxFrame bytes: all
// but the first and the last are full, so that a peer which sends a byte at a time makes the
// other side hold no more than one that fills its frames.
type inbox struct {
	pieces [][]byte // of capacity MaxFrame; never empty but as a whole
	read   int      // bytes of the first that were read
}

// pieces are those that no stream holds now, so that a busy session makes none anew.
type pieces struct{ spare [][]byte }

// maxSpare bounds what is kept for later: a stream's window.
const maxSpare = Window / MaxFrame

func (p *pieces) get() []byte {
	n := len(p.spare)
	if n == 0 {
		return make([]byte, 0, MaxFrame)
	}
	piece := p.spare[n-1]
	p.spare = p.spare[:n-1]
	return piece
}

func (p *pieces) put(piece []byte) {
	if len(p.spare) < maxSpare {
		p.spare = append(p.spare, piece[:0])
	}
}

func (b *inbox) empty() bool { return len(b.pieces) == 0 }

// add appends bytes.
func (b *inbox) add(data []byte, p *pieces) {
	for len(data) > 0 {
		last := len(b.pieces) - 1
		if last < 0 || len(b.pieces[last]) == MaxFrame {
			b.pieces = append(b.pieces, p.get())
			last++
		}
		piece := b.pieces[last]
		n := min(len(data), MaxFrame-len(piece))
		b.pieces[last] = append(piece, data[:n]...)
		data = data[n:]
	}
}

// take moves bytes to dst, as many as there are and fit.
func (b *inbox) take(dst []byte, p *pieces) (n int) {
	for n < len(dst) && len(b.pieces) > 0 {
		first := b.pieces[0]
		moved := copy(dst[n:], first[b.read:])
		n += moved
		if b.read += moved; b.read < len(first) {
			return n
		}
		p.put(first)
		b.pieces[0] = nil
		b.pieces, b.read = b.pieces[1:], 0
	}
	if len(b.pieces) == 0 {
		b.pieces = nil
	}
	return n
}

// clear lets go of everything.
func (b *inbox) clear(p *pieces) {
	for _, piece := range b.pieces {
		p.put(piece)
	}
	*b = inbox{}
}
