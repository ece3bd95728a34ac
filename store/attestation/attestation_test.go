package attestation_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"strongroom.dev/store/attestation"
	"strongroom.dev/verifier"
)

func open(t *testing.T, path string) *attestation.Store {
	t.Helper()
	s, err := attestation.Open(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	ctx, s := context.Background(), open(t, path)
	swap := func(key, old, value string) error {
		var before []byte
		if old != "" {
			before = []byte(old)
		}
		return s.Swap(ctx, verifier.TablePolicy, key, before, []byte(value))
	}
	for _, c := range []struct {
		key, old, value string
		want            error
	}{
		{"a/1", "", "one", nil}, {"a/1", "", "two", verifier.ErrChanged}, {"a/1", "other", "two", verifier.ErrChanged}, {"a/1", "one", "two", nil},
		{"a/2", "one", "two", verifier.ErrChanged}, {"a/2", "", "x", nil}, {"b/1", "", "y", nil},
	} {
		if err := swap(c.key, c.old, c.value); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if swap("", "", "v") == nil || swap("k", "", "") == nil || s.Swap(ctx, "nowhere", "k", nil, []byte("v")) == nil {
		t.Error("took an empty key or value, or a table that isn't there")
	}
	if got, err := s.List(ctx, verifier.TablePolicy, "a/"); err != nil || len(got) != 2 || got[0].Key != "a/1" || string(got[0].Value) != "two" || got[1].Key != "a/2" {
		t.Errorf("%v %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if got, err := s.Get(ctx, verifier.TablePolicy, "a/1"); err != nil || string(got) != "two" {
		t.Errorf("after opening again: %q %v", got, err)
	}
	if err := s.DeleteBelow(ctx, verifier.TablePolicy, "a/2"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.List(ctx, verifier.TablePolicy, ""); err != nil || len(got) != 2 || got[0].Key != "a/2" {
		t.Errorf("%v %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file with the keys: %v %v", info.Mode(), err)
	}
}

// TestOneWins: of many who insert the same, one does.
func TestOneWins(t *testing.T) {
	ctx, s := context.Background(), open(t, filepath.Join(t.TempDir(), "state.db"))
	var won atomic.Int32
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if err := s.Swap(ctx, verifier.TableRedeemed, "challenge", nil, []byte{1}); err == nil {
				won.Add(1)
			} else if !errors.Is(err, verifier.ErrChanged) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d won", won.Load())
	}
}

func TestRefusesFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.db")
	open(t, path)
	if _, err := attestation.Open(path, 0); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("two processes on one file: %v", err)
	}
	other := filepath.Join(dir, "other.db")
	db, err := bolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("layout"))
		if err != nil {
			return err
		}
		return b.Put([]byte("name"), []byte("strongroom/broker-state/v1"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := attestation.Open(other, 0); err == nil || !strings.Contains(err.Error(), "layout") {
		t.Errorf("another layout: %v", err)
	}
}
