package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress shows how far a long copy is: a bar that redraws itself on a terminal, nothing
// elsewhere. It is used by one goroutine at a time.
type progress struct {
	w     io.Writer // nil: show nothing
	now   func() time.Time
	width int
	verb  string
	total int64 // bytes; 0 if unknown
	done  int64
	start time.Time
	drawn time.Time
}

// newProgress starts a bar on standard error; total is in bytes, 0 if unknown.
func (a *app) newProgress(verb string, total int64) *progress {
	p := &progress{now: a.now, verb: verb, total: total, start: a.now()}
	f, ok := a.err.(*os.File)
	if !ok || a.json || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return p
	}
	p.w, p.width = f, 80
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		p.width = w
	}
	return p
}

// set says how many bytes are done.
func (p *progress) set(done int64) {
	p.done = done
	if p.w == nil {
		return
	}
	now := p.now()
	if now.Sub(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = now
	fmt.Fprint(p.w, "\r"+p.line(now)+"\x1b[K")
}

// line is the bar as it stands, at most the width of the terminal.
func (p *progress) line(now time.Time) string {
	rate := ""
	if s := now.Sub(p.start).Seconds(); s > 0.2 {
		rate = fmt.Sprintf("  %s/s", byteSize(int64(float64(p.done)/s)))
	}
	if p.total <= 0 {
		return cut(fmt.Sprintf("%s  %s%s", p.verb, byteSize(p.done), rate), p.width)
	}
	share := min(1, float64(p.done)/float64(p.total))
	tail := fmt.Sprintf("] %3.0f%%  %s%s", 100*share, byteSize(p.total), rate)
	room := min(40, p.width-len(p.verb)-len(tail)-3)
	if room < 5 {
		return cut(fmt.Sprintf("%s %3.0f%%", p.verb, 100*share), p.width)
	}
	full := int(share * float64(room))
	return fmt.Sprintf("%s [%s%s%s", p.verb, strings.Repeat("=", full), strings.Repeat(" ", room-full), tail)
}

func cut(s string, width int) string {
	if len(s) >= width && width > 1 {
		return s[:width-1]
	}
	return s
}

// end takes the bar away, so that what is printed next stands on a clean line.
func (p *progress) end() {
	if p.w != nil && !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// byteSize gives a size for people: 1.4 GB.
func byteSize(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 999.5 && unit < 5 {
		value /= 1000
		unit++
	}
	return fmt.Sprintf("%.3g %cB", value, " kMGTP"[unit])
}
