package strongroom_test

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDependenciesHaveReasons compares go.mod's direct requirements with the page that
// gives each its reason.
func TestDependenciesHaveReasons(t *testing.T) {
	direct := importedModules(t)
	page, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z0-9.]+\.[a-z]+/[^ ]+) \|`).FindAllSubmatch(page, -1) {
		reasons = append(reasons, string(m[1]))
	}
	for _, m := range direct {
		if !slices.Contains(reasons, m) {
			t.Errorf("%s is used and has no line in docs/dependencies.md", m)
		}
	}
	for _, m := range reasons {
		if !slices.Contains(direct, m) {
			t.Errorf("docs/dependencies.md explains %s, which nothing imports", m)
		}
	}
}

// importedModules gives the modules whose packages ours import, tests included.
func importedModules(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}{{"\n"}}{{join .TestImports "\n"}}{{"\n"}}{{join .XTestImports "\n"}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	mods := modulePaths(t)
	var direct []string
	for _, path := range strings.Fields(string(out)) {
		for _, m := range mods {
			if (path == m || strings.HasPrefix(path, m+"/")) && !slices.Contains(direct, m) {
				direct = append(direct, m)
			}
		}
	}
	return direct
}

func modulePaths(t *testing.T) []string {
	t.Helper()
	f, err := os.Open("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var mods []string
	line := regexp.MustCompile(`^(?:require )?\s*([a-z0-9.]+\.[a-z]+/\S+) v\S+`)
	for s := bufio.NewScanner(f); s.Scan(); {
		if m := line.FindStringSubmatch(s.Text()); m != nil {
			mods = append(mods, m[1])
		}
	}
	if len(mods) == 0 {
		t.Fatal("no requirements found in go.mod")
	}
	return mods
}

// TestMakefileIsShort keeps the Makefile to what a newcomer can hold in the head.
func TestMakefileIsShort(t *testing.T) {
	data, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`(?m)^[a-z]+:`).FindAll(data, -1)
	if len(targets) == 0 || len(targets) > 8 {
		t.Errorf("the Makefile has %d targets, at most 8", len(targets))
	}
}

// TestTreeHoldsSources keeps out what a build leaves behind: everything that is kept is small.
func TestTreeHoldsSources(t *testing.T) {
	out, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("no git, or no checkout: %v", err)
	}
	for _, name := range strings.Split(strings.TrimRight(string(out), "\x00"), "\x00") {
		if info, err := os.Stat(name); err == nil && info.Size() > 1<<20 {
			t.Errorf("%s has %d bytes, expected at most 1 MiB: git rm --cached it", name, info.Size())
		}
	}
}
