// Package tree carries a directory tree over a byte stream, entry by entry, into an empty
// file system.
//
// It promises that nothing is written outside the directory it is given: no path leaves it,
// no entry lies below a symbolic link, no entry stands twice, and devices, sockets and
// extended attributes do not exist in the format. Every length is bounded before anything is
// allocated. Spec: spec/container.md, section The cell.
package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Type says what an entry is.
type Type uint8

// The types of entries.
const (
	End       Type = iota // of the stream; no entry
	Directory             // its parent stands before it; "." is the root itself, first or not at all
	Regular
	Symlink // Target is the text of the link, whatever it points to
	Link    // Target is the path of an earlier entry that is no Directory
	Pipe
)

// Entry is one entry of the tree.
type Entry struct {
	// Path is relative to the root, clean, with slashes; "." is the root itself.
	Path string
	Type Type
	// Mode are permission bits, 0 to 07777.
	Mode uint32
	UID  uint32
	GID  uint32
	// MTime is in seconds since 1970.
	MTime int64
	// Size of a regular file's content, in bytes.
	Size int64
	// Target of a link.
	Target string
}

// What one entry and one tree may be.
const (
	MaxPath   = 4096    // bytes of a path or target, as in Linux
	MaxName   = 255     // bytes of one element
	MaxSize   = 1 << 40 // bytes of one file
	magic     = "strongroom/tree/1\n"
	headBytes = 36 // type, 3 zero bytes, mode, uid, gid, mtime, size, path's and target's lengths
)

// Limits bound a whole tree. The zero value admits an empty one.
type Limits struct {
	Entries int64 // with the root
	Bytes   int64 // of content, all files together
}

// EntryError is a refusal of one entry.
type EntryError struct {
	Path string
	Why  string
}

func (e *EntryError) Error() string { return fmt.Sprintf("entry %q: %s", e.Path, e.Why) }

// check says what is wrong with an entry by itself.
func (e Entry) check() error {
	bad := func(why string) error { return &EntryError{e.Path, why} }
	if e.Path != "." || e.Type != Directory {
		if why := badPath(e.Path); why != "" {
			return bad(why)
		}
	}
	switch {
	case e.Type == End || e.Type > Pipe:
		return bad("its type can't be in a room")
	case e.Mode > 0o7777:
		return bad("its mode has more than permission bits")
	case e.UID == math.MaxUint32 || e.GID == math.MaxUint32:
		return bad("its owner has no number")
	case e.Size < 0 || e.Size > MaxSize || e.Size > 0 && e.Type != Regular:
		return bad("its size can't be")
	}
	switch e.Type {
	case Symlink:
		if e.Target == "" || len(e.Target) >= MaxPath || strings.ContainsRune(e.Target, 0) {
			return bad("its target is empty, too long or has a zero byte")
		}
	case Link:
		if why := badPath(e.Target); why != "" {
			return bad("its target: " + why)
		}
	default:
		if e.Target != "" {
			return bad("it has a target and is no link")
		}
	}
	return nil
}

// badPath says what is wrong with a path; empty: nothing.
func badPath(path string) string {
	if path == "" || len(path) >= MaxPath {
		return "its path is empty or too long"
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			return "its path is not clean, relative and below the root"
		}
		if len(name) > MaxName || strings.ContainsRune(name, 0) {
			return "a name in its path is too long or has a zero byte"
		}
	}
	return ""
}

// Writer writes a tree.
type Writer struct {
	w   io.Writer
	err error
}

// NewWriter begins a tree on w, which should be buffered.
func NewWriter(w io.Writer) *Writer {
	_, err := io.WriteString(w, magic)
	return &Writer{w, err}
}

// Add writes an entry; content has exactly Size bytes, and may be nil for none. An entry that
// can't be in a tree is refused with an [*EntryError]; after any error the tree is broken.
func (w *Writer) Add(e Entry, content io.Reader) error {
	if w.err == nil {
		w.err = w.add(e, content)
	}
	return w.err
}

