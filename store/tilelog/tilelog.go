// Package tilelog is an append-only Merkle log on disk, in the layout of C2SP tlog-tiles:
// full tiles and entry bundles under tile/, the signed checkpoint in checkpoint, and beside
// them a journal with the entries of the last, unfinished tile (spec/ledger.md, section 9).
//
// It promises: an entry is durable before Append returns; a checkpoint is signed only over
// entries that are durable, so that no crash makes the log sign two roots of one size or
// lose an entry it acknowledged; entries that wait together share one fsync. After a failed
// write the log adds nothing until it is opened again, because nobody knows what reached the
// disk. A directory has one writer.
//
// It refuses to open a log with damaged tiles or journal, with another key, or behind the
// checkpoint it published last. It can't see that the whole directory was set back: those
// who keep checkpoints elsewhere can.
package tilelog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"strongroom.dev/internal/durable"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
)

// Log is an open log. Its methods are safe for concurrent use.
type Log struct {
	dir    string
	signer *ledger.Signer
	disk   disk
	unlock func()

	requests chan request
	stop     chan struct{} // closed by Close
	done     chan struct{} // closed when the writer has ended
	failed   chan struct{} // closed when a write has failed
	closing  sync.Once

	// Only the writer changes what follows, holding mu; others read it holding mu.RLock.
	mu         sync.RWMutex
	tree       tree
	checkpoint string
	err        error // why the log adds nothing more

	// Only the writer uses what follows.
	journal   *os.File
	header    header
	published int64 // size of the checkpoint on disk, -1 if none
}

// request is one Append on its way to the writer.
type request struct {
	entries [][]byte
	bytes   int
	done    chan<- result // of capacity 1
}

type result struct {
	first int64
	err   error
}

const (
	journalName    = "journal"
	checkpointName = "checkpoint"
	lockName       = "lock"
)

// Create makes a new, empty log in dir, which may exist but holds no log. The log's name is
// the signer's origin.
func Create(dir string, signer *ledger.Signer) error {
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("making the log's directory: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	for _, name := range []string{journalName, checkpointName, "tile"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return verdict.Refuse("ledger.create", "a directory without a log", filepath.Join(dir, name)+" stands there", "open that log, or choose another directory")
		}
	}
	l := &Log{dir: dir, signer: signer, disk: realDisk(), tree: tree{dir: dir}, published: -1}
	root, err := l.tree.root(0)
	if err != nil {
		return err
	}
	if err := l.newJournal(root); err != nil {
		return fmt.Errorf("making the log's journal: %w", err)
	}
	defer l.journal.Close()
	if l.checkpoint, err = signer.SignCheckpoint(0, root); err != nil {
		return err
	}
	return l.publish()
}

// Exists reports whether dir holds a log.
func Exists(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, journalName))
	return err == nil
}

// Open opens the log in dir and checks that it is whole. The caller closes it.
func Open(dir string, signer *ledger.Signer) (*Log, error) { return open(dir, signer, realDisk()) }

