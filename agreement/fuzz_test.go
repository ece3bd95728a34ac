package agreement_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"strongroom.dev/agreement"
)

// addVectors seeds a fuzz target with the documents of a format's vectors.
func addVectors(f *testing.F, format string) {
	files, err := filepath.Glob(filepath.Join("..", "spec", "vectors", format, "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no vectors of %s (%v)", format, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(data, &v); err != nil {
			f.Fatal(err)
		}
		if len(v.Document) < 20_000 { // keeps mutation fast
			f.Add([]byte(v.Document))
		}
	}
}

// What is accepted is written back as the same digest, and is verified without a panic.

func FuzzParseParty(f *testing.F) {
	addVectors(f, "party")
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := agreement.ParseParty(data)
		if err != nil {
			return
		}
		again, err := agreement.ParseParty(must(p.Document.Encode()))
		if err != nil || again.Digest() != p.Digest() {
			t.Fatalf("read back as another: %v", err)
		}
		if p.Verify(now, nil) == nil && len(p.Document.Signatures) == 0 {
			t.Fatal("verified without a signature")
		}
		_ = p.Verify(now, again)
	})
}

func FuzzParseAgreement(f *testing.F) {
	addVectors(f, "agreement")
	parties := newWorld().parties()
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := agreement.ParseAgreement(data)
		if err != nil {
			return
		}
		again, err := agreement.ParseAgreement(must(a.Document.Encode()))
		if err != nil || again.Digest() != a.Digest() {
			t.Fatalf("read back as another: %v", err)
		}
		if a.Verify(parties, now) == nil && len(a.Document.Signatures) < len(a.Parties) {
			t.Fatal("verified without all signatures")
		}
		if agreement.Explain(a, parties, nil) == "" || agreement.Diff(a, again) != "" {
			t.Fatal("not explained, or different from itself")
		}
	})
}

func FuzzParseDataset(f *testing.F) {
	addVectors(f, "dataset")
	alpha := newWorld().alpha
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := agreement.ParseDataset(data)
		if err != nil {
			return
		}
		if again, err := agreement.ParseDataset(must(d.Document.Encode())); err != nil || again.Digest() != d.Digest() {
			t.Fatalf("read back as another: %v", err)
		}
		_ = d.Verify(alpha, now)
	})
}

func FuzzParseRun(f *testing.F) {
	addVectors(f, "run")
	w := newWorld()
	a := w.signed()
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := agreement.ParseRun(data)
		if err != nil {
			return
		}
		if again, err := agreement.ParseRun(must(r.Document.Encode())); err != nil || again.Digest() != r.Digest() {
			t.Fatalf("read back as another: %v", err)
		}
		_ = r.Verify(a, w.researcher, now)
	})
}

func FuzzCanonicalParameter(f *testing.F) {
	for _, text := range []string{"0", "-1", "007", "1.50", "-0.0", "9223372036854775807", "1e9", "true"} {
		f.Add(text, int64(2))
	}
	f.Fuzz(func(t *testing.T, text string, scale int64) {
		p := agreement.Parameter{Name: "p", Type: "decimal", Min: "-999999999999999.00", Max: "999999999999999.00", Scale: 2}
		if scale == 0 {
			p = agreement.Parameter{Name: "p", Type: "integer", Min: "-1000000", Max: "1000000"}
		}
		canonical, err := agreement.CanonicalParameter(p, text)
		if err != nil {
			return
		}
		if again, err := agreement.CanonicalParameter(p, canonical); err != nil || again != canonical {
			t.Fatalf("%q gives %q, which gives %q, %v", text, canonical, again, err)
		}
	})
}
