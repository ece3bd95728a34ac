package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"golang.org/x/sys/unix"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/seal"
	"strongroom.dev/wire"
	work "strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// sqlConfig says what sqlBench measures. The zero value measures 10 million rows in /dev/shm.
type sqlConfig struct {
	Dir    string // a tmpfs; "" is /dev/shm
	Rows   int    // 0 is 10 million
	Rounds int    // of which the median counts; 0 is 5
	// Match, where set, leaves out the rows it refuses.
	Match func(name string) bool
}

// sqlQueries are those of the hospitals' study, with parameters at which everything passes.
var sqlQueries = []struct {
	name, query string
	parameters  []work.Parameter
}{
	{"means-by-diagnosis", "SELECT diagnosis, count(*) AS patients, round(avg(mean_radius), 2) AS radius, round(avg(mean_texture), 2) AS texture, " +
		"round(avg(mean_concavity), 4) AS concavity FROM patients WHERE mean_area >= $min_area GROUP BY diagnosis ORDER BY diagnosis",
		[]work.Parameter{{Name: "min_area", Type: "decimal", Scale: 1, Value: "600.0"}}},
	{"sizes", "SELECT diagnosis, CASE WHEN mean_radius < $threshold THEN 'small' ELSE 'large' END AS size, count(*) AS patients, " +
		"round(avg(mean_area), 1) AS area FROM patients GROUP BY diagnosis, size ORDER BY diagnosis, size DESC",
		[]work.Parameter{{Name: "threshold", Type: "decimal", Scale: 1, Value: "13.0"}}},
	{"malignant-share", "SELECT CASE WHEN mean_texture < 20 THEN 'under 20' WHEN mean_texture < 23 THEN '20 to 23' ELSE '23 and over' END AS texture, " +
		"count(*) AS patients, round(avg(CASE WHEN diagnosis = 'malignant' THEN 1 ELSE 0 END), 3) AS malignant FROM patients " +
		"WHERE mean_concavity > $concavity GROUP BY texture ORDER BY texture DESC",
		[]work.Parameter{{Name: "concavity", Type: "decimal", Scale: 2, Value: "0.05"}}},
}

// sqlSource makes the rows: six columns, the same ones every time.
const sqlSource = `SELECT i AS patient, CASE WHEN hash(i) %% 8 < 3 THEN 'malignant' ELSE 'benign' END AS diagnosis,
	CAST(6 + (hash(i + 1) %% 2200000) / 100000 AS DECIMAL(18,5)) AS mean_radius,
	CAST(9 + (hash(i + 2) %% 3000000) / 100000 AS DECIMAL(18,5)) AS mean_texture,
	CAST(140 + (hash(i + 3) %% 236000000) / 100000 AS DECIMAL(18,5)) AS mean_area,
	CAST((hash(i + 4) %% 4300000) / 10000000 AS DECIMAL(18,7)) AS mean_concavity FROM range(%d) t(i)`

func sqlSchema() []agreement.Column {
	decimal := func(name string, scale int64) agreement.Column {
		return agreement.Column{Name: name, Type: "decimal", Scale: scale}
	}
	return []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "diagnosis", Type: "text"}, decimal("mean_radius", 5),
		decimal("mean_texture", 5), decimal("mean_area", 5), decimal("mean_concavity", 7)}
}

