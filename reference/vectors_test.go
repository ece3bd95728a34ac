package reference_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/keys"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors again")

// vector is one case of spec/vectors/reference: verifying a set by a release line.
type vector struct {
	Comment string `json:"comment"`
	// Expect is "success" or the kind of the error; Check is the error's.
	Expect   string          `json:"expect"`
	Check    string          `json:"check,omitempty"`
	Now      wire.Time       `json:"now"`
	Line     line            `json:"line"`
	Known    *reference.Name `json:"known,omitempty"`
	Digest   string          `json:"digest,omitempty"`
	Document string          `json:"document"`

	name string
}

type line struct {
	Product              wire.ID          `json:"product"`
	Keys                 []keys.PublicKey `json:"keys"`
	Threshold            int              `json:"threshold"`
	LeastSecurityVersion int64            `json:"least_security_version"`
	Log                  string           `json:"log,omitempty"`
	InsecureUnlogged     bool             `json:"insecure_unlogged,omitempty"`
}

func vectors() []vector {
	var all []vector
	add := func(name, comment, expect, check, document string, changes ...func(*vector)) {
		v := vector{name: name, Comment: comment, Expect: expect, Check: check, Now: wire.At(now), Line: line(testLine()), Document: document}
		for _, c := range changes {
			c(&v)
		}
		all = append(all, v)
	}
	at := func(text string) func(*vector) { return func(v *vector) { v.Now = moment(text) } }
	by := func(change func(*line)) func(*vector) { return func(v *vector) { change(&v.Line) } }
	after := func(version, security int64, digest wire.Digest) func(*vector) {
		return func(v *vector) {
			v.Known = &reference.Name{Product: "room", Version: version, SecurityVersion: security, Digest: digest}
		}
	}
	set, own := good(), testValues()
	digest := set.Document.Digest()
	unlogged := by(func(l *line) { l.Log, l.InsecureUnlogged = "", true })
	add("good", "Two of three keys, logged, current.", "success", "", text(set))
	add("good-again", "The same set as was used before.", "success", "", text(set), after(7, 3, digest))
	add("good-later", "A later set than was used before.", "success", "", text(set), after(6, 3, wire.Digest{1}))
	add("good-first-second", "The very second it was made.", "success", "", text(set), at("2026-11-01T00:00:00Z"))
	add("good-last-second", "The last second before it expires.", "success", "", text(set), at("2027-04-29T23:59:59Z"))
	add("good-unlogged", "A line that does without a log, by its insecure name.", "success", "", text(signed(own, "one", "two")), unlogged)
	add("good-stranger", "A stranger has signed too, which does no harm.", "success", "", text(logged(signed(own, "one", "stranger", "three"), testLog)))
	const invalid, refused, usage = "invalid evidence", "refused", "usage"
	add("one-signature", "One of the two that must sign.", invalid, "reference.signatures", text(logged(signed(own, "one"), testLog)))
	add("one-and-stranger", "One release key and a stranger's.", invalid, "reference.signatures", text(logged(signed(own, "one", "stranger"), testLog)))
	add("unsigned", "Signed by nobody.", invalid, "reference.signatures", text(logged(signed(own), testLog)))
	add("changed", "A measurement was changed after signing.", invalid, "reference.signatures", strings.Replace(text(set), hex48("a"), hex48("1"), 1))
	add("other-product", "A set of another product by the same keys.", refused, "reference.product", text(set), by(func(l *line) { l.Product = "other" }))
	add("no-receipt", "No proof that a log has it.", invalid, "reference.log", text(signed(own, "one", "two")))
	add("other-log", "Proof of another log.", invalid, "reference.log", text(logged(signed(own, "one", "two"), "another.example/log")))
	older := own
	older.Version = 6
	borrowed := signed(own, "one", "two")
	borrowed.Receipt = logged(signed(older, "one", "two"), testLog).Receipt
	add("borrowed-receipt", "The receipt of another set in that log.", invalid, "reference.log", text(borrowed))
	otherKind := signed(own, "one", "two")
	entry := must(otherKind.Entry(now))
	entry.Kind = "publish"
	otherKind.Receipt = newLog(testLog).receipt(entry)
	add("other-kind", "An entry of another kind that says the same.", invalid, "reference.log", text(otherKind))
	more := signed(own, "one", "two")
	entry = must(more.Entry(now))
	entry.Public = bytes.Replace(entry.Public, []byte(`{"digest"`), []byte(`{"author":"x","digest"`), 1)
	more.Receipt = newLog(testLog).receipt(entry)
	add("entry-more-members", "An entry that says more than it may.", invalid, "reference.log", text(more))
	proof := good()
	proof.Receipt.Proof[0][0] ^= 1
	add("proof-changed", "A hash of the proof was changed.", invalid, "reference.log", text(proof))
	add("early", "A second before it was made.", refused, "reference.dates", text(set), at("2026-10-31T23:59:59Z"))
	add("expired", "The very second it expires.", refused, "reference.dates", text(set), at("2027-04-30T00:00:00Z"))
	add("below-floor", "A lower security version than the owner's own floor.", refused, "reference.floor", text(set), by(func(l *line) { l.LeastSecurityVersion = 4 }))
	add("rolled-back", "A later version was used before.", refused, "reference.rollback", text(set), after(8, 3, wire.Digest{1}))
	add("security-rolled-back", "A later version with a lower security version.", refused, "reference.rollback", text(set), after(6, 4, wire.Digest{1}))
	add("two-of-one-version", "Another set of the same version was used before.", refused, "reference.rollback", text(set), after(7, 3, wire.Digest{1}))
	add("line-zero", "A line that names nothing.", usage, "reference.line", text(set), func(v *vector) { v.Line = line{Keys: []keys.PublicKey{}} })
	add("line-threshold-zero", "A line that asks for no signature.", usage, "reference.line", text(set), by(func(l *line) { l.Threshold = 0 }))
	add("line-threshold-high", "A line that asks for more signatures than it has keys.", usage, "reference.line", text(set), by(func(l *line) { l.Threshold = 4 }))
	add("line-key-twice", "A line with one key twice.", usage, "reference.line", text(set), by(func(l *line) { l.Keys = public("one", "one") }))
	add("line-no-log", "A line that forgets the log.", usage, "reference.line", text(set), by(func(l *line) { l.Log = "" }))
	add("line-both", "A line with a log that says it does without.", usage, "reference.line", text(set), by(func(l *line) { l.InsecureUnlogged = true }))
	add("line-bad-log", "A line whose log's key is none.", usage, "reference.line", text(set), by(func(l *line) { l.Log = "releases.example" }))
	add("line-no-floor", "A line without a least security version.", usage, "reference.line", text(set), by(func(l *line) { l.LeastSecurityVersion = 0 }))
	formVectors(func(name, comment, document string) { add(name, comment, invalid, "reference.form", document) })
	for i := range all {
		if all[i].Expect == "success" {
			all[i].Digest = digest.String()
		}
	}
	return all
}

