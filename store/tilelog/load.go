package tilelog

import (
	"errors"
	"fmt"
	"io/fs"

	"strongroom.dev/ledger"
)

// state is what a directory holds.
type state struct {
	dir       string
	header    header
	tree      tree
	torn      int    // bytes of an unfinished frame at the journal's end
	published string // the checkpoint on disk; "" if there is none
}

// load reads a log's directory: the checkpoint first, so that a writer at work can only be
// ahead of it, then the journal, then the full tiles at the right edge.
func load(dir string) (*state, error) {
	published, err := readBounded(dir, checkpointName, ledger.MaxNote)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	data, err := readBounded(dir, journalName, maxJournal)
	if err != nil {
		return nil, err
	}
	s := &state{dir: dir, published: string(published)}
	s.tree.dir = dir
	if err := s.replay(data); err != nil {
		return nil, damaged(dir, err)
	}
	return s, nil
}

// replay rebuilds the tree from the journal.
func (s *state) replay(journal []byte) error {
	h, rest, err := parseHeader(journal)
	if err != nil {
		return err
	}
	s.header = h
	if err := s.tree.loadEdge(h.base); err != nil {
		return err
	}
	if root, err := s.tree.root(h.base); err != nil || root != h.root {
		return fmt.Errorf("the tiles of the first %d entries do not have the root the journal names: %w", h.base, err)
	}
	frames, torn, err := parseFrames(rest, h.mark)
	if err != nil {
		return err
	}
	s.torn = torn
	for _, f := range frames {
		root, err := s.tree.root(s.tree.size())
		if err != nil {
			return err
		}
		if f.first != s.tree.size() || f.before != root {
			return fmt.Errorf("journal goes on at entry %d, expected %d, or over another root", f.first, s.tree.size())
		}
		for _, e := range f.entries {
			s.tree.add(e)
		}
	}
	return nil
}

// checkPublished demands that the log is not behind, or beside, the checkpoint it published
// last.
func (s *state) checkPublished(verifier string) error {
	if s.published == "" {
		if s.tree.size() > 0 {
			return damaged(s.dir, errors.New("no checkpoint there"))
		}
		return nil
	}
	c, err := ledger.OpenCheckpoint(s.published, verifier)
	if err != nil {
		return damaged(s.dir, err)
	}
	return s.tree.extends(c)
}

// extends demands that the tree has the checkpoint's entries as its first ones.
func (t *tree) extends(c ledger.Checkpoint) error {
	mine := ledger.Checkpoint{Origin: c.Origin, Size: t.size()}
	if c.Size <= t.size() {
		root, err := t.root(c.Size)
		if err != nil {
			return damaged(t.dir, err)
		}
		mine.Size, mine.Root = c.Size, root
	}
	return ledger.CheckConsistency(nil, c, mine)
}
