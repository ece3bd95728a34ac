package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"golang.org/x/sys/unix"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/internal/tpch"
	"strongroom.dev/seal"
	"strongroom.dev/wire"
	work "strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// tpchConfig says what tpchBench measures. The zero value measures scale factor 1 in /dev/shm.
type tpchConfig struct {
	Dir    string
	Scale  float64
	Rounds int // of which the median counts; 0 is 3
	Match  func(name string) bool
}

// The names of the rows.
const (
	tpchRatio = "TPC-H, 22 queries, geometric mean"
	tpchLoad  = "TPC-H, loading and checking a query's tables, mean"
	tpchOpen  = "TPC-H, decrypting and verifying all tables"
	tpchSeal  = "TPC-H, sealing all tables"
)

// tpchBench runs the 22 queries as a room's engine does, over tables whose rows may leave,
// beside plain DuckDB with the same SQL over the same Parquet files and as many threads.
func tpchBench(cfg tpchConfig) ([]row, error) {
	wanted := false
	for _, name := range []string{tpchRatio, tpchLoad, tpchOpen, tpchSeal} {
		wanted = wanted || cfg.Match(name)
	}
	if !wanted {
		return nil, nil
	}
	if cfg.Dir == "" {
		cfg.Dir = "/dev/shm"
	}
	if cfg.Scale == 0 {
		cfg.Scale = 1
	}
	if cfg.Rounds == 0 {
		cfg.Rounds = 3
	}
	dir, err := os.MkdirTemp(cfg.Dir, "strongroom-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b := &tpchBencher{tpchConfig: cfg, dir: dir}
	if b.tables, err = tpch.Generate(dir, cfg.Scale); err != nil {
		return nil, err
	}
	if b.queries, err = tpch.Queries(dir); err != nil {
		return nil, err
	}
	if err := b.seal(); err != nil {
		return nil, err
	}
	defer b.close()
	return b.measure()
}

type tpchBencher struct {
	tpchConfig
	dir             string
	tables          []tpch.Table
	queries         []string
	files           []*os.File
	sealing, opened float64 // seconds
}

// seal seals every table, and opens it into memory as a room does.
func (b *tpchBencher) seal() error {
	id, err := seal.GenerateIdentity(seal.Data)
	if err != nil {
		return err
	}
	for _, t := range b.tables {
		sealed := t.File + ".age"
		began := time.Now()
		summary, err := sealFile(sealed, t.File, id)
		if err != nil {
			return err
		}
		b.sealing += time.Since(began).Seconds()
		began = time.Now()
		file, err := openInMemory(sealed, summary, id)
		if err != nil {
			return err
		}
		b.opened += time.Since(began).Seconds()
		b.files = append(b.files, file)
		if err := os.Remove(sealed); err != nil {
			return err
		}
	}
	return nil
}

func sealFile(to, from string, id *seal.Identity) (seal.Summary, error) {
	in, err := os.Open(from)
	if err != nil {
		return seal.Summary{}, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return seal.Summary{}, err
	}
	defer out.Close()
	return seal.Seal(out, in, []seal.Recipient{id.Recipient()}, seal.Options{Root: true})
}

func openInMemory(path string, s seal.Summary, id *seal.Identity) (*os.File, error) {
	key, err := seal.UnwrapHeader(s.Header, id)
	if err != nil {
		return nil, err
	}
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	fd, err := unix.MemfdCreate(filepath.Base(path), unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	want := seal.Expectation{Header: s.HeaderHash, Root: s.Root, Size: s.Size, Recipients: int64(s.Recipients)}
	_, err = seal.OpenVerified(file, io.Reader(in), key, want, seal.Options{})
	return file, err
}

func (b *tpchBencher) close() {
	for _, f := range b.files {
		f.Close()
	}
}

// measure alternates the two sides, query by query.
func (b *tpchBencher) measure() ([]row, error) {
	plain, err := b.open()
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	var logs, loading, ours, theirs float64
	for i, query := range b.queries {
		var rooms, loads, alone []float64
		for range b.Rounds {
			load, run, err := b.room(query)
			if err != nil {
				return nil, fmt.Errorf("query %d: %w", i+1, err)
			}
			began := time.Now()
			if err := drain(plain, query); err != nil {
				return nil, fmt.Errorf("query %d: %w", i+1, err)
			}
			rooms, loads, alone = append(rooms, run), append(loads, load), append(alone, time.Since(began).Seconds())
		}
		room, other := medianTime(rooms), medianTime(alone)
		fmt.Fprintf(os.Stderr, "bench: TPC-H %2d: %.3f s in the room's engine, %.3f s plain, loading %.3f s\n", i+1, room, other, medianTime(loads))
		logs += math.Log(room / other)
		loading += medianTime(loads)
		ours, theirs = ours+room, theirs+other
	}
	n := float64(len(b.queries))
	ratio := math.Exp(logs / n)
	return []row{
		{Name: tpchRatio, Value: ours, Unit: "s in all", Against: theirs, Ratio: 1 / ratio, Goal: "at most 1.15x", Met: ratio <= 1.15},
		{Name: tpchLoad, Value: loading / n, Unit: "s", Goal: "at most 1 s", Met: loading/n <= 1},
		{Name: tpchOpen, Value: b.opened, Unit: "s"},
		{Name: tpchSeal, Value: b.sealing, Unit: "s"},
	}, nil
}

func (b *tpchBencher) open() (*sql.DB, error) {
	connector, err := duckdb.NewConnector("?threads=2", nil)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	for _, t := range b.tables {
		if _, err := db.Exec("CREATE VIEW " + t.Name + " AS SELECT * FROM read_parquet('" + t.File + "')"); err != nil {
			return nil, err
		}
	}
	return db, nil
}

func drain(db *sql.DB, query string) error {
	rows, err := db.Query(query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// room answers a query as a room's engine does: what it takes to load, and to run.
func (b *tpchBencher) room(query string) (load, run float64, err error) {
	rules := *testrules.Groups(1, "lab")
	rules.Answers, rules.Partners = agreement.Rows, agreement.Any
	job := work.Job{Query: query, MaxRows: 1_000_000, MaxColumns: 100, MaxBytes: 1 << 28, Memory: 4 << 30, Threads: 2, Salt: work.NoSalt, Noise: work.NoSalt}
	for i, t := range b.tables {
		name := wire.ID(t.Name)
		job.Inputs = append(job.Inputs, work.Input{Name: name, Owner: "shop", FD: int(b.files[i].Fd()), Format: agreement.Parquet, Schema: t.Schema, Pinned: true, Rules: rules})
		job.Tables = append(job.Tables, work.Table{Name: t.Name, Inputs: []wire.ID{name}})
	}
	began := time.Now()
	var running time.Time
	_, err = engine.Execute(context.Background(), job, func(p work.Progress) {
		if p.Phase == work.Query && p.Done == 0 {
			running = time.Now()
		}
	})
	return running.Sub(began).Seconds(), time.Since(running).Seconds(), err
}
