package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/internal/home"
	"strongroom.dev/seal"
)

// A data key is in the descriptor for anyone to seal to: a file sealed to it is no result
// because a proof lies beside it, and no result is opened past its proof by such a key.
func TestOpenChecksEveryProof(t *testing.T) {
	dir := t.TempDir()
	h, party, err := home.Init(filepath.Join(dir, "home"), home.Setup{Name: "alpha", Title: "Alpha", Data: true, BrokerAddress: "localhost:7443", Operator: "me", Years: 1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	to, err := seal.ParseRecipient(party.Broker.Data[0])
	if err != nil {
		t.Fatal(err)
	}
	var fake bytes.Buffer
	if _, err := seal.Seal(&fake, strings.NewReader("diagnosis,n\nflu,9999\n"), []seal.Recipient{to}, seal.Options{}); err != nil {
		t.Fatal(err)
	}
	file, beside, elsewhere := filepath.Join(dir, "counts-alpha-00010203.age"), filepath.Join(dir, "counts-alpha-00010203.proof"), filepath.Join(dir, "other")
	for path, data := range map[string][]byte{file: fake.Bytes(), elsewhere: []byte("{\"whatever\":1}\n")} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		a := &app{in: bytes.NewReader(fake.Bytes()), out: &out, err: &errs, now: time.Now}
		code := a.run(append([]string{"--home", h.Dir(), "open", "--force"}, args...))
		return code, out.String() + errs.String()
	}
	if code, said := open(file, "--proof", elsewhere); code == 0 || !strings.Contains(said, "proof") {
		t.Errorf("past the proof it was told to check: %d, %s", code, said)
	}
	if code, said := open("-", "-o", filepath.Join(dir, "x"), "--proof", elsewhere); code == 0 {
		t.Errorf("a stream past the proof: %s", said)
	}
	if code, said := open(file); code != 0 || !strings.Contains(said, "origin unproven") {
		t.Errorf("without a proof: %d, %s", code, said)
	}
	if code, said := open(file, "-o", "-"); code != 0 || !strings.Contains(said, "origin unproven") {
		t.Errorf("to standard output: %d, %s", code, said)
	}
	if err := os.Rename(elsewhere, beside); err != nil {
		t.Fatal(err)
	}
	if code, said := open(file); code == 0 {
		t.Errorf("past the proof beside it: %s", said)
	}
	if code, said := open(file, "--insecure-unproven"); code == 0 || !strings.Contains(said, "move it away") {
		t.Errorf("past the proof beside it, as told: %d, %s", code, said)
	}
	if err := os.Remove(beside); err != nil {
		t.Fatal(err)
	}
	if code, said := open(file, "--insecure-unproven"); code != 0 || !strings.Contains(said, "origin unproven") {
		t.Errorf("without a proof, as told: %d, %s", code, said)
	}
	if err := os.Symlink("/nowhere", beside); err != nil {
		t.Fatal(err)
	}
	if code, said := open(file); code == 0 {
		t.Errorf("past a proof that can't be read: %s", said)
	}
}
