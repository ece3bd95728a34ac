package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/internal/world"
	"strongroom.dev/room"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// roomConfig says what roomBench measures.
type roomConfig struct {
	Programs string // the folder that `make build` fills
	Match    func(name string) bool
}

// The names of the rows that need no large input.
const (
	roomCold = "room cold start on dev, programs measured, to a proven result"
	roomWarm = "room cold start on dev, programs loaded, to a proven result"
	roomKeys = "room: evidence to the keys of two brokers"
	// roomRuns is how many rooms are started for a median.
	roomRuns = 9
)

func roomTotal(query string) string { return "query " + query + ", whole room over 10 million rows" }

// roomBench measures real rooms on the dev platform, with real brokers and a ledger: over a
// tiny input, so that what is seen is the room's own time, and over the large one against
// plain DuckDB.
func roomBench(cfg roomConfig) ([]row, error) {
	ctx := context.Background()
	agent, helpers := filepath.Join(cfg.Programs, "strongroom-agent"), map[wire.ID]string{"strongroom-sql": filepath.Join(cfg.Programs, "strongroom-sql")}
	loaded, err := host.Load(agent, helpers)
	if err != nil {
		return nil, err
	}
	defer loaded.Close()
	var rows []row
	if cfg.Match(roomCold) || cfg.Match(roomWarm) || cfg.Match(roomKeys) {
		if rows, err = roomStarts(ctx, loaded, func() (*host.Programs, error) { return host.Load(agent, helpers) }); err != nil {
			return nil, err
		}
	}
	totals, err := roomTotals(ctx, cfg, loaded)
	return append(rows, totals...), err
}

