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

// Printed is a piece of what a container printed.
type Printed struct {
	Text []byte // whole lines; of the last piece perhaps none
	Last bool
	// Dropped is how many bytes were beyond the agreement's bound, so far.
	Dropped int64
}

// longestLine is where a line of output is cut in two, as the Kubernetes CRI does.
const longestLine = 16 << 10

// logs keeps what a container prints, up to the agreement's bound, and hands it over in
// pieces. Without receivers it keeps nothing.
type logs struct {
	now  func() time.Time
	give func(Printed) // nil: nobody receives anything

	mu      sync.Mutex // owns what follows, and is held while a piece is handed over
	left    int64      // bytes that may still be kept
	dropped int64
	piece   []byte
}

func newLogs(l agreement.Logs, m Machine) *logs {
	out := &logs{now: m.Now}
	if len(l.Receivers) > 0 {
		out.left, out.give = l.MaxBytes, m.Logs
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
		l.hand(false)
	}
}

// hand hands a piece over. The caller holds the mutex.
func (l *logs) hand(last bool) {
	if l.give != nil {
		l.give(Printed{Text: l.piece, Last: last, Dropped: l.dropped})
	}
	l.piece = nil
}

// end hands over what is left, which may be nothing, as the last piece, once both streams have
// ended, and says how much was dropped.
func (l *logs) end() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hand(true)
	return l.dropped
}
