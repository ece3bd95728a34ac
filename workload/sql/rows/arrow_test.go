package rows_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql/rows"
)

// types are the Arrow types of the columns of all.
func types(change ...arrow.Field) *arrow.Schema {
	fields := []arrow.Field{{Name: "person", Type: arrow.PrimitiveTypes.Int64}, {Name: "ward", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "score", Type: &arrow.Decimal128Type{Precision: 18, Scale: 2}, Nullable: true}, {Name: "smoker", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "seen", Type: arrow.FixedWidthTypes.Date32, Nullable: true}}
	for _, c := range change {
		for i := range fields {
			if fields[i].Name == c.Name {
				fields[i].Type = c.Type
			}
		}
	}
	return arrow.NewSchema(fields, nil)
}

var threeRows = []string{`[{"person":1,"ward":"plain","score":"1.5","smoker":true,"seen":"1970-01-02"},
	{"person":2,"ward":null,"score":null,"smoker":null,"seen":null}]`, `[{"person":3,"ward":"ü☃ that is long enough for a view","score":"-0.25","smoker":false,"seen":"9999-12-31"}]`}

var threeShown = []string{`1|"plain"|150|1|1`, `2|NULL|NULL|NULL|NULL`, `3|"ü☃ that is long enough for a view"|-25|0|2932896`}

