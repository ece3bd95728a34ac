package container

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"strongroom.dev/agreement"
)

// longestLine is where a line of output is cut in two, as the Kubernetes CRI does.
const longestLine = 16 << 10

// logs keeps what a container prints, up to the agreement's bound, and hands it over in
// pieces. Without receivers it keeps nothing.
type logs struct {
	now  func() time.Time
	give func([]byte)

	mu      sync.Mutex // owns what follows, and is held while a piece is handed over
	left    int64      // bytes that may still be kept
	dropped int64
	piece   []byte
}

func newLogs(l agreement.Logs, m Machine) *logs {
	out := &logs{now: m.Now, give: m.Logs}
	if len(l.Receivers) > 0 {
		out.left = l.MaxBytes
	}
	return out
}

// read takes one stream to its end.
func (l *logs) read(stream string, r io.Reader) {
	b := bufio.NewReaderSize(r, longestLine)
	for {
		line, err := b.ReadSlice('\n')
		if len(line) > 0 {
			l.line(stream, line, errors.Is(err, bufio.ErrBufferFull))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// line adds a line, or a part of one.
func (l *logs) line(stream string, text []byte, part bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tag := "F"
	if part {
		tag = "P"
	}
	if text[len(text)-1] == '\n' {
		text = text[:len(text)-1]
	}
	head := fmt.Sprintf("%s %s %s ", l.now().UTC().Format(time.RFC3339Nano), stream, tag)
	need := int64(len(head) + len(text) + 1)
	// Once something was dropped nothing later is kept: what is there has no holes.
	if l.dropped > 0 || need > l.left {
		l.dropped += int64(len(text)) + 1
		return
	}
	l.left -= need
	l.piece = append(append(append(l.piece, head...), text...), '\n')
	if len(l.piece) >= LogPiece {
		l.hand()
	}
}

// hand hands a piece over. The caller holds the mutex.
func (l *logs) hand() {
	if len(l.piece) > 0 && l.give != nil {
		l.give(l.piece)
	}
	l.piece = nil
}

// end hands over what is left, once both streams have ended, and says how much was dropped.
func (l *logs) end() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hand()
	return l.dropped
}
