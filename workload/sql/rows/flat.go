package rows

import (
	"encoding/binary"
	"errors"
)

// errFlat is a FlatBuffers message that points outside itself or lacks what it must have.
var errFlat = errors.New("metadata that points outside itself")

// flat is a table of a FlatBuffers message. Everything it gives has been found to lie in the
// message. The zero value is an absent table, all of whose fields are absent.
type flat struct {
	buf []byte
	at  int // of the table
	// fields are the places of the table's fields in it, 0 for absent.
	fields []byte
}

// flatRoot reads the table that a message is.
func flatRoot(buf []byte) (flat, error) { return flatTable(buf, 0) }

// flatTable reads the table that an offset at a place points to.
func flatTable(buf []byte, place int) (flat, error) {
	at, ok := pointer(buf, place)
	if !ok || !within(buf, at, 4) {
		return flat{}, errFlat
	}
	v := int64(at) - int64(int32(binary.LittleEndian.Uint32(buf[at:])))
	if v < 0 || v > int64(len(buf)) || !within(buf, int(v), 4) {
		return flat{}, errFlat
	}
	size := int(binary.LittleEndian.Uint16(buf[v:]))
	if size < 4 || !within(buf, int(v), size) {
		return flat{}, errFlat
	}
	return flat{buf: buf, at: at, fields: buf[int(v)+4 : int(v)+size]}, nil
}

// pointer follows an offset.
func pointer(buf []byte, place int) (at int, ok bool) {
	if !within(buf, place, 4) {
		return 0, false
	}
	n := int64(place) + int64(binary.LittleEndian.Uint32(buf[place:]))
	return int(n), n <= int64(len(buf))
}

func within(buf []byte, at, size int) bool {
	return at >= 0 && size >= 0 && at <= len(buf) && size <= len(buf)-at
}

// place gives where a field of some bytes is, 0 if it is absent.
func (t flat) place(field, size int) (int, error) {
	if 2*field+2 > len(t.fields) {
		return 0, nil
	}
	offset := int(binary.LittleEndian.Uint16(t.fields[2*field:]))
	if offset == 0 {
		return 0, nil
	}
	if !within(t.buf, t.at+offset, size) {
		return 0, errFlat
	}
	return t.at + offset, nil
}

// number reads a signed field of 1, 2, 4 or 8 bytes.
func (t flat) number(field, size int, absent int64) (int64, error) {
	at, err := t.place(field, size)
	if at == 0 || err != nil {
		return absent, err
	}
	b := t.buf[at : at+size]
	switch size {
	case 1:
		return int64(int8(b[0])), nil
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(b))), nil
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(b))), nil
	}
	return int64(binary.LittleEndian.Uint64(b)), nil
}

// table reads a field that is a table; found is false if it is absent.
func (t flat) table(field int) (out flat, found bool, err error) {
	at, err := t.place(field, 4)
	if at == 0 || err != nil {
		return flat{}, false, err
	}
	out, err = flatTable(t.buf, at)
	return out, true, err
}

// text reads a field that is a string.
func (t flat) text(field int) (string, error) {
	data, _, err := t.vector(field, 1)
	return string(data), err
}

// vector reads a field that is a vector of n elements of some bytes each.
func (t flat) vector(field, size int) (data []byte, n int, err error) {
	place, err := t.place(field, 4)
	if place == 0 || err != nil {
		return nil, 0, err
	}
	at, ok := pointer(t.buf, place)
	if !ok || !within(t.buf, at, 4) {
		return nil, 0, errFlat
	}
	n = int(binary.LittleEndian.Uint32(t.buf[at:]))
	if n > (len(t.buf)-at-4)/size {
		return nil, 0, errFlat
	}
	return t.buf[at+4 : at+4+n*size], n, nil
}

// tables reads a field that is a vector of tables.
func (t flat) tables(field int) (out []flat, err error) {
	place, err := t.place(field, 4)
	if place == 0 || err != nil {
		return nil, err
	}
	_, n, err := t.vector(field, 4)
	if err != nil {
		return nil, err
	}
	at, _ := pointer(t.buf, place)
	for i := range n {
		one, err := flatTable(t.buf, at+4+4*i)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}
