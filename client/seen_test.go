package client_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"strongroom.dev/client"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// log is a log in memory that can be asked for any of its states.
type log struct {
	signer *ledger.Signer
	hashes []tlog.Hash
}

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

func newLog(t testing.TB, signer *ledger.Signer, content string, entries int) *log {
	t.Helper()
	l := &log{signer: signer}
	for i := range entries {
		more, err := tlog.StoredHashes(int64(i), fmt.Appendf(nil, "%s %d", content, i), l)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, more...)
	}
	return l
}

func (l *log) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *log) note(t testing.TB, size int64) string {
	t.Helper()
	root, err := tlog.TreeHash(size, l)
	if err != nil {
		t.Fatal(err)
	}
	note, err := l.signer.SignCheckpoint(size, wire.Hash(root))
	if err != nil {
		t.Fatal(err)
	}
	return note
}

func (l *log) prove(from, to int64) ([]wire.Hash, error) {
	proof, err := tlog.ProveTree(to, from, l)
	out := make([]wire.Hash, len(proof))
	for i, h := range proof {
		out[i] = wire.Hash(h)
	}
	return out, err
}

func wantCheck(t *testing.T, err error, kind verdict.Kind, check string) {
	t.Helper()
	var e *verdict.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Check != check {
		t.Fatalf("got %v, expected %s of kind %q", err, check, kind)
	}
}

var errNoProof = errors.New("no proof to be had")

func noProof(_, _ int64) ([]wire.Hash, error) { return nil, errNoProof }

func TestSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen.json")
	seen := client.NewSeen(path)
	alpha := newSigner(t, "log.example/alpha")
	key := alpha.Verifier()
	l, fork := newLog(t, alpha, "alpha", 20), newLog(t, alpha, "another history", 20)
	if _, known, err := seen.Last(key); known || err != nil {
		t.Fatalf("before anything: %v %v", known, err)
	}
	_, err := seen.Accept(newSigner(t, "log.example/alpha").Verifier(), l.note(t, 7), noProof)
	wantCheck(t, err, verdict.Invalid, "ledger.checkpoint")
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a refusal left a file")
	}
	for _, size := range []int64{0, 0, 7, 7} { // nothing to prove from an empty log
		if _, err := seen.Accept(key, l.note(t, size), noProof); err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
	}
	_, err = seen.Accept(key, l.note(t, 12), noProof)
	if !errors.Is(err, errNoProof) {
		t.Fatalf("without a proof: %v", err)
	}
	before, _ := os.ReadFile(path)
	_, err = seen.Accept(key, l.note(t, 6), l.prove)
	wantCheck(t, err, verdict.Refused, "ledger.rollback")
	_, err = seen.Accept(key, l.note(t, 0), l.prove)
	wantCheck(t, err, verdict.Refused, "ledger.rollback")
	_, err = seen.Accept(key, fork.note(t, 7), fork.prove)
	wantCheck(t, err, verdict.Invalid, "ledger.fork")
	_, err = seen.Accept(key, fork.note(t, 20), fork.prove)
	wantCheck(t, err, verdict.Invalid, "ledger.consistency")
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Fatal("a refusal changed the file")
	}
	if c, err := seen.Accept(key, l.note(t, 20), l.prove); err != nil || c.Size != 20 {
		t.Fatal(err)
	}
	// Another process, and another log in the same file.
	again := client.NewSeen(path)
	if c, known, err := again.Last(key); err != nil || !known || c.Size != 20 {
		t.Fatalf("%+v %v %v", c, known, err)
	}
	beta := newLog(t, newSigner(t, "log.example/beta"), "beta", 3)
	if _, err := again.Accept(beta.signer.Verifier(), beta.note(t, 3), noProof); err != nil {
		t.Fatal(err)
	}
	if c, known, err := seen.Last(key); err != nil || !known || c.Size != 20 {
		t.Fatalf("%+v %v %v", c, known, err)
	}
}

func TestSeenRefusesADamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen.json")
	l := newLog(t, newSigner(t, "log.example/alpha"), "alpha", 3)
	seen := client.NewSeen(path)
	if _, err := seen.Accept(l.signer.Verifier(), l.note(t, 2), noProof); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"", "{}", "x", `{"format":"strongroom/seen/v2","logs":[]}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := seen.Accept(l.signer.Verifier(), l.note(t, 1), noProof)
		wantCheck(t, err, verdict.Broken, "seen.file")
		_, _, err = seen.Last(l.signer.Verifier())
		wantCheck(t, err, verdict.Broken, "seen.file")
	}
}

// TestSeenInParallel: whatever the order, the largest stays.
func TestSeenInParallel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen.json")
	l := newLog(t, newSigner(t, "log.example/alpha"), "alpha", 40)
	var wg sync.WaitGroup
	for size := int64(40); size > 0; size-- {
		note := l.note(t, size)
		wg.Go(func() {
			_, err := client.NewSeen(path).Accept(l.signer.Verifier(), note, l.prove)
			if err != nil && verdict.As(err).Check != "ledger.rollback" {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c, _, err := client.NewSeen(path).Last(l.signer.Verifier()); err != nil || c.Size != 40 {
		t.Errorf("%d entries seen, expected 40: %v", c.Size, err)
	}
}

// TestSeenMeets: documents of any age pass, in any order; two roots of one size don't.
func TestSeenMeets(t *testing.T) {
	signer := newSigner(t, "alpha.example/log")
	honest, fork := newLog(t, signer, "entry", 9), newLog(t, signer, "other", 9)
	key := signer.Verifier()
	seen := client.NewSeen(filepath.Join(t.TempDir(), "seen"))
	for _, size := range []int64{4, 7, 2, 7} {
		if err := seen.Meet(key, honest.note(t, size)); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if err := seen.Meet(key, fork.note(t, 7)); verdict.As(err).Check != "ledger.fork" {
		t.Errorf("another root of the size remembered: %v", err)
	}
	if err := seen.Meet(newSigner(t, "alpha.example/log").Verifier(), honest.note(t, 8)); err == nil {
		t.Error("a checkpoint of another key was accepted")
	}
	if last, known, err := seen.Last(key); err != nil || !known || last.Size != 7 {
		t.Errorf("remembers %d, %v, %v", last.Size, known, err)
	}
}