// formVectors are documents that are signed and logged as they should be, and malformed.
func formVectors(add func(name, comment, document string)) {
	changed := func(change func(*reference.Values)) string {
		v := testValues()
		v.Groups = slices.Clone(v.Groups)
		change(&v)
		return text(logged(signed(v, "one", "two"), testLog))
	}
	group := func(change func(*reference.Group)) string {
		return changed(func(v *reference.Values) {
			g := v.Groups[1]
			g.Measurements = map[string]string{"measurement": hex48("b")}
			change(&g)
			v.Groups[1] = g
		})
	}
	whole := text(good())
	add("form-life", "It lives longer than 180 days.", changed(func(v *reference.Values) { v.Expires = moment("2027-04-30T00:00:01Z") }))
	add("form-backwards", "It expires when it is made.", changed(func(v *reference.Values) { v.Expires = v.Created }))
	add("form-version", "Version 0.", changed(func(v *reference.Values) { v.Version = 0 }))
	add("form-security-version", "Security version 0.", changed(func(v *reference.Values) { v.SecurityVersion = 0 }))
	add("form-no-groups", "No group.", changed(func(v *reference.Values) { v.Groups = []reference.Group{} }))
	add("form-name-twice", "Two groups of one name on one platform.", changed(func(v *reference.Values) { v.Groups[1].Name = "four-cpus" }))
	add("form-values-twice", "Two groups with the same values.", group(func(g *reference.Group) { g.Measurements["measurement"] = hex48("a") }))
	add("form-no-registers", "A group that measures nothing would match everything.", group(func(g *reference.Group) { g.Measurements = map[string]string{} }))
	add("form-zeros", "A group of nothing but zeros.", group(func(g *reference.Group) { g.Measurements["measurement"] = hex48("0") }))
	add("form-upper", "Hex in upper case.", group(func(g *reference.Group) { g.Measurements["measurement"] = hex48("B") }))
	add("form-odd", "Half a byte.", group(func(g *reference.Group) { g.Measurements["measurement"] = "abc" }))
	add("form-empty-value", "A register without a value.", group(func(g *reference.Group) { g.Measurements["measurement"] = "" }))
	add("form-long-value", "A value of 65 bytes.", group(func(g *reference.Group) { g.Measurements["measurement"] = strings.Repeat("ab", 65) }))
	add("form-register", "A register with a space.", group(func(g *reference.Group) { g.Measurements["a b"] = "aa" }))
	add("form-claim-and-minimum", "A claim that has a text and a least number.", group(func(g *reference.Group) {
		g.Claims, g.Minimum = map[string]string{"svn": "3"}, map[string]int64{"svn": 3}
	}))
	add("form-negative-minimum", "A least number below zero.", group(func(g *reference.Group) { g.Minimum = map[string]int64{"svn": -1} }))
	add("form-escape", "A claim with a line break.", group(func(g *reference.Group) { g.Claims = map[string]string{"name": "a\nb"} }))
	add("form-other-type", "Another type of document.", strings.Replace(whole, reference.Type, "strongroom/reference-values/v2", 1))
	add("form-unknown-member", "A member that does not exist.", strings.Replace(whole, `{"created"`, `{"comment":"x","created"`, 1))
	add("form-member-twice", "A member written twice.", strings.Replace(whole, `"version":7`, `"version":7,"version":8`, 1))
	add("form-envelope", "Something else beside document and receipt.", strings.Replace(whole, `"receipt":`, `"proof":1,"receipt":`, 1))
	add("form-empty-claims", "Claims written though there are none.", strings.Replace(whole, `"measurements":{"measurement":"aa`, `"claims":{},"measurements":{"measurement":"aa`, 1))
	add("form-nothing", "An empty object.", "{}\n")
}

