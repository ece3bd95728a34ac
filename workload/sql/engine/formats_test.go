package engine_test

import (
	"bytes"
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

var smallArrow = arrow.NewSchema([]arrow.Field{
	{Name: "person", Type: arrow.PrimitiveTypes.Int64}, {Name: "ward", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "score", Type: &arrow.Decimal128Type{Precision: 18, Scale: 2}, Nullable: true},
	{Name: "smoker", Type: arrow.FixedWidthTypes.Boolean, Nullable: true}, {Name: "seen", Type: arrow.FixedWidthTypes.Date32, Nullable: true}}, nil)

// arrowFile makes an Arrow file out of NDJSON.
func arrowFile(t testing.TB, ndjson string) []byte {
	t.Helper()
	list := "[" + strings.Join(strings.Split(strings.TrimSpace(ndjson), "\n"), ",") + "]"
	record, _, err := array.RecordFromJSON(memory.DefaultAllocator, smallArrow, strings.NewReader(list))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := ipc.NewFileWriter(&out, ipc.WithSchema(smallArrow))
	if err == nil {
		err = w.Write(record)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// The same rows give the same answer in every format, the bounds of every type among them.
func TestSameRowsInEveryFormat(t *testing.T) {
	csv := smallHeader + "1,plain,1.50,true,2026-01-31\n-2,\"quoted, \"\"text\"\"\",-0.25,false,0001-01-01\n3,,,,\n4,\"\",9999999999999999.99,true,9999-12-31\n" +
		"9223372036854775807,ü☃,-9999999999999999.99,false,1969-12-31\n-9223372036854775808,x,0.00,false,2024-02-29\n"
	ndjson := `{"person":1,"ward":"plain","score":1.5,"smoker":true,"seen":"2026-01-31"}
{"person":-2,"ward":"quoted, \"text\"","score":-0.25,"smoker":false,"seen":"0001-01-01"}
{"person":3,"ward":null,"score":null,"smoker":null,"seen":null}
{"person":4,"ward":"","score":9999999999999999.99,"smoker":true,"seen":"9999-12-31"}
{"person":9223372036854775807,"ward":"\u00fc☃","score":-9999999999999999.99,"smoker":false,"seen":"1969-12-31"}
{"person":-9223372036854775808,"ward":"x","score":0.00,"smoker":false,"seen":"2024-02-29"}
`
	// The writer of Arrow files reads a number as floating point, and a text exactly.
	exact := regexp.MustCompile(`:(-?[0-9.]+)`).ReplaceAllString(ndjson, `:"$1"`)
	files := map[agreement.Format][]byte{agreement.CSV: []byte(csv), agreement.NDJSON: []byte(ndjson), agreement.Arrow: arrowFile(t, exact)}
	var want []string
	for _, format := range []agreement.Format{agreement.CSV, agreement.NDJSON, agreement.Arrow} {
		job := oneInput(t, format, files[format], true, "SELECT person, ward, score, smoker, seen FROM people")
		job.Inputs[0].Rules = rowRules()
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil {
			t.Fatal(format, err, failureOf(t, err).Detail)
		}
		if want == nil {
			want = table(got)
		}
		if diff := cmp.Diff(want, table(got)); diff != "" || len(want) != 6 {
			t.Errorf("%s: %s", format, diff)
		}
	}
}

func TestHostileFormats(t *testing.T) {
	const good = `{"person":1,"ward":"a","score":1.5,"smoker":true,"seen":"2026-01-31"}` + "\n"
	for name, test := range map[string]struct {
		format       agreement.Format
		data         []byte
		code, detail string
	}{
		"json of floats":  {agreement.NDJSON, []byte(good + strings.Replace(good, "1.5", "1.505", 1)), "input.value", `line 2, column score: "1.505"`},
		"json unit":       {agreement.NDJSON, []byte(good + strings.Replace(good, `:1,`, ":null,", 1)), "input.unit", "line 2, column person: none"},
		"json unit twice": {agreement.NDJSON, []byte(good + good), "input.unit", "2 rows have 1"},
		"json as csv":     {agreement.CSV, []byte(good), "input.header", "first line"},
		"csv as json":     {agreement.NDJSON, []byte(smallHeader), "input.value", "line 1"},
		"json as arrow":   {agreement.Arrow, []byte(good), "input.value", "version 1.0"},
		"arrow cut":       {agreement.Arrow, arrowFile(t, good)[:500], "input.value", "cut off"},
		"arrow twice":     {agreement.Arrow, arrowFile(t, good+good), "input.unit", "2 rows have 1"},
		"arrow no unit":   {agreement.Arrow, bytes.Replace(arrowFile(t, good), []byte("person"), []byte("Person"), 1), "input.columns", "Person"},
		"parquet":         {agreement.Arrow, parquet(t, goodParquet), "input.value", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := engine.Execute(context.Background(), oneInput(t, test.format, test.data, true, everything), silent)
			f := failureOf(t, err)
			if f.Phase != sql.Load || f.Code != test.code || f.Input != "rows" || !strings.Contains(f.Detail, test.detail) {
				t.Errorf("got %s %s of %q: %s", f.Phase, f.Code, f.Input, f.Detail)
			}
		})
	}
}

// Rows that come in one by one keep to the memory that the job allows, and are told so.
func TestFormatMemoryLimit(t *testing.T) {
	long := strings.Repeat("x", 1000)
	data := []byte(strings.Repeat(`{"person":1,"ward":"`+long+`","score":1.5,"smoker":true,"seen":"2026-01-31"}`+"\n", 150_000))
	job := oneInput(t, agreement.NDJSON, data, false, everything)
	job.Memory = 64 << 20
	_, err := engine.Execute(context.Background(), job, silent)
	if f := failureOf(t, err); f.Code != "memory" || f.Input != "rows" {
		t.Errorf("got %s %s: %s", f.Phase, f.Code, f.Detail)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	job.Memory = 1 << 30
	if _, err = engine.Execute(ctx, job, silent); failureOf(t, err).Code != "canceled" {
		t.Errorf("canceled: %v", err)
	}
}

// BenchmarkLoad compares what loading 200,000 rows takes in the formats.
func BenchmarkLoad(b *testing.B) {
	var csv, ndjson strings.Builder
	csv.WriteString(smallHeader)
	for i := range 200_000 {
		csv.WriteString(strings.ReplaceAll("#,ward,#.25,true,2026-01-01\n", "#", strconv.Itoa(i)))
		ndjson.WriteString(strings.ReplaceAll(`{"person":#,"ward":"ward","score":#.25,"smoker":true,"seen":"2026-01-01"}`+"\n", "#", strconv.Itoa(i)))
	}
	for format, data := range map[agreement.Format][]byte{agreement.CSV: []byte(csv.String()), agreement.NDJSON: []byte(ndjson.String()), agreement.Arrow: arrowFile(b, ndjson.String())} {
		b.Run(string(format), func(b *testing.B) {
			for b.Loop() {
				if _, err := engine.Execute(context.Background(), oneInput(b, format, data, true, "SELECT count(*) AS n FROM people"), silent); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
