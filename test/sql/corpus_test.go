package sql_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	cardoffers "strongroom.dev/examples/card-offers"
	"strongroom.dev/internal/cards"
	"strongroom.dev/workload/sql"
)

// testCase is a line of a file of the corpus.
type testCase struct {
	// About says what the query is after, or what somebody wants to know.
	About string `json:"about"`
	Query string `json:"query"`
	// Rule is the check that refuses the query; empty where it is legitimate.
	Rule string `json:"rule,omitempty"`
	// Rows: the query is held against the agreement whose inputs let rows leave.
	Rows bool `json:"rows,omitempty"`
	// Few: under the agreed minimum group everything is withheld.
	Few bool `json:"few,omitempty"`

	where string // file:line
}

// corpus reads the cases of a folder.
func corpus(t testing.TB, folder string) (all []testCase) {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files in %s: %v", len(files), folder, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
			d := json.NewDecoder(bytes.NewReader(line))
			d.DisallowUnknownFields()
			c := testCase{where: filepath.Base(file) + ":" + itoa(i+1)}
			if err := d.Decode(&c); err != nil || c.About == "" || c.Query == "" {
				t.Fatalf("%s: about and query expected: %v", c.where, err)
			}
			all = append(all, c)
		}
	}
	seen := map[string]string{}
	for _, c := range all {
		key := strings.ToLower(strings.Join(strings.Fields(c.Query), " ")) + map[bool]string{true: " (rows)"}[c.Rows]
		if seen[key] != "" {
			t.Errorf("%s asks the same as %s", c.where, seen[key])
		}
		seen[key] = c.where
	}
	return all
}

// agreed is the example's agreement as `strongroom sql check` reads it, or the same with rules
// that let rows leave.
func agreed(t testing.TB, rows bool) agreement.Agreement {
	t.Helper()
	text := cardoffers.Try()
	if rows {
		text = strings.ReplaceAll(text, "min_group: 10", "answers: rows\n      min_group: 1\n      differences: unaudited")
	}
	a, err := draft.Parse("try.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// jobOf is a query of the agreement's ad-hoc work, to be checked without data.
func jobOf(a agreement.Agreement, query string) sql.Job {
	var work agreement.Work
	for _, w := range a.Work {
		if w.AdHoc {
			work = w
		}
	}
	out, _ := a.OutputByName(work.Output)
	job := sql.Job{CheckOnly: true, Query: query, MaxRows: out.MaxRows, MaxColumns: agreement.MaxOutputColumns, MaxBytes: out.MaxBytes, Memory: 256 << 20, Threads: 2, Salt: sql.NoSalt, Noise: sql.NoSalt}
	for _, in := range a.InputsOf(work) {
		rules := agreement.Rules{} // of a list of exclusions
		if in.Rules != nil {
			rules = *in.Rules
			job.MaxRows, job.MaxColumns = min(job.MaxRows, rules.MaxRows), min(job.MaxColumns, rules.MaxColumns)
		}
		job.Inputs = append(job.Inputs, sql.Input{Name: in.Name, Owner: in.Owner, Format: in.Format, Schema: in.Schema, Pinned: in.Statement != nil, Rules: rules})
	}
	for _, name := range work.Tables {
		table, _ := a.TableByName(name)
		job.Tables = append(job.Tables, sql.Table{Name: table.Name, Inputs: table.Inputs})
	}
	return job
}

// small is enough data for every query to have an answer.
func small() cards.Config {
	return cards.Config{Seed: 7, Customers: 420, Members: 380, Shared: 260, MinGroup: 10}
}

// files are the descriptors of the sample's files, by dataset.
var files = sync.OnceValues(func() (map[string]int, error) { // constant: made once, then read
	s, err := cards.Generate(small())
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, f := range s.Files {
		if out[f.Dataset], err = sealed(f.Data); err != nil {
			return nil, err
		}
	}
	return out, nil
})

// sealed puts bytes where a job can name them: in a sealed memory file, as in a room.
func sealed(data []byte) (int, error) {
	fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return 0, err
	}
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err != nil {
			return 0, err
		}
		data = data[n:]
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	return fd, err
}

// overData makes a job read the sample. Nobody objected: plain DuckDB knows of no objections.
func overData(t testing.TB, job sql.Job, a agreement.Agreement, files map[string]int) sql.Job {
	t.Helper()
	job.CheckOnly = false
	var inputs []sql.Input
	for _, in := range job.Inputs {
		if job.IsList(in.Name) {
			continue
		}
		agreed, _ := a.InputByName(in.Name)
		if in.FD = files[string(agreed.Dataset)]; in.FD == 0 {
			t.Fatalf("there is no dataset %s", agreed.Dataset)
		}
		inputs = append(inputs, in)
	}
	for i := range inputs {
		inputs[i].Rules.Exclusions = ""
	}
	job.Inputs = inputs
	return job
}
