package sql_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

func columns() []agreement.Column {
	return []agreement.Column{{Name: "person", Type: "integer", Unit: true}, {Name: "ward", Type: "text"}, {Name: "score", Type: "decimal", Scale: 2}}
}

func job() sql.Job {
	return sql.Job{
		Inputs: []sql.Input{
			{Name: "a", Owner: "alpha", FD: 4, Format: agreement.CSV, Schema: columns(), UniqueUnit: true, Rules: *testrules.Groups(10, "lab")},
			{Name: "b", Owner: "beta", FD: 5, Format: agreement.Parquet, Schema: columns(), Rules: *testrules.Groups(10, "lab")},
			{Name: "c", Owner: "alpha", FD: 6, Format: agreement.Parquet, Schema: columns(), Rules: *testrules.Groups(10, "lab")},
		},
		Tables:     []sql.Table{{Name: "people", Inputs: []wire.ID{"a", "b", "c"}}},
		Query:      "SELECT ward, count(*) AS n FROM people WHERE score > $least GROUP BY ward",
		Parameters: []sql.Parameter{{Name: "least", Type: "decimal", Scale: 2, Value: "1.50"}},
		MaxRows:    5000, MaxColumns: 100, MaxBytes: 8 << 20, Memory: 64 << 20, Threads: 1, Salt: sql.NoSalt, Noise: sql.NoSalt,
	}
}

func text(s string) *string { return &s }

func result(rows [][]*string) sql.Result {
	return sql.Result{
		Columns: []sql.Column{{Name: "ward", Type: "text"}, {Name: "n", Type: "integer"}},
		Rows:    rows, Withheld: []sql.Withheld{{Owner: "alpha", Rows: 2}, {Owner: "beta"}},
		Plan: wire.SHA256("test"), SQL: "SELECT 1",
	}
}

// converse runs both sides over a pipe.
func converse(t *testing.T, j sql.Job, execute func(context.Context, sql.Job, func(sql.Progress)) (sql.Result, error)) (sql.Result, []sql.Progress, error) {
	t.Helper()
	agent, engine := net.Pipe()
	defer agent.Close()
	served := make(chan error, 1)
	go func() {
		defer engine.Close()
		served <- sql.Serve(context.Background(), engine, execute)
	}()
	var seen []sql.Progress
	got, err := sql.Run(context.Background(), agent, j, func(p sql.Progress) { seen = append(seen, p) })
	agent.Close()
	if serr := <-served; err == nil && serr != nil {
		t.Errorf("engine's side: %v", serr)
	}
	return got, seen, err
}

