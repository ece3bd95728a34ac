package room_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

var update = flag.Bool("update", false, "write the vectors anew")

// resultVector is a case of spec/vectors/result. Bytes are cut after the last that is not
// zero, and filled up to Size.
type resultVector struct {
	Comment string     `json:"comment"`
	Bytes   wire.Bytes `json:"bytes"`
	Size    int        `json:"size"`
	Want    struct {
		Agreement  wire.Digest `json:"agreement"`
		Run        wire.Digest `json:"run"`
		RunID      string      `json:"run_id"`
		Output     wire.ID     `json:"output"`
		Commitment wire.Digest `json:"commitment"`
	} `json:"want"`
	Expect string     `json:"expect"` // ok or invalid
	Head   *room.Head `json:"head,omitempty"`
	Body   string     `json:"body,omitempty"`
}

var salt = [32]byte{7, 7, 7}

func someHead() room.Head {
	return room.Head{Agreement: wire.DigestOf([]byte("agreement")), Run: wire.DigestOf([]byte("run")), RunID: strings.Repeat("ab", 16), Work: "means", Output: "answer",
		Format: "csv", Status: room.OK}
}

func newVector(t *testing.T, comment, expect string, h room.Head, body string, change func([]byte) []byte, want func(*resultVector)) resultVector {
	data, err := room.Container(h, []byte(body), salt)
	must(t, err)
	v := resultVector{Comment: comment, Expect: expect}
	good := someHead()
	v.Want.Agreement, v.Want.Run, v.Want.RunID, v.Want.Output = good.Agreement, good.Run, good.RunID, good.Output
	v.Want.Commitment = release.CommitTo(salt, h.Run, h.Output, wire.DigestOf(data[63:]))
	if change != nil {
		data = change(data)
	}
	if want != nil {
		want(&v)
	}
	if expect == "ok" {
		v.Head, v.Body = &h, body
	}
	v.Size = len(data)
	v.Bytes = bytes.TrimRight(data, "\x00")
	return v
}

func resultVectors(t *testing.T) map[string]resultVector {
	failed := someHead()
	failed.Status, failed.Code = room.Failed, "run.failed"
	odd := func(status room.Status, code string) room.Head {
		h := someHead()
		h.Status, h.Code = status, code
		return h
	}
	other := someHead()
	other.RunID = strings.Repeat("cd", 16)
	set := func(at int, b byte) func([]byte) []byte {
		return func(d []byte) []byte { d = bytes.Clone(d); d[at] = b; return d }
	}
	const body = "mean,n\n12.500,3\n"
	return map[string]resultVector{
		"ok":                 newVector(t, "an answer", "ok", someHead(), body, nil, nil),
		"ok-failed":          newVector(t, "a run that failed inside", "ok", failed, "", nil, nil),
		"ok-unproven":        newVector(t, "without a commitment only the form is checked", "ok", someHead(), body, nil, func(v *resultVector) { v.Want.Commitment = wire.Digest{} }),
		"bad-magic":          newVector(t, "another format", "invalid", someHead(), body, set(0, 'S'), nil),
		"bad-salt":           newVector(t, "another salt", "invalid", someHead(), body, set(31, 1), nil),
		"bad-body":           newVector(t, "another body", "invalid", someHead(), body, set(63+4+400+30, 'x'), nil),
		"bad-padding":        newVector(t, "padding that is not zero", "invalid", someHead(), body, set(60000, 1), nil),
		"bad-cut":            newVector(t, "cut short", "invalid", someHead(), body, func(d []byte) []byte { return d[:len(d)-1] }, nil),
		"bad-longer":         newVector(t, "one zero byte too many", "invalid", someHead(), body, func(d []byte) []byte { return append(bytes.Clone(d), 0) }, nil),
		"bad-empty":          newVector(t, "nothing", "invalid", someHead(), body, func([]byte) []byte { return nil }, nil),
		"bad-head-size":      newVector(t, "a head of 4 GiB", "invalid", someHead(), body, set(63, 255), nil),
		"bad-status":         newVector(t, "unknown status", "invalid", odd("maybe", ""), body, nil, nil),
		"bad-status-code":    newVector(t, "an answer with a code", "invalid", odd(room.OK, "run.failed"), body, nil, nil),
		"bad-failed-no-code": newVector(t, "a failure without a code", "invalid", odd(room.Failed, ""), "", nil, nil),
		"bad-unknown-code":   newVector(t, "an unknown code", "invalid", odd(room.Failed, "work.run"), "", nil, nil),
		"bad-run":            newVector(t, "the result of another run", "invalid", other, body, nil, nil),
	}
}

const resultDir = "../spec/vectors/result"

func TestResultVectors(t *testing.T) {
	if *update {
		must(t, os.MkdirAll(resultDir, 0o755))
		for name, v := range resultVectors(t) {
			data, err := json.MarshalIndent(v, "", "  ")
			must(t, err)
			must(t, os.WriteFile(filepath.Join(resultDir, name+".json"), append(data, '\n'), 0o644))
		}
	}
	files, _ := filepath.Glob(filepath.Join(resultDir, "*.json"))
	if len(files) != len(resultVectors(t)) {
		t.Fatalf("%d vectors, expected %d", len(files), len(resultVectors(t)))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			must(t, err)
			var v resultVector
			must(t, json.Unmarshal(data, &v))
			plain := append(bytes.Clone(v.Bytes), make([]byte, v.Size-len(v.Bytes))...)
			var body bytes.Buffer
			head, err := room.ReadResult(&body, bytes.NewReader(plain), room.Committed(v.Want))
			if v.Expect == "invalid" {
				if err == nil {
					t.Errorf("%s: taken", v.Comment)
				}
				return
			}
			must(t, err)
			if diff := cmp.Diff(*v.Head, head); diff != "" || body.String() != v.Body {
				t.Errorf("body %q, head %s", body.String(), diff)
			}
		})
	}
}

