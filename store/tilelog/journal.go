package tilelog

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"strongroom.dev/ledger"
	"strongroom.dev/wire"
)

// The journal holds the entries that are not in a full bundle yet (spec/ledger.md, section
// 9). It is a header and frames; a frame is one batch of entries, made durable by one fsync.
// Only frames are ever added to a journal; a new one replaces it whole.

// header is a journal's first lines.
type header struct {
	verifier string    // of the log's key
	base     int64     // entries before this one are in full tiles; a multiple of tileWidth
	root     wire.Hash // of the first base entries
	// mark is random for every journal. Each frame begins with it, so that nothing in an
	// entry can look like a frame.
	mark [16]byte
}

const journalFormat = "strongroom/journal/v1"

func (h header) encode() []byte {
	text := fmt.Sprintf("%s\n%s\n%d\n%s\n%s\n", journalFormat, h.verifier, h.base, base64.StdEncoding.EncodeToString(h.root[:]), base64.StdEncoding.EncodeToString(h.mark[:]))
	sum := wire.HashOf([]byte(text))
	return []byte(text + base64.StdEncoding.EncodeToString(sum[:]) + "\n")
}

// parseHeader reads the header and gives what follows it.
func parseHeader(data []byte) (h header, rest []byte, err error) {
	lines := strings.SplitN(string(data[:min(len(data), 2048)]), "\n", 7)
	if len(lines) != 7 || lines[0] != journalFormat {
		return h, nil, fmt.Errorf("not a journal of format %s", journalFormat)
	}
	h.verifier = lines[1]
	if h.base, err = strconv.ParseInt(lines[2], 10, 64); err != nil || h.base < 0 || h.base > ledger.MaxSize || h.base%tileWidth != 0 {
		return h, nil, fmt.Errorf("journal base %.30q", lines[2])
	}
	root, err1 := base64.StdEncoding.DecodeString(lines[3])
	mark, err2 := base64.StdEncoding.DecodeString(lines[4])
	if err1 != nil || err2 != nil || len(root) != len(h.root) || len(mark) != len(h.mark) {
		return h, nil, errors.New("journal header is damaged")
	}
	h.root, h.mark = wire.Hash(root), [16]byte(mark)
	encoded := h.encode()
	if !bytes.HasPrefix(data, encoded) {
		return h, nil, errors.New("journal header is damaged")
	}
	return h, data[len(encoded):], nil
}

// frame is one batch of entries.
type frame struct {
	first   int64     // index of the first entry
	before  wire.Hash // root of the tree before this batch
	entries [][]byte
}

// A frame: the journal's mark (16 bytes), length of the entries (4), index of the first (8),
// their number (4), the root before (32), the entries as in a bundle, and the SHA-256 of all
// that (32). Numbers are big-endian.
const (
	frameHead     = 16 + 4 + 8 + 4 + 32
	frameOverhead = frameHead + 32
)

func (f frame) encode(mark [16]byte) []byte {
	size := 0
	for _, e := range f.entries {
		size += 2 + len(e)
	}
	out := make([]byte, 0, size+frameOverhead)
	out = append(out, mark[:]...)
	out = binary.BigEndian.AppendUint32(out, uint32(size))
	out = binary.BigEndian.AppendUint64(out, uint64(f.first))
	out = binary.BigEndian.AppendUint32(out, uint32(len(f.entries)))
	out = append(out, f.before[:]...)
	out = appendBundle(out, f.entries)
	sum := wire.HashOf(out)
	return append(out, sum[:]...)
}

// errTorn is what bytes that are not a whole frame give.
var errTorn = errors.New("not a whole frame")

// parseFrame reads the frame at the start of data and gives what follows it.
func parseFrame(data []byte, mark [16]byte) (f frame, rest []byte, err error) {
	if len(data) < frameOverhead || !bytes.Equal(data[:16], mark[:]) {
		return f, nil, errTorn
	}
	size := int64(binary.BigEndian.Uint32(data[16:]))
	if int64(len(data)) < size+frameOverhead {
		return f, nil, errTorn
	}
	body, rest := data[:frameHead+size], data[frameHead+size+32:]
	if wire.HashOf(body) != wire.Hash(data[frameHead+size:]) {
		return f, nil, errTorn
	}
	f.first = int64(binary.BigEndian.Uint64(data[20:]))
	f.before = wire.Hash(data[32:])
	f.entries, err = parseBundle(body[frameHead:], int(binary.BigEndian.Uint32(data[28:])))
	return f, rest, err
}

// parseFrames reads frames up to the end of data or the first torn one. A torn frame can
// only be the last thing in a journal, since nothing is added after a failed write: if a
// whole frame follows it, the journal was damaged later, and that is an error. torn counts
// the bytes after the last whole frame.
func parseFrames(data []byte, mark [16]byte) (frames []frame, torn int, err error) {
	for len(data) > 0 {
		f, rest, err := parseFrame(data, mark)
		if err != nil && !errors.Is(err, errTorn) {
			return nil, 0, err
		}
		if err != nil {
			if wholeFrameIn(data[1:], mark) {
				return nil, 0, fmt.Errorf("journal is damaged before its end, after %d whole frames", len(frames))
			}
			return frames, len(data), nil
		}
		frames, data = append(frames, f), rest
	}
	return frames, 0, nil
}

func wholeFrameIn(data []byte, mark [16]byte) bool {
	for {
		i := bytes.Index(data, mark[:])
		if i < 0 {
			return false
		}
		if _, _, err := parseFrame(data[i:], mark); err == nil {
			return true
		}
		data = data[i+1:]
	}
}
