package proof_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors anew")

// vector is one case of spec/vectors/proof.
type vector struct {
	Name   string          `json:"name"`
	Expect string          `json:"expect"` // "proven" or the check that fails
	Now    wire.Time       `json:"now"`
	Trust  vectorTrust     `json:"trust"`
	Bundle json.RawMessage `json:"bundle"`
}

type vectorTrust struct {
	Parties []wire.Digest    `json:"parties"`
	Roots   []wire.Hash      `json:"roots"`
	Ledgers []ledger.Witness `json:"ledgers"`
	// References are sets of reference values, as files.
	References []json.RawMessage `json:"references,omitempty"`
}

const vectorDir = "../spec/vectors/proof"

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
		writeReferenceVectors(t)
	}
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.json"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d vectors in %s: %v", len(files), vectorDir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) { runVector(t, file) })
	}
}

func runVector(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	got := "proven"
	b, err := proof.ParseBundle(v.Bundle)
	if err == nil {
		trust := proof.Trust{Parties: map[wire.Digest]string{}, Platforms: []attest.Platform{dev.New()}, Roots: v.Trust.Roots, Ledgers: v.Trust.Ledgers}
		for _, p := range v.Trust.Parties {
			trust.Parties[p] = "pinned"
		}
		for _, set := range v.Trust.References {
			trust.References = append(trust.References, set)
		}
		_, err = proof.Verify(b, trust, v.Now.Time())
	}
	if err != nil {
		got = verdict.As(err).Check
	}
	if got != v.Expect {
		t.Errorf("%s, expected %s: %v", got, v.Expect, err)
	}
}

func writeVectors(t *testing.T) {
	w := newWorld(t)
	parties := []wire.Digest{}
	for _, p := range w.agreement.Parties {
		parties = append(parties, p.Descriptor)
	}
	good := vectorTrust{parties, []wire.Hash{w.root.Public().ID()}, []ledger.Witness{{Name: "witness", Key: w.witness.Verifier()}}, nil}
	if err := os.MkdirAll(vectorDir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, expect string, trust vectorTrust, change func(b *proof.Bundle)) {
		b := w.bundle()
		change(b)
		writeVector(w, name, expect, trust, b)
	}
	same := func(*proof.Bundle) {}
	write("proven", "proven", good, same)
	write("party-not-pinned", "proof.parties", vectorTrust{parties[:2], good.Roots, good.Ledgers, nil}, same)
	write("root-not-relied-on", "proof.root", vectorTrust{parties, nil, good.Ledgers, nil}, same)
	write("ledger-not-relied-on", "proof.record", vectorTrust{parties, good.Roots, nil, nil}, same)
	write("other-type", "proof.form", good, func(b *proof.Bundle) { b.Type = "strongroom/proof/v2" })
	write("release-missing", "proof.releases", good, func(b *proof.Bundle) { b.Releases = b.Releases[:1] })
	write("releases-swapped", "proof.releases", good, func(b *proof.Bundle) { b.Releases[0], b.Releases[1] = b.Releases[1], b.Releases[0] })
	write("challenge-changed", "evidence.binding", good, func(b *proof.Bundle) { b.Releases[1].Challenge = []byte("other") })
	write("lives-swapped", "proof.lives", good, func(b *proof.Bundle) { b.Lives[0], b.Lives[1] = b.Lives[1], b.Lives[0] })
	write("consistency-missing", "proof.consistency", good, func(b *proof.Bundle) { b.Consistency[0] = []wire.Hash{} })
	write("consistency-wrong", "proof.consistency", good, func(b *proof.Bundle) { b.Consistency[0] = []wire.Hash{{1}} })
	write("result-replaced", "proof.result", good, func(b *proof.Bundle) { b.Result = b.Lives[0] })
	w.fork = func(log *ledger.Signer) { delete(w.logs, log.Verifier()) }
	write("log-forked", "proof.consistency", good, same)
}

func writeVector(w *world, name, expect string, trust vectorTrust, b *proof.Bundle) {
	w.t.Helper()
	data, err := json.MarshalIndent(vector{name, expect, wire.At(w.now), trust, w.marshal(b)}, "", " ")
	must(w.t, data, err)
	if err := os.WriteFile(filepath.Join(vectorDir, name+".json"), append(data, '\n'), 0o644); err != nil {
		w.t.Fatal(err)
	}
}
