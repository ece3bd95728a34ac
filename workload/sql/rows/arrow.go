package rows

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"strongroom.dev/agreement"
)

// Bounds of an Arrow file's parts, in bytes, read before anything is kept for them.
const (
	maxMetadata = 16 << 20
	maxBatch    = 256 << 20
)

// What a message of an Arrow file is (MessageHeader of Message.fbs).
const (
	arrowSchema = 1
	arrowBatch  = 3
)

const arrowMagic = "ARROW1"

// scanArrow reads an Arrow file, or a stream of Arrow's IPC format, as the columnar format's
// version 1.0 and later write them. A file is the stream between a magic number and a footer.
func scanArrow(src io.Reader, columns []agreement.Column, each sink) error {
	a := &arrowReader{src: src, columns: columns, row: make([]Value, len(columns)), each: each}
	start := make([]byte, 8)
	if _, err := io.ReadFull(src, start); err != nil {
		return a.cutOff(err)
	}
	isFile := string(start) == arrowMagic+"\x00\x00"
	if !isFile {
		a.src = io.MultiReader(bytes.NewReader(start), src)
	}
	err := a.stream()
	if err == nil && isFile {
		err = a.footer()
	}
	if err != nil {
		return a.asError(err)
	}
	if n, err := io.ReadFull(a.src, start[:1]); n > 0 || err != io.EOF {
		if n == 0 {
			return err
		}
		return a.malformed("the end of the file behind its last part", "more bytes")
	}
	return nil
}

// arrowReader is a walk through one file.
type arrowReader struct {
	src     io.Reader
	columns []agreement.Column
	kinds   []arrowKind // of the columns
	rows    int
	batches int
	body    []byte
	row     []Value
	each    sink
}

func (a *arrowReader) malformed(expected, got string) *Error {
	return &Error{Code: "input.value", Expected: expected, Got: got, Fix: "write the file anew with an Arrow library, uncompressed"}
}

// cutOff says of a file that ended too early that it did.
func (a *arrowReader) cutOff(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return a.malformed("an Arrow file or stream of at least version 1.0, with its end", "one that is cut off, or another format")
	}
	return err
}

func (a *arrowReader) asError(err error) error {
	if errors.Is(err, errFlat) {
		return a.malformed("an Arrow file or stream", errFlat.Error())
	}
	return err
}

// stream reads messages to the mark of the stream's end: the schema, and batches of rows.
func (a *arrowReader) stream() error {
	for first := true; ; first = false {
		metadata, err := a.metadata()
		if err != nil {
			return err
		}
		if metadata == nil {
			if first {
				return a.malformed("an Arrow file or stream with a schema", "none")
			}
			return nil
		}
		message, err := flatRoot(metadata)
		if err != nil {
			return err
		}
		if err := a.message(message, first); err != nil {
			return err
		}
	}
}

// metadata reads what stands before a message's body; nil is the end of the stream.
func (a *arrowReader) metadata() ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(a.src, head[:]); err != nil {
		return nil, a.cutOff(err)
	}
	if binary.LittleEndian.Uint32(head[:]) != 0xFFFFFFFF {
		return nil, a.malformed("an Arrow file or stream of at least version 1.0", "other bytes")
	}
	size := binary.LittleEndian.Uint32(head[4:])
	if size == 0 {
		return nil, nil
	}
	if size > maxMetadata {
		return nil, a.malformed(fmt.Sprintf("metadata of at most %d bytes", maxMetadata), fmt.Sprint(size))
	}
	return a.read(nil, int(size))
}

// read reads some bytes, keeping no more than have come.
func (a *arrowReader) read(into []byte, size int) ([]byte, error) {
	const step = 1 << 20
	into = into[:0]
	for len(into) < size {
		at := len(into)
		n := max(min(size, cap(into))-at, min(step, size-at))
		into = append(into, make([]byte, n)...)
		if _, err := io.ReadFull(a.src, into[at:]); err != nil {
			return nil, a.cutOff(err)
		}
	}
	return into, nil
}

