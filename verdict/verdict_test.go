package verdict_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/verdict"
)

func TestExit(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("disk full"), 1}, {&verdict.Error{}, 1}, {&verdict.Error{Kind: 9}, 1}, {&verdict.Error{Kind: -1}, 1},
		{&verdict.Error{Kind: verdict.Broken}, 1}, {verdict.Misuse("c", "e", "g", "f"), 2}, {verdict.Refuse("c", "e", "g", "f"), 3}, {verdict.NotGenuine("c", "e", "g", "f"), 4},
		{fmt.Errorf("opening: %w", verdict.Refuse("c", "e", "g", "f")), 3}, {errors.Join(io.EOF, verdict.NotGenuine("c", "", "", "")), 4},
	} {
		if got := verdict.Exit(c.err); got != c.want {
			t.Errorf("%v: exit code %d, expected %d", c.err, got, c.want)
		}
	}
}

func TestErrorLine(t *testing.T) {
	for _, c := range []struct {
		err  verdict.Error
		want string
	}{
		{verdict.Error{Check: "a.b", Expected: "1", Got: "2", Fix: "try", Where: "f:3"}, "f:3: a.b: expected 1, got 2 (try)"},
		{verdict.Error{Check: "a.b"}, "a.b"},
		{verdict.Error{Check: "a.b", Got: "2"}, "a.b, got 2"},
		{verdict.Error{Check: "a", Got: "x\nREFUSED: \x1b[2J\u202e"}, `a, got x\nREFUSED: \u001b[2J\u202e`},
		{verdict.Error{Check: "a", Where: "name\rof file"}, `name\u000dof file: a`},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, expected %q", got, c.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, r := range []rune{0, '\n', '\r', '\t', 0x1b, 0x7f, 0x80, 0x85, 0x9f, 0xad, 0x61c, 0x180e, 0x200b, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2060, 0x2066, 0x2069, 0x206f, 0xfeff, 0xfff9, 0xe0001, 0xe007f} {
		if got := verdict.Printable(string(r)); strings.ContainsRune(got, r) || !strings.HasPrefix(got, `\`) {
			t.Errorf("U+%04X is shown as %q", r, got)
		}
	}
	if got, want := verdict.Printable("one\n\ttwo\r"), `one\n\ttwo\u000d`; got != want {
		t.Errorf("shown as %s, expected %s", got, want)
	}
	const plain = "Zürich, 東京, 😀 ~ \u00a0"
	if got := verdict.Printable(plain); got != plain {
		t.Errorf("%q is shown as %q", plain, got)
	}
	if got := verdict.Printable("a\xffb"); strings.Contains(got, "\xff") {
		t.Errorf("bytes that are no text are shown as %q", got)
	}
}

func TestShort(t *testing.T) {
	if got := verdict.Short(strings.Repeat("a", 120)); len(got) != 120 {
		t.Errorf("a text that fits was cut: %q", got)
	}
	if got := verdict.Short(strings.Repeat("a", 119) + "é"); got != strings.Repeat("a", 119)+"…" {
		t.Errorf("cut inside a character: %q", got)
	}
	if got := verdict.Short("\n" + strings.Repeat("b", 500)); !strings.HasPrefix(got, `\n`) || !strings.HasSuffix(got, "b…") {
		t.Errorf("shown as %q", got)
	}
}

func TestEncodeDecode(t *testing.T) {
	checks := []verdict.Check{{ID: "a", OK: true, Expected: "x", Got: "x"}, {ID: "b", Expected: "x", Got: "y", Fix: "z"}}
	for kind := verdict.Broken; kind <= verdict.Invalid; kind++ {
		e := &verdict.Error{Kind: kind, Check: "b", Expected: "x", Got: "y", Fix: "z", Where: "f:1", Checks: checks}
		got := verdict.Decode(verdict.Encode(e))
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
		if verdict.Exit(got) != verdict.Exit(e) {
			t.Errorf("%s: exit code changed to %d", kind, verdict.Exit(got))
		}
	}
	if got := verdict.Decode(verdict.Encode(io.ErrUnexpectedEOF)); got.Kind != verdict.Broken || !strings.Contains(got.Got, "unexpected EOF") {
		t.Errorf("another error is decoded as %+v", got)
	}
	if got := verdict.Decode(verdict.Encode(&verdict.Error{Check: "c"})); got.Kind != verdict.Broken {
		t.Errorf("the zero kind is decoded as %s", got.Kind)
	}
	for _, bad := range []string{"", "null", "[]", "{}", `{"kind":"refused"}`, "<html>502\n</html>", strings.Repeat("x", 1<<20)} {
		got := verdict.Decode([]byte(bad))
		if got.Kind != verdict.Broken || got.Check != "response" || len(got.Error()) > 1000 {
			t.Errorf("%.30q is decoded as %.200s", bad, got)
		}
	}
	if got := verdict.Decode([]byte(`{"kind":"fine","check":"c"}`)); got.Kind != verdict.Broken {
		t.Errorf("an unknown kind is decoded as %s", got.Kind)
	}
}

func TestAs(t *testing.T) {
	e := verdict.Refuse("c", "e", "g", "f")
	e.Where = "f:1"
	got := verdict.As(fmt.Errorf("party alpha: %w", fmt.Errorf("signing: %w", e)))
	if got.Where != "party alpha: signing: f:1" || got.Kind != verdict.Refused || e.Where != "f:1" {
		t.Errorf("got %+v; the original is at %q", got, e.Where)
	}
	e.Where = ""
	if got := verdict.As(fmt.Errorf("party alpha: %w", e)); got.Where != "party alpha" {
		t.Errorf("at %q", got.Where)
	}
	if got := verdict.As(e); got != e {
		t.Error("an error that is not wrapped was copied")
	}
	if got := verdict.As(io.EOF); got.Kind != verdict.Broken || got.Check != "internal" || !errors.Is(got, io.EOF) {
		t.Errorf("got %+v", got)
	}
}

func TestFromCheck(t *testing.T) {
	all := []verdict.Check{{ID: "a", OK: true}, {ID: "b", Expected: "x", Got: "y", Fix: "z"}}
	got := verdict.FromCheck(verdict.Invalid, all[1], all)
	want := &verdict.Error{Kind: verdict.Invalid, Check: "b", Expected: "x", Got: "y", Fix: "z", Checks: all}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestKindString(t *testing.T) {
	for kind, want := range map[verdict.Kind]string{verdict.Broken: "broken", verdict.Usage: "usage", verdict.Refused: "refused", verdict.Invalid: "invalid evidence", 0: "kind 0"} {
		if kind.String() != want {
			t.Errorf("%d is %q", int(kind), kind)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"kind":"refused","check":"c","expected":"e","got":"g","fix":"f","checks":[{"id":"c","ok":false}]}`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e := verdict.Decode(data)
		if e.Kind < verdict.Broken || e.Kind > verdict.Invalid || strings.ContainsAny(e.Error(), "\n\r\x1b") {
			t.Fatalf("%q is decoded as %q of kind %d", data, e.Error(), e.Kind)
		}
		if again := verdict.Decode(verdict.Encode(e)); again.Kind != e.Kind || again.Check != e.Check {
			t.Fatalf("%+v becomes %+v", e, again)
		}
	})
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"a/b-1.key": "a/b-1.key", "the uni/keys": "'the uni/keys'", "": "''", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "a;b": "'a;b'", "~": "'~'"} {
		if got := verdict.ShellWord(in); got != want {
			t.Errorf("%q gives %s, expected %s", in, got, want)
		}
	}
}
