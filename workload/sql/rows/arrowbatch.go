package rows

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"strongroom.dev/agreement"
)

// arrowColumn is a column of a batch. Its buffers have been found long enough.
type arrowColumn struct {
	arrowKind
	has   []byte // a bit for each row that has a value; nil: all have
	nulls int64  // how many have none
	data  []byte
	ends  []byte   // of texts
	more  [][]byte // buffers that views point into
}

// batch reads a batch's rows.
func (a *arrowReader) batch(b flat) error {
	if _, packed, err := b.table(3); err != nil {
		return err
	} else if packed {
		return a.malformed("an uncompressed Arrow file", "a compressed one")
	}
	length, err := b.number(0, 8, 0)
	if err != nil {
		return err
	}
	columns, err := a.batchColumns(b, length)
	if err != nil {
		return err
	}
	for r := range int(length) {
		a.rows++
		size := 0
		for i := range columns {
			var wrong *Error
			if a.row[i], wrong = columns[i].value(a.columns[i], r); wrong != nil {
				wrong.Row, wrong.Column = a.rows, a.columns[i].Name
				return wrong
			}
			size += len(a.row[i].Text)
		}
		if size > MaxRow {
			wrong := a.malformed(fmt.Sprintf("a row of at most %d bytes of text", MaxRow), fmt.Sprint(size))
			wrong.Row = a.rows
			return wrong
		}
		if err := a.each(a.rows, a.row); err != nil {
			return err
		}
	}
	for i, c := range columns {
		if c.nulls != 0 {
			return &Error{Code: "input.value", Column: a.columns[i].Name, Expected: "as many values as the file says", Got: "another number", Fix: "write the file anew with an Arrow library"}
		}
	}
	return nil
}

// batchColumns finds the columns' buffers in a batch's body.
func (a *arrowReader) batchColumns(b flat, length int64) ([]arrowColumn, error) {
	nodes, n, err := b.vector(1, 16)
	if err != nil {
		return nil, err
	}
	// A bit for each row is the least that a column takes.
	if n != len(a.kinds) || length < 0 || length > 8*int64(len(a.body)) {
		return nil, a.malformed(fmt.Sprintf("batches of %d columns that are all there", len(a.kinds)), fmt.Sprintf("%d, of %d rows", n, length))
	}
	w := &bufferWalk{body: a.body}
	if w.places, _, err = b.vector(2, 16); err != nil {
		return nil, err
	}
	if w.variadic, _, err = b.vector(4, 8); err != nil {
		return nil, err
	}
	columns := make([]arrowColumn, n)
	for i := range columns {
		node := nodes[16*i:]
		if int64(binary.LittleEndian.Uint64(node)) != length {
			return nil, a.malformed("columns of one length", "others")
		}
		c := &columns[i]
		c.arrowKind, c.nulls = a.kinds[i], int64(binary.LittleEndian.Uint64(node[8:]))
		if !w.column(c, int(length)) {
			return nil, a.malformed("buffers that lie in their batch, as long as its rows need", "other ones, of column "+a.columns[i].Name)
		}
	}
	if len(w.places) > 0 || len(w.variadic) > 0 {
		return nil, a.malformed("the buffers of the columns", "more")
	}
	return columns, nil
}

// bufferWalk hands out a batch's buffers in their order.
type bufferWalk struct {
	body     []byte
	places   []byte // offset and length of each that is left
	variadic []byte // how many buffers the views of each such column have
}

func (w *bufferWalk) next() (data []byte, ok bool) {
	if len(w.places) < 16 {
		return nil, false
	}
	at, size := int64(binary.LittleEndian.Uint64(w.places)), int64(binary.LittleEndian.Uint64(w.places[8:]))
	w.places = w.places[16:]
	if at < 0 || size < 0 || at > int64(len(w.body)) || size > int64(len(w.body))-at {
		return nil, false
	}
	return w.body[at : at+size], true
}

// column takes a column's buffers and checks that they are long enough.
func (w *bufferWalk) column(c *arrowColumn, length int) bool {
	var buffers [3][]byte
	for i := range c.buffers() {
		var ok bool
		if buffers[i], ok = w.next(); !ok {
			return false
		}
	}
	if c.has = buffers[0]; len(c.has) == 0 {
		c.has = nil
	} else if len(c.has) < (length+7)/8 {
		return false
	}
	c.data = buffers[1]
	switch c.kind {
	case arrowBool:
		return len(c.data) >= (length+7)/8
	case arrowUtf8, arrowLargeUtf8:
		c.ends, c.data = buffers[1], buffers[2]
		return length == 0 || len(c.ends)/c.width() > length
	case arrowUtf8View:
		return len(c.data)/16 >= length && w.views(c)
	}
	return len(c.data)/c.width() >= length
}

