package seal_test

import (
	"bytes"
	"math/rand"
	"testing"

	"strongroom.dev/seal"
	"strongroom.dev/wire"
)

// merkle is the root as spec/root.md defines it, word by word.
func merkle(file []byte) wire.Hash {
	if len(file) <= seal.LeafSize {
		return wire.SHA256("strongroom/sealed-leaf/v1", file)
	}
	leaves := (len(file) + seal.LeafSize - 1) / seal.LeafSize
	k := 1
	for k*2 < leaves {
		k *= 2
	}
	left, right := merkle(file[:k*seal.LeafSize]), merkle(file[k*seal.LeafSize:])
	return wire.SHA256("strongroom/sealed-node/v1", left[:], right[:])
}

func TestRoot(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	lengths := []int{0, 1}
	for _, leaves := range []int{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 18, 33, 50} {
		n := leaves * seal.LeafSize
		lengths = append(lengths, n-1, n, n+1)
	}
	for _, n := range lengths {
		file := plaintext(n)
		want := merkle(file)
		got, size, err := seal.Root(bytes.NewReader(file), seal.Options{})
		if err != nil || got != want || size != int64(n) {
			t.Errorf("Root of %d bytes: %v, %d, %v", n, got, size, err)
		}
		h := seal.NewRootHasher()
		for rest := file; len(rest) > 0; {
			cut := min(len(rest), r.Intn(3*seal.LeafSize))
			h.Write(rest[:cut])
			rest = rest[cut:]
			if sum := h.Sum(); sum != merkle(file[:n-len(rest)]) {
				t.Fatalf("root of the first %d bytes differs", n-len(rest))
			}
		}
		if h.Sum() != want {
			t.Errorf("RootHasher on %d bytes", n)
		}
	}
}

// TestRootOnTheWay compares the roots computed while sealing and opening with that of the
// file's bytes, for headers that end anywhere in a leaf.
func TestRootOnTheWay(t *testing.T) {
	for _, recipients := range []int{1, 2, 39} {
		var ids []*seal.Identity
		for range recipients {
			ids = append(ids, identity(t, seal.Data))
		}
		for _, n := range sizes {
			file, sum := sealed(t, plaintext(n), ids...)
			if want := merkle(file); sum.Root != want {
				t.Errorf("%d recipients, %d bytes: sealing says %v", recipients, n, sum.Root)
			}
			opened, err := seal.Open(&bytes.Buffer{}, bytes.NewReader(file), ids[:1], seal.Options{Root: true})
			if err != nil || opened.Root != sum.Root {
				t.Errorf("%d recipients, %d bytes: opening says %v, %v", recipients, n, opened.Root, err)
			}
		}
	}
}
