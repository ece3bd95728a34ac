package tilelog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"strongroom.dev/ledger"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// newSigner makes a log key for tests.
func newSigner(t testing.TB, origin string) *ledger.Signer {
	t.Helper()
	secret, _, err := ledger.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ledger.ParseSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newLog makes and opens a log that ends with the test.
func newLog(t testing.TB) (*tilelog.Log, string, *ledger.Signer) {
	t.Helper()
	dir, signer := filepath.Join(t.TempDir(), "log"), newSigner(t, "log.example/alpha")
	if err := tilelog.Create(dir, signer); err != nil {
		t.Fatal(err)
	}
	return reopen(t, dir, signer), dir, signer
}

func reopen(t testing.TB, dir string, signer *ledger.Signer) *tilelog.Log {
	t.Helper()
	l, err := tilelog.Open(dir, signer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// entry is the content of entry i: well formed, and of a length that varies.
func entry(i int64) []byte {
	e := ledger.Entry{Kind: "test", TimeMS: 1 + i, Public: fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, i, strings.Repeat("x", int(i*37%500)))}
	data, err := e.Encode()
	if err != nil {
		panic(err)
	}
	return data
}

// fill appends entries n to m, several at a time.
func fill(t testing.TB, l *tilelog.Log, from, to, each int64) {
	t.Helper()
	for i := from; i < to; {
		var batch [][]byte
		for ; i < to && int64(len(batch)) < each; i++ {
			batch = append(batch, entry(i))
		}
		first, err := l.Append(context.Background(), batch)
		if err != nil {
			t.Fatal(err)
		}
		if want := i - int64(len(batch)); first != want {
			t.Fatalf("first index %d, expected %d", first, want)
		}
	}
}

// opened is the log's checkpoint, verified.
func opened(t testing.TB, l *tilelog.Log, signer *ledger.Signer) ledger.Checkpoint {
	t.Helper()
	c, err := ledger.OpenCheckpoint(l.Checkpoint(), signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantCheck(t *testing.T, err error, kind verdict.Kind, check string) {
	t.Helper()
	var e *verdict.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Check != check {
		t.Fatalf("got %v, expected %s of kind %q", err, check, kind)
	}
}

func TestRefusals(t *testing.T) {
	l, dir, signer := newLog(t)
	fill(t, l, 0, 3, 3)
	ctx := context.Background()
	_, err := l.Append(ctx, nil)
	wantCheck(t, err, verdict.Usage, "ledger.entry")
	_, err = l.Append(ctx, [][]byte{make([]byte, ledger.MaxEntry+1)})
	wantCheck(t, err, verdict.Usage, "ledger.entry")
	_, err = l.Append(ctx, make([][]byte, 1025))
	wantCheck(t, err, verdict.Usage, "ledger.entry")
	for _, i := range []int64{-1, 3, 1 << 60} {
		_, err = l.Receipt(i)
		wantCheck(t, err, verdict.Usage, "ledger.index")
		_, err = l.Entry(i)
		wantCheck(t, err, verdict.Usage, "ledger.index")
	}
	for _, s := range [][2]int64{{-1, 2}, {2, 1}, {0, 4}, {1, 1 << 60}} {
		_, err = l.Consistency(s[0], s[1])
		wantCheck(t, err, verdict.Usage, "ledger.sizes")
	}
	for _, x := range [][3]int64{{0, 0, 0}, {0, 0, 4}, {0, 1, 1}, {0, -1, 1}, {1, 0, 1}, {-1, 0, 1}, {9, 0, 1}, {0, 1 << 62, 1}, {0, 0, 257}} {
		_, err = l.Tile(int(x[0]), x[1], int(x[2]))
		wantCheck(t, err, verdict.Usage, "ledger.tile")
	}
	_, err = l.Bundle(0, 4)
	wantCheck(t, err, verdict.Usage, "ledger.tile")
	wantCheck(t, tilelog.Create(dir, signer), verdict.Refused, "ledger.lock")
	_, err = tilelog.Open(dir, signer)
	wantCheck(t, err, verdict.Refused, "ledger.lock")
	l.Close()
	wantCheck(t, tilelog.Create(dir, signer), verdict.Refused, "ledger.create")
	_, err = l.Append(ctx, [][]byte{entry(3)})
	wantCheck(t, err, verdict.Broken, "ledger.open")
	_, err = tilelog.Open(dir, newSigner(t, "log.example/alpha"))
	wantCheck(t, err, verdict.Usage, "ledger.key")
	_, err = tilelog.Open(t.TempDir(), signer)
	wantCheck(t, err, verdict.Usage, "ledger.open")
	if again := reopen(t, dir, signer); again.Size() != 3 {
		t.Fatalf("%d entries after all that, expected 3", again.Size())
	}
}

func TestContextEndsBeforeTheWriterTakesIt(t *testing.T) {
	l, _, _ := newLog(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 20 {
		if _, err := l.Append(ctx, [][]byte{entry(0)}); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

// TestEveryEntryProvable walks a log over the boundaries of tiles and levels, open and
// opened again, and checks every kind of proof as a stranger would.
func TestEveryEntryProvable(t *testing.T) {
	l, dir, signer := newLog(t)
	var points []ledger.Checkpoint
	sizes := []int64{0, 1, 2, 3, 5, 255, 256, 257, 511, 512, 700, 1500}
	for i := 1; i < len(sizes); i++ {
		fill(t, l, sizes[i-1], sizes[i], 40)
		points = append(points, opened(t, l, signer))
		if i%3 == 0 {
			l.Close()
			l = reopen(t, dir, signer)
		}
	}
	last := points[len(points)-1]
	for i := range last.Size {
		r, err := l.Receipt(i)
		if err != nil {
			t.Fatal(err)
		}
		if _, c, err := r.Verify(signer.Verifier(), nil, 0); err != nil || c.Size != last.Size || !bytes.Equal(r.Entry, entry(i)) {
			t.Fatalf("receipt of entry %d: %v", i, err)
		}
	}
	for _, old := range points {
		for _, new := range points {
			if new.Size < old.Size {
				continue
			}
			proof, err := l.Consistency(old.Size, new.Size)
			if err != nil {
				t.Fatal(err)
			}
			if err := ledger.CheckConsistency(proof, old, new); err != nil {
				t.Fatalf("from %d to %d: %v", old.Size, new.Size, err)
			}
		}
		if err := l.Extends(old); err != nil {
			t.Fatal(err)
		}
		r, err := l.ReceiptUnder(0, old.Note)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Verify(signer.Verifier(), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestExtendsRefusesForksAndRollback(t *testing.T) {
	l, _, signer := newLog(t)
	fill(t, l, 0, 10, 10)
	c := opened(t, l, signer)
	forked := c
	forked.Root[0] ^= 1
	wantCheck(t, l.Extends(forked), verdict.Invalid, "ledger.fork")
	forked.Size = 4
	wantCheck(t, l.Extends(forked), verdict.Invalid, "ledger.fork")
	ahead := c
	ahead.Size = 11
	wantCheck(t, l.Extends(ahead), verdict.Refused, "ledger.rollback")
	other := c
	other.Origin = "log.example/beta"
	wantCheck(t, l.Extends(other), verdict.Invalid, "ledger.consistency")
}

func TestConcurrentAppendsKeepTogether(t *testing.T) {
	l, dir, signer := newLog(t)
	const writers, each = 40, 25
	var mu sync.Mutex
	at := map[int64]string{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				batch := make([][]byte, 1+rand.IntN(3))
				for k := range batch {
					batch[k] = fmt.Appendf(nil, "%d/%d/%d", w, i, k)
				}
				first, err := l.Append(context.Background(), batch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for k := range batch {
					if before, taken := at[first+int64(k)]; taken {
						t.Errorf("index %d given to %s and %s", first+int64(k), before, batch[k])
					}
					at[first+int64(k)] = string(batch[k])
				}
				mu.Unlock()
				if r, err := l.Receipt(first); err != nil || string(r.Entry) != string(batch[0]) {
					t.Errorf("receipt right after append: %v", err)
				}
				l.Consistency(first, l.Size())
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, dir, signer)
	if l.Size() != int64(len(at)) {
		t.Fatalf("%d entries, expected %d", l.Size(), len(at))
	}
	for i, want := range at {
		if got, err := l.Entry(i); err != nil || string(got) != want {
			t.Fatalf("entry %d is %q (%v), expected %q", i, got, err, want)
		}
	}
}

// TestPublishedLayout reads what a static file server would serve.
func TestPublishedLayout(t *testing.T) {
	l, dir, signer := newLog(t)
	fill(t, l, 0, 600, 50)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	note, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ledger.OpenCheckpoint(string(note), signer.Verifier())
	if err != nil || c.Size != 600 {
		t.Fatalf("published %d entries: %v", c.Size, err)
	}
	for path, size := range map[string]int64{"tile/0/000": 8192, "tile/0/001": 8192, "tile/0/002.p/88": 88 * 32, "tile/1/000.p/2": 64} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Size() != size {
			t.Errorf("%s: %v, expected %d bytes", path, err, size)
		}
	}
	for _, path := range []string{"tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"} {
		if _, err := os.Stat(filepath.Join(dir, path)); err != nil {
			t.Error(err)
		}
	}
	names, _ := filepath.Glob(filepath.Join(dir, "tile/*/*.p/*"))
	if len(names) > 6 {
		t.Errorf("partial tiles are left lying about: %v", names)
	}
	// Removing the journal leaves a whole published copy.
	if err := os.Remove(filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	r, err := tilelog.Fsck(dir, signer.Verifier(), nil)
	if err != nil || r.Size != 600 || r.Root != c.Root {
		t.Errorf("published copy: %+v %v", r, err)
	}
}

// TestSnapshot reads a log that is open elsewhere.
func TestSnapshot(t *testing.T) {
	l, dir, signer := newLog(t)
	fill(t, l, 0, 300, 100)
	l.Close()
	l = reopen(t, dir, signer)
	fill(t, l, 300, 302, 2) // not published yet
	s, err := tilelog.Read(dir, signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	size := s.Checkpoint().Size
	if size < 300 {
		t.Fatalf("snapshot of %d entries", size)
	}
	for _, i := range []int64{0, 255, 256, 299} {
		r, err := s.Receipt(i)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Verify(signer.Verifier(), nil, 0); err != nil || !bytes.Equal(r.Entry, entry(i)) {
			t.Errorf("receipt %d: %v", i, err)
		}
		if e, err := s.Entry(i); err != nil || !bytes.Equal(e, entry(i)) {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	if _, err := s.Consistency(100, size); err != nil {
		t.Error(err)
	}
	_, err = s.Entry(size)
	wantCheck(t, err, verdict.Usage, "ledger.index")
	_, err = s.Receipt(-1)
	wantCheck(t, err, verdict.Usage, "ledger.index")
	_, err = tilelog.Read(dir, newSigner(t, "log.example/alpha").Verifier())
	wantCheck(t, err, verdict.Usage, "ledger.key")
	_, err = tilelog.Fsck(dir, newSigner(t, "log.example/alpha").Verifier(), nil)
	wantCheck(t, err, verdict.Usage, "ledger.key")
	_, err = tilelog.Fsck(dir, "nonsense", nil)
	wantCheck(t, err, verdict.Usage, "ledger.key")
	_, err = tilelog.Read(t.TempDir(), signer.Verifier())
	wantCheck(t, err, verdict.Usage, "ledger.open")
}

func TestOlderPartialTilesAreStillServed(t *testing.T) {
	l, _, _ := newLog(t)
	fill(t, l, 0, 100, 100)
	tile, err := l.Tile(0, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := l.Bundle(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 100, 300, 100)
	if now, err := l.Tile(0, 0, 100); err != nil || !bytes.Equal(now, tile) {
		t.Errorf("tile 0/000.p/100 after it was filled: %v", err)
	}
	if now, err := l.Bundle(0, 100); err != nil || !bytes.Equal(now, bundle) {
		t.Errorf("bundle 000.p/100 after it was filled: %v", err)
	}
	if _, err := l.Tile(1, 0, 1); err != nil {
		t.Error(err)
	}
	full, err := l.Tile(0, 0, 256)
	if err != nil || wire.Hash(full[:32]) != ledger.LeafHash(entry(0)) {
		t.Errorf("tile 0/000: %v", err)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, parallel := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprintf("%d-at-once", parallel), func(b *testing.B) {
			l, _, _ := newLog(b)
			data := bytes.Repeat([]byte("x"), 1500)
			b.SetParallelism(parallel)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := l.Append(context.Background(), [][]byte{data}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

func BenchmarkReceipt(b *testing.B) {
	l, _, _ := newLog(b)
	fill(b, l, 0, 20000, 500)
	b.ResetTimer()
	for i := range b.N {
		if _, err := l.Receipt(int64(i*7919) % 20000); err != nil {
			b.Fatal(err)
		}
	}
}
