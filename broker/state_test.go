package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/broker"
	"strongroom.dev/store/state"
)

// memory is a State that lives in a map.
type memory struct {
	mu     sync.RWMutex
	tables map[broker.Table]map[string][]byte
}

func newMemory() *memory { return &memory{tables: map[broker.Table]map[string][]byte{}} }

func (m *memory) Update(f func(broker.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := map[broker.Table]map[string][]byte{}
	for t, rows := range m.tables {
		next[t] = map[string][]byte{}
		for k, v := range rows {
			next[t][k] = v
		}
	}
	if err := f(&memoryTx{tables: next, write: true}); err != nil {
		return err
	}
	m.tables = next
	return nil
}

func (m *memory) View(f func(broker.Tx) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(&memoryTx{tables: m.tables})
}

type memoryTx struct {
	tables map[broker.Table]map[string][]byte
	write  bool
}

func (t *memoryTx) Get(table broker.Table, key string) []byte {
	return bytes.Clone(t.tables[table][key])
}

func (t *memoryTx) Put(table broker.Table, key string, value []byte) error {
	if !t.write || key == "" || len(value) == 0 {
		return errors.New("memory: bad write")
	}
	if t.tables[table] == nil {
		t.tables[table] = map[string][]byte{}
	}
	t.tables[table][key] = bytes.Clone(value)
	return nil
}

func (t *memoryTx) Insert(table broker.Table, key string, value []byte) error {
	if t.tables[table][key] != nil {
		return broker.ErrExists
	}
	return t.Put(table, key, value)
}

func (t *memoryTx) Delete(table broker.Table, key string) error {
	if !t.write {
		return errors.New("memory: read only")
	}
	delete(t.tables[table], key)
	return nil
}

func (t *memoryTx) Scan(table broker.Table, from, to string, visit func(string, []byte) bool) error {
	var names []string
	for k := range t.tables[table] {
		if k >= from && (to == "" || k < to) {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	for _, k := range names {
		if !visit(k, bytes.Clone(t.tables[table][k])) {
			return nil
		}
	}
	return nil
}

func TestMemoryState(t *testing.T) {
	testState(t, func(*testing.T) broker.State { return newMemory() })
}

func TestBoltState(t *testing.T) {
	testState(t, func(t *testing.T) broker.State {
		s, err := state.Open(filepath.Join(t.TempDir(), "state.db"), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	})
}

// testState holds a State to its contract.
func testState(t *testing.T, open func(*testing.T) broker.State) {
	table := broker.Tables()[0]
	t.Run("writes of one transaction stand together or not at all", func(t *testing.T) {
		s, stop := open(t), errors.New("stop")
		err := s.Update(func(tx broker.Tx) error {
			if err := tx.Put(table, "a", []byte("1")); err != nil {
				return err
			}
			if got := tx.Get(table, "a"); string(got) != "1" {
				t.Errorf("a transaction does not see its own write: %q", got)
			}
			return stop
		})
		if !errors.Is(err, stop) {
			t.Fatalf("Update gave %v, expected the function's error", err)
		}
		if got := get(t, s, table, "a"); got != nil {
			t.Errorf("a write of a stopped transaction stands: %q", got)
		}
	})
	t.Run("insert is unique", func(t *testing.T) {
		s := open(t)
		must(t, s.Update(func(tx broker.Tx) error { return tx.Insert(table, "a", []byte("1")) }))
		err := s.Update(func(tx broker.Tx) error { return tx.Insert(table, "a", []byte("2")) })
		if !errors.Is(err, broker.ErrExists) {
			t.Errorf("second insert gave %v", err)
		}
		if got := get(t, s, table, "a"); string(got) != "1" {
			t.Errorf("the second insert changed the value to %q", got)
		}
	})
	t.Run("one of many racing inserts wins", func(t *testing.T) {
		s := open(t)
		var wg sync.WaitGroup
		results := make(chan error, 8)
		for i := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				results <- s.Update(func(tx broker.Tx) error { return tx.Insert(table, "a", fmt.Appendf(nil, "%d", i)) })
			}()
		}
		wg.Wait()
		close(results)
		won := 0
		for err := range results {
			if err == nil {
				won++
			} else if !errors.Is(err, broker.ErrExists) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d inserts won", won)
		}
	})
	t.Run("scan is in order and bounded", func(t *testing.T) {
		s := open(t)
		must(t, s.Update(func(tx broker.Tx) error {
			for _, k := range []string{"b", "a/2", "a/10", "a", "c"} {
				if err := tx.Put(table, k, []byte("v"+k)); err != nil {
					return err
				}
			}
			return tx.Delete(table, "c")
		}))
		for _, c := range []struct {
			from, to string
			most     int
			want     []string
		}{
			{"", "", 9, []string{"a", "a/10", "a/2", "b"}}, {"a/", "a0", 9, []string{"a/10", "a/2"}},
			{"a/2", "", 1, []string{"a/2"}}, {"c", "", 9, nil},
		} {
			var got []string
			must(t, s.View(func(tx broker.Tx) error {
				return tx.Scan(table, c.from, c.to, func(k string, v []byte) bool {
					if string(v) != "v"+k {
						t.Errorf("value of %s is %q", k, v)
					}
					got = append(got, k)
					return len(got) < c.most
				})
			}))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("scan %q to %q: %s", c.from, c.to, diff)
			}
		}
	})
	t.Run("slices belong to the caller", func(t *testing.T) {
		s, value := open(t), []byte("1")
		must(t, s.Update(func(tx broker.Tx) error { return tx.Put(table, "a", value) }))
		value[0] = 'x'
		got := get(t, s, table, "a")
		got[0] = 'y'
		if got := get(t, s, table, "a"); string(got) != "1" {
			t.Errorf("value became %q", got)
		}
	})
	t.Run("what can't be told from absence is refused", func(t *testing.T) {
		s := open(t)
		for _, put := range []func(broker.Tx) error{
			func(tx broker.Tx) error { return tx.Put(table, "a", nil) },
			func(tx broker.Tx) error { return tx.Insert(table, "a", []byte{}) },
			func(tx broker.Tx) error { return tx.Put(table, "", []byte("1")) },
		} {
			if err := s.Update(put); err == nil {
				t.Error("an empty key or value was written")
			}
		}
	})
	t.Run("a view can't write", func(t *testing.T) {
		s := open(t)
		if err := s.View(func(tx broker.Tx) error { return tx.Put(table, "a", []byte("1")) }); err == nil {
			t.Error("a view wrote")
		}
	})
}

func get(t *testing.T, s broker.State, table broker.Table, key string) (value []byte) {
	t.Helper()
	must(t, s.View(func(tx broker.Tx) error { value = tx.Get(table, key); return nil }))
	return value
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
