package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// corpusDir holds the corpus: test/evidence/README.md says what its files mean.
var corpusDir = filepath.Join("..", "..", "test", "evidence")

// evidenceCase is one case of the corpus: evidence, what it is judged by, and what must come
// of it.
type evidenceCase struct {
	ID           string       `json:"id"`
	Rule         caseRule     `json:"rule"`
	Now          time.Time    `json:"now"`
	Evidence     caseSource   `json:"evidence"`
	Endorsements []caseSource `json:"endorsements"`
	Policy       string       `json:"policy"`
	Nonce        string       `json:"nonce"`
	ReportData   string       `json:"report_data"`
	AnyNonce     bool         `json:"any_nonce"`
	// Withheld cases name files that the manifest does not list.
	Withheld bool       `json:"withheld"`
	Expect   caseExpect `json:"expect"`
	// ProvedBy names Go tests, for what no genuine evidence can show: "attest/snp TestX/name".
	ProvedBy []string `json:"proved_by"`
}

// caseRule says why the case is there.
type caseRule struct {
	Section   string `json:"section"`
	Name      string `json:"name"`
	Statement string `json:"statement"`
}

// caseExpect is what strongroom verify must say. Claims are by path.
type caseExpect struct {
	Verdict  string         `json:"verdict"`
	Failed   []string       `json:"failed"`
	Warnings []string       `json:"warnings"`
	Exit     int            `json:"exit"`
	Claims   map[string]any `json:"claims"`
}

// caseSource is bytes: of one file, of several one after the other, or text as it is; then
// changed, one change after the other.
type caseSource struct {
	Path    string       `json:"path"`
	Files   []string     `json:"files"`
	Text    string       `json:"text"`
	Changes []caseChange `json:"changes"`
}

// UnmarshalJSON also takes a mere path.
func (s *caseSource) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &s.Path)
	}
	type plain caseSource
	return strictJSON(data, (*plain)(s))
}

func (s caseSource) files() []string {
	all := s.Files
	if s.Path != "" {
		all = append([]string{s.Path}, all...)
	}
	for _, c := range s.Changes {
		all = append(all, c.files()...)
	}
	return all
}

// read gives the bytes; dir is the folder of the vectors.
func (s caseSource) read(dir string) ([]byte, error) {
	data := []byte(s.Text)
	files := s.Files
	if s.Path != "" {
		files = []string{s.Path}
	}
	for _, name := range files {
		more, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		data = append(data, more...)
	}
	return changed(dir, data, s.Changes)
}

func strictJSON(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one JSON text")
	}
	return nil
}

// corpus reads every case, and checks what can be checked without the vectors.
func corpus(t *testing.T) []evidenceCase {
	t.Helper()
	var all []evidenceCase
	root := filepath.Join(corpusDir, "cases")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var c evidenceCase
		if err := strictJSON(data, &c); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if want := strings.TrimSuffix(filepath.ToSlash(below), ".json"); c.ID != want {
			t.Errorf("%s: its id is %q", path, c.ID)
		}
		if problem := c.incomplete(); problem != "" {
			t.Errorf("%s: %s", path, problem)
		}
		all = append(all, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// incomplete says what a case lacks.
func (c evidenceCase) incomplete() string {
	exits := map[string]int{"affirming": 0, "warning": 0, "contraindicated": 3, "invalid": 4, "genuine": c.Expect.Exit, "no policy": c.Expect.Exit}
	exit, known := exits[c.Expect.Verdict]
	bad := c.Expect.Verdict == "contraindicated" || c.Expect.Verdict == "invalid" || c.Expect.Verdict == "no policy"
	switch {
	case c.Rule.Section == "" || c.Rule.Name == "" || c.Rule.Statement == "":
		return "no rule"
	case len(c.ProvedBy) > 0 && (len(c.Evidence.files()) > 0 || known || c.Evidence.Text != ""):
		return "both evidence and proved_by"
	case len(c.ProvedBy) > 0:
		return ""
	case !known || exit != c.Expect.Exit:
		return fmt.Sprintf("verdict %q with exit %d", c.Expect.Verdict, c.Expect.Exit)
	case c.Expect.Verdict == "genuine" && !c.Withheld:
		return "genuine says too little of evidence that is here"
	case bad != (len(c.Expect.Failed) > 0):
		return "failed checks go with what is refused, and only with it"
	case c.Now.IsZero():
		return "no time"
	}
	return ""
}

// sources are all files the case reads.
func (c evidenceCase) sources() []string {
	all := c.Evidence.files()
	for _, e := range c.Endorsements {
		all = append(all, e.files()...)
	}
	return all
}
