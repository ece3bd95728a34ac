package cbor_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"strongroom.dev/cbor"
)

func limits() cbor.Limits { return cbor.Limits{Values: 1000, Depth: 8} }

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRefused is one text per rule.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "cut short"},
		{"a byte behind", "00 00", "1 bytes behind"},
		{"a head cut short", "19 01", "cut short"},
		{"a string cut short", "43 01 02", "cut short"},
		{"a string of 2^64-1 bytes", "5b ffffffffffffffff", "cut short"},
		{"an array cut short", "82 01", "cut short"},
		{"an array of 2^64-1 items", "9b ffffffffffffffff", "cut short"},
		{"a map cut short", "a1 01", "cut short"},
		{"a tag of nothing", "c0", "cut short"},
		{"23 in two bytes", "18 17", "shortest"},
		{"255 in three bytes", "19 00ff", "shortest"},
		{"65535 in five bytes", "1a 0000ffff", "shortest"},
		{"2^32-1 in nine bytes", "1b 00000000ffffffff", "shortest"},
		{"a negative number in its long form", "38 00", "shortest"},
		{"a length in its long form", "58 01 00", "shortest"},
		{"a tag in its long form", "d8 12 00", "shortest"},
		{"a key in its long form", "a1 18 01 00", "shortest"},
		{"reserved heads", "1c", "reserved"},
		{"bytes in pieces", "5f 41 00 ff", "indefinite"},
		{"text in pieces", "7f 61 61 ff", "indefinite"},
		{"an array of indefinite length", "9f ff", "indefinite"},
		{"a map of indefinite length", "bf ff", "indefinite"},
		{"a break of its own", "ff", "indefinite"},
		{"half", "f9 3c00", "floating point"},
		{"single", "fa 3f800000", "floating point"},
		{"double", "fb 3ff0000000000000", "floating point"},
		{"a simple value of one byte", "f8 18", "simple value"},
		{"a simple value", "e0", "simple value"},
		{"undefined", "f7", "simple value"},
		{"not UTF-8", "61 ff", "UTF-8"},
		{"an integer twice", "a2 01 00 01 00", "twice"},
		{"a text twice", "a2 61 61 00 61 61 01", "twice"},
		{"an empty text twice", "a2 60 00 60 01", "twice"},
		{"a negative number twice", "a2 20 00 20 00", "twice"},
		{"bytes as a key", "a1 41 00 00", "a byte string"},
		{"an array as a key", "a1 80 00", "an array"},
		{"null as a key", "a1 f6 00", "null"},
		{"too deep", "81 81 81 81 81 81 81 81 00", "deeper than 8"},
		{"too deep by tags", strings.Repeat("c1", 8) + "00", "deeper than 8"},
		{"too many values", "99 03e8" + strings.Repeat("00", 1000), "more than 1000"},
		{"too many members", "b9 0101" + members(257), "more than 256"},
	} {
		_, err := cbor.Parse(unhex(t, c.text), limits())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
	if _, err := cbor.Parse([]byte{0}, cbor.Limits{}); err == nil {
		t.Error("the zero limits take something")
	}
	if _, err := cbor.Parse([]byte{0}, cbor.Limits{Depth: 1}); err == nil {
		t.Error("no values are allowed, and one is taken")
	}
}

// members gives n members of a map: 0x0100 onwards to 0.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("19" + hex.EncodeToString([]byte{byte(i>>8) + 1, byte(i)}) + "00")
	}
	return b.String()
}

func TestValues(t *testing.T) {
	v, err := cbor.Parse(unhex(t, "ac 00 17 01 1818 20 20 21 3bffffffffffffffff 02 43010203 03 63c3a961 04 82 01 02 05 a0 06 d2 40 6161 f5 6162 f4 07 f6"), limits())
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[int64]int64{0: 23, 1: 24, -1: -1} {
		if n, ok := v.Get(key).Int(); !ok || n != want {
			t.Errorf("%d is %d", key, n)
		}
	}
	if _, ok := v.Get(-2).Int(); ok || v.Get(-2).Number != math.MaxUint64 || v.Get(-2).Kind != cbor.Negative {
		t.Error("-2^64 fits")
	}
	if !bytes.Equal(v.Get(2).Bytes, []byte{1, 2, 3}) || v.Get(3).Text != "éa" || len(v.Get(4).Items) != 2 || v.Get(5).Kind != cbor.Map {
		t.Errorf("%+v", v)
	}
	if tag := v.Get(6); tag.Kind != cbor.Tag || tag.Number != 18 || tag.Items[0].Kind != cbor.Bytes {
		t.Errorf("%+v", tag)
	}
	if v.Named("a").Number != 1 || v.Named("b").Number != 0 || v.Named("b").Kind != cbor.Bool || v.Get(7).Kind != cbor.Null {
		t.Errorf("%+v", v)
	}
	for _, absent := range []cbor.Value{v.Get(99), v.Get(math.MinInt64), v.Named(""), v.Named("c"), v.Get(2).Get(0)} {
		if absent.Kind != cbor.None {
			t.Errorf("%+v is there", absent)
		}
		if _, ok := absent.Int(); ok {
			t.Error("nothing is an integer")
		}
	}
	if cbor.Null.String() != "null" || cbor.Kind(99).String() != "an unknown kind" {
		t.Error("kinds have other names")
	}
}