func TestConversation(t *testing.T) {
	many := [][]*string{{text("a"), text("1")}, {nil, text("-2")}, {text("ü\n\"<&>\u2028☃"), nil}, {text(""), text("123456789012345678901234567890")}}
	for i := range 4000 {
		many = append(many, []*string{text(strings.Repeat("x", i%997)), text(fmt.Sprint(i))})
	}
	many = append(many, []*string{text(strings.Repeat("\x01", sql.MaxRow)), nil})
	for name, rows := range map[string][][]*string{"none": nil, "many": many} {
		t.Run(name, func(t *testing.T) {
			got, seen, err := converse(t, job(), func(_ context.Context, j sql.Job, progress func(sql.Progress)) (sql.Result, error) {
				if diff := cmp.Diff(job(), j); diff != "" {
					t.Error(diff)
				}
				progress(sql.Progress{Phase: sql.Load, Done: 1, Total: 2})
				progress(sql.Progress{Phase: sql.Query, Done: 0, Total: 0})
				return result(rows), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(result(rows), got); diff != "" {
				t.Error(diff)
			}
			if len(seen) != 2 || seen[0].Phase != sql.Load {
				t.Error(seen)
			}
		})
	}
}

func TestCheckOnly(t *testing.T) {
	j := job()
	j.CheckOnly = true
	for i := range j.Inputs {
		j.Inputs[i].FD = 0
	}
	got, _, err := converse(t, j, func(context.Context, sql.Job, func(sql.Progress)) (sql.Result, error) { return result(nil), nil })
	if err != nil || got.SQL != "SELECT 1" || len(got.Rows) != 0 {
		t.Error(got, err)
	}
}

func TestFailures(t *testing.T) {
	for _, test := range []struct {
		give error
		want sql.Failure
	}{
		{&sql.Failure{Phase: sql.Load, Code: "input.value", Input: "b", Detail: "the value 42"}, sql.Failure{Phase: sql.Load, Code: "input.value", Input: "b", Detail: "the value 42"}},
		{fmt.Errorf("wrapped: %w", &sql.Failure{Phase: sql.Check, Code: "query.unit", Detail: "d"}), sql.Failure{Phase: sql.Check, Code: "query.unit", Detail: "d"}},
		{errors.New("disk on fire"), sql.Failure{Phase: sql.Query, Code: "internal", Detail: "disk on fire"}},
		{&sql.Failure{Phase: sql.Query, Code: "engine", Detail: strings.Repeat("x", 1<<20)}, sql.Failure{Phase: sql.Query, Code: "engine", Detail: strings.Repeat("x", 16<<10)}},
		{&sql.Failure{Phase: sql.Query, Code: "engine", Detail: "\xff"}, sql.Failure{Phase: sql.Query, Code: "engine", Detail: "\ufffd"}},
	} {
		_, _, err := converse(t, job(), func(context.Context, sql.Job, func(sql.Progress)) (sql.Result, error) { return sql.Result{}, test.give })
		var f *sql.Failure
		if !errors.As(err, &f) {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, *f); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(err.Error(), test.want.Detail) {
			t.Errorf("the error has the detail: %v", err)
		}
		if e := f.Refusal(); e.Kind != verdict.Refused || f.Phase != sql.Check && strings.Contains(e.Error(), f.Detail) {
			t.Errorf("refusal %v", e)
		}
	}
}

// fake is a connection whose other side has said everything already.
type fake struct{ io.Reader }

func (fake) Write(p []byte) (int, error) { return len(p), nil }

func frame(kind byte, body string) []byte {
	out := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)))
	return append(out, body...)
}

