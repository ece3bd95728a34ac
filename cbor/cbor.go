// Package cbor reads CBOR (RFC 8949) as attestation evidence is written in it, with one
// reading of every text: lengths in their shortest form, no duplicate keys, keys that are
// integers or text, no floating point, nothing behind the item.
//
// It promises that what it returns is the only thing the bytes can mean, and that reading
// costs no more than a small multiple of the input. It knows tags but not what they mean.
package cbor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Kind says what a [Value] is.
type Kind byte

// The kinds. The zero Kind is that of a value that is not there.
const (
	None Kind = iota
	Unsigned
	Negative
	Bytes
	Text
	Array
	Map
	Tag
	Bool
	Null
)

// String names the kind, for people.
func (k Kind) String() string {
	names := [...]string{"nothing", "an integer", "a negative integer", "a byte string", "text", "an array", "a map", "a tag", "a boolean", "null"}
	if int(k) < len(names) {
		return names[k]
	}
	return "an unknown kind"
}

// Value is one data item. Its Kind says which of the fields counts. Bytes are those of the
// input, not a copy.
type Value struct {
	Kind Kind
	// Number is an integer n, or -1-n if negative; a tag's number; 1 for true.
	Number uint64
	Bytes  []byte
	Text   string
	// Items are the elements of an array, or the one item within a tag.
	Items []Value
	// Pairs are the members of a map, in the order in which they are written.
	Pairs []Pair
}

// Pair is one member of a map. Its key is an integer or text.
type Pair struct{ Key, Value Value }

// Get gives the member with an integer as its key; a Value of kind None if there is none.
func (v Value) Get(key int64) Value {
	for _, p := range v.Pairs {
		if n, ok := p.Key.Int(); ok && n == key {
			return p.Value
		}
	}
	return Value{}
}

// Named gives the member with a text as its key; a Value of kind None if there is none.
func (v Value) Named(key string) Value {
	for _, p := range v.Pairs {
		if p.Key.Kind == Text && p.Key.Text == key {
			return p.Value
		}
	}
	return Value{}
}

// Int gives an integer, and whether v is one that fits.
func (v Value) Int() (int64, bool) {
	switch {
	case v.Number > math.MaxInt64:
		return 0, false
	case v.Kind == Unsigned:
		return int64(v.Number), true
	case v.Kind == Negative:
		return -1 - int64(v.Number), true
	}
	return 0, false
}

// Limits bounds what [Parse] takes. The zero Limits take nothing.
type Limits struct {
	// Values is the most data items, keys of maps included.
	Values int
	// Depth is how deep items may be nested; an item that is not in another has depth 1.
	Depth int
	// Indefinite allows arrays and maps of indefinite length, which end in a "break". Strings
	// are never taken in pieces.
	Indefinite bool
}

// maxPairs is the most members of one map: looking for duplicates compares all with all.
const maxPairs = 256

// ErrShort is what data gives that ends within an item.
var ErrShort = errors.New("CBOR: cut short")

// Parse reads one item that fills data.
func Parse(data []byte, l Limits) (Value, error) {
	r := reader{data: data, left: l.Values, limits: l}
	v, err := r.value(l.Depth)
	if err == nil && len(r.data) != 0 {
		err = fmt.Errorf("CBOR: %d bytes behind the item", len(r.data))
	}
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

type reader struct {
	data   []byte
	left   int // values that may still come
	limits Limits
}

// major types (RFC 8949, section 3.1).
const (
	majorUnsigned = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

// The additional information for a length that is not known, and the "break" that ends it.
const (
	indefinite = 31
	stop       = 0xff
)

// head reads a head: major type, additional information and argument (RFC 8949, section 3).
func (r *reader) head() (major, info byte, argument uint64, err error) {
	if len(r.data) == 0 {
		return 0, 0, 0, ErrShort
	}
	major, info = r.data[0]>>5, r.data[0]&31
	r.data = r.data[1:]
	if info < 24 {
		return major, info, uint64(info), nil
	}
	if info == indefinite && r.limits.Indefinite && (major == majorArray || major == majorMap) {
		return major, info, 0, nil
	}
	if info > 27 {
		return 0, 0, 0, errors.New("CBOR: an indefinite length, or a reserved head")
	}
	size := 1 << (info - 24)
	if len(r.data) < size {
		return 0, 0, 0, ErrShort
	}
	var wide [8]byte
	copy(wide[8-size:], r.data[:size])
	r.data = r.data[size:]
	argument = binary.BigEndian.Uint64(wide[:])
	if major != majorSimple && argument < least(info) {
		return 0, 0, 0, errors.New("CBOR: a number not in its shortest form")
	}
	return major, info, argument, nil
}

// least gives the smallest argument that needs a head with this additional information.
func least(info byte) uint64 {
	switch info {
	case 24:
		return 24
	case 25:
		return 1 << 8
	case 26:
		return 1 << 16
	}
	return 1 << 32
}

func (r *reader) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.data)) {
		return nil, ErrShort
	}
	taken := r.data[:n:n]
	r.data = r.data[n:]
	return taken, nil
}

