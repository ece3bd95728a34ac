package verity_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"strongroom.dev/verdict"
	"strongroom.dev/verity"
)

// TestReader: what is read is the data, whatever the pieces.
func TestReader(t *testing.T) {
	for _, blocks := range []int{1, 2, 128, 129, 130*128 + 5} {
		data := sample(blocks)
		disk, root, n, err := verity.Disk(data, salt())
		if err != nil {
			t.Fatal(err)
		}
		r, err := verity.NewReader(bytes.NewReader(disk), n, salt(), root)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d blocks: %v", blocks, err)
		}
		part := make([]byte, 3)
		if _, err := r.ReadAt(part, 4095); blocks > 1 && (err != nil || !bytes.Equal(part, data[4095:4098])) {
			t.Errorf("%d blocks, over a border: %v", blocks, err)
		}
		if n, err := r.ReadAt(part, r.Size()-2); n != 2 || err != io.EOF {
			t.Errorf("%d blocks, at the end: %d, %v", blocks, n, err)
		}
	}
}

// TestReaderRefuses every flipped bit, of data and of tree, and disks that are cut.
func TestReaderRefuses(t *testing.T) {
	disk, root, n, err := verity.Disk(sample(300), salt())
	if err != nil {
		t.Fatal(err)
	}
	read := func(disk []byte) (string, []byte) {
		r, err := verity.NewReader(bytes.NewReader(disk), n, salt(), root)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		}
		var e *verdict.Error
		if !errors.As(err, &e) {
			return "", got
		}
		return e.Check, got
	}
	for at := 0; at < len(disk); at += 997 {
		bad := bytes.Clone(disk)
		bad[at] ^= 4
		want := "verity.block"
		if at >= 300*verity.BlockSize {
			want = "verity.root"
		}
		if check, got := read(bad); check != want || len(got) > at {
			t.Errorf("bit at %d: %q after %d bytes", at, check, len(got))
		}
	}
	for _, size := range []int{0, 4096, 299 * 4096, len(disk) - 1} {
		if check, _ := read(disk[:size]); check != "verity.data" {
			t.Errorf("cut to %d: %q", size, check)
		}
	}
	if _, err := verity.NewReader(bytes.NewReader(disk), n, []byte("other"), root); verdict.As(err).Check != "verity.root" {
		t.Errorf("another salt: %v", err)
	}
	if _, err := verity.NewReader(bytes.NewReader(disk), 1<<40, salt(), root); verdict.As(err).Kind != verdict.Usage {
		t.Errorf("too large: %v", err)
	}
}
