package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/verdict"
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

// Paths are QEMU's to read, which is run in another directory.
func TestDoctorPaths(t *testing.T) {
	f := doctorFlags{platform: "snp", image: "testdata", firmware: "x.fd"}
	if err := f.check(); verdict.Exit(err) != 2 || verdict.As(err).Check != "image" {
		t.Errorf("a directory that is no image: %v", err)
	}
	if !filepath.IsAbs(f.image) || !filepath.IsAbs(f.firmware) {
		t.Errorf("%+v, expected absolute paths", f)
	}
	if f = (doctorFlags{}); f.check() != nil || f.image != "" || f.firmware != "" {
		t.Errorf("%+v, expected nothing", f)
	}
}