func marshal(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

var (
	goodHead = `{"columns":[{"name":"ward","type":"text","scale":0},{"name":"n","type":"integer","scale":0}],"plan":"` + wire.SHA256("test").String() + `","sql":"SELECT 1"}`
	goodRows = `[["a","1"],[null,"2"]]`
	goodEnd  = `{"rows":2,"withheld":[{"owner":"alpha","rows":0},{"owner":"beta","rows":1}]}`
)

func stream(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func TestGoodStream(t *testing.T) {
	s := stream(frame('P', `{"phase":"load","done":0,"total":1}`), frame('H', goodHead), frame('R', goodRows), frame('E', goodEnd))
	got, err := sql.Run(context.Background(), fake{bytes.NewReader(s)}, job(), nil)
	if err != nil || len(got.Rows) != 2 {
		t.Fatal(got, err)
	}
}

// Whatever the child sends that the protocol doesn't allow ends the run.
func TestHostileEngine(t *testing.T) {
	head, rows, end := frame('H', goodHead), frame('R', goodRows), frame('E', goodEnd)
	swapHead := func(old, new string) []byte { return frame('H', strings.Replace(goodHead, old, new, 1)) }
	row := func(text string) []byte { return frame('R', `[["a",`+text+`]]`) }
	one := frame('E', strings.Replace(goodEnd, `"rows":2`, `"rows":1`, 1))
	typed := func(kind string, scale int, cell string) []byte {
		return stream(swapHead(`{"name":"n","type":"integer","scale":0}`, fmt.Sprintf(`{"name":"n","type":%q,"scale":%d}`, kind, scale)), row(marshal(cell)), one)
	}
	for name, s := range map[string][]byte{
		"nothing":                nil,
		"half a header":          {'H', 0},
		"half a body":            head[:len(head)-1],
		"a frame too large":      {'H', 0xff, 0xff, 0xff, 0xff},
		"a frame of blanks":      stream(frame('P', `{"phase":"load","done":0,"total":1}`+strings.Repeat(" ", 1<<20)), head, rows, end),
		"an unknown frame":       frame('X', "{}"),
		"a job":                  frame('J', marshal(job())),
		"no head":                stream(rows, end),
		"two heads":              stream(head, head, rows, end),
		"progress after head":    stream(head, frame('P', `{"phase":"load","done":0,"total":1}`), rows, end),
		"no end":                 stream(head, rows),
		"progress of a phase":    frame('P', `{"phase":"lunch","done":0,"total":1}`),
		"progress past its end":  frame('P', `{"phase":"load","done":2,"total":1}`),
		"not JSON":               frame('H', "x"),
		"not UTF-8":              frame('H', strings.Replace(goodHead, "SELECT", "\xff", 1)),
		"bytes behind":           frame('H', goodHead+"{}"),
		"an unknown member":      swapHead(`"sql"`, `"more":1,"sql"`),
		"no columns":             frame('H', `{"columns":[],"plan":"`+wire.SHA256("t").String()+`","sql":"x"}`),
		"a column twice":         swapHead(`"n"`, `"ward"`),
		"a column's name":        swapHead(`"n"`, `"N"`),
		"a column's type":        swapHead(`"integer"`, `"float"`),
		"a column's scale":       swapHead(`"integer","scale":0`, `"integer","scale":2`),
		"a scale of 39":          swapHead(`"integer","scale":0`, `"decimal","scale":39`),
		"no plan":                swapHead(wire.SHA256("test").String(), ""),
		"a plan of zeros":        swapHead(wire.SHA256("test").String(), wire.Hash{}.String()),
		"no query":               swapHead("SELECT 1", ""),
		"a query too long":       swapHead("SELECT 1", strings.Repeat("x", sql.MaxSQL+1)),
		"an empty frame of rows": stream(head, frame('R', "[]"), rows, end),
		"a cell less":            stream(head, frame('R', `[["a"]]`), one),
		"a cell more":            stream(head, frame('R', `[["a","1","2"]]`), one),
		"a row that is NULL":     stream(head, frame('R', `[null]`), one),
		"a number as a cell":     stream(head, row("1"), one),
		"more rows than said":    stream(head, rows, rows, end),
		"fewer rows than said":   stream(head, end),
		"another owner":          stream(head, rows, frame('E', strings.Replace(goodEnd, "beta", "gamma", 1))),
		"owners swapped":         stream(head, rows, frame('E', `{"rows":2,"withheld":[{"owner":"beta","rows":0},{"owner":"alpha","rows":1}]}`)),
		"an owner missing":       stream(head, rows, frame('E', `{"rows":2,"withheld":[{"owner":"alpha","rows":0}]}`)),
		"fewer than none":        stream(head, rows, frame('E', strings.Replace(goodEnd, `"rows":1`, `"rows":-1`, 1))),
		"integer with a plus":    stream(head, row(`"+1"`), one),
		"integer with a zero":    stream(head, row(`"01"`), one),
		"integer minus zero":     stream(head, row(`"-0"`), one),
		"integer empty":          stream(head, row(`""`), one),
		"integer with a point":   stream(head, row(`"1.0"`), one),
		"integer without end":    stream(head, row(`"`+strings.Repeat("1", 65)+`"`), one),
		"decimal short":          typed("decimal", 2, "1.5"),
		"decimal whole":          typed("decimal", 2, "1"),
		"decimal bare":           typed("decimal", 2, ".50"),
		"decimal minus zero":     typed("decimal", 2, "-0.00"),
		"decimal exponent":       typed("decimal", 2, "1e10"),
		"boolean as number":      typed("boolean", 0, "1"),
		"date that isn't":        typed("date", 0, "2026-02-30"),
		"date with time":         typed("date", 0, "2026-02-03T00:00:00Z"),
		"a row too long":         stream(head, frame('R', `[["`+strings.Repeat("x", sql.MaxRow+1)+`","1"]]`), one),
		"a failure of no phase":  frame('F', `{"phase":"","code":"x","detail":""}`),
		"a failure's code":       frame('F', `{"phase":"run","code":"42 patients","detail":""}`),
		"a failure's input":      frame('F', `{"phase":"run","code":"engine","input":"zeta","detail":""}`),
		"a failure's length":     frame('F', `{"phase":"run","code":"engine","detail":"`+strings.Repeat("x", 17<<10)+`"}`),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := sql.Run(context.Background(), fake{bytes.NewReader(s)}, job(), nil)
			var f *sql.Failure
			if err == nil || errors.As(err, &f) {
				t.Errorf("passed: %v, %v", got, err)
			}
		})
	}
}

