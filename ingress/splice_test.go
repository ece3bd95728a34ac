package ingress_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/ingress"
)

// pieced gives its data in pieces of the sizes said, as much of each as a reader takes at
// once, and remembers how much readers would have taken.
type pieced struct {
	data  []byte
	sizes []int
	asked []int
	dirty bool // a buffer held something when it was taken
}

func (p *pieced) Read(b []byte) (int, error) {
	if n := len(p.asked); n == 0 || p.asked[n-1] != len(b) { // just taken
		p.dirty = p.dirty || bytes.Count(b, []byte{0}) != len(b)
	}
	p.asked = append(p.asked, len(b))
	if len(p.sizes) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.sizes[0], len(p.data))])
	p.data, p.sizes = p.data[n:], p.sizes[1:]
	return n, nil
}

func TestPieces(t *testing.T) {
	const small, large = 16 << 10, 256 << 10
	for name, c := range map[string]struct {
		large bool
		sizes []int
		asked []int
	}{
		"nothing":                      {true, nil, []int{small}},
		"little":                       {true, []int{100, 200}, []int{small, small, small}},
		"much":                         {true, []int{small, large, large}, []int{small, large, large, large}},
		"much, then little, then much": {true, []int{small, 100, small, small}, []int{small, large, small, large, large}},
		"much in records":              {false, []int{small, small}, []int{small, small, small}},
	} {
		t.Run(name, func(t *testing.T) {
			var b ingress.Buffers
			for range 2 { // the second takes the buffers of the first
				src, sent := random(t, c.sizes), new(bytes.Buffer)
				want := bytes.Clone(src.data)
				if err := b.Carry(sent, src, c.large); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(sent.Bytes(), want) {
					t.Errorf("%d bytes arrived, others than the %d sent", sent.Len(), len(want))
				}
				if diff := cmp.Diff(c.asked, src.asked); diff != "" {
					t.Errorf("sizes of buffers (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func random(t *testing.T, sizes []int) *pieced {
	t.Helper()
	total := 0
	for _, n := range sizes {
		total += n
	}
	p := &pieced{data: make([]byte, total), sizes: sizes}
	rand.Read(p.data)
	return p
}

// What was carried is not left in buffers: a mistake elsewhere must not send it to another.
func TestPiecesCleared(t *testing.T) {
	var b ingress.Buffers
	for range 8 {
		src := random(t, []int{16 << 10, 256 << 10, 100, 16 << 10, 100})
		src.data = bytes.Repeat([]byte{1}, len(src.data))
		if err := b.Carry(io.Discard, src, true); err != nil || src.dirty {
			t.Fatalf("a buffer was given on with what it held (%v)", err)
		}
	}
}

// Only so many have large buffers; others go on with small ones, and the end of one lets the
// next have it.
func TestPiecesBounded(t *testing.T) {
	var b ingress.Buffers
	var running sync.WaitGroup
	holding, done := make(chan struct{}), make(chan struct{})
	for range ingress.MaxLarge {
		running.Go(func() {
			b.Carry(io.Discard, &held{holding: holding, done: done}, true) //nolint:errcheck // it ends by an error
		})
	}
	for range ingress.MaxLarge {
		<-holding
	}
	sizes := []int{16 << 10, 16 << 10, 16 << 10}
	src := random(t, sizes)
	if err := b.Carry(io.Discard, src, true); err != nil || src.asked[2] != 16<<10 {
		t.Errorf("buffers of %v with every large one taken (%v)", src.asked, err)
	}
	close(done)
	running.Wait()
	src = random(t, sizes)
	if err := b.Carry(io.Discard, src, true); err != nil || src.asked[2] != 256<<10 {
		t.Errorf("buffers of %v with every large one free (%v)", src.asked, err)
	}
}

// held fills a small buffer and keeps the large one that it gets for that.
type held struct {
	holding, done chan struct{}
	read          bool
}

func (h *held) Read(b []byte) (int, error) {
	if !h.read {
		h.read = true
		return len(b), nil
	}
	h.holding <- struct{}{}
	<-h.done
	return 0, errors.New("over")
}