func TestIndefinite(t *testing.T) {
	l := limits()
	l.Indefinite = true
	v, err := cbor.Parse(unhex(t, "bf 01 9f 02 03 ff 61 61 bf ff ff"), l)
	if err != nil || len(v.Pairs) != 2 || len(v.Get(1).Items) != 2 || v.Named("a").Kind != cbor.Map {
		t.Errorf("%+v %v", v, err)
	}
	for _, text := range []string{"bf 01 ff", "bf 01", "9f", "9f 01", "bf 01 00", "5f 41 00 ff", "7f 61 61 ff", "c1 ff", "82 01 ff", "bf 01 00 01 00 ff", "df", "ff"} {
		if _, err := cbor.Parse(unhex(t, text), l); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}

// TestHostile checks that time and memory stay small.
func TestHostile(t *testing.T) {
	l := cbor.Limits{Values: 4096, Depth: 16, Indefinite: true}
	for name, data := range map[string][]byte{
		"arrays": bytes.Repeat([]byte{0x81}, 1<<20), "tags": bytes.Repeat([]byte{0xc1}, 1<<20), "open arrays": bytes.Repeat([]byte{0x9f}, 1<<20),
		"integers": append([]byte{0x9f}, make([]byte, 1<<20)...), "a long array": append([]byte{0x9a, 0xff, 0xff, 0xff, 0xff}, make([]byte, 1<<20)...),
		"maps": bytes.Repeat([]byte{0xa1, 0}, 1<<19),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		_, err := cbor.Parse(data, l)
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > uint64(2*len(data)) || took > 100*time.Millisecond {
			t.Errorf("%s: %v, %d bytes, %s", name, err, n, took)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0xbf, 1, 0x9f, 2, 3, 0xff, 0x61, 'a', 0xbf, 0xff, 0xff}, true)
	f.Add([]byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0, 0x41, 0x00, 0x41, 0x00}, false)
	f.Fuzz(func(t *testing.T, data []byte, indefinite bool) {
		v, err := cbor.Parse(data, cbor.Limits{Values: 1000, Depth: 8, Indefinite: indefinite})
		if err != nil {
			if v.Kind != cbor.None {
				t.Error("an error with a value")
			}
			return
		}
		// Strict reading: what is read, written again, is what was read.
		if again := write(nil, v); !indefinite && !bytes.Equal(again, data) {
			t.Errorf("%x is written as %x", data, again)
		}
	})
}

// write writes a value in the only form there is.
func write(out []byte, v cbor.Value) []byte {
	switch v.Kind {
	case cbor.Unsigned:
		return head(out, 0, v.Number)
	case cbor.Negative:
		return head(out, 1, v.Number)
	case cbor.Bytes:
		return append(head(out, 2, uint64(len(v.Bytes))), v.Bytes...)
	case cbor.Text:
		return append(head(out, 3, uint64(len(v.Text))), v.Text...)
	case cbor.Array:
		out = head(out, 4, uint64(len(v.Items)))
	case cbor.Map:
		out = head(out, 5, uint64(len(v.Pairs)))
	case cbor.Tag:
		out = head(out, 6, v.Number)
	case cbor.Bool:
		return head(out, 7, 20+v.Number)
	case cbor.Null:
		return head(out, 7, 22)
	}
	for _, item := range v.Items {
		out = write(out, item)
	}
	for _, p := range v.Pairs {
		out = write(write(out, p.Key), p.Value)
	}
	return out
}

func head(out []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(out, major<<5|byte(n))
	case n < 1<<8:
		return append(out, major<<5|24, byte(n))
	case n < 1<<16:
		return append(out, major<<5|25, byte(n>>8), byte(n))
	case n < 1<<32:
		return append(out, major<<5|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, major<<5|27, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
