package tilelog

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// write is the one goroutine that adds to the log, until Close or a failure.
func (l *Log) write() {
	defer close(l.done)
	var timer <-chan time.Time // runs while the checkpoint on disk is behind
	var left *request          // did not fit into the last batch
	for {
		var batch []request
		if left != nil {
			batch = []request{*left}
		} else {
			select {
			case r := <-l.requests:
				batch = []request{r}
			case <-timer:
				timer = nil
				if err := l.publish(); err != nil {
					l.fail(fmt.Errorf("publishing the checkpoint: %w", err))
					return
				}
				continue
			case <-l.stop:
				return
			}
		}
		batch, left = l.collect(batch)
		if err := l.commit(batch); err != nil {
			if left != nil {
				left.done <- result{err: l.Err()}
			}
			return
		}
		if timer == nil {
			timer = time.After(publishEvery)
		}
	}
}

// collect adds the requests that wait already, as far as they fit.
func (l *Log) collect(batch []request) (full []request, left *request) {
	entries, bytes := len(batch[0].entries), batch[0].bytes
	for {
		select {
		case r := <-l.requests:
			entries, bytes = entries+len(r.entries), bytes+r.bytes
			if entries > maxBatchEntries || bytes > maxBatchBytes {
				return batch, &r
			}
			batch = append(batch, r)
		default:
			return batch, nil
		}
	}
}

// commit makes a batch durable, signs the tree with it, and tells who waits. An error has
// been told and ends the log.
func (l *Log) commit(batch []request) error {
	first := l.tree.size()
	var entries [][]byte
	for _, r := range batch {
		for _, e := range r.entries {
			entries = append(entries, append([]byte(nil), e...)) // the caller's memory is the caller's
		}
	}
	err := l.record(first, entries)
	next := first
	for _, r := range batch {
		if err != nil {
			r.done <- result{err: l.Err()}
			continue
		}
		r.done <- result{first: next}
		next += int64(len(r.entries))
	}
	if err == nil && len(l.tree.tail) >= tileWidth {
		if err = l.fillTiles(); err == nil {
			err = l.rewriteJournal()
		}
		if err != nil {
			l.fail(fmt.Errorf("writing full tiles: %w", err))
		}
	}
	return err
}

