package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"

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

// A stranger without a home names on the command line whom it relies on, and is told how to
// where one is missing.
func TestReceiptByAStranger(t *testing.T) {
	data, err := os.ReadFile("../../spec/vectors/proof/proven.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Now   wire.Time `json:"now"`
		Trust struct {
			Roots   []string         `json:"roots"`
			Ledgers []ledger.Witness `json:"ledgers"`
		} `json:"trust"`
		Bundle json.RawMessage `json:"bundle"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, append(bytes.TrimSpace(data), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("means.proof", v.Bundle)
	bundle, err := proof.ParseBundle(v.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	var flags, names []string
	for _, raw := range bundle.Parties {
		p, err := agreement.ParseParty(raw)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, string(p.Name))
		flags = append(flags, "--party", write(string(p.Name)+".json", raw))
	}
	var rest []string
	for _, r := range v.Trust.Roots {
		rest = append(rest, "--root", r)
	}
	for _, l := range v.Trust.Ledgers {
		rest = append(rest, "--ledger", l.Key)
	}
	call := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		a := &app{in: new(bytes.Buffer), out: &out, err: &errs, now: func() time.Time { return v.Now.Time() }}
		code := a.run(append([]string{"--home", filepath.Join(dir, "nowhere"), "receipt", "verify", file}, args...))
		return code, out.String() + errs.String()
	}
	if code, said := call(slices.Concat(flags, rest)...); code != 0 || !strings.Contains(said, "Proven") {
		t.Errorf("all named: %d, %s", code, said)
	}
	var out, errs bytes.Buffer
	a := &app{in: new(bytes.Buffer), out: &out, err: &errs, now: time.Now}
	id := filepath.Join(dir, "result.key")
	if code := a.run([]string{"keygen", "--purpose", "result", "-o", id}); code != 0 {
		t.Fatal(errs.String())
	}
	errs.Reset()
	if code := a.run([]string{"open", file, "-i", id, "-o", filepath.Join(dir, "x")}); code != 2 || !strings.Contains(errs.String(), "which is a proof") || !strings.Contains(errs.String(), "means.age") {
		t.Errorf("a proof opened: %d, %s", code, errs.String())
	}
	for given := range len(names) {
		code, said := call(slices.Concat(flags[:2*given], rest)...)
		if code != 3 || !strings.Contains(said, "--party FILE") || strings.Contains(said, "party init") {
			t.Errorf("%d named: %d, %s", given, code, said)
		}
		for _, name := range names[given:] {
			if !strings.Contains(said, "party "+name) && !strings.Contains(said, "party "+strings.TrimSuffix(name, "-org")) {
				t.Errorf("%d named, %s not said to be missing: %s", given, name, said)
			}
		}
	}
}