func (v vector) run() (*reference.Set, error) {
	known := reference.Name{}
	if v.Known != nil {
		known = *v.Known
	}
	return reference.Verify([]byte(v.Document), reference.Line(v.Line), known, v.Now.Time())
}

func TestVectors(t *testing.T) {
	dir := filepath.Join("..", "spec", "vectors", "reference")
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, v := range vectors() {
		names = append(names, v.name+".json")
		var data bytes.Buffer
		enc := json.NewEncoder(&data)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			t.Fatal(v.name, err)
		}
		path := filepath.Join(dir, v.name+".json")
		if *update {
			if err := os.WriteFile(path, data.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		file, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(file, data.Bytes()) {
			t.Errorf("%s is not what the code makes (%v); if that is meant, run go test -update", path, err)
			continue
		}
		v.check(t)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(names, filepath.Base(f)) {
			t.Errorf("%s belongs to no case", f)
		}
	}
}

func (v vector) check(t *testing.T) {
	t.Helper()
	s, err := v.run()
	var e *verdict.Error
	switch {
	case v.Expect == "success" && (err != nil || s.Name().Digest.String() != v.Digest):
		t.Errorf("%s: %v", v.name, err)
	case v.Expect != "success" && (!errors.As(err, &e) || s != nil || e.Kind.String() != v.Expect || e.Check != v.Check || e.Fix == "" || e.Expected == "" || e.Got == ""):
		t.Errorf("%s: got %v, expected %s, %s", v.name, err, v.Expect, v.Check)
	case v.Expect != "success" && e.Kind != verdict.Usage && (len(e.Checks) == 0 || e.Checks[len(e.Checks)-1].ID != e.Check || e.Checks[len(e.Checks)-1].OK):
		t.Errorf("%s: checks %v", v.name, e.Checks)
	}
}

// TestEveryByteCounts flips every byte of a good set: none of the results verifies as another
// set than it was.
func TestEveryByteCounts(t *testing.T) {
	data := must(good().Encode())
	want := good().Document.Digest()
	lies := 0
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 0x10
		if s, err := reference.Verify(changed, testLine(), reference.Name{}, now); err == nil {
			lies++
			if s.Name().Digest != want {
				t.Fatalf("byte %d: verifies as another set", i)
			}
		}
	}
	if lies > 0 { // the final newline is no part of the document, but nothing else may be there
		t.Errorf("%d changed bytes go unnoticed", lies)
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range vectors() {
		f.Add([]byte(v.Document))
	}
	want := good().Document.Digest()
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := reference.Verify(data, testLine(), reference.Name{}, now); err == nil && s.Name().Digest != want {
			t.Error("a set that nobody signed")
		}
		if p, err := reference.Parse(data); err == nil {
			again, err := p.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if q, err := reference.Parse(again); err != nil || q.Document.Digest() != p.Document.Digest() {
				t.Error("another set when written again", err)
			}
		}
	})
}

// TestReceiptIsKept: a set keeps its receipt through its file.
func TestReceiptIsKept(t *testing.T) {
	p := must(reference.Parse(must(good().Encode())))
	if p.Receipt == nil || len(p.Receipt.Proof) == 0 || !reference.Is(must(p.Encode())) {
		t.Error(p.Receipt)
	}
	if p := must(reference.Parse(must(signed(testValues(), "one").Encode()))); p.Receipt != nil {
		t.Error("a receipt out of nothing")
	}
}
