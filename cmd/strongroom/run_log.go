package main

import (
	"bytes"
	"io"
	"strings"
	"sync"

	"strongroom.dev/verdict"
)

// roomLog shows what a room prints before it falls silent. Its last words are held back: as a rule
// the room also says them to its host, and people should read a refusal once.
type roomLog struct {
	mu   sync.Mutex // owns what follows
	w    io.Writer
	part []byte // of a line
	held []byte
}

// Write passes on whole lines.
func (l *roomLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		end := bytes.IndexByte(l.part, '\n')
		if end < 0 {
			return len(p), nil
		}
		line := l.part[:end+1]
		l.part = l.part[end+1:]
		if lastWords(string(line)) {
			l.held = append(l.held, line...)
			continue
		}
		if _, err := l.w.Write(line); err != nil {
			return 0, err
		}
	}
}

// lastWords tells the lines of an agent that ends with a reason, and of a machine that goes down
// with it.
func lastWords(line string) bool {
	if strings.HasPrefix(line, "strongroom-agent: ") || strings.HasSuffix(strings.TrimRight(line, "\r\n"), "reboot: Power down") {
		return true
	}
	_, stopped, found := strings.Cut(line, "s stopped: room.ended: ")
	return found && strings.HasPrefix(line, "strongroom: ") && stopped != ""
}

// end shows what was held back, unless the room gave its reason itself; err is how it ended.
func (l *roomLog) end(err error) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := append(l.held, l.part...)
	l.held, l.part = nil, nil
	if err == nil || len(rest) == 0 {
		return
	}
	if check := verdict.As(err).Check; check != "room.ended" && check != "room.silent" {
		return
	}
	if rest[len(rest)-1] != '\n' {
		rest = append(rest, '\n')
	}
	l.w.Write(rest) //nolint:errcheck // standard error
}
