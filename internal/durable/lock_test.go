package durable_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"strongroom.dev/internal/durable"
)

func TestLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := durable.Lock(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := durable.Lock(path, 0); !errors.Is(err, durable.ErrLocked) {
		t.Fatalf("second lock: %v, expected ErrLocked", err)
	}
	start := time.Now()
	if _, err := durable.Lock(path, 20*time.Millisecond); !errors.Is(err, durable.ErrLocked) || time.Since(start) < 20*time.Millisecond {
		t.Fatalf("patient lock: %v after %s, expected ErrLocked after 20ms", err, time.Since(start))
	}
	time.AfterFunc(20*time.Millisecond, unlock)
	again, err := durable.Lock(path, 10*time.Second)
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	again()
}

func TestLockNeedsItsDirectory(t *testing.T) {
	if _, err := durable.Lock(filepath.Join(t.TempDir(), "missing", "lock"), time.Minute); err == nil || errors.Is(err, durable.ErrLocked) {
		t.Fatalf("lock in a missing directory: %v", err)
	}
}
