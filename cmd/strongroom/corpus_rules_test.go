package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"strongroom.dev/internal/evidencetest"
)

// corpusRules are the rules that must each have a case, and what has none, with the reason.
type corpusRules struct {
	// Rules are names by section.
	Rules map[string][]string `json:"rules"`
}

type notApplicable struct {
	Rules []struct {
		Section string `json:"section"`
		Name    string `json:"name"`
		Why     string `json:"why"`
	} `json:"rules"`
	// Vectors are files, or all whose path begins so, that are no evidence for verify.
	Vectors []struct {
		Prefix   string   `json:"prefix"`
		Why      string   `json:"why"`
		ProvedBy []string `json:"proved_by"`
	} `json:"vectors"`
}

func readCorpusFile(t *testing.T, name string, to any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(corpusDir, name))
	if err == nil {
		err = strictJSON(data, to)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestEvidenceCorpusCoversRules: every rule has a negative case or a reason for having none,
// and never both.
func TestEvidenceCorpusCoversRules(t *testing.T) {
	var rules corpusRules
	var not notApplicable
	readCorpusFile(t, "rules.json", &rules)
	readCorpusFile(t, "not-applicable.json", &not)
	count := make(map[string]int)
	for _, c := range corpus(t) {
		for _, name := range rules.Rules[c.Rule.Section] {
			if c.Rule.Name == name || strings.HasPrefix(c.Rule.Name, name+" ") {
				count[c.Rule.Section+" "+name]++
			}
		}
	}
	excused := make(map[string]bool)
	for _, n := range not.Rules {
		id := n.Section + " " + n.Name
		if excused[id] = true; n.Why == "" || !slices.Contains(rules.Rules[n.Section], n.Name) || count[id] > 0 {
			t.Errorf("%s: excused without a reason, without being a rule, or though it has a case", id)
		}
	}
	for section, names := range rules.Rules {
		for _, name := range names {
			if id := section + " " + name; count[id] == 0 && !excused[id] {
				t.Errorf("%s: no case, and no reason in not-applicable.json", id)
			}
		}
	}
}

// corpusVectors is how many files the manifest had when the cases were written.
const corpusVectors = 293

// TestEvidenceCorpusCoversVectors: every file of the manifest is in a case, by its path or its
// content, or is named as no evidence with the test that is about it. Of another manifest, with
// vectors that were withheld, it lists those that are in none.
func TestEvidenceCorpusCoversVectors(t *testing.T) {
	listed := evidencetest.Manifest(t)
	var not notApplicable
	readCorpusFile(t, "not-applicable.json", &not)
	used := make(map[string]bool)
	for _, c := range corpus(t) {
		for _, name := range c.sources() {
			used[listed[name]] = true
		}
	}
	excuses := make([]int, len(not.Vectors))
	for path, digest := range listed {
		excused := false
		for i, n := range not.Vectors {
			if strings.HasPrefix(path, n.Prefix) {
				excused = true
				excuses[i]++
			}
		}
		switch {
		case used[digest] || excused:
		case len(listed) == corpusVectors:
			t.Errorf("%s: in no case", path)
		default:
			t.Logf("%s: in no case", path)
		}
	}
	for i, n := range not.Vectors {
		if n.Why == "" || excuses[i] == 0 {
			t.Errorf("%s: no reason, or nothing to excuse", n.Prefix)
		}
	}
}

// TestEvidenceCorpusProofs: the Go tests that cases and exceptions name are there.
func TestEvidenceCorpusProofs(t *testing.T) {
	known := make(map[string]*testSource)
	check := func(id, proof string) {
		pkg, name, ok := strings.Cut(proof, " ")
		name, sub, _ := strings.Cut(name, "/")
		if !ok || !strings.HasPrefix(name, "Test") {
			t.Errorf("%s: %q names no test", id, proof)
			return
		}
		if known[pkg] == nil {
			source, err := readTests(filepath.Join("..", "..", filepath.FromSlash(pkg)))
			if err != nil {
				t.Errorf("%s: %v", id, err)
			}
			known[pkg] = source
		}
		if !known[pkg].tests[name] || sub != "" && !known[pkg].texts[sub] {
			t.Errorf("%s: there is no %s", id, proof)
		}
	}
	for _, c := range corpus(t) {
		for _, proof := range c.ProvedBy {
			check(c.ID, proof)
		}
	}
	var not notApplicable
	readCorpusFile(t, "not-applicable.json", &not)
	for _, n := range not.Vectors {
		for _, proof := range n.ProvedBy {
			check(n.Prefix, proof)
		}
	}
}

// testSource is what a package's tests hold: their names, and all texts, among them the names
// of the rows of tables.
type testSource struct{ tests, texts map[string]bool }

func readTests(dir string) (*testSource, error) {
	s := &testSource{make(map[string]bool), make(map[string]bool)}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no tests in %s", dir)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			return s, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				s.tests[n.Name.Name] = true
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					s.texts[text] = true
				}
			}
			return true
		})
	}
	return s, err
}

// TestEvidenceCorpusRefuses: the corpus itself is read strictly, and a case that proves nothing
// is refused.
func TestEvidenceCorpusRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"id":"a","surprise":1}`:  "unknown field",
		`{"evidence":{"pth":"a"}}`: "unknown field",
		`{} {}`:                    "more than one",
	} {
		var c evidenceCase
		if err := strictJSON([]byte(text), &c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", text, err, want)
		}
	}
	rule := `"rule":{"section":"1","name":"a","statement":"b"},"now":"2026-01-01T00:00:00Z",`
	for text, want := range map[string]string{
		`{}`: "no rule",
		`{` + rule + `"expect":{"verdict":"contraindicated","failed":["a"],"exit":0}}`: "with exit 0",
		`{` + rule + `"expect":{"verdict":"contraindicated","exit":3}}`:                "failed checks go with",
		`{` + rule + `"expect":{"verdict":"genuine","exit":0}}`:                        "says too little",
		`{` + rule + `"proved_by":["x"],"evidence":"a"}`:                               "both evidence",
	} {
		var c evidenceCase
		if err := json.Unmarshal([]byte(text), &c); err != nil || !strings.Contains(c.incomplete(), want) {
			t.Errorf("%s: %v %q, expected %q", text, err, c.incomplete(), want)
		}
	}
	for text, want := range map[string]string{
		`{"op":"xor","at":3,"hex":"01"}`:       "beyond the end",
		`{"op":"write","at":0,"hex":"61"}`:     "changes nothing",
		`{"op":"keep","at":9}`:                 "at 9",
		`{"op":"replace","old":"z","new":"y"}`: "0 times",
		`{"op":"encode","as":"rot13"}`:         "unknown encoding",
		`{"op":"sing"}`:                        "",
	} {
		var c caseChange
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if _, err := changed("", []byte("abc"), []caseChange{c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", text, err, want)
		}
	}
}
