package tilelog

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Report is what [Fsck] found in a log that is whole.
type Report struct {
	Origin string    `json:"origin"`
	Size   int64     `json:"size"` // durable entries
	Root   wire.Hash `json:"root"`
	// Published is the size of the checkpoint on disk. It may be behind Size: then Size is
	// what the log will sign for when it is opened.
	Published int64 `json:"published"`
	// Torn counts bytes of a batch that was being written when its writer died. Nobody was
	// told that it is in the log.
	Torn int `json:"torn"`
	// Tiles counts the files under tile/ that were checked.
	Tiles int `json:"tiles"`
	// Copy is set where there is no journal: a published copy, complete up to its checkpoint.
	Copy bool `json:"copy"`
}

// Fsck checks a log's directory against the log's verifier key: it hashes every entry again,
// compares every tile, and checks the published checkpoint's signature and root. each, if
// not nil, is called with every entry in order; its error ends the check. Fsck writes
// nothing, and may look at a log that is being written. The error is a [verdict.Error].
func Fsck(dir, verifier string, each func(index int64, entry []byte) error) (Report, error) {
	f := fsck{dir: dir, each: each}
	r, err := f.run(verifier)
	if err == nil || f.callers || verdict.Exit(err) == int(verdict.Usage) {
		return r, err
	}
	if errors.Is(err, fs.ErrPermission) { // nothing is known about the log
		return r, &verdict.Error{Kind: verdict.Broken, Check: "ledger.read", Expected: "to be let at every file of the log", Got: verdict.Short(err.Error()), Where: dir,
			Fix: "run this as the log's own user: ls -l shows whose files they are", Err: err}
	}
	return r, damaged(dir, err)
}

type fsck struct {
	dir     string
	each    func(index int64, entry []byte) error
	callers bool // the error is from each
	report  Report
	tree    tree
	seen    int64 // entries counted so far
}

func (f *fsck) run(verifier string) (Report, error) {
	origin, err := ledger.OriginOf(verifier)
	if err != nil {
		return f.report, verdict.Misuse("ledger.key", "a log's verifier key", verdict.Short(err.Error()), "copy it as the log's owner shows it")
	}
	f.report.Origin = origin
	// What a writer at work adds later is not listed, so that all that is listed belongs to
	// entries that the journal, read after it, has already.
	listed, err := f.listTiles()
	if err != nil {
		return f.report, err
	}
	published, err := readBounded(f.dir, checkpointName, ledger.MaxNote)
	if err != nil {
		return f.report, err
	}
	journal, err := readBounded(f.dir, journalName, maxJournal)
	f.report.Copy = errors.Is(err, fs.ErrNotExist)
	if err != nil && !f.report.Copy {
		return f.report, err
	}
	if err := f.readAll(string(published), journal, verifier); err != nil {
		return f.report, err
	}
	f.report.Size = f.tree.size()
	if f.report.Root, err = f.tree.root(f.report.Size); err != nil {
		return f.report, err
	}
	for _, name := range listed {
		if err := f.checkTile(name); err != nil {
			return f.report, err
		}
	}
	return f.report, nil
}

// readAll brings every entry into the tree, from full bundles, then from the journal or, in
// a copy, from the partial bundle of the checkpoint; and holds the checkpoint against it.
func (f *fsck) readAll(published string, journal []byte, verifier string) error {
	if !f.report.Copy {
		if err := f.readJournal(journal, verifier); err != nil {
			return err
		}
	}
	if f.report.Copy && !namesKey(published, verifier) {
		return verdict.Misuse("ledger.key", "the key of the log in "+f.dir, verdict.Short(verifier), "use the log's own key: its checkpoint has no signature of this one")
	}
	c, err := ledger.OpenCheckpoint(published, verifier)
	if err != nil {
		return err
	}
	f.report.Published = c.Size
	if f.report.Copy {
		if err := f.readCopy(c); err != nil {
			return err
		}
	}
	return f.tree.extends(c)
}

// namesKey reports whether a signed checkpoint has a signature line of this key, good or not:
// if none, the key is another log's, and nothing is known about this one.
func namesKey(note, verifier string) bool {
	name, rest, _ := strings.Cut(verifier, "+")
	id, _, _ := strings.Cut(rest, "+")
	for line := range strings.SplitSeq(note, "\n") {
		text, found := strings.CutPrefix(line, "\u2014 "+name+" ")
		if data, err := base64.StdEncoding.DecodeString(text); found && err == nil && len(data) > 4 && hex.EncodeToString(data[:4]) == id {
			return true
		}
	}
	return false
}

func (f *fsck) readJournal(journal []byte, verifier string) error {
	h, rest, err := parseHeader(journal)
	if err != nil {
		return err
	}
	if err := sameKey(f.dir, h.verifier, verifier); err != nil {
		return err
	}
	if err := f.readBundles(h.base); err != nil {
		return err
	}
	if root, err := f.tree.root(h.base); err != nil || root != h.root {
		return fmt.Errorf("the first %d entries have root %s, the journal says %s (%v)", h.base, root, h.root, err)
	}
	frames, torn, err := parseFrames(rest, h.mark)
	if err != nil {
		return err
	}
	f.report.Torn = torn
	for _, frame := range frames {
		root, err := f.tree.root(f.tree.size())
		if err != nil {
			return err
		}
		if frame.first != f.tree.size() || frame.before != root {
			return fmt.Errorf("journal goes on at entry %d, expected %d, or over another root", frame.first, f.tree.size())
		}
		if err := f.count(frame.entries); err != nil {
			return err
		}
	}
	return nil
}