func (w *Writer) add(e Entry, content io.Reader) error {
	if err := e.check(); err != nil {
		return err
	}
	if _, err := w.w.Write(e.head()); err != nil {
		return err
	}
	if e.Size == 0 {
		return nil
	}
	if content == nil {
		return &EntryError{e.Path, "it has a size and no content"}
	}
	switch n, err := io.CopyN(w.w, content, e.Size); {
	case errors.Is(err, io.EOF):
		return &EntryError{e.Path, fmt.Sprintf("it has %d bytes, not %d", n, e.Size)}
	case err != nil:
		return err
	}
	return nil
}

func (e Entry) head() []byte {
	b := make([]byte, 4, headBytes+len(e.Path)+len(e.Target))
	b[0] = byte(e.Type)
	b = binary.BigEndian.AppendUint32(b, e.Mode)
	b = binary.BigEndian.AppendUint32(b, e.UID)
	b = binary.BigEndian.AppendUint32(b, e.GID)
	b = binary.BigEndian.AppendUint64(b, uint64(e.MTime))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Size))
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Path)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Target)))
	return append(append(b, e.Path...), e.Target...)
}

// Close ends the tree. What was written without it is no tree.
func (w *Writer) Close() error {
	if w.err == nil {
		_, w.err = w.w.Write((Entry{}).head())
	}
	return w.err
}

// Reader reads a tree.
type Reader struct {
	r       io.Reader
	limits  Limits
	content *io.LimitedReader // of the entry last given
	begun   bool
}

// NewReader reads a tree from r, which should be buffered, and refuses one beyond limits.
func NewReader(r io.Reader, limits Limits) *Reader {
	return &Reader{r: r, limits: limits, content: &io.LimitedReader{R: r}}
}

// Next gives the next entry, whose content is then read with Read; io.EOF after the last,
// with nothing read beyond it. A stream that is cut is an io.ErrUnexpectedEOF.
func (r *Reader) Next() (Entry, error) {
	if err := r.begin(); err != nil {
		return Entry{}, cut(err)
	}
	var head [headBytes]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return Entry{}, cut(err)
	}
	names := make([]byte, int(binary.BigEndian.Uint16(head[32:]))+int(binary.BigEndian.Uint16(head[34:])))
	e := Entry{Type: Type(head[0]), Mode: binary.BigEndian.Uint32(head[4:]),
		UID: binary.BigEndian.Uint32(head[8:]), GID: binary.BigEndian.Uint32(head[12:]),
		MTime: int64(binary.BigEndian.Uint64(head[16:])), Size: int64(binary.BigEndian.Uint64(head[24:]))}
	if len(names) > 2*MaxPath || head[1]|head[2]|head[3] != 0 {
		return Entry{}, errors.New("an entry's head is not in the format")
	}
	if _, err := io.ReadFull(r.r, names); err != nil {
		return Entry{}, cut(err)
	}
	n := binary.BigEndian.Uint16(head[32:])
	e.Path, e.Target = string(names[:n]), string(names[n:])
	if e == (Entry{}) {
		return Entry{}, io.EOF
	}
	return e, r.admit(e)
}

// begin reads what stands before an entry: the rest of the last one's content, or the magic.
func (r *Reader) begin() error {
	if r.begun {
		_, err := io.Copy(io.Discard, r.content)
		if err == nil && r.content.N > 0 {
			err = io.EOF
		}
		return err
	}
	r.begun = true
	start := make([]byte, len(magic))
	if _, err := io.ReadFull(r.r, start); err != nil {
		return err
	}
	if string(start) != magic {
		return errors.New("the stream is no tree of this version")
	}
	return nil
}

func (r *Reader) admit(e Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	if r.limits.Entries--; r.limits.Entries < 0 {
		return &EntryError{e.Path, "the tree has more entries than it may"}
	}
	if r.limits.Bytes -= e.Size; r.limits.Bytes < 0 {
		return &EntryError{e.Path, "the tree has more bytes than it may"}
	}
	r.content.N = e.Size
	return nil
}

// Read reads the content of the entry that Next gave last.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.content.Read(p)
	if errors.Is(err, io.EOF) && r.content.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
