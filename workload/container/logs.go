package container

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"strongroom.dev/agreement"
)

// Printed is a piece of what a container printed.
type Printed struct {
	// Text is whole lines, at most LogPiece bytes; of the last piece perhaps none. It is wiped
	// once the piece was taken.
	Text []byte
	Last bool
	// Dropped is how many bytes were beyond the agreement's bound, so far.
	Dropped int64
}

// longestLine is where a line of output is cut in two, as the Kubernetes CRI does.
const longestLine = 16 << 10

// logs keeps what a container prints, up to the agreement's bound, and hands it over in
// pieces. Without receivers it keeps nothing, and once the run's context has ended it drops
// what it has: nothing leaves a room without a lease (R13).
type logs struct {
	now  func() time.Time
	give func(context.Context, Printed) // nil: nobody receives anything

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
func (l *logs) read(ctx context.Context, stream string, r io.Reader) {
	b := bufio.NewReaderSize(r, longestLine)
	for {
		line, err := b.ReadSlice('\n')
		if len(line) > 0 {
			l.line(ctx, stream, line, errors.Is(err, bufio.ErrBufferFull))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// line adds a line, or a part of one.
func (l *logs) line(ctx context.Context, stream string, text []byte, part bool) {
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
	if int64(len(l.piece))+need > LogPiece {
		l.hand(ctx, false)
	}
	l.left -= need
	l.piece = append(append(append(l.piece, head...), text...), '\n')
}

// hand hands a piece over, or drops it if ctx has ended. The caller holds the mutex.
func (l *logs) hand(ctx context.Context, last bool) {
	if l.give != nil && ctx.Err() == nil {
		l.give(ctx, Printed{Text: l.piece, Last: last, Dropped: l.dropped})
	}
	clear(l.piece)
	l.piece = nil
}

// end hands over what is left, which may be nothing, as the last piece, once both streams have
// ended, and says how much was dropped. Where ctx has ended there is no last piece.
func (l *logs) end(ctx context.Context) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hand(ctx, true)
	return l.dropped
}
