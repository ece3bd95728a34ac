package draft_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/plainyaml"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func digest(name string) wire.Digest { return wire.SHA384("strongroom/test/digest", []byte(name)) }

func moment(text string) wire.Time {
	var t wire.Time
	if err := t.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return t
}

func start() draft.Start {
	root := wire.SHA256("strongroom/test/root")
	hex := strings.TrimPrefix(digest("agent").String(), "sha384:")
	return draft.Start{
		ID: "study", Title: "It's a study: part 1",
		Parties: []agreement.Party{{ID: "alpha", Descriptor: digest("alpha")}, {ID: "researcher", Descriptor: digest("researcher")}},
		From:    moment("2026-11-24T00:00:00Z"), Until: moment("2027-11-24T00:00:00Z"),
		Software: true,
		Platforms: []agreement.Platform{
			{Kind: "dev", Root: &root, MayLack: []wire.ID{"seccomp"},
				Images: []agreement.Image{{Name: "room", Measurements: map[string]string{"agent": hex, "helper/strongroom-sql": hex}}}},
			{Kind: "tpm", Root: &root, Images: []agreement.Image{{Name: "room", Measurements: map[string]string{"pcr11": hex[:64], "firmware.900000": "1" + hex[:63]}}}},
		},
	}
}

// good is a draft in which every kind of member stands.
func good() string { return written(draft.Template(start())) }

// written puts words where a template leaves placeholders for texts.
func written(text string) string { return textPlaceholder.ReplaceAllString(text, "Our words.") }

var textPlaceholder = regexp.MustCompile(`<[A-Z][^>]*>`)

func TestTemplate(t *testing.T) {
	a, err := draft.Parse("agreement.yaml", []byte(good()))
	if err != nil {
		t.Fatal(err)
	}
	if a.Title != "It's a study: part 1" || a.Protection != agreement.Software || a.Work[0].Parameters[0].Max != "120" || a.Inputs[0].Rules.MinGroup != 10 {
		t.Errorf("read as %+v", a)
	}
	if len(a.Platforms) != 2 || a.Platforms[1].Kind != "tpm" || len(a.Platforms[1].Images[0].Measurements) != 2 || a.Platforms[1].Root == nil {
		t.Errorf("platforms read as %+v", a.Platforms)
	}
	if want := "SELECT diagnosis, count(*) AS patients\nFROM patients\nWHERE age >= $age\nGROUP BY diagnosis\n"; a.Work[0].Query != want {
		t.Error(cmp.Diff(want, a.Work[0].Query))
	}
	if _, err := agreement.NewAgreement(a); err != nil {
		t.Errorf("a draft that can't be signed: %v", err)
	}
	empty := draft.Template(draft.Start{})
	_, err = draft.Parse("agreement.yaml", []byte(empty))
	e := verdict.As(err)
	if e.Kind != verdict.Usage || !strings.HasPrefix(e.Where, "agreement.yaml:") || !strings.Contains(e.Got, "<") {
		t.Errorf("a template with placeholders gives %v", err)
	}
}

// TestPlaceholders: every text that a template leaves to its author is refused by its line
// until somebody writes it.
func TestPlaceholders(t *testing.T) {
	s := start()
	s.Title = ""
	text := draft.Template(s)
	places := textPlaceholder.FindAllStringIndex(text, -1)
	if len(places) != 5 {
		t.Fatalf("%d placeholders for texts, expected those of title, purpose, legal basis, retention and contact", len(places))
	}
	for _, at := range places {
		left := written(text[:at[0]]) + text[at[0]:at[1]] + written(text[at[1]:])
		_, err := draft.Parse("a.yaml", []byte(left))
		e := verdict.As(err)
		line := strings.Count(text[:at[0]], "\n") + 1
		if e.Kind != verdict.Usage || e.Check != "agreement.placeholder" || e.Got != text[at[0]:at[1]] || e.Where != fmt.Sprintf("a.yaml:%d", line) && e.Where != fmt.Sprintf("a.yaml:%d", line-1) {
			t.Errorf("%s in line %d: %v", text[at[0]:at[1]], line, err)
		}
	}
	_, err := draft.Parse("a.yaml", []byte(text))
	if e := verdict.As(err); e.Check != "agreement.placeholder" || strings.Count(e.Got, ", ") != len(places)-1 || !strings.Contains(e.Got, "and more in lines ") {
		t.Errorf("all of them at once: %v", err)
	}
	work := strings.Replace(good(), "description: How many", "description: <How many", 1)
	work = strings.Replace(work, "have each diagnosis\n", "have each diagnosis>\n", 1)
	if _, err := draft.Parse("a.yaml", []byte(work)); verdict.As(err).Check != "agreement.placeholder" {
		t.Errorf("a work's description: %v", err)
	}
	if _, err := draft.Parse("a.yaml", []byte(strings.Replace(good(), "contact: Our words.", "contact: Ann <ann@alpha.example>", 1))); err != nil {
		t.Errorf("an address in brackets: %v", err)
	}
}