func roomStarts(ctx context.Context, loaded *host.Programs, load func() (*host.Programs, error)) ([]row, error) {
	dir, err := os.MkdirTemp("", "roombench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	w, err := roomWorld(ctx, dir, loaded)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var cold, warm, keys []float64
	for i := range roomRuns {
		began := time.Now()
		fresh, err := load()
		if err != nil {
			return nil, err
		}
		if _, err := oneRoom(ctx, w, fresh, fmt.Sprintf("cold%d", i), "means", nil); err != nil {
			return nil, err
		}
		cold = append(cold, ms(time.Since(began)))
		fresh.Close()
		began = time.Now()
		release, err := oneRoom(ctx, w, loaded, fmt.Sprintf("warm%d", i), "means", nil)
		if err != nil {
			return nil, err
		}
		warm, keys = append(warm, ms(time.Since(began))), append(keys, ms(release))
	}
	return []row{
		{Name: roomCold, Value: roomMedian(cold), Unit: "ms"},
		{Name: roomWarm, Value: roomMedian(warm), Unit: "ms"},
		{Name: roomKeys, Value: roomMedian(keys), Unit: "ms"},
	}, nil
}

// roomTotals asks the study's queries in whole rooms, and plain DuckDB the rewritten query of
// the plaintext, in turn.
func roomTotals(ctx context.Context, cfg roomConfig, p *host.Programs) ([]row, error) {
	b, err := newSQLBench(sqlConfig{Match: func(name string) bool {
		return slices.ContainsFunc(sqlQueries, func(q struct {
			name, query string
			parameters  []sql.Parameter
		}) bool {
			return strings.Contains(name, q.name) && cfg.Match(roomTotal(q.name))
		})
	}})
	if err != nil || b.dir == "" {
		return nil, err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Mkdir(filepath.Join(b.dir, "world"), 0o700); err != nil {
		return nil, err
	}
	plain, err := os.Open(b.plain)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	w, err := world.New(ctx, world.Config{Dir: filepath.Join(b.dir, "world"), Image: p.Measurement(), MinGroup: 10, MaxRows: 100, MaxBytes: 10_000, LeaseMS: 3000, Table: "patients",
		Owners: []world.Owner{{ID: "alpha", Plain: plain, Format: agreement.Parquet, UniqueUnit: true}}, Schema: sqlSchema(), Work: roomWork()})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var rows []row
	for i, q := range sqlQueries {
		if !cfg.Match(roomTotal(q.name)) {
			continue
		}
		more, err := roomTotalOf(ctx, b, w, p, i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.name, err)
		}
		rows = append(rows, more)
	}
	return rows, nil
}

func roomTotalOf(ctx context.Context, b *sqlBencher, w *world.World, p *host.Programs, i int) (row, error) {
	q := sqlQueries[i]
	checked, err := engine.Execute(ctx, b.job(i, 0), func(sql.Progress) {})
	if err != nil {
		return row{}, err
	}
	parameters := map[string]string{}
	for _, p := range q.parameters {
		parameters[p.Name] = p.Value
	}
	var ours, theirs []float64
	for n := range b.Rounds {
		began := time.Now()
		if _, err := oneRoom(ctx, w, p, fmt.Sprintf("total%d-%d", i, n), wire.ID(q.name), parameters); err != nil {
			return row{}, err
		}
		ours = append(ours, time.Since(began).Seconds())
		began = time.Now()
		if err := b.ask(checked.SQL); err != nil {
			return row{}, err
		}
		theirs = append(theirs, time.Since(began).Seconds())
	}
	room, plain := roomMedian(ours), roomMedian(theirs)
	return row{Name: roomTotal(q.name), Value: room, Unit: "s", Against: plain, Ratio: plain / room, Goal: "at most 1.3x and 1 s", Met: room <= 1.3*plain+1}, nil
}

// roomWork gives the study's queries as an agreement has them.
func roomWork() (list []agreement.Work) {
	for _, q := range sqlQueries {
		work := agreement.Work{Name: wire.ID(q.name), Kind: "sql", Description: q.name, Query: q.query, Parameters: []agreement.Parameter{}}
		for _, p := range q.parameters {
			zeros := strings.Repeat("0", int(p.Scale))
			work.Parameters = append(work.Parameters, agreement.Parameter{Name: p.Name, Type: p.Type, Scale: p.Scale, Min: "0." + zeros, Max: "10000." + zeros, Values: []string{}})
		}
		list = append(list, work)
	}
	return list
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// roomMedian sorts what it is given.
func roomMedian(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }

func roomWorld(ctx context.Context, dir string, p *host.Programs) (*world.World, error) {
	var rows strings.Builder
	rows.WriteString("patient,grp,value\n")
	for i := range 1000 {
		fmt.Fprintf(&rows, "%d,%d,%d.5\n", i, i%7, i%100)
	}
	return world.New(ctx, world.Config{Dir: dir, Image: p.Measurement(), MinGroup: 10, MaxRows: 100, MaxBytes: 10_000, LeaseMS: 3000,
		Owners: []world.Owner{{ID: "alpha", Plain: strings.NewReader(rows.String()), Format: agreement.CSV}, {ID: "beta", Plain: strings.NewReader(rows.String()), Format: agreement.CSV}},
		Schema: []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "grp", Type: "integer"}, {Name: "value", Type: "decimal", Scale: 1}},
		Work: []agreement.Work{{Name: "means", Kind: "sql", Description: "means", Query: "SELECT grp, count(*) AS n, avg(value) AS mean FROM rows GROUP BY grp",
			Parameters: []agreement.Parameter{}}}})
}

// oneRoom runs one room to a proven result, and says how long the keys took from the first
// piece of evidence on.
func oneRoom(ctx context.Context, w *world.World, p *host.Programs, id string, work wire.ID, parameters map[string]string) (release time.Duration, err error) {
	if parameters == nil {
		parameters = map[string]string{}
	}
	job, run, err := w.Job(work, parameters)
	if err != nil {
		return 0, err
	}
	c := w.Host
	c.Programs, c.Log = p, os.Stderr
	r, err := host.Start(ctx, c, id, job)
	if err != nil {
		return 0, err
	}
	defer r.Stop()
	var shown time.Time
	for from := 0; ; {
		events, ended := r.Events(ctx, from)
		for _, e := range events {
			if e.Event == room.Evidence && shown.IsZero() {
				shown = time.Now()
			}
			if e.Step == room.Released {
				release = time.Since(shown)
			}
		}
		if from += len(events); ended {
			break
		}
	}
	if err := r.Wait(ctx); err != nil {
		return 0, err
	}
	if head, _, err := w.Open(r.Dir(), run); err != nil || head.Status != room.OK {
		return 0, fmt.Errorf("room %s: %v, %w", id, head.Code, err)
	}
	return release, nil
}
