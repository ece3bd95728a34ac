package seal_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

// TestOddReaders reads through sources that give bytes in unusual ways.
func TestOddReaders(t *testing.T) {
	id := classic(t)
	for _, n := range []int{0, 1, 65536, 65537, seal.JobChunks * 65536, seal.JobChunks*65536 + 1} {
		plain := plaintext(n)
		for name, odd := range map[string]func(io.Reader) io.Reader{
			"half":     iotest.HalfReader,
			"data+EOF": iotest.DataErrReader,
			"one byte": func(r io.Reader) io.Reader { return io.MultiReader(iotest.OneByteReader(io.LimitReader(r, 3000)), r) },
		} {
			var file, back bytes.Buffer
			sum, err := seal.Seal(&file, odd(bytes.NewReader(plain)), []seal.Recipient{id.Recipient()}, seal.Options{Root: true})
			if err != nil {
				t.Fatal(err)
			}
			opened, err := seal.Open(&back, odd(bytes.NewReader(file.Bytes())), []*seal.Identity{id}, seal.Options{Root: true})
			if err != nil || !bytes.Equal(back.Bytes(), plain) {
				t.Fatalf("%s, %d bytes: %v", name, n, err)
			}
			if opened.Root != sum.Root || opened.Size != sum.Size || opened.Plain != sum.Plain || opened.HeaderHash != sum.HeaderHash {
				t.Errorf("%s, %d bytes: sealed %+v, opened %+v", name, n, sum, opened)
			}
		}
	}
}

var errBroken = errors.New("broken")

// brokenWriter fails once it got n bytes.
type brokenWriter struct{ n int }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

// TestFailuresEnd breaks source, destination and progress in various places: the error
// comes out, with its cause, and no worker stays behind.
func TestFailuresEnd(t *testing.T) {
	id := classic(t)
	plain := plaintext(chunks * 65536)
	file, _ := sealed(t, plain, id)
	to, ids := []seal.Recipient{id.Recipient()}, []*seal.Identity{id}
	before := runtime.NumGoroutine()
	for _, n := range []int{0, 10, 500, 70000, 20 * 65536} {
		broken := func(b []byte) io.Reader { return io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(errBroken)) }
		_, err := seal.Seal(io.Discard, broken(plain), to, seal.Options{Root: true})
		check(t, err, verdict.Broken, "sealed.read")
		_, err = seal.Open(io.Discard, broken(file), ids, seal.Options{Root: true})
		check(t, err, verdict.Broken, "sealed.read")
		_, _, err = seal.Root(broken(file), seal.Options{})
		check(t, err, verdict.Broken, "sealed.read")
		_, err = seal.Seal(&brokenWriter{n}, bytes.NewReader(plain), to, seal.Options{})
		check(t, err, verdict.Broken, "sealed.write")
		if !errors.Is(err, errBroken) {
			t.Error("the cause is lost")
		}
		_, err = seal.Open(&brokenWriter{n}, bytes.NewReader(file), ids, seal.Options{})
		check(t, err, verdict.Broken, "sealed.write")
	}
	stop := seal.Options{Progress: func(done int64) error {
		if done > 20*65536 {
			return errBroken
		}
		return nil
	}}
	if _, err := seal.Seal(io.Discard, zeros{}, to, stop); err != errBroken {
		t.Errorf("progress stopped sealing: %v", err)
	}
	if _, err := seal.Open(io.Discard, bytes.NewReader(file), ids, stop); err != errBroken {
		t.Errorf("progress stopped opening: %v", err)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

// TestProgress wants rising numbers that end with the input's size.
func TestProgress(t *testing.T) {
	id := classic(t)
	plain := plaintext(chunks*65536 + 5)
	var last int64
	opts := seal.Options{Progress: func(done int64) error {
		if done <= last {
			t.Errorf("%d after %d", done, last)
		}
		last = done
		return nil
	}}
	var file bytes.Buffer
	if _, err := seal.Seal(&file, bytes.NewReader(plain), []seal.Recipient{id.Recipient()}, opts); err != nil || last != int64(len(plain)) {
		t.Errorf("sealing ended at %d of %d: %v", last, len(plain), err)
	}
	last = 0
	if _, err := seal.Open(io.Discard, bytes.NewReader(file.Bytes()), []*seal.Identity{id}, opts); err != nil || last != int64(file.Len()) {
		t.Errorf("opening ended at %d of %d: %v", last, file.Len(), err)
	}
	last = 0
	if _, size, err := seal.Root(bytes.NewReader(file.Bytes()), opts); err != nil || last != size || size != int64(file.Len()) {
		t.Errorf("root ended at %d of %d: %v", last, file.Len(), err)
	}
}

// keeper keeps the very slices it was given, as no writer should.
type keeper struct{ kept [][]byte }

func (k *keeper) Write(p []byte) (int, error) { k.kept = append(k.kept, p); return len(p), nil }

// TestWiped wants no plaintext in the buffers that are given back to the runtime.
func TestWiped(t *testing.T) {
	id := classic(t)
	file, _ := sealed(t, bytes.Repeat([]byte("patient "), 50000), id)
	for name, open := range entries(id) {
		var k keeper
		if err := open(&k, file); err != nil {
			t.Fatal(err)
		}
		for _, b := range k.kept {
			if bytes.Contains(b, []byte("patient")) {
				t.Errorf("%s leaves plaintext in memory", name)
			}
		}
	}
}

// TestMemory seals and opens 256 MiB and wants the heap as small as for any other size.
func TestMemory(t *testing.T) {
	id := classic(t)
	var most uint64
	n := 0
	opts := seal.Options{Root: true, Progress: func(int64) error {
		if n++; n%8 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}
		return nil
	}}
	r, w := io.Pipe()
	go func() {
		_, err := seal.Seal(w, io.LimitReader(zeros{}, 256<<20), []seal.Recipient{id.Recipient()}, opts)
		w.CloseWithError(err)
	}()
	if _, err := seal.Open(io.Discard, r, []*seal.Identity{id}, seal.Options{Root: true}); err != nil {
		t.Fatal(err)
	}
	// Two calls of at most 64 lanes of 256 KiB, and what other tests left.
	if most > 64<<20 {
		t.Errorf("%d MiB of heap", most>>20)
	}
}
