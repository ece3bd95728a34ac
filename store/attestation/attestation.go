// Package attestation keeps the state of an attestation service in one bbolt file. It promises
// what [verifier.Store] asks for: changes that are on the disk, all or nothing, before a call
// returns.
//
// It refuses to open a file that another process has open, and a file of another layout. It
// knows no record's meaning: package verifier does. One file serves one process.
package attestation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
)

// layout names the tables' and records' format. A file of another layout is not opened.
const layout = "strongroom/attestation-state/v2"

// Store is an attestation service's state on disk. It is safe for concurrent use.
type Store struct{ db *bolt.DB }

var _ verifier.Store = (*Store)(nil)

// Open opens the state at path, made with mode 0600 if it isn't there: it holds the keys that
// sign tokens. wait bounds how long it waits for another process to let go of the file.
func Open(path string, wait time.Duration) (*Store, error) {
	_, err := os.Stat(path)
	fresh := errors.Is(err, os.ErrNotExist)
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: max(wait, time.Millisecond)})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "attestation.state", Expected: "the state's file to be free",
			Got: "another process has " + path + " open", Fix: "is `strongroom attestation serve` running on it already? Each process has a directory of its own", Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the attestation service's state %s: %w", path, err)
	}
	db.MaxBatchDelay = 2 * time.Millisecond // who attests waits for it
	s := &Store{db}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if fresh { // bbolt syncs what is in the file; its name has to be durable too
		if err := durable.SyncDir(filepath.Dir(path)); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return s, nil
}

func (s *Store) prepare() error {
	return s.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("layout"))
		if err != nil {
			return err
		}
		switch got := b.Get([]byte("name")); {
		case got == nil:
			if err := b.Put([]byte("name"), []byte(layout)); err != nil {
				return err
			}
		case string(got) != layout:
			return &verdict.Error{Kind: verdict.Broken, Check: "attestation.state", Expected: "a state of layout " + layout,
				Got: verdict.Short(string(got)), Fix: "use the version of strongroom that wrote it"}
		}
		for _, t := range verifier.Tables() {
			if _, err := tx.CreateBucketIfNotExists([]byte(t)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close lets go of the file once running transactions have ended.
func (s *Store) Close() error { return s.db.Close() }

func bucket(tx *bolt.Tx, t verifier.Table) (*bolt.Bucket, error) {
	b := tx.Bucket([]byte(t))
	if b == nil {
		return nil, fmt.Errorf("no table %.40q in the attestation service's state", string(t))
	}
	return b, nil
}

// Get gives a copy of a value: bbolt's own slice ends with the transaction.
func (s *Store) Get(_ context.Context, t verifier.Table, key string) (value []byte, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		b, err := bucket(tx, t)
		if err == nil {
			value = bytes.Clone(b.Get([]byte(key)))
		}
		return err
	})
	return value, err
}

// List gives the entries whose keys start with a prefix, by key.
func (s *Store) List(_ context.Context, t verifier.Table, prefix string) (all []verifier.Entry, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		b, err := bucket(tx, t)
		if err != nil {
			return err
		}
		c := b.Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			all = append(all, verifier.Entry{Key: string(k), Value: bytes.Clone(v)})
		}
		return nil
	})
	return all, err
}

// Swap replaces a value, if it is what the caller thinks. Calls that come at the same time share
// one write to the disk.
func (s *Store) Swap(_ context.Context, t verifier.Table, key string, old, value []byte) error {
	if key == "" || len(value) == 0 {
		return fmt.Errorf("an empty key or value for table %s", t)
	}
	return s.db.Batch(func(tx *bolt.Tx) error {
		b, err := bucket(tx, t)
		if err != nil {
			return err
		}
		if got := b.Get([]byte(key)); !bytes.Equal(got, old) || (got == nil) != (old == nil) {
			return verifier.ErrChanged
		}
		return b.Put([]byte(key), bytes.Clone(value))
	})
}

// DeleteBelow deletes the entries whose keys are less than one.
func (s *Store) DeleteBelow(_ context.Context, t verifier.Table, key string) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		b, err := bucket(tx, t)
		if err != nil {
			return err
		}
		c := b.Cursor()
		for k, _ := c.First(); k != nil && string(k) < key; k, _ = c.First() {
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
}