// record appends one frame, and only when it is durable adds the entries to the tree and
// signs. A root is thus signed only if the entries under it survive any crash, and since it
// follows from them alone, no other root of that size ever is.
func (l *Log) record(first int64, entries [][]byte) error {
	before, err := l.tree.root(first)
	if err == nil {
		err = l.disk.append(l.journal, frame{first, before, entries}.encode(l.header.mark))
	}
	if err == nil {
		err = l.disk.sync(l.journal)
	}
	if err != nil {
		return l.fail(fmt.Errorf("recording entry %d: %w", first, err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		l.tree.add(e)
	}
	root, err := l.tree.root(l.tree.size())
	if err == nil {
		l.checkpoint, err = l.signer.SignCheckpoint(l.tree.size(), root)
	}
	if err != nil {
		return l.failLocked(fmt.Errorf("signing for entry %d: %w", first, err))
	}
	return nil
}

func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failLocked(err)
}

func (l *Log) failLocked(err error) error {
	l.err = &verdict.Error{Kind: verdict.Broken, Check: "ledger.write", Expected: "entries that reach the disk of " + l.dir, Got: verdict.Short(err.Error()),
		Fix: "mend the disk, then restart: the log checks itself and goes on from what is durable", Err: err}
	close(l.failed)
	return l.err
}

// fillTiles writes full tiles of the tail's whole bundles. They are durable before the
// journal lets go of the entries, which is the caller's next step.
func (l *Log) fillTiles() error {
	for len(l.tree.tail) >= tileWidth {
		files, edge := l.tree.fill()
		for _, f := range files {
			if err := l.writeFinal(f); err != nil {
				return err
			}
		}
		l.mu.Lock()
		l.tree.advance(edge)
		l.mu.Unlock()
	}
	return nil
}

// writeFinal writes a full tile. One that is there already, from before a crash, must be the
// same: a full tile never changes.
func (l *Log) writeFinal(f fullTile) error {
	name := filepath.Join(l.dir, filepath.FromSlash(f.path))
	if old, err := os.ReadFile(name); err == nil && string(old) != string(f.data) {
		return fmt.Errorf("%s is there with other content", name)
	}
	if err := makeDir(filepath.Dir(name)); err != nil {
		return err
	}
	return l.disk.writeFile(name, f.data)
}

// rewriteJournal replaces the journal by one with the tail only.
func (l *Log) rewriteJournal() error {
	root, err := l.tree.root(l.tree.base)
	if err != nil {
		return err
	}
	return l.newJournal(root)
}

// newJournal writes a journal that starts at the tree's base, with the tail in it, and opens
// it for more.
func (l *Log) newJournal(root wire.Hash) error {
	h := header{verifier: l.signer.Verifier(), base: l.tree.base, root: root, mark: keys.RandomID()}
	data := h.encode()
	if len(l.tree.tail) > 0 {
		data = append(data, frame{h.base, root, l.tree.tail}.encode(h.mark)...)
	}
	if l.journal != nil {
		l.journal.Close() // some systems rename over closed files only
		l.journal = nil
	}
	name := filepath.Join(l.dir, journalName)
	if err := l.disk.writeFile(name, data); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	l.journal, l.header = f, h
	return nil
}

// publish brings the partial tiles and the checkpoint on disk up to date, in this order, and
// removes partial tiles that neither this checkpoint nor the one before needs.
func (l *Log) publish() error {
	size := l.tree.size()
	if l.published == size {
		return nil
	}
	for level := entriesLevel; size>>(tileHeight*max(level, 0)) > 0; level++ {
		count := size >> (tileHeight * max(level, 0))
		if err := l.publishPartial(level, count/tileWidth, int(count%tileWidth)); err != nil {
			return err
		}
	}
	if err := l.disk.writeFile(filepath.Join(l.dir, checkpointName), []byte(l.checkpoint)); err != nil {
		return err
	}
	l.removePartials(size)
	l.published = size
	return nil
}

func (l *Log) publishPartial(level int, n int64, width int) error {
	if width == 0 {
		return nil
	}
	data, err := l.tree.tile(level, n, width)
	if err != nil {
		return err
	}
	name := filepath.Join(l.dir, filepath.FromSlash(tilePath(level, n, width)))
	if err := makeDir(filepath.Dir(name)); err != nil {
		return err
	}
	return l.disk.writeFile(name, data)
}

// removePartials removes partial tiles whose time is over. That is housekeeping: what can't
// be removed stays, and does no harm.
func (l *Log) removePartials(size int64) {
	for level := entriesLevel; size>>(tileHeight*max(level, 0)) > 0; level++ {
		now, before := size>>(tileHeight*max(level, 0)), max(l.published, 0)>>(tileHeight*max(level, 0))
		last := now / tileWidth
		dir := l.partials(level, last)
		names, _ := os.ReadDir(dir)
		for _, name := range names {
			width, err := strconv.ParseInt(name.Name(), 10, 64)
			if err != nil || last*tileWidth+width != now && last*tileWidth+width != before {
				os.Remove(filepath.Join(dir, name.Name()))
			}
		}
		done := max(last-1, 0) // at the start, a crash may have left those of the tile before
		if l.published >= 0 {
			done = min(done, before/tileWidth)
		}
		for ; done < last; done++ {
			os.RemoveAll(l.partials(level, done))
		}
	}
}

// partials gives the directory of a tile's partial forms.
func (l *Log) partials(level int, n int64) string {
	return filepath.Join(l.dir, filepath.FromSlash(path.Dir(tilePath(level, n, 1))))
}
