package verity_test

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"strongroom.dev/verity"
)

// TestWriter: piece by piece it is the disk that Disk makes at once.
func TestWriter(t *testing.T) {
	for _, size := range []int{1, 4096, 4097, 128 * 4096, 128*4096 + 1, 300*4096 - 5} {
		program := sample(300)[:size]
		want, root, blocks, err := verity.Disk(program, salt())
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w, err := verity.NewWriter(&out, salt())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(struct{ io.Writer }{w}, iotest.HalfReader(bytes.NewReader(program))); err != nil {
			t.Fatal(err)
		}
		r, n, err := w.Finish()
		if err != nil || r != root || n != blocks || !bytes.Equal(out.Bytes(), want) || int64(len(want)) != verity.DiskBlocks(n)*verity.BlockSize {
			t.Errorf("%d bytes: %v, %d blocks, root %s, %v", size, bytes.Equal(out.Bytes(), want), n, r, err)
		}
	}
	w, _ := verity.NewWriter(io.Discard, nil)
	if _, _, err := w.Finish(); err == nil {
		t.Error("a disk of nothing")
	}
	if _, err := verity.NewWriter(io.Discard, make([]byte, 257)); err == nil {
		t.Error("a salt of 257 bytes")
	}
}
