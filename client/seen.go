package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"strongroom.dev/internal/durable"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Seen remembers the last checkpoint accepted of each log, in one file outside any log's own
// directory (R15), and accepts only what extends it. Processes may share the file.
type Seen struct{ path string }

const (
	// maxSeen bounds the logs of one file: far more than anybody deals with.
	maxSeen = 1000
	// seenFormat names the file's format.
	seenFormat = "strongroom/seen/v1"
	// seenPatience is how long one process waits for another to be done with the file.
	seenPatience = 10 * time.Second
)

// seenFile is the file.
type seenFile struct {
	Format string      `json:"format"`
	Logs   []seenEntry `json:"logs"`
}

// seenEntry is one log: its key, and its last checkpoint with the log's signature.
type seenEntry struct {
	Key        string `json:"key"`
	Checkpoint string `json:"checkpoint"`
}

// NewSeen gives the memory in the file at path, which need not exist yet.
func NewSeen(path string) *Seen { return &Seen{path} }

// Last gives the last checkpoint accepted of the log with that key, and whether there is one.
func (s *Seen) Last(logKey string) (c ledger.Checkpoint, known bool, err error) {
	file, err := s.read()
	if err != nil {
		return c, false, err
	}
	if i := file.find(logKey); i >= 0 {
		c, err = ledger.OpenCheckpoint(file.Logs[i].Checkpoint, logKey)
		return c, err == nil, err
	}
	return c, false, nil
}

// Accept checks a checkpoint with the log's key, demands the proof that it extends the one
// accepted last, and remembers it, durably before it returns. prove is asked for a proof
// only where there is something to prove. The errors are those of [ledger.OpenCheckpoint],
// [ledger.CheckConsistency] and prove; after one nothing has changed.
func (s *Seen) Accept(logKey, checkpoint string, prove func(from, to int64) ([]wire.Hash, error)) (ledger.Checkpoint, error) {
	c, err := ledger.OpenCheckpoint(checkpoint, logKey)
	if err != nil {
		return c, err
	}
	return c, s.update(logKey, checkpoint, func(before seenEntry) (bool, error) { return true, extends(before, c, prove) })
}

// update remembers a verified checkpoint of a log, if replace says so of the one before, where
// there is one. One process at a time does.
func (s *Seen) update(logKey, checkpoint string, replace func(before seenEntry) (bool, error)) error {
	unlock, err := durable.Lock(s.path+".lock", seenPatience)
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", s.path, err)
	}
	defer unlock()
	file, err := s.read()
	if err != nil {
		return err
	}
	i := file.find(logKey)
	if i < 0 {
		if len(file.Logs) >= maxSeen {
			return verdict.Refuse("seen.full", fmt.Sprintf("at most %d logs in %s", maxSeen, s.path), "one more", "use another file")
		}
		i, file.Logs = len(file.Logs), append(file.Logs, seenEntry{Key: logKey})
	} else if yes, err := replace(file.Logs[i]); err != nil || !yes {
		return err
	}
	note, err := ledger.KeepSignature(checkpoint, logKey)
	if err != nil || note == file.Logs[i].Checkpoint {
		return err
	}
	file.Logs[i].Checkpoint = note
	data, err := wire.Marshal(file)
	if err != nil {
		return err
	}
	return durable.WriteFile(s.path, append(data, '\n'), 0o600)
}

// Meet notes a checkpoint from a document of any age that brings no proof about what was seen
// before. It refuses another root for the size remembered; an older one passes, a newer one
// is remembered though nothing proves yet that it extends the last. A memory that is to show
// one history, by [Seen.Accept], is another file.
func (s *Seen) Meet(logKey, checkpoint string) error {
	last, known, err := s.Last(logKey)
	if err != nil {
		return err
	}
	c, err := ledger.OpenCheckpoint(checkpoint, logKey)
	if err != nil || known && c.Size < last.Size {
		return err
	}
	if known && c.Size == last.Size {
		return ledger.CheckConsistency(nil, last, c)
	}
	return s.update(logKey, checkpoint, func(before seenEntry) (bool, error) {
		last, err := ledger.OpenCheckpoint(before.Checkpoint, before.Key)
		if err != nil || c.Size < last.Size {
			return false, err
		}
		if c.Size == last.Size {
			return false, ledger.CheckConsistency(nil, last, c)
		}
		return true, nil
	})
}

func extends(before seenEntry, c ledger.Checkpoint, prove func(from, to int64) ([]wire.Hash, error)) error {
	last, err := ledger.OpenCheckpoint(before.Checkpoint, before.Key)
	if err != nil {
		return err
	}
	proof := []wire.Hash{}
	if last.Size > 0 && c.Size > last.Size {
		if proof, err = prove(last.Size, c.Size); err != nil {
			return err
		}
	}
	return ledger.CheckConsistency(proof, last, c)
}

func (s *Seen) read() (file seenFile, err error) {
	file.Format, file.Logs = seenFormat, []seenEntry{}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return file, nil
	}
	if err != nil {
		return file, err
	}
	if len(data) > 0 && data[len(data)-1] == '\n' {
		data = data[:len(data)-1]
	}
	if err = wire.Unmarshal(data, &file); err == nil && file.Format != seenFormat {
		err = fmt.Errorf("format %.60q", file.Format)
	}
	if err != nil {
		return file, &verdict.Error{Kind: verdict.Broken, Check: "seen.file", Expected: "a file of type " + seenFormat, Got: verdict.Short(err.Error()), Where: s.path, Err: err,
			Fix: "restore it from a copy; removing it forgets what was seen of every log"}
	}
	return file, nil
}

func (f seenFile) find(logKey string) int {
	for i, e := range f.Logs {
		if e.Key == logKey {
			return i
		}
	}
	return -1
}
