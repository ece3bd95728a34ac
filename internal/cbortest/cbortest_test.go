package cbortest_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"strongroom.dev/internal/cbortest"
)

// TestEncode writes examples of RFC 8949, appendix A, and the heads between them.
func TestEncode(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{0, "00"}, {23, "17"}, {24, "1818"}, {100, "1864"}, {1000, "1903e8"}, {1000000, "1a000f4240"}, {1000000000000, "1b000000e8d4a51000"}, {-1, "20"}, {-100, "3863"},
		{false, "f4"}, {true, "f5"}, {nil, "f6"}, {"IETF", "6449455446"}, {[]byte{1, 2, 3, 4}, "4401020304"}, {[]any{1, []any{2, 3}, []any{4, 5}}, "8301820203820405"},
		{cbortest.Map{"a", 1, "b", []any{2, 3}}, "a26161016162820203"}, {cbortest.Tag{1, 1363896240}, "c11a514b67b0"}, {cbortest.Raw{0xff}, "ff"},
		{cbortest.Map{1, 2, 3, 4}.Set(3, 5), "a201020305"}, {cbortest.Map{1, 2, 3, 4}.Set(1, cbortest.Omit{}), "a10304"}, {cbortest.Map{1, 2}.Set(3, 4), "a201020304"}, {cbortest.Map{1, 2}.Set(3, cbortest.Omit{}), "a10102"},
	} {
		want, err := hex.DecodeString(c.want)
		if got := cbortest.Encode(c.value); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %x, expected %s", c.value, got, c.want)
		}
	}
}
