package tilelog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"strongroom.dev/ledger"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// witness remembers everything a log ever said, and demands that it stays true.
type witness struct {
	signer *ledger.Signer
	roots  map[int64]wire.Hash // signed, by size
	acked  map[int64]string    // entries acknowledged, by index
}

func newWitness(signer *ledger.Signer) *witness {
	return &witness{signer, map[int64]wire.Hash{}, map[int64]string{}}
}

func (w *witness) saw(t *testing.T, note string) {
	t.Helper()
	c, err := ledger.OpenCheckpoint(note, w.signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	if before, known := w.roots[c.Size]; known && before != c.Root {
		t.Fatalf("two roots signed for size %d", c.Size)
	}
	w.roots[c.Size] = c.Root
}

// check opens the log on the real disk and compares it with everything seen before.
func (w *witness) check(t *testing.T, dir string) {
	t.Helper()
	if _, err := tilelog.Fsck(dir, w.signer.Verifier(), nil); err != nil {
		t.Fatalf("fsck before opening: %v", err)
	}
	l, err := tilelog.Open(dir, w.signer)
	if err != nil {
		t.Fatalf("opening after the failure: %v", err)
	}
	defer l.Close()
	w.saw(t, l.Checkpoint())
	for i, want := range w.acked {
		if got, err := l.Entry(i); err != nil || string(got) != want {
			t.Fatalf("acknowledged entry %d is %.40q (%v), expected %.40q", i, got, err, want)
		}
	}
	for size, root := range w.roots {
		if err := l.Extends(ledger.Checkpoint{Origin: l.Origin(), Size: size, Root: root}); err != nil {
			t.Fatalf("signed root of size %d: %v", size, err)
		}
	}
	first, err := l.Append(context.Background(), [][]byte{[]byte("after the failure")})
	if err != nil {
		t.Fatal(err)
	}
	w.acked[first] = "after the failure"
	w.saw(t, l.Checkpoint())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := tilelog.Fsck(dir, w.signer.Verifier(), nil); err != nil || r.Size != first+1 || r.Published != r.Size {
		t.Fatalf("fsck after closing: %+v, %v", r, err)
	}
}

// faults makes the nth durable call fail; after it nothing works, as the machine is as good
// as gone, and of what was not synced to the journal only what the mode says is left.
type faults struct {
	dir    string
	at     int
	mode   string
	calls  int
	dead   bool
	synced int64 // bytes of the journal that no loss of power can take
}

var errFault = errors.New("injected fault")

// hit counts a call, and says whether it is to fail and whether it is the first to.
func (f *faults) hit() (fails, first bool) {
	f.calls++
	first = !f.dead && f.calls == f.at
	f.dead = f.dead || first
	return f.dead, first
}

func (f *faults) hooks() tilelog.Hooks {
	real := tilelog.RealHooks()
	return tilelog.Hooks{
		WriteFile: func(path string, data []byte) error {
			fails, first := f.hit()
			if first && f.mode != "failed but persisted" {
				f.losePower()
			}
			if fails && !(first && f.mode == "failed but persisted") {
				return errFault
			}
			if err := real.WriteFile(path, data); err != nil {
				return err
			}
			if filepath.Base(path) == "journal" {
				f.synced = int64(len(data))
			}
			if fails {
				return errFault
			}
			return nil
		},
		Append: func(file *os.File, data []byte) error {
			fails, first := f.hit()
			if first || !fails {
				if err := real.Append(file, data); err != nil {
					return err
				}
			}
			if first {
				f.losePower()
			}
			if fails {
				return errFault
			}
			return nil
		},
		Sync: func(file *os.File) error {
			fails, first := f.hit()
			if first {
				f.losePower()
			}
			if fails {
				return errFault
			}
			info, err := file.Stat()
			if err != nil {
				return err
			}
			f.synced = info.Size()
			return real.Sync(file)
		},
	}
}

// losePower leaves of what was not synced as much as the mode says.
func (f *faults) losePower() {
	name := filepath.Join(f.dir, "journal")
	info, err := os.Stat(name)
	if err != nil || f.mode == "failed but persisted" || f.synced == 0 {
		return
	}
	keep := f.synced
	if f.mode == "half persisted" {
		keep += (info.Size() - f.synced) / 2
	}
	if err := os.Truncate(name, keep); err != nil {
		panic(err)
	}
}

// run does some work until a fault stops it, and tells the witness what was acknowledged.
func run(t *testing.T, dir string, w *witness, f *faults) (failed bool) {
	t.Helper()
	l, err := tilelog.OpenWith(dir, w.signer, f.hooks())
	if err != nil {
		return true
	}
	defer l.Close()
	w.saw(t, l.Checkpoint())
	for n := range 8 {
		var batch [][]byte
		for k := range 1 + n*25 {
			batch = append(batch, fmt.Appendf(nil, "%s/%d/%d/%d", f.mode, f.at, n, k))
		}
		first, err := l.Append(context.Background(), batch)
		if err != nil {
			var e *verdict.Error
			if !errors.As(err, &e) || e.Kind != verdict.Broken || l.Err() == nil {
				t.Fatalf("after a fault: %v", err)
			}
			checkpoint := l.Checkpoint()
			if _, err := l.Append(context.Background(), batch); err == nil || l.Checkpoint() != checkpoint {
				t.Fatal("the log went on after a failed write")
			}
			return true
		}
		for k, e := range batch {
			w.acked[first+int64(k)] = string(e)
		}
		w.saw(t, l.Checkpoint())
	}
	return l.Close() != nil || l.Err() != nil
}

// TestFailureMatrix makes every durable call of a history fail, in every way it can, and
// demands that nothing acknowledged or signed is ever lost.
func TestFailureMatrix(t *testing.T) {
	for _, mode := range []string{"failed", "half persisted", "failed but persisted"} {
		t.Run(strings.ReplaceAll(mode, " ", "-"), func(t *testing.T) {
			signer, hits := newSigner(t, "log.example/crash"), 0
			for at := 1; at < 200; at++ {
				dir := filepath.Join(t.TempDir(), "log")
				if err := tilelog.Create(dir, signer); err != nil {
					t.Fatal(err)
				}
				w, f := newWitness(signer), &faults{dir: dir, at: at, mode: mode}
				failed := run(t, dir, w, f)
				w.check(t, dir)
				if !failed && f.calls < at {
					break
				}
				if failed {
					hits++
				}
			}
			if hits < 20 {
				t.Errorf("only %d faults stopped the log: the matrix does not reach its calls", hits)
			}
		})
	}
}

// TestTornJournal cuts the journal at every length: what is left opens, and holds whole
// batches only.
func TestTornJournal(t *testing.T) {
	l, dir, signer := newLog(t)
	fill(t, l, 0, 4, 4)
	l.Close()
	whole := readJournal(t, dir)
	l = reopen(t, dir, signer)
	start := len(readJournal(t, dir))
	fill(t, l, 4, 6, 2)
	dir = copyDir(t, dir) // at once, so that the published checkpoint is still that of 4 entries
	data := readJournal(t, dir)
	if len(data) <= start || len(whole) == 0 {
		t.Fatal("the journal did not grow")
	}
	for cut := start; cut <= len(data); cut = min(cut+7, max(cut+1, len(data))) {
		copied := copyDir(t, dir)
		if err := os.WriteFile(filepath.Join(copied, "journal"), data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		want := int64(4)
		if cut == len(data) {
			want = 6
		}
		report, err := tilelog.Fsck(copied, signer.Verifier(), nil)
		if err != nil || report.Size != want || want == 4 && report.Torn != cut-start {
			t.Fatalf("cut at %d of %d: %+v, %v", cut, len(data), report, err)
		}
		again, err := tilelog.Open(copied, signer)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if again.Size() != want {
			t.Fatalf("cut at %d: %d entries, expected %d", cut, again.Size(), want)
		}
		again.Close()
	}
	// Behind what was published there is no torn batch, only loss.
	copied := copyDir(t, dir)
	if err := os.WriteFile(filepath.Join(copied, "journal"), data[:start-1], 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := tilelog.Open(copied, signer)
	wantCheck(t, err, verdict.Refused, "ledger.rollback")
}

func TestDamageInsideTheJournalIsNoTornBatch(t *testing.T) {
	l, dir, signer := newLog(t)
	start := len(readJournal(t, dir))
	fill(t, l, 0, 3, 1)
	data := readJournal(t, dir)
	for _, at := range []int{start, start + 17, start + 25, start + 100} {
		copied := copyDir(t, dir)
		damagedJournal := append([]byte{}, data...)
		damagedJournal[at] ^= 0x40
		if err := os.WriteFile(filepath.Join(copied, "journal"), damagedJournal, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := tilelog.Open(copied, signer)
		wantCheck(t, err, verdict.Broken, "ledger.damaged")
	}
}

// TestFsckSeesEveryChangedByte changes bytes all over a log at rest.
func TestFsckSeesEveryChangedByte(t *testing.T) {
	l, dir, signer := newLog(t)
	fill(t, l, 0, 300, 60)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names := files(t, dir)
	if len(names) < 6 {
		t.Fatalf("only %v", names)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		step := max(1, len(data)/150)
		for at := 0; at < len(data); at += step {
			changed := append([]byte{}, data...)
			changed[at] ^= 1 << rand.IntN(8)
			write(t, path, changed)
			if r, err := tilelog.Fsck(dir, signer.Verifier(), nil); err == nil {
				t.Fatalf("byte %d of %s changed, and fsck found %+v", at, name, r)
			}
		}
		write(t, path, append(append([]byte{}, data...), 'x'))
		if _, err := tilelog.Fsck(dir, signer.Verifier(), nil); err == nil && name != "journal" {
			t.Errorf("a byte after %s was not found", name)
		}
		write(t, path, data)
	}
	if _, err := tilelog.Fsck(dir, signer.Verifier(), nil); err != nil {
		t.Fatalf("after mending: %v", err)
	}
	stop := errors.New("enough")
	if _, err := tilelog.Fsck(dir, signer.Verifier(), func(i int64, _ []byte) error {
		if i == 270 {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) {
		t.Errorf("the caller's error: %v", err)
	}
	write(t, filepath.Join(dir, "tile", "0", "junk"), []byte("junk"))
	if _, err := tilelog.Fsck(dir, signer.Verifier(), nil); err == nil {
		t.Error("a file that is no tile was not found")
	}
}

func TestFsckWhileWriting(t *testing.T) {
	l, dir, signer := newLog(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		fill(t, l, 0, 3000, 7)
	}()
	for {
		if _, err := tilelog.Fsck(dir, signer.Verifier(), nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readJournal(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// files lists a log's files below dir, but for the lock.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// childEnv names the log a child process writes to, and lifeEnv how long it lives if nothing
// kills it; see TestMain.
const (
	childEnv = "TILELOG_TEST_CHILD"
	lifeEnv  = "TILELOG_TEST_LIFE"
)

// How a child ends by itself.
const (
	codeBadKey   = 3
	codeOpen     = 4 // the log could not be opened
	codeAppend   = 5 // the log failed
	codeSurvived = 6
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child appends for as long as it lives, several at a time, and says what was acknowledged.
func child(dir string) {
	secret, err := io.ReadAll(os.Stdin)
	if err != nil {
		os.Exit(codeBadKey)
	}
	signer, err := ledger.ParseSigner(string(secret))
	if err != nil {
		os.Exit(codeBadKey)
	}
	l, err := tilelog.Open(dir, signer)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(codeOpen)
	}
	if life, err := time.ParseDuration(os.Getenv(lifeEnv)); err == nil {
		time.AfterFunc(life, func() { os.Exit(codeSurvived) })
	}
	lines := make(chan string, 1000)
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				content := fmt.Sprintf("%d.%d.%d", os.Getpid(), w, i)
				first, err := l.Append(context.Background(), [][]byte{[]byte(content), make([]byte, 300)})
				if err != nil {
					lines <- "failed"
					return
				}
				c, _ := ledger.ReadCheckpoint(l.Checkpoint())
				lines <- fmt.Sprintf("acked %d %s %d %s", first, content, c.Size, c.Root)
			}
		}()
	}
	failures := 0
	for line := range lines {
		if line == "failed" {
			if failures++; failures == 4 {
				os.Exit(codeAppend)
			}
			continue
		}
		fmt.Println(line)
	}
}

// childRun starts a child under a command (none for no command) and tells the witness what
// it said until it ended.
func childRun(t *testing.T, dir, secret string, w *witness, life time.Duration, under ...string) (acked int, code int) {
	t.Helper()
	argv := append(under, os.Args[0])
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stdin = strings.NewReader(secret)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if len(under) > 0 { // killing the command would leave the child behind
		cmd.Env = append(cmd.Env, lifeEnv+"="+life.String())
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if len(under) == 0 {
		timer := time.AfterFunc(life, func() { cmd.Process.Kill() })
		defer timer.Stop()
	}
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		f := strings.Fields(scanner.Text())
		if len(f) != 5 || f[0] != "acked" {
			continue // cut off by the kill
		}
		first, err1 := strconv.ParseInt(f[1], 10, 64)
		size, err2 := strconv.ParseInt(f[3], 10, 64)
		root, err3 := wire.ParseHash(f[4])
		if err1 != nil || err2 != nil || err3 != nil {
			continue
		}
		acked++
		w.acked[first] = f[2]
		if before, known := w.roots[size]; known && before != root {
			t.Fatalf("two roots signed for size %d", size)
		}
		w.roots[size] = root
	}
	cmd.Wait()
	return acked, cmd.ProcessState.ExitCode()
}

func childLog(t *testing.T) (dir, secret string, w *witness) {
	t.Helper()
	secret, _, err := ledger.GenerateKey("log.example/child")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ledger.ParseSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "log")
	if err := tilelog.Create(dir, signer); err != nil {
		t.Fatal(err)
	}
	return dir, secret, newWitness(signer)
}

// TestKill kills a writing process again and again.
func TestKill(t *testing.T) {
	dir, secret, w := childLog(t)
	total := 0
	for range 12 {
		acked, code := childRun(t, dir, secret, w, 20*time.Millisecond+time.Duration(rand.IntN(60))*time.Millisecond)
		if code != -1 {
			t.Fatalf("child ended by itself with code %d", code)
		}
		total += acked
		w.check(t, dir)
	}
	if total == 0 {
		t.Fatal("the children acknowledged nothing")
	}
	t.Logf("%d acknowledged in 12 lives", total)
}
