package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgressLineFitsItsTerminal(t *testing.T) {
	start := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	for _, width := range []int{20, 40, 80, 200} {
		for _, done := range []int64{0, 1, 499e6, 1e9, 2e9} {
			for _, total := range []int64{0, 1e9} {
				p := &progress{verb: "sealing", width: width, total: total, done: done, start: start}
				if line := p.line(start.Add(3 * time.Second)); len(line) >= width || line == "" || strings.ContainsAny(line, "\r\n") {
					t.Errorf("width %d, %d of %d: %q", width, done, total, line)
				}
			}
		}
	}
	p := &progress{verb: "sealing", width: 80, total: 2e9, done: 1e9, start: start}
	if got, want := p.line(start.Add(2*time.Second)), "sealing [====================                    ]  50%  2 GB  500 MB/s"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestNoProgressOffATerminal(t *testing.T) {
	var b bytes.Buffer
	a := &app{err: &b, now: time.Now}
	p := a.newProgress("sealing", 100)
	p.set(50)
	p.end()
	if b.Len() != 0 {
		t.Errorf("wrote %q", b.String())
	}
}

func TestByteSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 1440: "1.44 kB", 999_600: "1 MB", 1_234_567_890: "1.23 GB"} {
		if got := byteSize(n); got != want {
			t.Errorf("%d: %q, expected %q", n, got, want)
		}
	}
}
