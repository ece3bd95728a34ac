package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

var update = flag.Bool("update", false, "write what the engine answers into the vectors")

const vectors = "../../../spec/vectors/sql"

// vector is one case of spec/vectors/sql: a query that is refused with a code, or one with
// its answer over alpha.csv and beta.csv.
type vector struct {
	Description string         `json:"description"`
	Query       string         `json:"query"`
	Refused     string         `json:"refused,omitempty"`
	Columns     []sql.Column   `json:"columns,omitempty"`
	SQL         string         `json:"sql,omitempty"`
	Plan        string         `json:"plan,omitempty"`
	Rows        [][]*string    `json:"rows,omitempty"`
	Withheld    []sql.Withheld `json:"withheld,omitempty"`
}

func silent(sql.Progress) {}

// baseJob gives the job of the vectors, for a check only.
func baseJob(t testing.TB) sql.Job {
	t.Helper()
	job, err := sql.ParseJob(read(t, filepath.Join(vectors, "job.json")))
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fdOf puts bytes where a job can name them: in a sealed memory file, as in a room.
func fdOf(t testing.TB, data []byte) int {
	t.Helper()
	fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "input")
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL); err != nil {
		t.Fatal(err)
	}
	return fd
}

// fullJob gives the job of the vectors with its data.
func fullJob(t testing.TB) sql.Job {
	job := baseJob(t)
	job.CheckOnly = false
	job.Inputs[0].FD = fdOf(t, read(t, filepath.Join(vectors, "alpha.csv")))
	job.Inputs[1].FD = fdOf(t, read(t, filepath.Join(vectors, "beta.csv")))
	return job
}

func failureOf(t testing.TB, err error) *sql.Failure {
	t.Helper()
	var f *sql.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a failure", err)
	}
	return f
}

func TestVectors(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors, "*-*.json"))
	if err != nil || len(files) < 100 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			var v vector
			dec := json.NewDecoder(bytes.NewReader(read(t, file)))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&v); err != nil {
				t.Fatal(err)
			}
			if v.Refused != "" {
				testRefused(t, v)
			} else {
				testAllowed(t, file, v)
			}
		})
	}
}

func testRefused(t *testing.T, v vector) {
	job := baseJob(t)
	job.Query = v.Query
	_, err := engine.Execute(context.Background(), job, silent)
	if f := failureOf(t, err); f.Phase != sql.Check || f.Code != v.Refused {
		t.Errorf("%s (%s): refused in %s with %s (%s), want %s", v.Query, v.Description, f.Phase, f.Code, f.Detail, v.Refused)
	}
}

func testAllowed(t *testing.T, file string, v vector) {
	job := fullJob(t)
	job.Query = v.Query
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil {
		t.Fatal(err, failureOf(t, err).Detail)
	}
	checked := job
	checked.CheckOnly = true
	for i := range checked.Inputs {
		checked.Inputs = append([]sql.Input(nil), checked.Inputs...)
		checked.Inputs[i].FD = 0
	}
	before, err := engine.Execute(context.Background(), checked, silent)
	if err != nil || before.Plan != got.Plan || before.SQL != got.SQL || !cmp.Equal(before.Columns, got.Columns) {
		t.Errorf("the check before differs from the run: %v", err)
	}
	want := vector{v.Description, v.Query, "", got.Columns, got.SQL, got.Plan.String(), got.Rows, got.Withheld}
	if *update {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		if err := enc.Encode(want); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if len(want.Rows) == 0 {
		want.Rows = nil
	}
	if diff := cmp.Diff(v, want); diff != "" {
		t.Error(diff)
	}
}
