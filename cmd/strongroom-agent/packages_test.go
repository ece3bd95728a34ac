package main

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write packages.txt anew")

// TestPackages compares what the agent is made of with the list that was reviewed: it is the
// trusted computing base of every room (R22).
func TestPackages(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}", ".")
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	slices.Sort(packages)
	for _, p := range packages {
		for _, banned := range []string{"net/http", "github.com/spf13/cobra", "go.yaml.in/yaml", "github.com/duckdb", "runtime/cgo", "database/sql", "log/slog", "plugin"} {
			if p == banned || strings.HasPrefix(p, banned+"/") {
				t.Errorf("the agent links %s", p)
			}
		}
	}
	text := strings.Join(packages, "\n") + "\n"
	if *update {
		if err := os.WriteFile("packages.txt", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("packages.txt")
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		for _, p := range packages {
			if !strings.Contains("\n"+string(want), "\n"+p+"\n") {
				t.Errorf("new in the agent: %s", p)
			}
		}
		for _, p := range strings.Fields(string(want)) {
			if !slices.Contains(packages, p) {
				t.Errorf("no longer in the agent: %s", p)
			}
		}
		t.Error("look at the difference, then: go test ./cmd/strongroom-agent -update")
	}
}
