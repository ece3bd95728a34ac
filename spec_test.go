package strongroom_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSpecIndex holds the list of formats against the pages and vectors that are there.
func TestSpecIndex(t *testing.T) {
	index, err := os.ReadFile("spec/README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("spec/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(string(index), "("+name+")") {
			t.Errorf("spec/%s is not in spec/README.md", name)
		}
	}
	for _, link := range regexp.MustCompile(`\(([a-z-]+\.md)\)`).FindAllStringSubmatch(string(index), -1) {
		if _, err := os.Stat("spec/" + link[1]); err != nil {
			t.Errorf("spec/README.md names %s: %v", link[1], err)
		}
	}
	vectors, err := os.ReadDir("spec/vectors")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		if !strings.Contains(string(index), v.Name()) {
			t.Errorf("spec/vectors/%s is not in spec/README.md", v.Name())
		}
		files, err := filepath.Glob("spec/vectors/" + v.Name() + "/*")
		if err != nil || len(files) == 0 {
			t.Errorf("spec/vectors/%s is empty: %v", v.Name(), err)
		}
	}
}
