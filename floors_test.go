package strongroom_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors is the building code: a package imports packages on strictly lower floors only,
// never a neighbour on its own floor. A pattern ending in "/*" stands for every package
// below it, at any depth, that has no line of its own. It is a statement of policy: when
// the test fails, change the import. Add a line when a package is added on purpose.
var floors = [][]string{
	0:  {"wire", "verdict", "cbor", "scale", "tcbinfo", "internal/durable", "internal/folder", "internal/version"},
	1:  {"keys", "cose", "erofs", "lineage", "measure", "oblivious", "plainyaml", "privacy", "verity"},
	2:  {"agreement", "corim", "endorse", "ledger", "predict", "seal"},
	3:  {"attest", "unwrap", "reference", "agreement/draft", "arm", "dcap", "sevsnp", "tpm2"},
	4:  {"attest/*", "reference/draft"},
	5:  {"policy", "appraise"},
	6:  {"release", "channel", "ear", "sandbox/seccomp", "sandbox/tree"},
	7:  {"broker", "device", "ingress", "machine/chip", "verifier", "proof", "sandbox", "internal/pgaddress", "workload/sql", "workload/sql/rows", "workload/container/*", "release/*", "endorse/fetch"},
	8:  {"broker/acme", "source", "host/qemu", "host/ready", "host/volume", "machine", "watch", "replica", "workload/sql/guard", "workload/container"},
	9:  {"room", "relying", "image", "store/*", "edge", "workload/sql/engine", "internal/home", "internal/debianimage", "internal/testrules", "internal/synthetic", "internal/cards"},
	10: {"host", "image/cloud", "workload/container/oci"},
	11: {"client", "server", "ui", "examples/*"},
	12: {"demo", "internal/world", "internal/acmetest", "internal/pgtest", "internal/tpch", "internal/evidencetest", "internal/ingresstest", "internal/tpmtest", "internal/tsmtest", "internal/swtpm", "internal/cbortest"},
	13: {"cmd/*", "bench", "test", "test/sql"},
}

// impure are packages on pure floors that touch the machine, each with its reason.
var impure = map[string]string{
	"internal/durable": "writes files; on the lowest floor because everything that writes needs it",
	"internal/folder":  "makes and removes temporary folders; beside durable",
	"internal/version": "holds the build's name, which the linker sets",
}

// lastPureFloor: up to here packages only compute.
const lastPureFloor = 5

// forbidden are imports no file on a pure floor has, under any build tag; each also bans
// what lies below it.
var forbidden = []string{"net", "os", "log", "flag", "database", "syscall", "unsafe", "runtime/debug", "math/rand", "plugin", "C"}

// harmless are below a forbidden path but only compute.
var harmless = []string{"net/url", "net/netip"}

// thirdParty are the packages of others that pure floors may import.
var thirdParty = map[string]string{
	"golang.org/x/text/unicode/norm":       "wire: text must be NFC (R2)",
	"filippo.io/mldsa":                     "keys: ML-DSA-65 signatures (R1), not in the standard library",
	"filippo.io/mldsa/x509":                "endorse, attest/dice: ML-DSA keys in X.509",
	"filippo.io/age":                       "seal: the format of sealed files",
	"golang.org/x/crypto/chacha20poly1305": "seal: age's payload cipher, run in parallel",
	"golang.org/x/crypto/ocsp":             "endorse: dates of OCSP responses",
	"golang.org/x/mod/sumdb/note":          "ledger: signed checkpoints",
	"golang.org/x/mod/sumdb/tlog":          "ledger: Merkle tree",
	"cel.dev/cel-go/cel":                   "appraise: expressions in appraisal policies",
	"github.com/ulikunitz/xz/lzma":         "predict: OVMF packs the code that it measures",
	"go.yaml.in/yaml/v3":                   "plainyaml: YAML, for writing only",
}

// neverLinked may not be reached from a pure floor even through others' packages.
var neverLinked = []string{"net/http", "os/exec", "log", "log/slog", "flag", "database/sql"}

// clock are the functions of package time that read or wait for a clock.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}

const module = "strongroom.dev"

// pkg is one package directory with the imports of all its files, whatever their tags.
type pkg struct {
	path    string // below the module, "" for the root
	imports map[string][]string
	files   []*ast.File
	docs    int
	names   map[string]bool
}

func TestFloors(t *testing.T) {
	for _, p := range packages(t) {
		if p.path == "" {
			if len(p.imports) != 0 {
				t.Errorf("the root package imports %v: it is the map, and imports nothing", p.imports)
			}
			continue
		}
		mine := floorOf(p.path)
		if mine < 0 {
			t.Errorf("%s stands on no floor: give it a line in floors_test.go", p.path)
			continue
		}
		for target, files := range p.imports {
			below, found := strings.CutPrefix(target, module+"/")
			if !found {
				continue
			}
			if other := floorOf(below); other >= mine {
				t.Errorf("%s (floor %d) imports %s (floor %d) in %v: imports go strictly down", p.path, mine, below, other, files)
			}
		}
	}
}

func TestPureFloors(t *testing.T) {
	var pure []string
	for _, p := range packages(t) {
		if f := floorOf(p.path); f < 0 || f > lastPureFloor || impure[p.path] != "" {
			continue
		}
		pure = append(pure, module+"/"+p.path)
		for target, files := range p.imports {
			checkPureImport(t, p.path, target, files)
		}
		for _, f := range p.files {
			checkNoClock(t, p.path, f)
			checkNoState(t, p.path, f)
		}
	}
	checkLinked(t, pure)
}

