package scale_test

import (
	"bytes"
	"testing"

	"strongroom.dev/scale"
)

func TestCompact(t *testing.T) {
	for _, c := range []struct {
		text []byte
		want int // -1 is an error
	}{
		{[]byte{0}, 0}, {[]byte{0xfc}, 63}, {[]byte{0x01, 0x01}, 64}, {[]byte{0xb9, 0x46}, 4526}, {[]byte{0xfd, 0xff}, 1<<14 - 1},
		{[]byte{0x02, 0, 1, 0}, 1 << 14}, {[]byte{0xfe, 0xff, 0xff, 0xff}, 1<<30 - 1},
		{nil, -1}, {[]byte{0x01}, -1}, {[]byte{0x02, 0, 1}, -1}, {[]byte{0x03, 0, 0, 0, 0}, -1},
		{[]byte{0xfd, 0x00}, -1}, {[]byte{0xfe, 0xff, 0, 0}, -1}, {[]byte{0x01, 0x00}, -1},
	} {
		r := scale.Reader(c.text)
		n, err := r.Compact()
		if (err != nil) != (c.want < 0) || err == nil && (n != c.want || len(r) != 0) {
			t.Errorf("%x: %d, %v", c.text, n, err)
		}
	}
}

func TestVector(t *testing.T) {
	r := scale.Reader{8, 1, 2, 0, 12, 1, 2}
	if b, err := r.Vector(); err != nil || !bytes.Equal(b, []byte{1, 2}) {
		t.Errorf("%x %v", b, err)
	}
	if b, err := r.Vector(); err != nil || len(b) != 0 {
		t.Errorf("%x %v", b, err)
	}
	if b, err := r.Vector(); err == nil {
		t.Errorf("cut short, and %x", b)
	}
	if _, err := r.Take(-1); err == nil {
		t.Error("less than nothing is taken")
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{8, 1, 2, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := scale.Reader(data)
		for before := len(r) + 1; len(r) < before; {
			before = len(r)
			if _, err := r.Vector(); err != nil {
				return
			}
		}
	})
}
