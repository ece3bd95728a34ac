package test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/demo"
)

// named are the attacks that must be tried and refused, whatever else the demo tries.
var named = []string{
	"query changed after signing",
	"parameter changed by the host",
	"run request replayed",
	"agent executable altered by one byte",
	"evidence replayed",
	"challenge used twice",
	"room key swapped inside genuine evidence",
	"evidence made for another purpose",
	"sealed file altered",
	"sealed file truncated",
	"another file fed under an agreed name",
	"an older dataset version served",
	"another owner's header listed as one's own input",
	"releases for two inputs swapped",
	"a party's signature missing",
	"superseded agreement presented",
	"expired agreement",
	"agreement mixing dev with hardware",
	"confidential agreement given dev",
	"result forged",
	"an old result served as new",
	"result opened by the wrong party",
	"owner switches off mid-run while the host cuts the network",
	"two rooms racing for one run",
	"a hospital padding a group to expose one patient",
	"ledger rolled back",
	"two ledger views, shown to the shared ledger",
	"two ledger views, shown to another broker",
}

// programs gives the folder of the programs, which make builds before the tests.
func programs(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs("../bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "strongroom")); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("bin/ is empty: make build comes first")
		}
		t.Skip("bin/ is empty: run make build for the whole-system tests")
	}
	return bin
}

// TestHospitals tells the first demo as a user would, from a folder that holds nothing else,
// and looks at every attack.
func TestHospitals(t *testing.T) {
	bin := programs(t)
	dir := t.TempDir()
	report, story, runErr := tell(t, bin, dir, "hospitals")
	refused(t, named, report)
	if runErr != nil {
		t.Errorf("the demo failed: %v\n%s", runErr, story)
	}
	if len(report.Results) != 3 || len(report.Receipts) != 3 {
		t.Errorf("%d results and %d receipts, 3 of each expected", len(report.Results), len(report.Receipts))
	}
	if !t.Failed() {
		byHand(t, dir, story, report)
	}
	plantedSecrets(t, dir, story)
}

// tell tells a demo from dir, and gives its report, its story and how it ended.
func tell(t *testing.T, bin, dir, name string) (*demo.Report, string, error) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "strongroom"), "demo", name, "--output", "json")
	cmd.Dir = dir
	var out, story bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &story
	runErr := cmd.Run()
	var report demo.Report
	dec := json.NewDecoder(&out)
	if err := dec.Decode(&report); err != nil {
		t.Fatalf("no report: %v\n%s", err, story.String())
	}
	if dec.More() {
		t.Error("standard output holds more than one document")
	}
	return &report, story.String(), runErr
}

// refused wants every named attack to have been tried and refused.
func refused(t *testing.T, named []string, report *demo.Report) {
	t.Helper()
	attacks := map[string]demo.Attack{}
	for _, a := range report.Attacks {
		attacks[a.Name] = a
	}
	for _, name := range named {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			a, tried := attacks[name]
			if !tried || !a.Refused || a.By == "" || a.Reason == "" {
				t.Errorf("tried %v: %+v", tried, a)
			}
		})
	}
}

// typeLines types the lines that a demo prints at its end, as a person would, and gives what
// that printed.
func typeLines(t *testing.T, dir, story string) string {
	t.Helper()
	_, end, found := strings.Cut(story, "== To do it again by hand\n")
	if !found {
		t.Fatal("the story does not say how to do it again by hand")
	}
	// A server's line ends in &; a person waits until it says that it listens.
	script := "set -eu\ntrap 'kill $(jobs -p); wait' EXIT\n"
	for line := range strings.Lines(end) {
		line, typed := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "  $ ")
		if !typed {
			continue
		}
		script += line + "\n"
		if words := strings.Fields(line); words[len(words)-1] == "&" {
			host, port, _ := strings.Cut(words[slices.Index(words, "--listen")+1], ":")
			script += "until (exec 3<>/dev/tcp/" + host + "/" + port + ") 2>/dev/null; do sleep 0.1; done\n"
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("typed by hand: %v\n%s", err, out)
	}
	return string(out)
}

// byHand types the lines that the demo prints at its end, and wants what the demo got.
func byHand(t *testing.T, dir, story string, report *demo.Report) {
	t.Helper()
	typeLines(t, dir, story)
	world := filepath.Join(dir, "strongroom-demo")
	for work, result := range report.Results {
		want := result.(map[string]any)["csv"]
		if got := onlyCSV(t, filepath.Join(world, "by-hand", "results", work)); got != want {
			t.Errorf("%s by hand gives\n%s\nthe demo got\n%s", work, got, want)
		}
	}
	if got := onlyCSV(t, filepath.Join(world, "mine")); !strings.HasPrefix(got, "diagnosis,size,patients,worst_area\n") {
		t.Errorf("a run in the world that stayed gives %q", got)
	}
}

// onlyCSV gives the one opened result in a folder.
func onlyCSV(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d opened results in %s, expected one: %v", len(files), dir, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// plantedSecrets looks for what must stand nowhere in clear outside its owner's folder: a row
// of patient data in what servers, host and ledger wrote, and private keys in any log.
func plantedSecrets(t *testing.T, dir, story string) {
	t.Helper()
	row := []byte("17.990,10.38,122.80,1001.0") // the first patient's measurements
	world := filepath.Join(dir, "strongroom-demo")
	err := filepath.WalkDir(world, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(world, path)
		own := strings.HasPrefix(rel, "alpha/alpha")
		if bytes.Contains(data, row) && !own {
			t.Errorf("a patient's row stands in %s", rel)
		}
		if strings.HasSuffix(rel, ".log") && bytes.Contains(data, []byte("SECRET-KEY")) {
			t.Errorf("a private key stands in %s", rel)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if strings.Contains(story, "SECRET-KEY") || strings.Contains(story, string(row)) {
		t.Error("the story shows a secret")
	}
}