func TestHostileSizes(t *testing.T) {
	for name, change := range map[string]func(*sql.Job){
		"rows":       func(j *sql.Job) { j.MaxRows = 1 },
		"bytes":      func(j *sql.Job) { j.MaxBytes = 6 }, // "a", "1", "2" and one for each of four cells
		"check only": func(j *sql.Job) { j.CheckOnly = true; j.Inputs[0].FD, j.Inputs[1].FD, j.Inputs[2].FD = 0, 0, 0 },
	} {
		j := job()
		change(&j)
		s := stream(frame('H', goodHead), frame('R', goodRows), frame('E', goodEnd))
		if got, err := sql.Run(context.Background(), fake{bytes.NewReader(s)}, j, nil); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	agent, engine := net.Pipe()
	defer engine.Close()
	go io.Copy(io.Discard, engine) // a child that never answers
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := sql.Run(ctx, agent, job(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestInvalidJobs(t *testing.T) {
	if j := job(); j.Validate() != nil {
		t.Fatal(j.Validate())
	}
	for name, change := range map[string]func(*sql.Job){
		"zero":                   func(j *sql.Job) { *j = sql.Job{} },
		"no inputs":              func(j *sql.Job) { j.Inputs = nil },
		"no tables":              func(j *sql.Job) { j.Tables = nil },
		"no query":               func(j *sql.Job) { j.Query = "" },
		"long query":             func(j *sql.Job) { j.Query = strings.Repeat("x", agreement.MaxQuery+1) },
		"no minimum group":       func(j *sql.Job) { j.Inputs[0].Rules.MinGroup = 0 },
		"no rows":                func(j *sql.Job) { j.MaxRows = 0 },
		"no bytes":               func(j *sql.Job) { j.MaxBytes = 0 },
		"no memory":              func(j *sql.Job) { j.Memory = 0 },
		"no threads":             func(j *sql.Job) { j.Threads = 0 },
		"input twice":            func(j *sql.Job) { j.Inputs[1].Name = "a" },
		"input's name":           func(j *sql.Job) { j.Inputs[1].Name = "../b" },
		"input's owner":          func(j *sql.Job) { j.Inputs[1].Owner = "" },
		"format":                 func(j *sql.Job) { j.Inputs[0].Format = "xlsx" },
		"descriptor of the line": func(j *sql.Job) { j.Inputs[0].FD = 3 },
		"no descriptor":          func(j *sql.Job) { j.Inputs[0].FD = 0 },
		"check with descriptor":  func(j *sql.Job) { j.CheckOnly = true },
		"no columns":             func(j *sql.Job) { j.Inputs[0].Schema = nil },
		"no unit":                func(j *sql.Job) { units(j, func(c []agreement.Column) { c[0].Unit = false }) },
		"two units":              func(j *sql.Job) { units(j, func(c []agreement.Column) { c[1].Unit = true }) },
		"column twice":           func(j *sql.Job) { units(j, func(c []agreement.Column) { c[1].Name = "person" }) },
		"column's name":          func(j *sql.Job) { units(j, func(c []agreement.Column) { c[1].Name = "__owner" }) },
		"column's type":          func(j *sql.Job) { units(j, func(c []agreement.Column) { c[1].Type = "double" }) },
		"column's scale":         func(j *sql.Job) { units(j, func(c []agreement.Column) { c[2].Scale = 19 }) },
		"scale of text":          func(j *sql.Job) { units(j, func(c []agreement.Column) { c[1].Scale = 1 }) },
		"other schema":           func(j *sql.Job) { j.Inputs[1].Schema = columns()[:2] },
		"table twice":            func(j *sql.Job) { j.Tables = append(j.Tables, j.Tables[0]) },
		"table's name":           func(j *sql.Job) { j.Tables[0].Name = "people; drop" },
		"table without inputs":   func(j *sql.Job) { j.Tables[0].Inputs = nil },
		"unknown input":          func(j *sql.Job) { j.Tables[0].Inputs = []wire.ID{"z"} },
		"table's input twice":    func(j *sql.Job) { j.Tables[0].Inputs = []wire.ID{"a", "a"} },
		"parameter twice":        func(j *sql.Job) { j.Parameters = append(j.Parameters, j.Parameters[0]) },
		"parameter's name":       func(j *sql.Job) { j.Parameters[0].Name = "$x" },
		"parameter's type":       func(j *sql.Job) { j.Parameters[0].Type = "text" },
		"parameter's scale":      func(j *sql.Job) { j.Parameters[0].Scale = 3 },
		"parameter's value":      func(j *sql.Job) { j.Parameters[0].Value = "1.5; DROP" },
		"parameter's digits":     func(j *sql.Job) { j.Parameters[0].Value = strings.Repeat("9", 17) + ".00" },
	} {
		j := job()
		change(&j)
		if err := j.Validate(); err == nil {
			t.Errorf("%s is valid", name)
		}
		if _, err := sql.Run(context.Background(), fake{bytes.NewReader(nil)}, j, nil); err == nil {
			t.Errorf("%s ran", name)
		}
		if _, err := sql.ParseJob([]byte(marshal(j))); err == nil {
			t.Errorf("%s parsed", name)
		}
	}
}

// units changes the schemas of all inputs alike.
func units(j *sql.Job, change func([]agreement.Column)) {
	for i := range j.Inputs {
		change(j.Inputs[i].Schema)
	}
}

func TestParameters(t *testing.T) {
	declared := []agreement.Parameter{{Name: "b", Type: "boolean"}, {Name: "a", Type: "decimal", Scale: 1}}
	got, err := sql.Parameters(declared, map[string]string{"a": "0.5", "b": "true"})
	want := []sql.Parameter{{Name: "b", Type: "boolean", Value: "true"}, {Name: "a", Type: "decimal", Scale: 1, Value: "0.5"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, values := range []map[string]string{nil, {"a": "1.0"}, {"a": "1.0", "b": "true", "c": "1"}, {"a": "1.0", "c": "true"}} {
		if _, err := sql.Parameters(declared, values); err == nil {
			t.Errorf("%v passed", values)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(stream(frame('P', `{"phase":"load","done":0,"total":1}`), frame('H', goodHead), frame('R', goodRows), frame('E', goodEnd)))
	f.Add(frame('F', `{"phase":"load","code":"input.value","input":"a","detail":"x"}`))
	f.Fuzz(func(t *testing.T, s []byte) {
		j := job()
		j.MaxRows, j.MaxBytes = 3, 40
		got, err := sql.Run(context.Background(), fake{bytes.NewReader(s)}, j, nil)
		if err != nil {
			return
		}
		size := 0
		for _, row := range got.Rows {
			if len(row) != len(got.Columns) {
				t.Fatal("ragged rows")
			}
			for _, cell := range row {
				size++
				if cell != nil {
					size += len(*cell)
				}
			}
		}
		if len(got.Rows) > 3 || size > 40 || len(got.Columns) == 0 || got.Plan.IsZero() || len(got.Withheld) != 2 {
			t.Fatalf("%d rows of %d bytes, %d columns", len(got.Rows), size, len(got.Columns))
		}
	})
}

func FuzzParseJob(f *testing.F) {
	small := job()
	small.Inputs, small.Parameters = small.Inputs[:1], nil
	small.Tables[0].Inputs = small.Tables[0].Inputs[:1]
	f.Add([]byte(marshal(small)))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := sql.ParseJob(data)
		if err != nil {
			return
		}
		again, err := sql.ParseJob([]byte(marshal(j)))
		if err != nil || !cmp.Equal(j, again) {
			t.Fatalf("%v: %s", err, cmp.Diff(j, again))
		}
	})
}