func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		if p.docs != 1 {
			t.Errorf("%q has %d package comments starting \"Package \" or \"Command \", expected one", p.path, p.docs)
		}
		if len(p.names) != 1 {
			t.Errorf("%q has several package names: %v", p.path, p.names)
		}
	}
}

// TestFileSizes prints the guide figure of 600 lines a file; it is a limit of this house.
func TestFileSizes(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		data, err := os.ReadFile(path)
		if n := strings.Count(string(data), "\n"); n >= 600 {
			t.Errorf("%s has %d lines, under 600 expected: find the second idea in it", path, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkPureImport(t *testing.T, path, target string, files []string) {
	t.Helper()
	if slices.Contains(harmless, target) {
		return
	}
	for _, f := range forbidden {
		if target == f || strings.HasPrefix(target, f+"/") {
			t.Errorf("%s imports %s in %v: pure floors only compute", path, target, files)
		}
	}
	if target == "crypto/rand" && path != "keys" && path != "seal" {
		t.Errorf("%s imports crypto/rand in %v: randomness comes from keys and seal", path, files)
	}
	first, _, _ := strings.Cut(target, "/")
	if strings.Contains(first, ".") && first != module && thirdParty[target] == "" {
		t.Errorf("%s imports %s in %v: give it a line with its reason in thirdParty", path, target, files)
	}
}

// checkNoClock finds uses of the clock, under whatever name package time is imported.
func checkNoClock(t *testing.T, path string, f *ast.File) {
	t.Helper()
	name := ""
	for _, spec := range f.Imports {
		if spec.Path.Value == `"time"` {
			name = "time"
			if spec.Name != nil {
				name = spec.Name.Name
			}
		}
	}
	if name == "" {
		return
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == name && slices.Contains(clock, sel.Sel.Name) {
				t.Errorf("%s calls time.%s: the time comes in as an argument", path, sel.Sel.Name)
			}
		}
		return true
	})
}

// checkNoState finds package-level variables. What is never written is fine where Go has no
// constant for it: sentinel errors and compiled patterns or tables marked "constant:".
func checkNoState(t *testing.T, path string, f *ast.File) {
	t.Helper()
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			t.Errorf("%s has an init function", path)
		}
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			comment := v.Doc.Text() + g.Doc.Text() + v.Comment.Text()
			for _, n := range v.Names {
				if n.Name != "_" && !strings.HasPrefix(n.Name, "Err") && !strings.Contains(comment, "constant:") {
					t.Errorf("%s has the variable %s: pure floors keep no state (a table that is never written says \"constant: why\")", path, n.Name)
				}
			}
		}
	}
}

// checkLinked asks the go command what the pure packages link.
func checkLinked(t *testing.T, pure []string) {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-deps", "-f", "{{.ImportPath}}"}, pure...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, dep := range strings.Fields(string(out)) {
		if slices.Contains(neverLinked, dep) {
			t.Errorf("a pure floor links %s: go list -deps finds the way", dep)
		}
	}
}

// floorOf gives a package's floor: its own line, else the longest pattern it falls under.
func floorOf(path string) int {
	best, length := -1, -1
	for floor, patterns := range floors {
		for _, p := range patterns {
			if p == path {
				return floor
			}
			if prefix, wild := strings.CutSuffix(p, "/*"); wild && strings.HasPrefix(path, prefix+"/") && len(prefix) > length {
				best, length = floor, len(prefix)
			}
		}
	}
	return best
}

// packages reads every Go package of the tree, all files, whatever their build tags.
func packages(t *testing.T) []*pkg {
	t.Helper()
	var all []*pkg
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); path != "." && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || path == "docs" || path == "spec" || path == "bin") {
			return fs.SkipDir
		}
		p, err := readPackage(path)
		if p != nil {
			all = append(all, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readPackage(dir string) (*pkg, error) {
	if _, err := build.ImportDir(dir, build.ImportComment); err != nil {
		var none *build.NoGoError
		var multiple *build.MultiplePackageError
		if !errors.As(err, &none) && !errors.As(err, &multiple) {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	entries, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	p := &pkg{path: strings.TrimPrefix(filepath.ToSlash(dir), "."), imports: map[string][]string{}, names: map[string]bool{}}
	for _, file := range entries {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		// A program kept beside the data it made ("go run convert.go") is no part of a package.
		if strings.HasPrefix(dir, "examples") && ignored(f) {
			continue
		}
		p.add(file, f)
	}
	if len(p.files) == 0 {
		return nil, nil
	}
	return p, nil
}

func ignored(f *ast.File) bool {
	for _, c := range f.Comments {
		if c.Pos() < f.Package && strings.HasPrefix(c.List[0].Text, "//go:build ignore") {
			return true
		}
	}
	return false
}

func (p *pkg) add(file string, f *ast.File) {
	p.files = append(p.files, f)
	p.names[f.Name.Name] = true
	if doc := f.Doc.Text(); strings.HasPrefix(doc, "Package ") || strings.HasPrefix(doc, "Command ") {
		p.docs++
	}
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
		p.imports[path] = append(p.imports[path], filepath.Base(file))
	}
}
