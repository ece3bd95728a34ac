package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/image/cloud"
)

var updatePages = flag.Bool("update-pages", false, "write the pages of docs/cloud anew")

// TestCloudPages: docs/cloud is what the command prints.
func TestCloudPages(t *testing.T) {
	for _, target := range cloud.Targets() {
		var out, errs bytes.Buffer
		a := &app{out: &out, err: &errs, now: time.Now}
		if err := a.recipe(recipeFlags{}, target, nil); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", "docs", "cloud", target+".md")
		if *updatePages {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(page), out.String()); diff != "" {
			t.Errorf("%s (-page +command; go test -run CloudPages -update-pages ./cmd/strongroom):\n%s", path, diff)
		}
	}
}