// sqlBench compares the queries of the study over one sealed Parquet input (decrypting,
// checking and asking) with plain DuckDB asking the rewritten query of the plaintext, and
// the rewritten query with the one that was agreed.
func sqlBench(cfg sqlConfig) ([]row, error) {
	b, err := newSQLBench(cfg)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(b.dir)
	var rows []row
	for i := range sqlQueries {
		more, err := b.query(i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", sqlQueries[i].name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

type sqlBencher struct {
	sqlConfig
	dir, plain, sealed string
	key                *seal.FileKey
	want               seal.Expectation
}

func newSQLBench(cfg sqlConfig) (*sqlBencher, error) {
	if cfg.Dir == "" {
		cfg.Dir = "/dev/shm"
	}
	if cfg.Rows == 0 {
		cfg.Rows = 10_000_000
	}
	if cfg.Rounds == 0 {
		cfg.Rounds = 5
	}
	if cfg.Match == nil {
		cfg.Match = func(string) bool { return true }
	}
	b := &sqlBencher{sqlConfig: cfg}
	wanted := false
	for _, q := range sqlQueries {
		wanted = wanted || b.matches(q.name)
	}
	if !wanted {
		return b, nil
	}
	var err error
	if b.dir, err = os.MkdirTemp(cfg.Dir, "strongroom-bench-"); err != nil {
		return nil, err
	}
	b.plain, b.sealed = filepath.Join(b.dir, "plain.parquet"), filepath.Join(b.dir, "sealed.age")
	if err := b.prepare(); err != nil {
		os.RemoveAll(b.dir)
		return nil, err
	}
	return b, nil
}

// The names of a query's two rows.
func sqlRowNames(query string) (room, rewriting string) {
	return "query " + query + ", decrypted and checked", "query " + query + ", rewriting"
}

func (b *sqlBencher) matches(query string) bool {
	room, rewriting := sqlRowNames(query)
	return b.Match(room) || b.Match(rewriting)
}

// prepare writes the Parquet file and seals it.
func (b *sqlBencher) prepare() error {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if _, err := db.Exec(fmt.Sprintf("COPY ("+sqlSource+") TO '%s' (FORMAT parquet)", b.Rows, b.plain)); err != nil {
		return err
	}
	id, err := seal.GenerateIdentity(seal.Data)
	if err != nil {
		return err
	}
	in, err := os.Open(b.plain)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(b.sealed)
	if err != nil {
		return err
	}
	defer out.Close()
	summary, err := seal.Seal(out, in, []seal.Recipient{id.Recipient()}, seal.Options{Root: true})
	if err != nil {
		return err
	}
	b.want = seal.Expectation{Header: summary.HeaderHash, Root: summary.Root, Size: summary.Size, Recipients: int64(summary.Recipients)}
	b.key, err = seal.UnwrapHeader(summary.Header, id)
	return err
}

// query measures the rows of one query.
func (b *sqlBencher) query(i int) ([]row, error) {
	q := sqlQueries[i]
	if !b.matches(q.name) {
		return nil, nil
	}
	checked, err := engine.Execute(context.Background(), b.job(i, 0), func(work.Progress) {})
	if err != nil {
		return nil, err
	}
	agreed := q.query
	for _, p := range q.parameters {
		agreed = strings.ReplaceAll(agreed, "$"+p.Name, fmt.Sprintf("CAST('%s' AS DECIMAL(18,%d))", p.Value, p.Scale))
	}
	times := make([][]float64, 3)
	for range b.Rounds {
		for side, run := range []func() error{
			func() error { return b.room(i) },
			func() error { return b.ask(checked.SQL) },
			func() error { return b.ask(agreed) },
		} {
			start := time.Now()
			if err := run(); err != nil {
				return nil, err
			}
			times[side] = append(times[side], time.Since(start).Seconds())
		}
	}
	ours, rewritten, plain := medianTime(times[0]), medianTime(times[1]), medianTime(times[2])
	room, rewriting := sqlRowNames(q.name)
	return []row{
		{Name: room, Value: ours, Unit: "s", Against: rewritten, Ratio: rewritten / ours, Goal: "at most 1.3x and 1 s", Met: ours <= 1.3*rewritten+1},
		{Name: rewriting, Value: rewritten, Unit: "s", Against: plain, Ratio: plain / rewritten},
	}, nil
}

func medianTime(times []float64) float64 {
	slices.Sort(times)
	return times[len(times)/2]
}

// job makes a query's job over the descriptor, or a check without one.
func (b *sqlBencher) job(i, fd int) work.Job {
	return work.Job{
		CheckOnly: fd == 0,
		Inputs:    []work.Input{{Name: "patients", Owner: "alpha", FD: fd, Format: agreement.Parquet, Schema: sqlSchema(), UniqueUnit: true, Rules: *testrules.Groups(10, "lab")}},
		Tables:    []work.Table{{Name: "patients", Inputs: []wire.ID{"patients"}}},
		Query:     sqlQueries[i].query, Parameters: sqlQueries[i].parameters,
		MaxRows: 100, MaxColumns: 100, MaxBytes: 1 << 20, Memory: 2 << 30, Threads: 2, Salt: work.NoSalt, Noise: work.NoSalt,
	}
}

// room decrypts into a memory file, verifying what it reads, and has the engine answer.
func (b *sqlBencher) room(i int) error {
	in, err := os.Open(b.sealed)
	if err != nil {
		return err
	}
	defer in.Close()
	fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(fd), "input")
	defer out.Close()
	if _, err := seal.OpenVerified(out, in, b.key, b.want, seal.Options{}); err != nil {
		return err
	}
	result, err := engine.Execute(context.Background(), b.job(i, fd), func(work.Progress) {})
	if err == nil && len(result.Rows) == 0 {
		err = fmt.Errorf("no rows")
	}
	return err
}

// ask has plain DuckDB answer a query over the plaintext, opening it anew as the room does.
func (b *sqlBencher) ask(query string) error {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if _, err := db.Exec("SET threads = 2; CREATE VIEW patients AS SELECT * FROM read_parquet('" + b.plain + "')"); err != nil {
		return err
	}
	rows, err := db.Query(query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}
