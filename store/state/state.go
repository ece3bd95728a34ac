// Package state keeps a broker's state in one bbolt file. It promises what [broker.State]
// asks for: serialisable transactions that are on the disk, all or nothing, before Update
// returns, across kill -9 and power loss as far as the disk keeps what it acknowledged.
//
// It refuses to open a file another process has open, and a file of another layout. It
// knows no record's meaning: the broker does.
package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"strongroom.dev/broker"
	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
)

// layout names the tables' and records' format. A file of another layout is not opened.
const layout = "strongroom/broker-state/v1"

var (
	layoutBucket = []byte("layout")
	layoutKey    = []byte("name")
)

// Store is a broker's state on disk. It is safe for concurrent use.
type Store struct{ db *bolt.DB }

var _ broker.State = (*Store)(nil)

// Open opens the state at path, made with mode 0600 if it isn't there. wait bounds how long
// it waits for another process to let go of the file; that process is usually the serving
// broker, and the error says so.
func Open(path string, wait time.Duration) (*Store, error) {
	_, err := os.Stat(path)
	fresh := errors.Is(err, os.ErrNotExist)
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: max(wait, time.Millisecond)})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, inUse(path, err)
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
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

// OpenReadOnly opens the state at path for looking at: it writes nothing, and Update fails.
// wait is as in [Open].
func OpenReadOnly(path string, wait time.Duration) (*Store, error) {
	db, err := bolt.Open(path, 0o400, &bolt.Options{ReadOnly: true, Timeout: max(wait, time.Millisecond)})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, inUse(path, err)
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		got := []byte(nil)
		if b := tx.Bucket(layoutBucket); b != nil {
			got = b.Get(layoutKey)
		}
		return sameLayout(got)
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{db}, nil
}

// ErrInUse is below the error of a file that another process has open.
var ErrInUse = errors.New("state: in use")

func inUse(path string, err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "broker.state", Expected: "the state's file to be free",
		Got: "another process has " + path + " open", Fix: "is `strongroom broker serve` running? Stop it, or let it do the work", Err: errors.Join(ErrInUse, err)}
}

func unreadable(path string, err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	fix := "restore it from a copy; the broker then finds out whether it is the latest"
	if errors.Is(err, os.ErrPermission) {
		fix = "run this as the broker's own user: ls -l shows whose file it is"
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "broker.state", Expected: "the broker's state", Got: verdict.Short(err.Error()), Where: path, Fix: fix, Err: err}
}

func sameLayout(got []byte) error {
	if string(got) == layout {
		return nil
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "broker.state", Expected: "a state of layout " + layout,
		Got: verdict.Short(string(got)), Fix: "use the version of strongroom that wrote it"}
}

// prepare makes the tables and checks the layout.
func (s *Store) prepare() error {
	return s.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(layoutBucket)
		if err != nil {
			return err
		}
		got := b.Get(layoutKey)
		if got == nil {
			err = b.Put(layoutKey, []byte(layout))
		} else {
			err = sameLayout(got)
		}
		if err != nil {
			return err
		}
		for _, t := range broker.Tables() {
			if _, err := tx.CreateBucketIfNotExists([]byte(t)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close lets go of the file once running transactions have ended.
func (s *Store) Close() error { return s.db.Close() }

// Update runs f in a transaction that is durable when it returns nil. Concurrent calls run
// one after another.
func (s *Store) Update(f func(broker.Tx) error) error {
	return s.db.Update(func(t *bolt.Tx) error { return f(tx{t}) })
}

// View runs f in a transaction that can't write.
func (s *Store) View(f func(broker.Tx) error) error {
	return s.db.View(func(t *bolt.Tx) error { return f(tx{t}) })
}

type tx struct{ bolt *bolt.Tx }

func (t tx) bucket(name broker.Table) (*bolt.Bucket, error) {
	b := t.bolt.Bucket([]byte(name))
	if b == nil {
		return nil, fmt.Errorf("no table %.40q in the broker's state", string(name))
	}
	return b, nil
}

// Get gives a copy: bbolt's own slice ends with the transaction.
func (t tx) Get(name broker.Table, key string) []byte {
	b, err := t.bucket(name)
	if err != nil {
		return nil
	}
	return bytes.Clone(b.Get([]byte(key)))
}

// Put copies the value: bbolt keeps the slice until the transaction ends.
func (t tx) Put(name broker.Table, key string, value []byte) error {
	b, err := t.bucket(name)
	if err != nil {
		return err
	}
	if key == "" || len(value) == 0 {
		return fmt.Errorf("an empty key or value for table %s", name)
	}
	return b.Put([]byte(key), bytes.Clone(value))
}

func (t tx) Insert(name broker.Table, key string, value []byte) error {
	b, err := t.bucket(name)
	if err != nil {
		return err
	}
	if b.Get([]byte(key)) != nil {
		return broker.ErrExists
	}
	return t.Put(name, key, value)
}

func (t tx) Delete(name broker.Table, key string) error {
	b, err := t.bucket(name)
	if err != nil {
		return err
	}
	return b.Delete([]byte(key))
}

func (t tx) Scan(name broker.Table, from, to string, visit func(string, []byte) bool) error {
	b, err := t.bucket(name)
	if err != nil && t.bolt.DB().IsReadOnly() { // of an earlier version, which had no such table
		return nil
	}
	if err != nil {
		return err
	}
	c := b.Cursor()
	for k, v := c.Seek([]byte(from)); k != nil; k, v = c.Next() {
		if to != "" && string(k) >= to || !visit(string(k), bytes.Clone(v)) {
			return nil
		}
	}
	return nil
}
