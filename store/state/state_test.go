package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"strongroom.dev/broker"
	"strongroom.dev/store/state"
	"strongroom.dev/verdict"
)

// The contract of broker.State is tested in package broker, against this and a fake.

func open(t *testing.T, path string) *state.Store {
	t.Helper()
	s, err := state.Open(path, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOneProcessAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	defer s.Close()
	_, err := state.Open(path, 10*time.Millisecond)
	var e *verdict.Error
	if !errors.As(err, &e) || e.Check != "broker.state" {
		t.Errorf("second Open gave %v", err)
	}
}

func TestAnotherLayout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte("layout")).Put([]byte("name"), []byte("other/v9")) }), db.Close())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(path, 0); err == nil {
		t.Error("a state of another layout was opened")
	}
}

func TestNotAState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, []byte("something else, and long enough to be looked at"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(path, 0); err == nil {
		t.Error("another file was opened as a state")
	}
}

func TestPrivateAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, table := open(t, path), broker.Tables()[0]
	if err := s.Update(func(tx broker.Tx) error { return tx.Put(table, "a", []byte("1")) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	s = open(t, path)
	defer s.Close()
	err = s.View(func(tx broker.Tx) error {
		if got := tx.Get(table, "a"); string(got) != "1" {
			t.Errorf("after opening again: %q", got)
		}
		if err := tx.Scan("elsewhere", "", "", func(string, []byte) bool { return true }); err == nil {
			t.Error("a table that doesn't exist was scanned")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