func open(dir string, signer *ledger.Signer, d disk) (*Log, error) {
	if !Exists(dir) {
		return nil, verdict.Misuse("ledger.open", "a log in "+dir, "no journal there", "create the log first, or restore its directory whole")
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	l := &Log{dir: dir, signer: signer, disk: d, unlock: unlock, published: -1,
		requests: make(chan request), stop: make(chan struct{}), done: make(chan struct{}), failed: make(chan struct{})}
	if err := l.recover(); err != nil {
		if l.journal != nil {
			l.journal.Close()
		}
		unlock()
		return nil, err
	}
	go l.write()
	return l, nil
}

func lock(dir string) (unlock func(), err error) {
	unlock, err = durable.Lock(filepath.Join(dir, lockName), 0)
	if errors.Is(err, durable.ErrLocked) {
		return nil, verdict.Refuse("ledger.lock", "a log that no other process has open", dir+" is in use", "stop the other process first")
	}
	return unlock, err
}

// recover brings the log in memory to what is durable, and makes that durable anew: after a
// crash, what reads back may still be on its way to the disk.
func (l *Log) recover() error {
	state, err := load(l.dir)
	if err != nil {
		return err
	}
	if err := sameKey(l.dir, state.header.verifier, l.signer.Verifier()); err != nil {
		return err
	}
	l.tree, l.header = state.tree, state.header
	size := l.tree.size()
	root, err := l.tree.root(size)
	if err != nil {
		return damaged(l.dir, err)
	}
	if err := state.checkPublished(l.signer.Verifier()); err != nil {
		return err
	}
	if l.checkpoint, err = l.signer.SignCheckpoint(size, root); err != nil {
		return err
	}
	if err := l.fillTiles(); err != nil {
		return fmt.Errorf("completing the tiles of %s: %w", l.dir, err)
	}
	if err := l.rewriteJournal(); err != nil {
		return fmt.Errorf("rewriting the journal of %s: %w", l.dir, err)
	}
	return l.publish()
}

func sameKey(dir, journals, verifier string) error {
	if journals != verifier {
		return verdict.Misuse("ledger.key", "the key of the log in "+dir+": "+verdict.Short(journals), verdict.Short(verifier), "use the log's own key")
	}
	return nil
}

// Append adds entries at the end, in their order and next to each other, and returns the
// index of the first once all are durable and signed for. Each has 0 to ledger.MaxEntry
// bytes; together at most 1,024 entries and 4 MiB. If ctx ends before the writer takes the
// entries they are not added; from then on Append waits for their fate. After an error the
// entries may or may not be in the log.
func (l *Log) Append(ctx context.Context, entries [][]byte) (first int64, err error) {
	r := request{entries: entries}
	for _, e := range entries {
		if len(e) > ledger.MaxEntry {
			return 0, verdict.Misuse("ledger.entry", fmt.Sprintf("entries of at most %d bytes", ledger.MaxEntry), fmt.Sprintf("%d", len(e)), "record less")
		}
		r.bytes += 2 + len(e)
	}
	if len(entries) == 0 || len(entries) > maxBatchEntries || r.bytes > maxBatchBytes {
		return 0, verdict.Misuse("ledger.entry", fmt.Sprintf("1 to %d entries of together at most %d bytes", maxBatchEntries, maxBatchBytes),
			fmt.Sprintf("%d entries of %d bytes", len(entries), r.bytes), "add fewer at once")
	}
	done := make(chan result, 1)
	r.done = done
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-l.done:
		return 0, l.stopped()
	case l.requests <- r:
	}
	out := <-done
	return out.first, out.err
}

// stopped says why the writer has ended.
func (l *Log) stopped() error {
	if err := l.Err(); err != nil {
		return err
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "ledger.open", Expected: "an open log", Got: "a closed one", Fix: "open the log again"}
}

// Err says why the log adds nothing more: a [verdict.Error] of kind Broken, nil as long as
// it does.
func (l *Log) Err() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.err
}

// Failed is closed when a write has failed and the log adds nothing more; see [Log.Err].
func (l *Log) Failed() <-chan struct{} { return l.failed }

// Close ends the log: what was taken is finished, the checkpoint on disk is brought up to
// date, the directory is free for the next.
func (l *Log) Close() error {
	var err error
	l.closing.Do(func() {
		close(l.stop)
		<-l.done
		if err = l.Err(); err == nil {
			err = l.publish()
		}
		if l.journal != nil {
			err = errors.Join(err, l.journal.Close())
		}
		l.unlock()
	})
	return err
}

// publishEvery is how long the checkpoint on disk may be behind the log. Only static file
// servers and the check at the next start read it.
const publishEvery = time.Second

func damaged(dir string, err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "ledger.damaged", Expected: "a whole log in " + dir, Got: verdict.Short(err.Error()),
		Fix: "run strongroom ledger fsck on it; restore the directory from a copy and have officers confirm", Err: err}
}
