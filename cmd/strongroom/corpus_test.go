package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"strongroom.dev/appraise"
	"strongroom.dev/internal/evidencetest"
)

// TestEvidenceCorpus puts every case of the corpus through strongroom verify, and prints the
// table of them: what each is about, what came of it, and why.
func TestEvidenceCorpus(t *testing.T) {
	cases, dir := corpus(t), evidencetest.Dir(t)
	listed := evidencetest.Manifest(t)
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	ran, absent := 0, 0
	for _, c := range cases {
		said := "proved by " + strings.Join(c.ProvedBy, ", ")
		if len(c.ProvedBy) == 0 {
			missing := c.missing(t, dir, listed)
			if missing != "" {
				absent++
				said = "not here: " + missing
			} else {
				ran++
				said = runCase(t, dir, c)
			}
		}
		fmt.Fprintf(table, "%s\t%s %s\t%s\n", c.ID, c.Rule.Section, c.Rule.Name, said)
	}
	table.Flush()
	t.Logf("%d cases, %d run, %d not here, %d proved by other tests\n%s", len(cases), ran, absent, len(cases)-ran-absent, text.String())
}

// missing names a file of the case that is not here. That the manifest lists it and CI asks
// for everything makes that a failure, and so does a file that nobody knows.
func (c evidenceCase) missing(t *testing.T, dir string, listed map[string]string) string {
	t.Helper()
	for _, name := range c.sources() {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		switch known := listed[name] != ""; {
		case err == nil && known:
		case !errors.Is(err, fs.ErrNotExist) && err != nil:
			t.Fatal(err)
		case !known && !c.Withheld:
			t.Errorf("%s: %s is not in the manifest", c.ID, name)
			return name
		case err != nil && known && evidencetest.Required():
			t.Errorf("%s: %s is missing", c.ID, name)
			return name
		case err != nil:
			return name
		}
	}
	return ""
}

// runCase runs one case, and says in a line what came of it.
func runCase(t *testing.T, dir string, c evidenceCase) string {
	t.Helper()
	args, err := c.arguments(t.TempDir(), dir)
	if err != nil {
		t.Errorf("%s: %v", c.ID, err)
		return err.Error()
	}
	var out, errs bytes.Buffer
	a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: time.Now}
	code := a.run(args)
	if c.Expect.Verdict == "no policy" {
		return c.noPolicy(t, code, out.Bytes())
	}
	var r appraise.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Errorf("%s: exit %d, %s: %v", c.ID, code, errs.String(), err)
		return "nothing"
	}
	var failed []string
	for _, check := range r.Failed() {
		failed = append(failed, check.ID)
		if check.Expected == "" || check.Got == "" || check.Fix == "" {
			t.Errorf("%s: a failed check that explains nothing: %+v", c.ID, check)
		}
	}
	verdict := string(r.Verdict)
	if code == 4 {
		verdict = "invalid"
	}
	line := strings.TrimSpace(verdict + " " + strings.Join(failed, " "))
	if problem := c.differs(code, verdict, failed, r); problem != "" {
		t.Errorf("%s: got %s, warnings %q, exit %d: %s\n%s", c.ID, line, r.Warnings, code, problem, errs.String())
	}
	return line
}

// noPolicy expects that the policy is refused, and nothing judged by it.
func (c evidenceCase) noPolicy(t *testing.T, code int, out []byte) string {
	t.Helper()
	var refused struct {
		Error   struct{ Check, Expected, Got, Fix, Where string }
		Verdict string
	}
	err := json.Unmarshal(out, &refused)
	if e := refused.Error; err != nil || code != c.Expect.Exit || refused.Verdict != "" || !slices.Equal([]string{e.Check}, c.Expect.Failed) || e.Expected == "" || e.Got == "" || e.Fix == "" {
		t.Errorf("%s: exit %d, %s %v, expected no policy, exit %d", c.ID, code, out, err, c.Expect.Exit)
	}
	return "no policy " + refused.Error.Check
}

// arguments writes what was changed to files, and gives the command line.
func (c evidenceCase) arguments(scratch, dir string) ([]string, error) {
	file := func(name string, data []byte) (string, error) {
		path := filepath.Join(scratch, name)
		return path, os.WriteFile(path, data, 0o600)
	}
	source := func(name string, s caseSource) (string, error) {
		if s.Path != "" && len(s.Changes) == 0 {
			return filepath.Join(dir, filepath.FromSlash(s.Path)), nil
		}
		data, err := s.read(dir)
		if err != nil {
			return "", err
		}
		return file(name, data)
	}
	args := []string{"verify", "--output", "json", "--at", c.Now.Format(time.RFC3339)}
	path, err := source("evidence", c.Evidence)
	if err != nil {
		return nil, err
	}
	args = append(args, path)
	for i, e := range c.Endorsements {
		if path, err = source(fmt.Sprint("endorsement", i), e); err != nil {
			return nil, err
		}
		args = append(args, "--endorsements", path)
	}
	if c.Policy != "" {
		if path, err = file("policy.yaml", []byte("id: corpus\nversion: 1\n"+c.Policy)); err != nil {
			return nil, err
		}
		args = append(args, "--policy", path)
	}
	if c.Nonce != "" {
		args = append(args, "--nonce", c.Nonce)
	}
	if c.ReportData != "" {
		args = append(args, "--report-data", c.ReportData)
	}
	if c.AnyNonce {
		args = append(args, "--insecure-any-nonce")
	}
	return args, nil
}

// differs says how a result is not what the case expects.
func (c evidenceCase) differs(code int, verdict string, failed []string, r appraise.Result) string {
	want := c.Expect
	if c.Withheld { // its collateral was never seen here: more may be missing
		if (verdict == "invalid") != (want.Verdict == "invalid") || want.Verdict != "genuine" && verdict != want.Verdict {
			return "expected " + want.Verdict
		}
		failed = slices.DeleteFunc(slices.Clone(failed), func(id string) bool { return !slices.Contains(want.Failed, id) })
	} else if verdict != want.Verdict || code != want.Exit {
		return fmt.Sprintf("expected %s, exit %d", want.Verdict, want.Exit)
	}
	if !slices.Equal(failed, want.Failed) {
		return fmt.Sprintf("expected failed checks %q", want.Failed)
	}
	if want.Warnings != nil && !slices.Equal(r.Warnings, want.Warnings) {
		return fmt.Sprintf("expected warnings %q", want.Warnings)
	}
	if verdict == "invalid" && len(r.Claims) > 0 {
		return "claims of what is not genuine"
	}
	for path, value := range want.Claims {
		got, err := look(plainJSON(r.Claims), path)
		if text := plainText(value); err != nil || plainText(got) != text {
			return fmt.Sprintf("claim %s is %s, expected %s", path, plainText(got), text)
		}
	}
	return ""
}

func plainText(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func plainJSON(v any) any {
	out, err := anyJSON([]byte(plainText(v)))
	if err != nil {
		return nil
	}
	return out
}
