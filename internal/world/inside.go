package world

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/device"
	"strongroom.dev/host"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// Inside runs a job in a room in this process, with evidence by d, and has results put into dir.
// Everything is the real thing but the sandbox: engine answers for the one in it, which needs a
// process of its own. What room and brokers find wrong is the error.
func (w *World) Inside(ctx context.Context, d device.Device, job host.Job, dir string, engine func(sql.Job) (sql.Result, error)) error {
	ours, theirs := net.Pipe()
	defer ours.Close()
	served := make(chan struct{})
	go func() {
		device.Serve(ctx, theirs, d) // ends with the pipe
		close(served)
	}()
	defer func() { ours.Close(); <-served }()
	start := room.Start{Format: room.StartFormat, Agreement: job.Agreement, Parties: job.Parties, Run: job.Run, Helpers: []room.StartHelper{{Name: "strongroom-sql", FD: 0}}}
	paths := []string{os.DevNull}
	for _, in := range job.Inputs {
		start.Inputs = append(start.Inputs, room.StartInput{Input: in.Name, Statement: in.Statement, FD: len(paths)})
		paths = append(paths, in.Path)
	}
	began := time.Now()
	return room.Run(ctx, room.Config{
		Device: device.NewClient(ours),
		Ask: func(ctx context.Context, stream, path string, body []byte, _ int) ([]byte, error) {
			answer, err := w.relay(ctx, stream, path, body)
			switch {
			case ctx.Err() != nil: // nobody hears the answer
				return nil, ctx.Err()
			case err != nil:
				err = verdict.Decode(verdict.Encode(err)) // as it crosses the wire
			}
			return answer, err
		},
		Tell:    func(room.Event) error { return nil },
		File:    func(name string, data io.Reader, _ int64) error { return put(filepath.Join(dir, name), data) },
		Input:   func(fd int) (*os.File, error) { return os.Open(paths[fd]) },
		Memory:  func(name string) (*os.File, error) { return os.CreateTemp(w.Dir, name) },
		Seal:    func(*os.File) error { return nil },
		Silence: func() error { return nil },
		Engine: func(_ context.Context, _ *os.File, job sql.Job, _ []*os.File) (sql.Result, string, error) {
			if job.CheckOnly {
				return sql.Result{}, "", nil
			}
			r, err := engine(job)
			return r, "", err
		},
		FirstFile: 16, Elapsed: func() time.Duration { return time.Since(began) }, HostClock: time.Now,
		Patience: time.Second, Longest: time.Minute, EngineMemory: 64 << 20, EngineThreads: 1,
	}, start)
}

func put(path string, data io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, data)
	return err
}

// relay is the host: it carries a room's calls to brokers and to the shared ledger.
func (w *World) relay(ctx context.Context, stream, path string, body []byte) ([]byte, error) {
	if stream == "ledger/shared" && path == ledger.PathEntries {
		index, err := w.records.Append(ctx, [][]byte{body})
		if err != nil {
			return nil, err
		}
		receipt, err := w.records.Receipt(index)
		if err != nil {
			return nil, err
		}
		return wire.Marshal(receipt)
	}
	for id, b := range w.Brokers {
		if stream != "broker/"+string(id) {
			continue
		}
		switch path {
		case release.PathChallenge:
			return b.Challenge(ctx, body)
		case release.PathRelease:
			return b.Release(ctx, body)
		case release.PathAsked:
			return b.Asked(ctx, body)
		case release.PathLive:
			return b.Live(ctx, body)
		case release.PathConsistency:
			var asked release.ConsistencyRequest
			if err := wire.Unmarshal(body, &asked); err != nil {
				return nil, err
			}
			answer, err := b.Consistency(ctx, asked)
			if err != nil {
				return nil, err
			}
			return wire.Marshal(answer)
		}
	}
	return nil, fmt.Errorf("%s has no %s", stream, path)
}

// Study makes a world that agrees on hardware: two owners with a row each, and one question.
func Study(ctx context.Context, dir string, hardware []agreement.Platform, platforms []attest.Platform) (*World, error) {
	owner := func(id wire.ID) Owner {
		return Owner{ID: id, Plain: strings.NewReader("patient,radius\n1,2\n"), Format: agreement.CSV}
	}
	return New(ctx, Config{Dir: dir, Hardware: hardware, Platforms: platforms, MinGroup: 10, MaxRows: 100, MaxBytes: 10_000, LeaseMS: 3000,
		Owners: []Owner{owner("alpha"), owner("beta")},
		Schema: []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "radius", Type: "integer"}},
		Work: []agreement.Work{{Name: "count", Kind: "sql", Description: "how many", Query: "SELECT count(*) AS n FROM rows",
			Parameters: []agreement.Parameter{}}}})
}

// Ask has the study's question answered with 12 in a room whose evidence is d's, and gives what
// its receiver reads once it has checked the proof.
func (w *World) Ask(ctx context.Context, d device.Device) (answer string, err error) {
	job, run, err := w.Job("count", map[string]string{})
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(w.Dir, "results-")
	if err != nil {
		return "", err
	}
	twelve := "12"
	err = w.Inside(ctx, d, job, dir, func(sql.Job) (sql.Result, error) {
		return sql.Result{Columns: []sql.Column{{Name: "n", Type: "integer"}}, Rows: [][]*string{{&twelve}},
			Withheld: []sql.Withheld{{Owner: "alpha"}, {Owner: "beta"}}, Plan: wire.HashOf([]byte("plan")), SQL: "SELECT 12"}, nil
	})
	if err != nil {
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			err = fmt.Errorf("%d files left a room that failed: %w", len(files), err)
		}
		return "", err
	}
	_, answer, err = w.Open(dir, run)
	return answer, err
}