func (a *arrowReader) message(m flat, first bool) error {
	kind, err := m.number(1, 1, 0)
	if err != nil {
		return err
	}
	size, err := m.number(3, 8, 0)
	if err != nil {
		return err
	}
	header, _, err := m.table(2)
	if err != nil {
		return err
	}
	switch {
	case first != (kind == arrowSchema):
		return a.malformed("one schema, and first", "another order")
	case kind == arrowSchema && size == 0:
		return a.schema(header)
	case kind != arrowBatch:
		return a.malformed("a schema and batches of rows", fmt.Sprintf("a message of kind %d", kind))
	case size < 0 || size > maxBatch:
		return a.malformed(fmt.Sprintf("batches of at most %d bytes", maxBatch), fmt.Sprint(size))
	}
	if a.body, err = a.read(a.body, int(size)); err != nil {
		return err
	}
	a.batches++
	return a.batch(header)
}

// footer checks that what stands behind a file's stream tells of as many batches as were
// read: whoever reads by the footer reads the same rows.
func (a *arrowReader) footer() error {
	data, err := io.ReadAll(io.LimitReader(a.src, maxMetadata+1))
	if err != nil {
		return err
	}
	end := len(data) - len(arrowMagic) - 4
	if len(data) > maxMetadata || end < 4 || string(data[end+4:]) != arrowMagic || int64(binary.LittleEndian.Uint32(data[end:])) != int64(end) {
		return a.malformed("an Arrow file with its footer", "one that is cut off, or another footer")
	}
	footer, err := flatRoot(data[:end])
	if err != nil {
		return err
	}
	_, dictionaries, err := footer.vector(2, 24)
	if err != nil {
		return err
	}
	_, batches, err := footer.vector(3, 24)
	if err != nil {
		return err
	}
	if batches != a.batches || dictionaries != 0 {
		return a.malformed(fmt.Sprintf("a footer with the %d batches of the file", a.batches), fmt.Sprint(batches))
	}
	return nil
}

// schema demands the agreed columns in the agreed order, each of a type whose every value the
// declared type holds exactly.
func (a *arrowReader) schema(s flat) error {
	wrong := func(column, expected, got string) error {
		return &Error{Code: "input.columns", Column: column, Expected: expected, Got: got, Fix: "name, order and type the columns as the agreement does"}
	}
	if big, err := s.number(0, 2, 0); err != nil || big != 0 {
		return errors.Join(err, wrong("", "little-endian data", "big-endian data"))
	}
	fields, err := s.tables(1)
	if err != nil {
		return err
	}
	if len(fields) != len(a.columns) {
		return wrong("", fmt.Sprintf("%d columns", len(a.columns)), fmt.Sprint(len(fields)))
	}
	for i, c := range a.columns {
		name, err := fields[i].text(0)
		if err != nil {
			return err
		}
		if name != c.Name {
			return wrong(c.Name, fmt.Sprintf("as column %d", i+1), quoted([]byte(name)))
		}
		kind, got, err := kindOf(fields[i])
		if err != nil {
			return err
		}
		if got == "" && !kind.holds(c) {
			got = kind.String()
		}
		if got != "" {
			return wrong(c.Name, acceptedArrow(c), got)
		}
		a.kinds = append(a.kinds, kind)
	}
	return nil
}

func acceptedArrow(c agreement.Column) string {
	switch c.Type {
	case "integer":
		return "an integer: signed of at most 64 bits, or unsigned of at most 32"
	case "decimal":
		return fmt.Sprintf("a decimal of at most 18 digits, scale %d", c.Scale)
	case "boolean":
		return "bool"
	case "date":
		return "date32, in days"
	}
	return "utf8, large_utf8 or utf8_view, not as a dictionary"
}
