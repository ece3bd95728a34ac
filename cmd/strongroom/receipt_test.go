package main

import (
	"path/filepath"
	"testing"
	"time"

	"strongroom.dev/client"
	"strongroom.dev/internal/home"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// A log that shows two histories to one reader is refused, whether a proof or a look at the
// ledger showed the first.
func TestProofsAreRemembered(t *testing.T) {
	h, _, err := home.Init(filepath.Join(t.TempDir(), "home"), home.Setup{Name: "alpha", Title: "Alpha", Data: true, BrokerAddress: "localhost:7443", Operator: "me", Years: 1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secret, key, err := ledger.GenerateKey("ledger.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ledger.ParseSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	shows := func(size int64, root string) *proof.Proven {
		note, err := signer.SignCheckpoint(size, wire.HashOf([]byte(root)))
		if err != nil {
			t.Fatal(err)
		}
		return &proof.Proven{Checkpoints: []proof.Checkpoint{{LogKey: key, Note: note}}}
	}
	for _, size := range []int64{5, 3, 5} {
		if err := rememberLogs(h, shows(size, "one")); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if err := rememberLogs(h, shows(5, "two")); verdict.As(err).Check != "ledger.fork" {
		t.Errorf("two histories in two proofs: %v", err)
	}
	looked := shows(4, "two").Checkpoints[0]
	if _, err := client.NewSeen(h.Path("seen.json")).Accept(key, looked.Note, nil); err != nil {
		t.Fatal(err)
	}
	if err := rememberLogs(h, shows(4, "one")); verdict.As(err).Check != "ledger.fork" {
		t.Errorf("another history than the ledger itself showed: %v", err)
	}
}
