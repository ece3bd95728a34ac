package main

import (
	"strings"
	"testing"
	"time"
)

// A clock that nothing keeps right is no failure, and the doctor says what it means.
func TestClockText(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		synced, known bool
		warns         bool
	}{{false, true, true}, {true, true, false}, {false, false, false}} {
		text := clockText(now, c.synced, c.known)
		if !strings.HasPrefix(text, "2026-11-24T09:30:00Z") || strings.Contains(text, "compare it with another clock") != c.warns {
			t.Errorf("synchronised %v, known %v: %s", c.synced, c.known, text)
		}
	}
}
