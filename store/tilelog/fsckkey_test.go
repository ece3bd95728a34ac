package tilelog_test

import (
	"os"
	"path/filepath"
	"testing"

	"strongroom.dev/ledger"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
)

// Another log's key says nothing about this one: it is a wrong call, and no reason to restore
// anything. So it is for a log and for a published copy, which has no journal.
func TestFsckWithAnotherKey(t *testing.T) {
	secret, right, err := ledger.GenerateKey("ledger.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ledger.ParseSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := tilelog.Create(dir, signer); err != nil {
		t.Fatal(err)
	}
	_, sameName, err := ledger.GenerateKey("ledger.example")
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ledger.GenerateKey("other.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"log", "copy"} {
		if form == "copy" {
			if err := os.Remove(filepath.Join(dir, "journal")); err != nil {
				t.Fatal(err)
			}
		}
		for _, key := range []string{sameName, other} {
			if _, err := tilelog.Fsck(dir, key, nil); verdict.As(err).Kind != verdict.Usage || verdict.As(err).Check != "ledger.key" {
				t.Errorf("%s: %v", form, err)
			}
		}
		if _, err := tilelog.Fsck(dir, right, nil); err != nil {
			t.Errorf("%s with its own key: %v", form, err)
		}
	}
}