func (f *fsck) readCopy(c ledger.Checkpoint) error {
	base := c.Size - c.Size%tileWidth
	if err := f.readBundles(base); err != nil || base == c.Size {
		return err
	}
	width := int(c.Size - base)
	data, err := readBounded(f.dir, tilePath(entriesLevel, base/tileWidth, width), maxBundle)
	if err != nil {
		return err
	}
	entries, err := parseBundle(data, width)
	if err != nil {
		return err
	}
	return f.count(entries)
}

// readBundles reads the full bundles below base and compares the full tiles over them, in
// the order in which they were completed.
func (f *fsck) readBundles(base int64) error {
	f.tree.dir = f.dir
	for n := range base / tileWidth {
		data, err := readBounded(f.dir, tilePath(entriesLevel, n, tileWidth), maxBundle)
		if err != nil {
			return err
		}
		entries, err := parseBundle(data, tileWidth)
		if err != nil {
			return fmt.Errorf("%s: %w", tilePath(entriesLevel, n, tileWidth), err)
		}
		if err := f.count(entries); err != nil {
			return err
		}
		files, edge := f.tree.fill()
		for _, want := range files {
			if err := f.compare(want); err != nil {
				return err
			}
		}
		f.tree.advance(edge)
	}
	return nil
}

func (f *fsck) count(entries [][]byte) error {
	for _, e := range entries {
		f.tree.add(e)
		if f.each != nil {
			if err := f.each(f.seen, e); err != nil {
				f.callers = true
				return err
			}
		}
		f.seen++
	}
	return nil
}

func (f *fsck) compare(want fullTile) error {
	got, err := readBounded(f.dir, want.path, maxBundle)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want.data) {
		return fmt.Errorf("%s is not what the entries hash to", want.path)
	}
	f.report.Tiles++
	return nil
}

// listTiles lists the files under tile/, with slashes.
func (f *fsck) listTiles() (names []string, err error) {
	err = filepath.WalkDir(filepath.Join(f.dir, "tile"), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // an empty log, or a partial tile removed by a writer at work
		}
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".tmp") { // one being written, or left by a crash
			return err
		}
		below, err := filepath.Rel(f.dir, name)
		names = append(names, filepath.ToSlash(below))
		return err
	})
	return names, err
}

// checkTile compares a file under tile/ with the entries, whatever it is called.
func (f *fsck) checkTile(below string) error {
	level, n, width, err := parseTilePath(below)
	if err != nil {
		return err
	}
	first := n * tileWidth
	count := f.tree.size() >> (tileHeight * max(level, 0))
	if n > count/tileWidth || first+int64(width) > count {
		return fmt.Errorf("%s is beyond the log's %d entries", below, f.tree.size())
	}
	if width == tileWidth && (n+1)<<(tileHeight*(max(level, 0)+1)) <= f.tree.base {
		return nil // compared already
	}
	want, err := f.tree.tile(level, n, width)
	if err != nil {
		return err
	}
	err = f.compare(fullTile{below, want})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed by a writer at work
	}
	return err
}

// ParseTilePath reads a path like tile/0/x001/234.p/5 (C2SP tlog-tiles). Level -1 is an
// entry bundle; width 256 is a full tile.
func ParseTilePath(p string) (level int, n int64, width int, err error) { return parseTilePath(p) }

func parseTilePath(p string) (level int, n int64, width int, err error) {
	bad := fmt.Errorf("not the path of a tile: %.80q", p)
	parts := strings.Split(p, "/")
	if len(p) > 80 || len(parts) < 3 || parts[0] != "tile" {
		return 0, 0, 0, bad
	}
	level, width = entriesLevel, tileWidth
	if parts[1] != "entries" {
		if level, err = strconv.Atoi(parts[1]); err != nil || level < 0 || level > maxLevel {
			return 0, 0, 0, bad
		}
	}
	parts = parts[2:]
	if dir, partial := strings.CutSuffix(path.Dir(p), ".p"); partial {
		if width, err = strconv.Atoi(path.Base(p)); err != nil || width < 1 || width >= tileWidth {
			return 0, 0, 0, bad
		}
		parts = strings.Split(dir, "/")[2:]
	}
	for _, digits := range parts {
		d, err := strconv.ParseUint(strings.TrimPrefix(digits, "x"), 10, 64)
		if err != nil || d > 999 || n > ledger.MaxSize {
			return 0, 0, 0, bad
		}
		n = n*1000 + int64(d)
	}
	if n > ledger.MaxSize || tilePath(level, n, width) != p {
		return 0, 0, 0, bad
	}
	return level, n, width, nil
}