// views takes the buffers that a column's views point into.
func (w *bufferWalk) views(c *arrowColumn) bool {
	if len(w.variadic) < 8 {
		return false
	}
	n := binary.LittleEndian.Uint64(w.variadic)
	w.variadic = w.variadic[8:]
	if n > uint64(len(w.places)/16) {
		return false
	}
	for range n {
		data, ok := w.next()
		if !ok {
			return false
		}
		c.more = append(c.more, data)
	}
	return true
}

// width gives the bytes of a number, or of the end of a text.
func (c *arrowColumn) width() int {
	switch c.kind {
	case arrowUtf8:
		return 4
	case arrowLargeUtf8:
		return 8
	}
	return int(c.bits / 8)
}

func bit(bits []byte, i int) bool { return bits[i/8]>>(i%8)&1 == 1 }

// value reads a row's value.
func (c *arrowColumn) value(declared agreement.Column, row int) (v Value, wrong *Error) {
	if c.has != nil && !bit(c.has, row) {
		c.nulls--
		return Value{Null: true}, nil
	}
	switch c.kind {
	case arrowBool:
		if bit(c.data, row) {
			v.Int = 1
		}
		return v, nil
	case arrowUtf8, arrowLargeUtf8, arrowUtf8View:
		text, ok := c.text(row)
		if !ok || !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
			return v, &Error{Code: "input.value", Expected: "text in UTF-8 without NUL", Got: "other bytes: " + quoted(invalid(text)), Fix: "correct the value"}
		}
		return Value{Text: text}, nil
	}
	width := c.width()
	n, whole := integer(c.data[row*width:(row+1)*width], c.unsigned)
	if !whole || !inRange(declared, n) {
		return v, &Error{Code: "input.value", Expected: typeText(declared), Got: "a value outside", Fix: "correct the value"}
	}
	return Value{Int: n}, nil
}

// text finds a text, which must lie in its buffer.
func (c *arrowColumn) text(row int) ([]byte, bool) {
	var from, to int64
	switch c.kind {
	case arrowUtf8View:
		return c.view(row)
	case arrowUtf8:
		from, to = int64(int32(binary.LittleEndian.Uint32(c.ends[4*row:]))), int64(int32(binary.LittleEndian.Uint32(c.ends[4*row+4:])))
	default:
		from, to = int64(binary.LittleEndian.Uint64(c.ends[8*row:])), int64(binary.LittleEndian.Uint64(c.ends[8*row+8:]))
	}
	if from < 0 || to < from || to > int64(len(c.data)) {
		return nil, false
	}
	return c.data[from:to], true
}

// view finds a text by its view: its length, and up to 12 bytes of it, or its first 4, its
// buffer and its place there.
func (c *arrowColumn) view(row int) ([]byte, bool) {
	v := c.data[16*row : 16*row+16]
	size := int64(int32(binary.LittleEndian.Uint32(v)))
	if size >= 0 && size <= 12 {
		return v[4 : 4+size], true
	}
	buffer, at := int64(int32(binary.LittleEndian.Uint32(v[8:]))), int64(int32(binary.LittleEndian.Uint32(v[12:])))
	if size < 0 || buffer < 0 || buffer >= int64(len(c.more)) || at < 0 || at+size > int64(len(c.more[buffer])) {
		return nil, false
	}
	text := c.more[buffer][at : at+size]
	return text, bytes.Equal(text[:4], v[4:8])
}

// integer reads a little-endian number of 1 to 32 bytes; whole tells whether it is one of 64 bits.
func integer(b []byte, unsigned bool) (n int64, whole bool) {
	var low uint64
	for i := min(len(b), 8) - 1; i >= 0; i-- {
		low = low<<8 | uint64(b[i])
	}
	if unsigned {
		return int64(low), len(b) < 8
	}
	if len(b) < 8 {
		shift := 64 - 8*len(b)
		return int64(low<<shift) >> shift, true
	}
	sign := byte(int64(low) >> 63)
	for _, high := range b[8:] {
		if high != sign {
			return 0, false
		}
	}
	return int64(low), true
}

// The first and last day that a date can be, since 1970-01-01.
const (
	firstDay = -719162
	lastDay  = 2932896
)

// inRange tells whether a number is one of its declared type.
func inRange(c agreement.Column, n int64) bool {
	const digits18 = 1_000_000_000_000_000_000
	switch c.Type {
	case "decimal":
		return n > -digits18 && n < digits18
	case "date":
		return n >= firstDay && n <= lastDay
	}
	return true
}
