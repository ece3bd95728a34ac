package agreement_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors and golden files again")

// vector is one case of spec/vectors: one document, and what reading and verifying it gives.
type vector struct {
	Comment string `json:"comment"`
	// Expect is "success" or the kind of the error; Check and Where are the error's.
	Expect string       `json:"expect"`
	Check  string       `json:"check,omitempty"`
	Where  string       `json:"where,omitempty"`
	Digest *wire.Digest `json:"digest,omitempty"`
	Now    wire.Time    `json:"now"`
	// Parties, Previous and Agreement are the other documents that verifying needs.
	Parties   []string `json:"parties,omitempty"`
	Previous  string   `json:"previous,omitempty"`
	Agreement string   `json:"agreement,omitempty"`
	Document  string   `json:"document"`

	name string
}

func encode(d *keys.Document) string { return string(must(d.Encode())) }

func encodeAll(parties []*agreement.SignedParty) []string {
	out := make([]string, len(parties))
	for i, p := range parties {
		out[i] = encode(p.Document)
	}
	return out
}

// document makes a document of a body that validation may refuse.
func document(docType string, body any, signers ...string) *keys.Document {
	d := must(keys.NewDocument(docType, body))
	sign(d, signers...)
	return d
}

func readParties(texts []string) ([]*agreement.SignedParty, error) {
	var out []*agreement.SignedParty
	for _, text := range texts {
		p, err := agreement.ParseParty([]byte(text))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// checkVectors compares the vectors of one format with the files, and runs every file.
func checkVectors(t *testing.T, format string, made []vector, run func(vector) (wire.Digest, error)) {
	t.Helper()
	dir := filepath.Join("..", "spec", "vectors", format)
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	names := make(map[string]bool)
	for _, v := range made {
		if names[v.name+".json"] {
			t.Errorf("two vectors are called %s", v.name)
		}
		names[v.name+".json"] = true
		if v.Expect == "success" && v.Digest == nil {
			digest, err := run(v)
			if err != nil {
				t.Errorf("%s: %v", v.name, err)
			}
			v.Digest = &digest
		}
		var data bytes.Buffer
		enc := json.NewEncoder(&data)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, v.name+".json")
		if *update {
			if err := os.WriteFile(path, data.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, data.Bytes()) {
			t.Errorf("%s is not what the code makes (%v); if that is meant, run go test -update", path, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != len(made) {
		t.Errorf("%d files in %s, %d vectors (%v)", len(files), dir, len(made), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) { checkVector(t, file, run) })
	}
}

func checkVector(t *testing.T, file string, run func(vector) (wire.Digest, error)) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	digest, err := run(v)
	if v.Expect == "success" {
		if err != nil || v.Digest == nil || digest != *v.Digest {
			t.Errorf("digest %s, error %v", digest, err)
		}
		return
	}
	var e *verdict.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, expected %s by %s", err, v.Expect, v.Check)
	}
	if e.Kind.String() != v.Expect || e.Check != v.Check || e.Where != v.Where {
		t.Errorf("%s by %s at %q, expected %s by %s at %q\n%v", e.Kind, e.Check, e.Where, v.Expect, v.Check, v.Where, err)
	}
	if e.Expected == "" || e.Got == "" {
		t.Errorf("an error that explains nothing: %v", err)
	}
}

func runParty(v vector) (wire.Digest, error) {
	p, err := agreement.ParseParty([]byte(v.Document))
	if err != nil {
		return wire.Digest{}, err
	}
	var previous *agreement.SignedParty
	if v.Previous != "" {
		if previous, err = agreement.ParseParty([]byte(v.Previous)); err != nil {
			return wire.Digest{}, err
		}
	}
	return p.Digest(), p.Verify(v.Now.Time(), previous)
}

func runAgreement(v vector) (wire.Digest, error) {
	parties, err := readParties(v.Parties)
	if err != nil {
		return wire.Digest{}, err
	}
	a, err := agreement.ParseAgreement([]byte(v.Document))
	if err != nil {
		return wire.Digest{}, err
	}
	return a.Digest(), a.Verify(parties, v.Now.Time())
}

func runDataset(v vector) (wire.Digest, error) {
	parties, err := readParties(v.Parties)
	if err != nil {
		return wire.Digest{}, err
	}
	d, err := agreement.ParseDataset([]byte(v.Document))
	if err != nil {
		return wire.Digest{}, err
	}
	return d.Digest(), d.Verify(parties[0], v.Now.Time())
}

func runRun(v vector) (wire.Digest, error) {
	parties, err := readParties(v.Parties)
	if err != nil {
		return wire.Digest{}, err
	}
	a, err := agreement.ParseAgreement([]byte(v.Agreement))
	if err != nil {
		return wire.Digest{}, err
	}
	r, err := agreement.ParseRun([]byte(v.Document))
	if err != nil {
		return wire.Digest{}, err
	}
	return r.Digest(), r.Verify(a, parties[0], v.Now.Time())
}
