package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"strongroom.dev/client"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// ledgerCall runs the real program with --output json; the test binary is it under that name.
func ledgerCall(t *testing.T, into any, args ...string) (code int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"--home", filepath.Join(t.TempDir(), "nobody"), "--output", "json", "ledger"}, args...)...)
	cmd.Args[0] = "strongroom"
	out, _ := cmd.Output()
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("ledger %v: %q: %v", args, out, err)
	}
	return cmd.ProcessState.ExitCode()
}

type ledgerProcess struct {
	*exec.Cmd
	stderr bytes.Buffer
	ready  struct {
		Address string `json:"address"`
		Key     string `json:"key"`
		Origin  string `json:"origin"`
		Size    int64  `json:"size"`
	}
}

func startLedgerProcess(t *testing.T, dir string, args ...string) *ledgerProcess {
	t.Helper()
	p := &ledgerProcess{Cmd: exec.Command(os.Args[0], append([]string{"--output", "json", "ledger", "serve", "--dir", dir, "--listen", "127.0.0.1:0"}, args...)...)}
	p.Args[0], p.Cmd.Stderr = "strongroom", &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() })
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&p.ready); err != nil {
		t.Fatalf("no ready document: %v, %s", err, p.stderr.String())
	}
	return p
}

// runRecord makes the entry of a run.
func runRecord(t *testing.T, n int) []byte {
	t.Helper()
	room, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	d := wire.SHA384("strongroom/test/run", []byte{byte(n)})
	r := proof.Record{Agreement: d, Run: d, RunID: fmt.Sprintf("%032x", n), Room: room.Public(), Class: "software", Evidence: []wire.Digest{}, Commitment: d, Results: []wire.Digest{}, Sealed: []proof.SealedPart{}}
	if err := json.Unmarshal([]byte("[]"), &r.Datasets); err != nil {
		t.Fatal(err)
	}
	doc, err := keys.NewDocument(proof.RecordType, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Sign(room); err != nil {
		t.Fatal(err)
	}
	public, err := wire.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	data, err := ledger.Entry{Kind: "run", TimeMS: 1795500000000, Agreement: &d, Run: &d, RunID: r.RunID, Public: public}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLedgerServesAndIsChecked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	p := startLedgerProcess(t, dir, "--origin", "ledger.example")
	if p.ready.Origin != "ledger.example" || p.ready.Size != 0 {
		t.Fatalf("ready: %+v", p.ready)
	}
	url, key := "http://"+p.ready.Address, p.ready.Key
	l := client.NewLedger(url, key, nil)
	for n := range 3 {
		if _, err := l.Submit(context.Background(), runRecord(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	var failure struct{ Error *verdict.Error }
	if code := ledgerCall(t, &failure, "serve", "--dir", dir, "--listen", "127.0.0.1:0"); code != 3 || failure.Error.Check != "ledger.lock" {
		t.Errorf("a second server: %d, %v", code, failure.Error)
	}
	if code := ledgerCall(t, &failure, "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--origin", "other.example"); code != 2 || failure.Error.Check != "--origin" {
		t.Errorf("under another name: %d, %v", code, failure.Error)
	}
	var shown struct {
		Size       int64
		Key        string
		Checkpoint string
	}
	if code := ledgerCall(t, &shown, "show", url, "--key", key); code != 0 || shown.Size != 3 {
		t.Errorf("show: %d, %+v", code, shown)
	}
	var entry struct {
		Index int64
		Entry json.RawMessage
	}
	if code := ledgerCall(t, &entry, "show", url, "1", "--key", key); code != 0 || !strings.Contains(string(entry.Entry), `"kind"`) {
		t.Errorf("show 1: %d, %+v", code, entry)
	}
	var fsck struct{ Size, Published int64 }
	if code := ledgerCall(t, &fsck, "fsck", dir); code != 0 || fsck.Size != 3 {
		t.Errorf("fsck of a ledger in use: %d, %+v", code, fsck)
	}
	// Killed and started again: nothing is lost, and the name and key stay.
	p.Process.Kill()
	p.Wait()
	p = startLedgerProcess(t, dir)
	if p.ready.Size != 3 || p.ready.Key != key {
		t.Fatalf("after a kill: %+v", p.ready)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("stopped: %v, %s", err, p.stderr.String())
	}
	checkProofs(t, dir, key)
	damageIsFound(t, dir)
}

func checkProofs(t *testing.T, dir, key string) {
	t.Helper()
	var r ledger.Receipt
	if code := ledgerCall(t, &r, "prove", dir, "2"); code != 0 {
		t.Fatalf("prove: %d", code)
	}
	if _, c, err := r.Verify(key, nil, 0); err != nil || c.Size != 3 {
		t.Errorf("the receipt: %v", err)
	}
	out := filepath.Join(t.TempDir(), "receipt")
	var again ledger.Receipt
	if code := ledgerCall(t, &again, "prove", dir, "2", "-o", out); code != 0 {
		t.Fatalf("prove -o: %d", code)
	}
	data, err := os.ReadFile(out)
	if err != nil || wire.Unmarshal(bytes.TrimSuffix(data, []byte("\n")), &again) != nil || again.Index != 2 {
		t.Errorf("receipt in a file: %v %s", err, data)
	}
	var failure struct{ Error *verdict.Error }
	for _, c := range []struct {
		code  int
		check string
		args  []string
	}{
		{2, "file", []string{"prove", dir, "2", "-o", out}},
		{2, "ledger.index", []string{"prove", dir, "3"}},
		{2, "INDEX", []string{"prove", dir, "x"}},
		{2, "ledger.sizes", []string{"prove", dir, "1", "4"}},
		{2, "ledger.key", []string{"show", dir, "--key", otherKey(t)}},
	} {
		if code := ledgerCall(t, &failure, c.args...); code != c.code || failure.Error.Check != c.check {
			t.Errorf("%v: %d, %v", c.args, code, failure.Error)
		}
	}
	var growth struct {
		From, To int64
		Proof    []wire.Hash
	}
	if code := ledgerCall(t, &growth, "prove", dir, "1", "3"); code != 0 || len(growth.Proof) == 0 {
		t.Errorf("prove 1 3: %d, %+v", code, growth)
	}
}

func otherKey(t *testing.T) string {
	t.Helper()
	_, verifier, err := ledger.GenerateKey("ledger.example")
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

// damageIsFound changes one byte of an entry, and removes the signing key.
func damageIsFound(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "log", "tile", "entries", "000.p", "3")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var failure struct{ Error *verdict.Error }
	if code := ledgerCall(t, &failure, "fsck", dir); code != 1 || failure.Error.Check != "ledger.damaged" {
		t.Errorf("fsck of a damaged ledger: %d, %v", code, failure.Error)
	}
	if err := os.Remove(filepath.Join(dir, "log.key")); err != nil {
		t.Fatal(err)
	}
	if code := ledgerCall(t, &failure, "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--origin", "ledger.example"); code != 2 || failure.Error.Check != "ledger.key" {
		t.Errorf("serve without the key: %d, %v", code, failure.Error)
	}
	if code := ledgerCall(t, &failure, "fsck", dir); code != 2 || failure.Error.Check != "--key" {
		t.Errorf("fsck without a key: %d, %v", code, failure.Error)
	}
}

// TestLedgerRemembers: what a home saw of a ledger must be part of what it sees next (R15).
func TestLedgerRemembers(t *testing.T) {
	home, dir := filepath.Join(t.TempDir(), "home"), filepath.Join(t.TempDir(), "ledger")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	p := startLedgerProcess(t, dir, "--origin", "ledger.example")
	url, key := "http://"+p.ready.Address, p.ready.Key
	l := client.NewLedger(url, key, nil)
	show := func(url string) (code int, check string) {
		cmd := exec.Command(os.Args[0], "--home", home, "--output", "json", "ledger", "show", url, "--key", key)
		cmd.Args[0] = "strongroom"
		out, _ := cmd.Output()
		var doc struct {
			Remembered bool
			Error      *verdict.Error
		}
		if err := json.Unmarshal(out, &doc); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if doc.Error != nil {
			check = doc.Error.Check
		} else if !doc.Remembered {
			t.Error("not remembered")
		}
		return cmd.ProcessState.ExitCode(), check
	}
	for n := range 3 {
		if _, err := l.Submit(context.Background(), runRecord(t, n)); err != nil {
			t.Fatal(err)
		}
		if code, check := show(url); code != 0 {
			t.Fatalf("after entry %d: %d %s", n, code, check)
		}
	}
	p.Process.Signal(syscall.SIGTERM)
	p.Wait()
	// The same key goes on with another history: first a shorter one, then a longer.
	secret, err := os.ReadFile(filepath.Join(dir, "log.key"))
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.MkdirAll(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "log.key"), secret, 0o600); err != nil {
		t.Fatal(err)
	}
	p = startLedgerProcess(t, other)
	url = "http://" + p.ready.Address
	if code, check := show(url); code != 3 || check != "ledger.rollback" {
		t.Errorf("set back: %d %s", code, check)
	}
	l = client.NewLedger(url, key, nil)
	for n := range 4 {
		if _, err := l.Submit(context.Background(), runRecord(t, 10+n)); err != nil {
			t.Fatal(err)
		}
	}
	if code, check := show(url); code != 4 || check != "ledger.consistency" {
		t.Errorf("another history: %d %s", code, check)
	}
}
