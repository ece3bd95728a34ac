package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/durable"
	"strongroom.dev/proof"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// resultNames gives the names, without .age and .proof, that a run's results have: one for
// each receiver of its work's output. They come from the agreement and the request, never
// from the host.
func resultNames(ag agreement.Agreement, run agreement.Run) []string {
	work, _ := ag.WorkByName(run.Work)
	output, _ := ag.OutputByName(work.Output)
	names := make([]string, len(output.Receivers))
	for i, receiver := range output.Receivers {
		names[i] = resultName(output.Name, receiver, run.RunID)
	}
	return names
}

func resultName(output, receiver wire.ID, runID string) string {
	return fmt.Sprintf("%s-%s-%s", output, receiver, runID[:8])
}

// placeFor looks whether results of so many bytes can be put into a directory, and refuses names
// that are taken. It leaves nothing behind: the directory is made when there is a result.
func placeFor(dir string, names []string, bytes int64) error {
	if err := canPut(dir, bytes); err != nil {
		return err
	}
	for _, name := range names {
		for _, suffix := range []string{".age", ".proof"} {
			if _, err := os.Lstat(filepath.Join(dir, name+suffix)); err == nil {
				return misfile(filepath.Join(dir, name+suffix), "a name that is free for the result", "a file", "choose another directory with --out")
			}
		}
	}
	return nil
}

// canPut tries to make a file in a directory, or in the nearest one above it that is there, and
// asks for room for so many bytes.
func canPut(dir string, bytes int64) error {
	at := filepath.Clean(dir)
	for {
		info, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
			at = filepath.Dir(at)
			continue
		}
		if err == nil && !info.IsDir() {
			return verdict.Misuse("--out", "a directory", at+", which is none", "choose another")
		}
		var probe *os.File
		if err == nil {
			probe, err = os.CreateTemp(at, ".strongroom-*")
		}
		if err == nil {
			probe.Close()
			err = os.Remove(probe.Name())
		}
		if err != nil {
			return verdict.Misuse("--out", "a directory to write to", verdict.Short(err.Error()), "choose another")
		}
		return outSpace(at, bytes)
	}
}

// wanted is the run whose results are collected: its id, its request where that is known, and what
// hardware's evidence, and its image, are judged by in their proofs.
type wanted struct {
	id           string
	request      *wire.Digest
	endorsements endorsementFlags
	references   referenceFlags
}

// collected is a result that was fetched and checked.
type collected struct {
	name   string
	proven *proof.Proven
}

// collect fetches a run's results into a private directory, checks each proof and file there,
// and only then gives them their names, never in the place of another file. A host chooses
// neither names nor sizes, and a proof must be about this very request.
//
// later says how to fetch them again if that fails for a reason other than the results.
func (a *app) collect(ctx context.Context, dir string, names []string, room startedRoom, run wanted, later string) error {
	offered, err := offeredResults(ctx, room, names, run.id)
	if err != nil {
		return unseen(ctx, err, room.id(), later)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return unseen(ctx, outError(dir, err), room.id(), later)
	}
	private, err := os.MkdirTemp(dir, ".strongroom-*") // mode 0700, on the file system of the results
	if err != nil {
		return unseen(ctx, outError(dir, err), room.id(), later)
	}
	defer func() { os.RemoveAll(private) }()
	var results []collected
	for _, name := range offered {
		proven, err := a.fetchResult(ctx, private, name, room, run)
		if err != nil {
			if e := verdict.As(err); e.Check == "--out" {
				err = outError(dir, e.Err) // the private directory is gone soon
			}
			return unseen(ctx, err, room.id(), later)
		}
		results = append(results, collected{name, proven})
	}
	for _, r := range results {
		for _, suffix := range []string{".age", ".proof"} {
			if err := durable.MoveNew(filepath.Join(private, r.name+suffix), filepath.Join(dir, r.name+suffix)); err != nil {
				kept := private
				private = "" // there is no second answer to fetch
				return &verdict.Error{Kind: verdict.Broken, Check: "file", Where: filepath.Join(dir, r.name+suffix), Expected: "a place for a checked result", Got: verdict.Short(err.Error()),
					Fix: "the results are in " + kept, Err: err}
			}
		}
	}
	return a.printResults(dir, room.id(), run, results)
}

