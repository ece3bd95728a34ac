package rows

import (
	"fmt"

	"strongroom.dev/agreement"
)

// Types of Schema.fbs that columns may have.
const (
	arrowInt       = 2
	arrowUtf8      = 5
	arrowBool      = 6
	arrowDecimal   = 7
	arrowDate      = 8
	arrowLargeUtf8 = 20
	arrowUtf8View  = 24
)

// arrowKind is a column's type in an Arrow file.
type arrowKind struct {
	kind     int64
	bits     int64 // of a number
	unsigned bool
	digits   int64 // of a decimal
	scale    int64
}

// String names a type as Arrow's libraries do.
func (k arrowKind) String() string {
	switch k.kind {
	case arrowInt:
		if k.unsigned {
			return fmt.Sprintf("uint%d", k.bits)
		}
		return fmt.Sprintf("int%d", k.bits)
	case arrowUtf8:
		return "utf8"
	case arrowLargeUtf8:
		return "large_utf8"
	case arrowUtf8View:
		return "utf8_view"
	case arrowBool:
		return "bool"
	case arrowDecimal:
		return fmt.Sprintf("decimal%d(%d, %d)", k.bits, k.digits, k.scale)
	case arrowDate:
		return fmt.Sprintf("date%d", k.bits)
	}
	return fmt.Sprintf("type %d of Arrow's", k.kind)
}

// kindOf reads a field's type; got says what keeps it from being read.
func kindOf(field flat) (k arrowKind, got string, err error) {
	if k.kind, err = field.number(2, 1, 0); err != nil {
		return k, "", err
	}
	if _, dictionary, err := field.table(4); err != nil || dictionary {
		return k, "a dictionary", err
	}
	if children, err := field.tables(5); err != nil || len(children) > 0 {
		return k, "a nested type", err
	}
	t, _, err := field.table(3)
	if err != nil {
		return k, "", err
	}
	switch k.kind {
	case arrowInt:
		err = numbers(t, want{&k.bits, 0, 4, 0})
		signed, serr := t.number(1, 1, 0)
		if k.unsigned = signed == 0; err == nil {
			err = serr
		}
	case arrowDecimal:
		err = numbers(t, want{&k.digits, 0, 4, 0}, want{&k.scale, 1, 4, 0}, want{&k.bits, 2, 4, 128})
	case arrowDate:
		var unit int64
		err = numbers(t, want{&unit, 0, 2, 1})
		k.bits = 32 + 32*unit // days, or milliseconds
	}
	return k, "", err
}

// want is a field of a table to read.
type want struct {
	into        *int64
	field, size int
	absent      int64
}

func numbers(t flat, wants ...want) (err error) {
	for _, w := range wants {
		if *w.into, err = t.number(w.field, w.size, w.absent); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether a declared column holds every value of a type.
func (k arrowKind) holds(c agreement.Column) bool {
	switch c.Type {
	case "integer":
		whole := k.bits == 8 || k.bits == 16 || k.bits == 32 || k.bits == 64
		return k.kind == arrowInt && whole && (!k.unsigned || k.bits <= 32)
	case "decimal":
		whole := k.bits == 32 || k.bits == 64 || k.bits == 128 || k.bits == 256
		return k.kind == arrowDecimal && whole && k.digits >= 1 && k.digits <= 18 && k.scale == c.Scale
	case "boolean":
		return k.kind == arrowBool
	case "date":
		return k.kind == arrowDate && k.bits == 32
	}
	return k.kind == arrowUtf8 || k.kind == arrowLargeUtf8 || k.kind == arrowUtf8View
}

// buffers gives how many buffers a column of a type has, variadic ones aside.
func (k arrowKind) buffers() int {
	if k.kind == arrowUtf8 || k.kind == arrowLargeUtf8 {
		return 3 // which values there are, where each ends, and texts
	}
	return 2
}