// TestTemplateOwners: every owner brings an input, and one table joins the rows of all.
func TestTemplateOwners(t *testing.T) {
	s := start()
	long := wire.ID("b" + strings.Repeat("x", 62))
	s.Parties = []agreement.Party{{ID: "alpha", Descriptor: digest("alpha")}, {ID: long, Descriptor: digest("b")}, {ID: "lab", Descriptor: digest("lab")}}
	for _, owners := range [][]wire.ID{nil, {"alpha", long}, {long, "lab"}} {
		s.Owners = owners
		a, err := draft.Parse("a.yaml", []byte(written(draft.Template(s))))
		if err != nil {
			t.Fatal(err)
		}
		var got, inputs []wire.ID
		for _, in := range a.Inputs {
			got, inputs = append(got, in.Owner), append(inputs, in.Name)
		}
		want := owners
		if want == nil {
			want = []wire.ID{"alpha", long}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(inputs, a.Tables[0].Inputs); diff != "" {
			t.Error(diff)
		}
		if a.Outputs[0].Receivers[0] != "lab" {
			t.Errorf("%s gets the result", a.Outputs[0].Receivers[0])
		}
	}
}

func TestSugar(t *testing.T) {
	text := strings.NewReplacer("protection: software", "protection: confidential", "kind: dev", "kind: snp", "kind: tpm", "kind: tdx",
		"    may_lack: [seccomp]\n", "", "    machines: []            # empty: any genuine machine of this kind, anywhere\n", "").Replace(good())
	explicit, err := draft.Parse("a.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	short, err := draft.Parse("a.yaml", []byte(strings.Replace(text, "protection: confidential\n", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	one, _ := agreement.NewAgreement(explicit)
	other, _ := agreement.NewAgreement(short)
	if one.Digest() != other.Digest() {
		t.Error("an omitted protection is not confidential")
	}
	if m := short.Platforms[0]; m.Machines == nil || m.MayLack == nil || m.Releases == nil {
		t.Error("an omitted list is not empty")
	}
}

// TestLineEndings shows that a file saved on Windows is the same agreement.
func TestLineEndings(t *testing.T) {
	a, err := draft.Parse("a.yaml", []byte(good()))
	if err != nil {
		t.Fatal(err)
	}
	b, err := draft.Parse("a.yaml", []byte(strings.ReplaceAll(good(), "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b, cmp.Comparer(func(x, y wire.Time) bool { return x == y })); diff != "" {
		t.Error(diff)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, old, new string // in good()
		at             string // what the line reported must hold
		expected, got  string // parts of the error
	}{
		{"unknown member", "lease_ms: 10000", "lease: 10000", "lease: 10000", "lease_ms", `"lease"`},
		{"unknown member deep", "min_group: 10 ", "min_groop: 10 ", "min_groop", "min_group", `"min_groop"`},
		{"member twice", "version: 1\n", "version: 1\nversion: 2\n", "version: 2", "every member once", `"version" again`},
		{"member twice in flow", "{name: age, type: integer}", "{name: age, type: integer, name: b}", "name: b", "every member once", "again"},
		{"missing member", "runs_per_day: 20          # counted by the owner's broker\n", "\n", "- name: alpha-patients", "runs_per_day", "no such member"},
		{"missing top member", "lease_ms: 10000", "", "", "lease_ms", "no such member"},
		{"anchor", "id: study", "id: &a study", "&a", "no anchors", "&a"},
		{"alias", "    owner: alpha", "    owner: &x alpha\n    dataset: *x\n", "&x", "no anchors", "&x"},
		{"anchor on a list", "receivers: [researcher]", "receivers: &r [researcher]", "&r", "no anchors", "&r"},
		{"anchor on a key", "lease_ms: 10000", "&k lease_ms: 10000", "&k", "no anchors", "&k"},
		{"merge key", "valid:\n", "valid:\n  <<: {from: 2026-11-24T00:00:00Z}\n", "<<", "no merge keys", "<<"},
		{"tag", "version: 1", "version: !!int 1", "!!int", "no tags", "int"},
		{"tag of one's own", "id: study", "id: !x study", "!x", "no tags", ""},
		{"tag that says nothing", "id: study", "id: ! study", "! study", "no tags", ""},
		{"tag on a list", "receivers: [researcher]", "receivers: !!seq [researcher]", "!!seq", "no tags", ""},
		{"directive", "# An agreement", "%YAML 1.1\n---\n# An agreement", "%YAML", "no YAML directive", "%YAML"},
		{"two documents", "lease_ms: 10000\n", "lease_ms: 10000\n---\nid: other\n", "", "one document", "a second one"},
		{"no mapping", "valid:\n", "valid: []\nx:\n", "valid: []", "members", "a list"},
		{"no list", "receivers: [researcher]", "receivers: researcher", "receivers: researcher", "a list", `"researcher"`},
		{"empty list member", "receivers: [researcher]", "receivers:", "receivers:", "a list", "nothing"},
		{"list of lists", "receivers: [researcher]", "receivers: [[researcher]]", "receivers", "a name", "a list"},
		{"null text", "contact: Our words.", "contact:", "contact:", "text", "nothing"},
		{"null text that may be empty", `{name: age, type: integer, min: "0", max: "120"}`, "{name: age, type: boolean, min: }", "name: age", "text", "nothing"},
		{"null integer", "lease_ms: 10000", "lease_ms: ~", "lease_ms", "an integer", `"~"`},
		{"integer in quotes", "lease_ms: 10000", `lease_ms: "10000"`, "lease_ms", "an integer", `the text "10000"`},
		{"integer with underscore", "lease_ms: 10000", "lease_ms: 10_000", "lease_ms", "an integer", `"10_000"`},
		{"integer in hex", "lease_ms: 10000", "lease_ms: 0x2710", "lease_ms", "an integer", `"0x2710"`},
		{"integer in octal", "lease_ms: 10000", "lease_ms: 010000", "lease_ms", "an integer", `"010000"`},
		{"integer with sign", "lease_ms: 10000", "lease_ms: +10000", "lease_ms", "an integer", `"+10000"`},
		{"integer as float", "lease_ms: 10000", "lease_ms: 1e4", "lease_ms", "an integer", `"1e4"`},
		{"integer of 2^53", "lease_ms: 10000", "lease_ms: 9007199254740992", "lease_ms", "an integer", `"9007199254740992"`},
		{"boolean yes", "unit: true}", "unit: yes}", "unit: yes", "true or false", `"yes"`},
		{"boolean True", "unit: true}", "unit: True}", "unit: True", "true or false", `"True"`},
		{"boolean in quotes", "unit: true}", `unit: "true"}`, `unit: "true"`, "true or false", "the text"},
		{"bad id", "dataset: patients", "dataset: Patients", "dataset: Patients", "a name", `"Patients"`},
		{"bad digest", "descriptor: sha384:", "descriptor: sha256:", "descriptor: sha256", "sha384:", "sha256"},
		{"bad root", "    root: sha256:", "    root: md5:", "root: md5", "sha256:", "md5"},
		{"bad time", "from: 2026-11-24T00:00:00Z", "from: 2026-11-24", "from: 2026-11-24", "a time like", `"2026-11-24"`},
		{"invalid value", "min_group: 10 ", "min_group: 0 ", "min_group: 0", "an integer from 1", "0"},
		{"unknown reference", "may_run: [researcher]", "may_run: [alpha, resercher]", "may_run", "a party", "resercher"},
		{"measurement", "agent: ", "agent: x", "agent: x", "hex digits", `"x`},
		{"rule", "protection: software", "protection: confidential", "kind: dev", "confidential", "dev"},
		{"bidi in a comment", "# An agreement", "# An \u202e agreement", "An", "no control", "u202e"},
		{"nul", "id: study", "id: stu\x00dy", "", "no control", ""},
		{"next line", "id: study", "id: study\u0085version: 3", "", "no control", ""},
		{"not utf-8", "id: study", "id: stu\xffdy", "", "UTF-8", ""},
		{"not nfc", "contact: Our", "contact: e\u0301 Who", "contact", "normal form C", ""},
		{"syntax", "contact: Our words.", "contact: Who: what", "contact", "YAML", "mapping values"},
		{"tab", "  witnesses: []", "\twitnesses: []", "witnesses", "YAML", "character"},
		{"key that is a list", "lease_ms: 10000", "[a]: 1\nlease_ms: 10000", "[a]", "the name of a member", "a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(good(), c.old) < 1 {
				t.Fatalf("nothing to replace: %q", c.old)
			}
			text := strings.Replace(good(), c.old, c.new, 1)
			_, err := draft.Parse("agreement.yaml", []byte(text))
			var e *verdict.Error
			if !errors.As(err, &e) || e.Kind != verdict.Usage && e.Kind != verdict.Refused {
				t.Fatalf("error %v", err)
			}
			number, found := strings.CutPrefix(e.Where, "agreement.yaml:")
			line := lineAt(text, number)
			if !found || !strings.Contains(line, c.at) {
				t.Errorf("reported at %s, %q; expected a line with %q", e.Where, line, c.at)
			}
			if !strings.Contains(e.Expected, c.expected) || !strings.Contains(e.Got, c.got) {
				t.Errorf("expected %q, got %q; the test expects %q and %q", e.Expected, e.Got, c.expected, c.got)
			}
			if strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Errorf("more than one line: %q", err.Error())
			}
		})
	}
}

func lineAt(text, number string) string {
	n := 0
	for _, r := range number {
		n = n*10 + int(r-'0')
	}
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return "no such line"
	}
	return lines[n-1]
}