// The size of a result is the agreement's, never the answer's.
func TestBuckets(t *testing.T) {
	for maxBytes, want := range map[int64]int{1: 64 << 10, 60 << 10: 64 << 10, 60<<10 + 1: 128 << 10, 1 << 20: 2 << 20} {
		for _, body := range []int64{0, 1, maxBytes / 2, maxBytes} {
			data, err := room.SizedContainer(someHead(), make([]byte, body), salt, maxBytes)
			must(t, err)
			if len(data) != want+63 {
				t.Errorf("a body of %d of at most %d bytes makes %d", body, maxBytes, len(data))
			}
		}
		if _, err := room.SizedContainer(someHead(), make([]byte, 4<<20), salt, maxBytes); err == nil {
			t.Errorf("4 MiB passed for at most %d bytes", maxBytes)
		}
	}
}

func TestFormats(t *testing.T) {
	text := func(s string) *string { return &s }
	r := sql.Result{Columns: []sql.Column{{Name: "n", Type: "integer"}, {Name: "d", Type: "decimal", Scale: 2}, {Name: "t", Type: "text"}, {Name: "b", Type: "boolean"}},
		Rows: [][]*string{{text("9007199254740993"), text("1.50"), text("a,\"b\"\n"), text("true")}, {nil, nil, text(""), nil}, {text("-1"), text("0.00"), text(" <é>"), text("false")}}}
	for kind, want := range map[wire.ID]string{
		"csv":  "n,d,t,b\n9007199254740993,1.50,\"a,\"\"b\"\"\n\",true\n,,\"\",\n-1,0.00,\" <é>\",false\n",
		"json": "[\n{\"n\":9007199254740993,\"d\":\"1.50\",\"t\":\"a,\\\"b\\\"\\n\",\"b\":true},\n{\"n\":null,\"d\":null,\"t\":\"\",\"b\":null},\n{\"n\":-1,\"d\":\"0.00\",\"t\":\" <é>\",\"b\":false}\n]\n",
	} {
		got := string(room.Format(kind, r))
		if got != want {
			t.Errorf("%s: got %q, expected %q", kind, got, want)
		}
		if kind == "json" && !json.Valid([]byte(got)) {
			t.Error("not JSON")
		}
	}
	if got := string(room.Format("json", sql.Result{})); !json.Valid([]byte(got)) {
		t.Errorf("no rows give %q", got)
	}
}

func FuzzReadResult(f *testing.F) {
	good, err := room.Container(someHead(), []byte("a\n1\n"), salt)
	must(f, err)
	f.Add(good[:600])
	f.Add([]byte("strongroom/result-container/v1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var body bytes.Buffer
		h, err := room.ReadResult(&body, bytes.NewReader(data), room.Committed{})
		if err == nil && (body.Len() > len(data) || h.Status == "") {
			t.Errorf("%d bytes of body, %v", body.Len(), h)
		}
	})
}

func FuzzStart(f *testing.F) {
	f.Add([]byte(`{"agreement":{},"format":"strongroom/room-start/v1","helpers":[{"fd":5,"name":"x"}],"inputs":[{"fd":6,"input":"a","statement":{}}],"parties":[],"run":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := room.ParseStart(data)
		if err == nil && s.Format != room.StartFormat {
			t.Error("another format was taken")
		}
	})
}

func FuzzEvent(f *testing.F) {
	var b bytes.Buffer
	must(f, room.WriteEvent(&b, room.Event{Event: room.File, Name: "a.age", Size: 3}))
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := room.ReadEvent(bytes.NewReader(data))
		if err == nil && e.Event == room.File && (strings.ContainsAny(e.Name, "/\\\x00") || e.Name == "" || e.Name[0] == '.') {
			t.Errorf("a file named %q", e.Name)
		}
	})
}

func TestFilesOverTheChannel(t *testing.T) {
	var b bytes.Buffer
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	must(t, room.WriteFile(&b, "x.age", bytes.NewReader(content), int64(len(content))))
	e, err := room.ReadEvent(&b)
	must(t, err)
	var got bytes.Buffer
	must(t, room.ReadFile(&got, &b, e.Size))
	if !bytes.Equal(got.Bytes(), content) || b.Len() != 0 {
		t.Error("another file came out")
	}
	for name, message := range map[string]string{"more than announced": "\x00\x00\x00\x04abcd", "empty piece": "\x00\x00\x00\x00", "cut": "\x00\x00\x00\x03ab", "nothing": ""} {
		if err := room.ReadFile(io.Discard, strings.NewReader(message), 3); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := room.WriteFile(io.Discard, "x", strings.NewReader("ab"), 3); err == nil {
		t.Error("a short file was sent")
	}
}