// written writes batches of rows, given as JSON, with the Arrow project's own library.
func written(t testing.TB, schema *arrow.Schema, file bool, batches []string, options ...ipc.Option) []byte {
	t.Helper()
	var out bytes.Buffer
	var w interface {
		Write(arrow.RecordBatch) error
		Close() error
	} = ipc.NewWriter(&out, append(options, ipc.WithSchema(schema))...)
	if file {
		var err error
		if w, err = ipc.NewFileWriter(&out, append(options, ipc.WithSchema(schema))...); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range batches {
		record, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(record); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArrow(t *testing.T) {
	for name, schema := range map[string]*arrow.Schema{
		"plain": types(), "large": types(arrow.Field{Name: "ward", Type: arrow.BinaryTypes.LargeString}), "views": types(arrow.Field{Name: "ward", Type: arrow.BinaryTypes.StringView}),
		"int8": types(arrow.Field{Name: "person", Type: arrow.PrimitiveTypes.Int8}), "uint32": types(arrow.Field{Name: "person", Type: arrow.PrimitiveTypes.Uint32}),
		"decimal32":  types(arrow.Field{Name: "score", Type: &arrow.Decimal32Type{Precision: 9, Scale: 2}}),
		"decimal64":  types(arrow.Field{Name: "score", Type: &arrow.Decimal64Type{Precision: 18, Scale: 2}}),
		"decimal256": types(arrow.Field{Name: "score", Type: &arrow.Decimal256Type{Precision: 18, Scale: 2}}),
	} {
		for _, file := range []bool{false, true} {
			got, err := shown(written(t, schema, file, threeRows), agreement.Arrow)
			if err != nil {
				t.Errorf("%s, file %v: %v", name, file, err)
			} else if diff := cmp.Diff(threeShown, got); diff != "" {
				t.Errorf("%s, file %v: %s", name, file, diff)
			}
		}
	}
	for _, batches := range [][]string{nil, {"[]"}} {
		if got, err := shown(written(t, types(), true, batches), agreement.Arrow); err != nil || len(got) != 0 {
			t.Errorf("no rows: %v, %v", got, err)
		}
	}
}

func TestArrowTypes(t *testing.T) {
	for name, test := range map[string]struct {
		change arrow.Field
		want   string
	}{
		"unsigned 64":    {arrow.Field{Name: "person", Type: arrow.PrimitiveTypes.Uint64}, "column person: uint64"},
		"double":         {arrow.Field{Name: "score", Type: arrow.PrimitiveTypes.Float64}, "column score: type 3"},
		"other scale":    {arrow.Field{Name: "score", Type: &arrow.Decimal128Type{Precision: 18, Scale: 3}}, "decimal128(18, 3)"},
		"wide decimal":   {arrow.Field{Name: "score", Type: &arrow.Decimal128Type{Precision: 19, Scale: 2}}, "decimal128(19, 2)"},
		"binary":         {arrow.Field{Name: "ward", Type: arrow.BinaryTypes.Binary}, "column ward"},
		"milliseconds":   {arrow.Field{Name: "seen", Type: arrow.FixedWidthTypes.Date64}, "date64"},
		"timestamp":      {arrow.Field{Name: "seen", Type: arrow.FixedWidthTypes.Timestamp_s}, "type 10"},
		"text as number": {arrow.Field{Name: "person", Type: arrow.BinaryTypes.String}, "column person: utf8"},
		"list":           {arrow.Field{Name: "ward", Type: arrow.ListOf(arrow.BinaryTypes.String)}, "a nested type"},
		"dictionary":     {arrow.Field{Name: "ward", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}}, "a dictionary"},
	} {
		_, err := rows.Check(bytes.NewReader(written(t, types(test.change), true, nil)), agreement.Arrow, all, false)
		var wrong *rows.Error
		if !errors.As(err, &wrong) || wrong.Code != "input.columns" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	renamed := arrow.NewSchema(append(types().Fields()[:4], arrow.Field{Name: "Seen", Type: arrow.FixedWidthTypes.Date32}), nil)
	for name, schema := range map[string]*arrow.Schema{"name": renamed, "less": arrow.NewSchema(types().Fields()[:4], nil), "more": arrow.NewSchema(append(types().Fields(), arrow.Field{Name: "more", Type: arrow.FixedWidthTypes.Date32}), nil)} {
		var wrong *rows.Error
		if _, err := rows.Check(bytes.NewReader(written(t, schema, false, nil)), agreement.Arrow, all, false); !errors.As(err, &wrong) || wrong.Code != "input.columns" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostileArrow(t *testing.T) {
	stream, file := written(t, types(), false, threeRows), written(t, types(), true, threeRows)
	two := written(t, types(), true, threeRows[:1])
	packed := written(t, types(), true, threeRows, ipc.WithZstd())
	old := bytes.Clone(stream)
	copy(old, []byte{1, 0, 0, 0})
	large := bytes.Clone(stream)
	binary.LittleEndian.PutUint32(large[4:], 1<<30)
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"empty":               {nil, "cut off"},
		"csv":                 {[]byte("person,ward,score,smoker,seen\n"), "version 1.0"},
		"old stream":          {old, "version 1.0"},
		"metadata too large":  {large, "metadata of at most"},
		"no end":              {stream[:len(stream)-8], "cut off"},
		"more behind":         {append(bytes.Clone(stream), 0), "more bytes"},
		"no schema":           {stream[len(stream)-8:], "with a schema"},
		"file cut":            {file[:len(file)-1], "footer"},
		"footer of another":   {append(bytes.Clone(file[:bytes.Index(file, footer(file))]), footer(two)...), "a footer with the 2 batches"},
		"schema twice":        {append(bytes.Clone(stream[:schemaEnd(stream)]), stream...), "one schema, and first"},
		"compressed":          {packed, "a compressed one"},
		"text with NUL":       {bytes.Replace(stream, []byte("plain"), []byte("pl\x00in"), 1), "row 1, column ward"},
		"text not UTF-8":      {bytes.Replace(stream, []byte("plain"), []byte("pl\xffin"), 1), "row 1, column ward"},
		"no unit":             {written(t, arrow.NewSchema(append([]arrow.Field{{Name: "person", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, types().Fields()[1:]...), nil), false, []string{`[{"person":null}]`}), "row 1, column person: none"},
		"date outside":        {written(t, types(), false, []string{`[{"person":1,"seen":2932897}]`}), "row 1, column seen"},
		"decimal of 19":       {bytes.Replace(written(t, types(), false, []string{`[{"person":1,"score":"1234567.89"}]`}), number(123456789), number(1_000_000_000_000_000_000), 1), "row 1, column score"},
		"decimal of 65 bits":  {bytes.Replace(written(t, types(), false, []string{`[{"person":1,"score":"1234567.89"}]`}), append(number(123456789), number(0)...), append(number(123456789), number(1)...), 1), "row 1, column score"},
		"row too large":       {written(t, types(), false, []string{`[{"person":1,"ward":"` + strings.Repeat("x", rows.MaxRow+1) + `"}]`}), "row 1: "},
		"nulls miscounted":    {bytes.Replace(stream, append(number(2), number(1)...), append(number(2), number(0)...), 1), "as many values"},
		"rows miscounted":     {bytes.Replace(stream, append(number(2), number(1)...), append(number(3), number(1)...), 1), "one length"},
		"dictionary batches":  {written(t, types(arrow.Field{Name: "ward", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}}), false, threeRows), "a dictionary"},
		"a batch of nonsense": {append(append(bytes.Clone(stream[:schemaEnd(stream)]), 0xff, 0xff, 0xff, 0xff, 8, 0, 0, 0), bytes.Repeat([]byte{0xff}, 100)...), "points outside itself"},
	} {
		_, err := rows.Check(bytes.NewReader(test.data), agreement.Arrow, all, false)
		var wrong *rows.Error
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), test.want) || wrong.Fix == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := written(t, types(), false, []string{threeRows[0], threeRows[0]})
	if n, err := rows.Check(bytes.NewReader(twice), agreement.Arrow, all, true); n != 2 || err == nil || !strings.Contains(err.Error(), "row 3, column person: that of row 1") {
		t.Errorf("a unit twice: %d rows, %v", n, err)
	}
}

func number(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// footer gives what stands behind a file's stream.
func footer(file []byte) []byte {
	size := int(binary.LittleEndian.Uint32(file[len(file)-10:]))
	return file[len(file)-10-size:]
}

// schemaEnd gives where a stream's first message ends.
func schemaEnd(stream []byte) int { return 8 + int(binary.LittleEndian.Uint32(stream[4:])) }

// Whatever one bit says, a file is read as the same rows or refused, or as others of the
// same number: nothing is read from outside of it.
func TestDamagedArrow(t *testing.T) {
	for _, schema := range []*arrow.Schema{types(), types(arrow.Field{Name: "ward", Type: arrow.BinaryTypes.StringView})} {
		good := written(t, schema, true, threeRows)
		for i := range good {
			for _, mask := range []byte{1, 0x80, 0xff} {
				bad := bytes.Clone(good)
				bad[i] ^= mask
				if got, err := shown(bad, agreement.Arrow); err == nil && len(got) != len(threeShown) {
					t.Errorf("byte %d: %d rows", i, len(got))
				}
			}
		}
	}
}

// FuzzArrow looks for a file that the reader falls over, or of which a value passes that its
// column's type does not hold. It is not held against the Arrow project's own library, which
// falls over files that ours refuses.
func FuzzArrow(f *testing.F) {
	for _, file := range []bool{false, true} {
		f.Add(written(f, types(), file, threeRows))
		f.Add(written(f, types(arrow.Field{Name: "ward", Type: arrow.BinaryTypes.StringView}), file, threeRows))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		passed := 0
		n, err := rows.Scan(bytes.NewReader(data), agreement.Arrow, all, func(row []rows.Value) error {
			passed++
			const most = 999_999_999_999_999_999
			if row[0].Null || !utf8.Valid(row[1].Text) || row[2].Int > most || row[2].Int < -most || row[3].Int>>1 != 0 || row[4].Int < -719162 || row[4].Int > 2932896 {
				t.Errorf("row %d passed: %v", passed, row)
			}
			return nil
		})
		var wrong *rows.Error
		if n != passed || err != nil && (!errors.As(err, &wrong) || wrong.Expected == "" || wrong.Got == "" || wrong.Fix == "") {
			t.Errorf("%d rows, %#v", n, err)
		}
	})
}

func BenchmarkArrow(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, `,{"person":%d,"ward":"ward %d","score":"%d.25","smoker":true,"seen":"2026-01-01"}`, i, i%30, i)
	}
	data := written(b, types(), true, []string{"[" + text.String()[1:] + "]"})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if n, err := rows.Check(bytes.NewReader(data), agreement.Arrow, all, false); n != 10_000 || err != nil {
			b.Fatal(n, err)
		}
	}
}
