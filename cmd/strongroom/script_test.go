package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"strongroom.dev/internal/version"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql"
)

func TestMain(m *testing.M) {
	// What tests verify is not to be remembered in the home of whoever runs them.
	if _, named := os.LookupEnv("STRONGROOM_HOME"); !named {
		if err := os.Setenv("STRONGROOM_HOME", filepath.Join(os.TempDir(), "strongroom-tests-have-no-home")); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, map[string]func(){"strongroom": main, "strongroom-sql": checker})
}

// checker stands in for the SQL engine, which is no part of these tests: it refuses queries
// that read a file.
func checker() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(version.Version)
		return
	}
	data, err := io.ReadAll(os.Stdin)
	if err == nil {
		var job sql.Job
		if job, err = sql.ParseJob(data); err == nil && strings.Contains(job.Query, "read_csv") {
			err = verdict.Refuse("sql.query.function", "a query within the rules of spec/sql.md", fmt.Sprintf("read_csv at byte %d", strings.Index(job.Query, "read_csv")+1), "change the query")
		}
	}
	if err != nil {
		fmt.Printf("{\"error\":%s}\n", verdict.Encode(err))
		os.Exit(verdict.Exit(err))
	}
	fmt.Printf("{\"plan\":%q}\n", "sha256:00")
}

// TestScripts runs the real program over the scenarios in testdata. Besides testscript's
// own commands there are:
//
//	fails CODE CHECK strongroom ARGS...   the call fails with that exit code and one clear
//	    line about that check, both as text and as JSON, and changes no file
//	json PATH strongroom ARGS...          the call succeeds with exactly one JSON document,
//	    whose member PATH (a.b.0.c) becomes the standard output that is looked at next
//	judged CODE CHECK strongroom ARGS...   the call says that the check failed, and exits so
//	layout and registry make images: container_layout_test.go
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("STRONGROOM_HOME", filepath.Join(e.WorkDir, "home"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"fails": scriptFails, "json": scriptJSON, "judged": scriptJudged, "layout": scriptLayout, "registry": scriptRegistry},
	})
}

func scriptFails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: fails CODE CHECK COMMAND ARGS...")
	}
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	check, call := args[1], args[2:]
	before := tree(ts)
	if got := exitCode(ts, call); got != code {
		ts.Fatalf("exit code %d, expected %d; it said: %s", got, code, ts.ReadFile("stderr"))
	}
	line := ts.ReadFile("stderr")
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output %q, expected nothing", out)
	}
	if !strings.HasPrefix(line, "strongroom: ") || strings.Count(line, "\n") != 1 || !strings.Contains(line, check+": ") {
		ts.Fatalf("not one line about %s: %q", check, line)
	}
	if got := exitCode(ts, append(call, "--output", "json")); got != code {
		ts.Fatalf("with --output json: exit code %d, expected %d", got, code)
	}
	var doc struct{ Error *verdict.Error }
	oneDocument(ts, &doc)
	if e := doc.Error; e == nil || e.Check != check || e.Expected == "" || e.Got == "" || e.Fix == "" {
		ts.Fatalf("error document %+v, expected check %s, and every member", e, check)
	}
	if err := ts.ReadFile("stderr"); err != "" {
		ts.Fatalf("with --output json it also said: %q", err)
	}
	if diff := cmp.Diff(before, tree(ts)); diff != "" {
		ts.Fatalf("a failed call changed files: %s", diff)
	}
	// The line itself is what the script looks at next.
	ts.Check(os.WriteFile(ts.MkAbs("failure"), []byte(line), 0o600))
	ts.Check(ts.Exec("cat", "failure"))
	ts.Check(os.Remove(ts.MkAbs("failure")))
}

func exitCode(ts *testscript.TestScript, call []string) int {
	err := ts.Exec(call[0], call[1:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// oneDocument reads standard output, which must be one JSON document and nothing else.
func oneDocument(ts *testscript.TestScript, v any) {
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	if err := dec.Decode(v); err != nil {
		ts.Fatalf("standard output is no JSON document: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		ts.Fatalf("more than one document on standard output: %s", ts.ReadFile("stdout"))
	}
}

func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: json PATH COMMAND ARGS...")
	}
	if code := exitCode(ts, append(args[1:], "--output", "json")); code != 0 {
		ts.Fatalf("exit code %d: %s", code, ts.ReadFile("stdout"))
	}
	var doc any
	oneDocument(ts, &doc)
	for name := range strings.SplitSeq(args[0], ".") {
		switch v := doc.(type) {
		case map[string]any:
			value, found := v[name]
			if !found {
				ts.Fatalf("no member %q of %s in %v", name, args[0], v)
			}
			doc = value
		case []any:
			i, err := strconv.Atoi(name)
			ts.Check(err)
			doc = v[i]
		}
	}
	text, found := doc.(string)
	if !found {
		data, err := json.Marshal(doc)
		ts.Check(err)
		text = string(data)
	}
	ts.Check(ts.Exec("printf", "%s", text))
}

// tree gives the digest and mode of every file below the script's directory, but for locks.
func tree(ts *testscript.TestScript) map[string]string {
	out := make(map[string]string)
	root := ts.Getenv("WORK")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "lock" || strings.HasPrefix(d.Name(), ".tmp") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out[path] = info.Mode().String()
		if !info.Mode().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		hash := sha256.Sum256(data)
		out[path] += " " + hex.EncodeToString(hash[:8])
		return err
	})
	ts.Check(err)
	return out
}

// TestNoFlagTakesASecret keeps secrets out of command lines: nothing called key, secret,
// password or token may be given as a value, only as a file.
func TestNoFlagTakesASecret(t *testing.T) {
	a := &app{in: strings.NewReader(""), out: new(bytes.Buffer), err: new(bytes.Buffer)}
	for _, cmd := range allCommands(a.rootCommand()) {
		for _, name := range flagsOf(cmd) {
			for _, word := range []string{"secret", "password", "passphrase"} {
				if strings.Contains(name, word) {
					t.Errorf("%s %s: secrets don't belong on a command line", cmd.CommandPath(), name)
				}
			}
		}
	}
}

// TestEveryVerbExplainsItself: a short text, and an example where there is something to give.
func TestEveryVerbExplainsItself(t *testing.T) {
	a := &app{in: strings.NewReader(""), out: new(bytes.Buffer), err: new(bytes.Buffer)}
	for _, cmd := range allCommands(a.rootCommand()) {
		if cmd.Name() == "help" || cmd.Name() == "completion" || cmd.Parent() != nil && cmd.Parent().Name() == "completion" {
			continue
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short text %q", cmd.CommandPath(), cmd.Short)
		}
		if strings.ContainsAny(cmd.Use, " ") && cmd.Runnable() && cmd.Example == "" && !cmd.HasSubCommands() {
			t.Errorf("%s takes arguments and shows no example", cmd.CommandPath())
		}
	}
}