// offeredResults gives those of the run's results that the room let out. Logs of the run are
// beside them; any other name is refused: only a dishonest host tells one.
func offeredResults(ctx context.Context, room startedRoom, names []string, runID string) ([]string, error) {
	files, err := room.files(ctx)
	if err != nil {
		return nil, err
	}
	had := map[string]bool{}
	for _, file := range files {
		if logsName(strings.TrimSuffix(strings.TrimSuffix(file, ".age"), ".proof"), runID) {
			continue
		}
		expected := slices.ContainsFunc(names, func(name string) bool { return file == name+".age" || file == name+".proof" })
		if !expected || had[file] {
			return nil, verdict.NotGenuine("result.run", "results of this run, each once: "+strings.Join(names, ", "), verdict.Printable(verdict.Short(file)), "do not use this host")
		}
		had[file] = true
	}
	var offered []string
	for _, name := range names {
		if had[name+".age"] && had[name+".proof"] {
			offered = append(offered, name)
		}
	}
	if len(offered) == 0 {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "run.result", Expected: "at least one result with its proof", Got: "none", Fix: "see the host's log"}
	}
	return offered, nil
}

// fetchResult fetches one result: its proof first, which then says how large the file is.
func (a *app) fetchResult(ctx context.Context, dir, name string, room startedRoom, run wanted) (*proof.Proven, error) {
	proofPath, filePath := filepath.Join(dir, name+".proof"), filepath.Join(dir, name+".age")
	if err := fetchFile(ctx, room, proofPath, wire.MaxDocument); err != nil {
		return nil, err
	}
	proven, err := a.proven(proofPath, &trustFlags{endorsements: run.endorsements, references: run.references})
	if err != nil {
		return nil, err
	}
	if proven.Run.RunID != run.id || run.request != nil && proven.Run.Digest() != *run.request {
		return nil, verdict.NotGenuine("result.run", "the result of run "+run.id, "that of run "+proven.Run.RunID, "the host served an old result: ask another host")
	}
	r := proven.Result
	if got := resultName(r.Output, r.Receiver, r.RunID); got != name {
		return nil, verdict.NotGenuine("result.name", "the proof of "+name, "that of "+got, "the host mixed up two results: ask another host")
	}
	if err := fetchFile(ctx, room, filePath, r.Size); err != nil {
		return nil, err
	}
	return proven, a.checkResultFile(proven, filePath)
}

func fetchFile(ctx context.Context, room startedRoom, path string, limit int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return outError(filepath.Dir(path), err)
	}
	defer f.Close()
	dst := &bounded{w: f, left: limit}
	err = room.fetch(ctx, filepath.Base(path), dst)
	switch {
	case dst.left < 0:
		return verdict.NotGenuine("room.file", fmt.Sprintf("at most %d bytes of %s", limit, filepath.Base(path)), "more", "do not use this host")
	case dst.failed != nil:
		return outError(filepath.Dir(path), dst.failed)
	case err != nil:
		return err
	}
	if err := f.Sync(); err != nil {
		return outError(filepath.Dir(path), err)
	}
	return nil
}

var errTooLarge = errors.New("too large")

// bounded refuses to write more than so much; left is negative once it has refused. failed is what
// kept it from writing.
type bounded struct {
	w      io.Writer
	left   int64
	failed error
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		b.left = -1
		return 0, errTooLarge
	}
	n, err := b.w.Write(p)
	b.failed = err
	return n, err
}

func (a *app) printResults(dir, roomID string, run wanted, results []collected) error {
	views := make([]map[string]any, len(results))
	for i, r := range results {
		path := filepath.Join(dir, r.name)
		views[i] = map[string]any{"output": r.proven.Result.Output, "receiver": r.proven.Result.Receiver, "file": path + ".age", "proof": path + ".proof", "class": r.proven.Class, "requester": r.proven.Run.Requester}
	}
	return a.print(map[string]any{"run_id": run.id, "run": results[0].proven.Run.Digest(), "room": roomID, "results": views}, func(w io.Writer) {
		fmt.Fprintf(w, "Run %s is done.\n", run.id)
		for _, r := range results {
			fmt.Fprintf(w, "%s for %s, proven, class %s. Whether it holds rows or a failure only its receiver sees: %s open %s\n", r.proven.Result.Output, r.proven.Result.Receiver, r.proven.Class, a.self(), shellWord(filepath.Join(dir, r.name)+".age"))
		}
	})
}
