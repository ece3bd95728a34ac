package room_test

import (
	"testing"
	"time"

	"strongroom.dev/room"
)

// TestLapsedLease: an answer that comes after a lease has lapsed does not give it life again.
func TestLapsedLease(t *testing.T) {
	now := time.Duration(0)
	extend, check := room.Leases(func() time.Duration { return now })
	extend("alpha", 0, time.Second)
	now = 900 * time.Millisecond
	extend("alpha", now, time.Second)
	now = 1800 * time.Millisecond
	if err := check(); err != nil {
		t.Errorf("a lease that was extended: %v", err)
	}
	now = 2 * time.Second
	extend("alpha", now, time.Second)
	if check() == nil {
		t.Error("a lease that had lapsed was extended")
	}
}