// value reads an item; depth is how many levels may still come, its own included.
func (r *reader) value(depth int) (Value, error) {
	if depth <= 0 {
		return Value{}, fmt.Errorf("CBOR: nested deeper than %d", r.limits.Depth)
	}
	if r.left--; r.left < 0 {
		return Value{}, fmt.Errorf("CBOR: more than %d values", r.limits.Values)
	}
	major, info, argument, err := r.head()
	if err != nil {
		return Value{}, err
	}
	switch major {
	case majorUnsigned:
		return Value{Kind: Unsigned, Number: argument}, nil
	case majorNegative:
		return Value{Kind: Negative, Number: argument}, nil
	case majorBytes:
		b, err := r.take(argument)
		return Value{Kind: Bytes, Bytes: b}, err
	case majorText:
		b, err := r.take(argument)
		if err == nil && !utf8.Valid(b) {
			err = errors.New("CBOR: text that is not UTF-8")
		}
		return Value{Kind: Text, Text: string(b)}, err
	case majorArray:
		return r.array(info, argument, depth)
	case majorMap:
		return r.mapOf(info, argument, depth)
	case majorTag:
		inner, err := r.value(depth - 1)
		return Value{Kind: Tag, Number: argument, Items: []Value{inner}}, err
	}
	return simple(info)
}

// simple gives false, true and null (RFC 8949, section 3.3).
func simple(info byte) (Value, error) {
	switch info {
	case 20, 21:
		return Value{Kind: Bool, Number: uint64(info - 20)}, nil
	case 22:
		return Value{Kind: Null}, nil
	}
	return Value{}, errors.New("CBOR: floating point, or another simple value than false, true and null")
}

// more reports whether an array or map goes on after n items; it takes the "break".
func (r *reader) more(info byte, length uint64, n int) bool {
	if info != indefinite {
		return uint64(n) < length
	}
	if len(r.data) > 0 && r.data[0] == stop {
		r.data = r.data[1:]
		return false
	}
	return true // the end of data is found by whoever reads on
}

func (r *reader) array(info byte, length uint64, depth int) (Value, error) {
	v := Value{Kind: Array}
	for r.more(info, length, len(v.Items)) {
		item, err := r.value(depth - 1)
		if err != nil {
			return v, err
		}
		v.Items = append(v.Items, item)
	}
	return v, nil
}

func (r *reader) mapOf(info byte, length uint64, depth int) (Value, error) {
	v := Value{Kind: Map}
	for r.more(info, length, len(v.Pairs)) {
		key, err := r.value(depth - 1)
		if err != nil {
			return v, err
		}
		if err := v.admits(key); err != nil {
			return v, err
		}
		item, err := r.value(depth - 1)
		if err != nil {
			return v, err
		}
		v.Pairs = append(v.Pairs, Pair{key, item})
	}
	return v, nil
}

// admits refuses a key that a map can't take.
func (v Value) admits(key Value) error {
	if key.Kind != Unsigned && key.Kind != Negative && key.Kind != Text {
		return fmt.Errorf("CBOR: a key that is %s, expected an integer or text", key.Kind)
	}
	if len(v.Pairs) == maxPairs {
		return fmt.Errorf("CBOR: a map of more than %d members", maxPairs)
	}
	for _, p := range v.Pairs {
		if p.Key.Kind == key.Kind && p.Key.Number == key.Number && p.Key.Text == key.Text {
			return errors.New("CBOR: a map with a key twice")
		}
	}
	return nil
}