func TestEmptyAndLarge(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "comment": "# nothing\n", "null": "~\n", "list": "[]\n", "text": "agreement\n",
		"large": good() + strings.Repeat("# x\n", plainyaml.MaxFile/4), "deep": strings.Repeat("[", 5000),
		"bomb": "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
	} {
		if _, err := draft.Parse("a.yaml", []byte(text)); verdict.Exit(err) != int(verdict.Usage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestScalars shows that the schema, not YAML, gives a plain scalar its type.
func TestScalars(t *testing.T) {
	for _, word := range []string{"no", "null", "1.0", "0x10", "2026-11-24", "true", "1e3", ".inf", "012"} {
		text := strings.Replace(good(), "contact: Our words.", "contact: "+word, 1)
		a, err := draft.Parse("a.yaml", []byte(text))
		if err != nil || a.Contact != word {
			t.Errorf("contact: %s is read as %q, %v", word, a.Contact, err)
		}
	}
}

// TestColumns: a list of columns alone has one reading as well.
func TestColumns(t *testing.T) {
	got, err := draft.ParseColumns("c.yaml", []byte("- {name: id, type: integer, unit: true}\n- {name: no, type: decimal, scale: 2}\n"))
	want := []agreement.Column{{Name: "id", Type: "integer", Unit: true}, {Name: "no", Type: "decimal", Scale: 2}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{
		"- &a {name: id, type: integer, unit: true}\n",
		"- {name: id, type: integer, unit: true}\n- <<: {type: text}\n  name: b\n",
		"- {name: id, type: integer, unit: yes}\n",
		"- {name: id, type: integer, unit: true}\n- {name: b, type: text, unit: off}\n",
		"- {name: id, type: integer, unit: true}\n- {name: b, type: decimal, scale: 0x2}\n",
		"- {name: id, type: integer, unit: true}\n- {name: c, type: !!str text}\n",
		"- {name: id, type: integer, unit: true}\n- {name: c, type: text, name: d}\n",
		"- {name: id, type: integer, unit: true}\n---\n- {name: c, type: text}\n",
		"name: id\n", "", "[]\n",
	} {
		if got, err := draft.ParseColumns("c.yaml", []byte(text)); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good()))
	f.Add([]byte(draft.Template(draft.Start{})))
	f.Add([]byte("a: &a [x]\nb: *a\n"))
	f.Add([]byte("%YAML 1.2\n--- !x\n? [a]\n: b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := draft.Parse("a.yaml", data)
		if err != nil {
			if kind := verdict.Exit(err); kind != int(verdict.Usage) && kind != int(verdict.Refused) {
				t.Fatalf("exit code %d: %v", kind, err)
			}
			return
		}
		doc, err := agreement.NewAgreement(a)
		if err != nil {
			t.Fatalf("parsed and can't be written: %v", err)
		}
		encoded, err := doc.Document.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := agreement.ParseAgreement(encoded); err != nil || again.Digest() != doc.Digest() {
			t.Fatalf("written and read as another: %v", err)
		}
	})
}
