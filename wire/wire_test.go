package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"strongroom.dev/wire"
)

type sample struct {
	Name  wire.ID           `json:"name"`
	List  []string          `json:"list"`
	Map   map[string]string `json:"map"`
	Maybe *wire.Hash        `json:"maybe,omitempty"`
	Raw   json.RawMessage   `json:"raw"`
	N     int64             `json:"n"`
}

const sampleText = `{"list":[],"map":{"a":"b"},"n":3,"name":"x","raw":{"k":[1]}}`

func TestUnmarshal(t *testing.T) {
	var s sample
	if err := wire.Unmarshal([]byte(sampleText), &s); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"not canonical: order":  `{"map":{},"list":[],"n":3,"name":"x","raw":{}}`,
		"not canonical: space":  strings.Replace(sampleText, ",", ", ", 1),
		"not canonical: escape": strings.Replace(sampleText, `"b"`, `"\u0062"`, 1),
		"newline":               sampleText + "\n",
		"unknown member":        strings.Replace(sampleText, `{"list"`, `{"extra":1,"list"`, 1),
		"misspelt member":       strings.Replace(sampleText, `{"list"`, `{"List"`, 1),
		"missing member":        strings.Replace(sampleText, `"n":3,`, ``, 1),
		"null":                  strings.Replace(sampleText, `[]`, `null`, 1),
		"null raw":              strings.Replace(sampleText, `{"k":[1]}`, `null`, 1),
		"text for a number":     strings.Replace(sampleText, `3`, `"3"`, 1),
		"bad id":                strings.Replace(sampleText, `"x"`, `"X"`, 1),
		"array for an object":   `[]`,
		"cut off":               sampleText[:len(sampleText)-1],
	} {
		var s sample
		if err := wire.Unmarshal([]byte(text), &s); err == nil {
			t.Errorf("%s: accepted %s", name, text)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	for name, v := range map[string]any{
		"a nil list": sample{Map: map[string]string{}, Raw: json.RawMessage("{}")}, "a float": 1.5, "a large number": uint64(1) << 60,
		"text that is not NFC": "e\u0301", "bytes that are no UTF-8": "\xff", "a function": func() {}, "a year that can't be written": wire.At(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)),
	} {
		if out, err := wire.Marshal(v); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestSize(t *testing.T) {
	large := []byte(`"` + strings.Repeat("a", wire.MaxDocument-2) + `"`)
	if _, err := wire.Canonical(large); err != nil {
		t.Errorf("a document of the largest size: %v", err)
	}
	if _, err := wire.Canonical(append(large, ' ')); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a document over it: %v", err)
	}
}

func TestLimits(t *testing.T) {
	list := func(unit string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(unit+",", n), ",") + "]"
	}
	object := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%06d":0`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	full := list("0", wire.MaxElements-1) // with itself as many values as a list may have elements
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"elements":            {list("0", wire.MaxElements), true},
		"an element more":     {list("0", wire.MaxElements+1), false},
		"members":             {object(wire.MaxElements), true},
		"a member more":       {object(wire.MaxElements + 1), false},
		"values":              {list(full, wire.MaxValues/wire.MaxElements-1), true},
		"more values":         {list(full, wire.MaxValues/wire.MaxElements), false},
		"values, all of them": {`[` + strings.Repeat(full+",", wire.MaxValues/wire.MaxElements-1) + list("0", wire.MaxElements-2) + `]`, true},
	} {
		_, err := wire.Canonical([]byte(c.text))
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCanonicalCostsLittle bounds what reading a document takes to a copy of it and some more.
func TestCanonicalCostsLittle(t *testing.T) {
	for name, unit := range map[string]string{
		"values": `0,`, "texts": `"",`, "objects": `{"b":[],"a":{}},`, "escapes": `"\u0061\u00e9",`, "deep": strings.Repeat(`{"b":0,"a":`, 20) + "0" + strings.Repeat("}", 20) + ",",
	} {
		data := []byte("[" + strings.TrimSuffix(strings.Repeat(unit, min(1<<20/len(unit), 1500)), ",") + "]")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := wire.Canonical(data)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; err != nil || got > uint64(3*len(data))+4096 {
			t.Errorf("%s: %d bytes allocated for %d, %v", name, got, len(data), err)
		}
	}
}

func TestObject(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"b":[2,{"x":"}],\\\""}],"c":"\",\""}`: `1 [2,{"x":"}],\\\""}] "\",\""`,
		`{"a":{},"b":"","c":true}`:                    `{} "" true`,
		`{"a":1,"b":2}`:                               "", `{"a":1,"b":2,"c":3,"d":4}`: "", `{"A":1,"b":2,"c":3}`: "", `{"b":2,"c":3}`: "", `{}`: "", `[]`: "", `1`: "", ``: "", `"a"`: "",
		`{"a":1,"aa":2,"b":2,"c":3}`: "", `{"a":1,"b":2,"c":3`: "", `{"a":1,"b":2,"c":"`: "", `{"a":1,"b":2,"c":"\`: "", `{"a":`: "",
	} {
		values, err := wire.Object([]byte(text), "a", "b", "c")
		if got := string(bytes.Join(values, []byte(" "))); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
}

// TestUnmarshalCanonical shows that what was not made canonical before is refused all the same.
func TestUnmarshalCanonical(t *testing.T) {
	var s sample
	if err := wire.UnmarshalCanonical([]byte(sampleText), &s); err != nil {
		t.Error(err)
	}
	for _, text := range []string{sampleText + " ", " " + sampleText, sampleText + sampleText, strings.Replace(sampleText, "3", "3,\"n\":3", 1), strings.Replace(sampleText, "[1]", "[1 ]", 1),
		strings.Replace(sampleText, `{"k":[1]}`, `{"k":[1],"a":2}`, 1)} {
		var s sample
		if err := wire.UnmarshalCanonical([]byte(text), &s); err == nil {
			t.Errorf("accepted %s", text)
		}
	}
}

// TestTupleIsInjective shows that no two of many alike lists give the same bytes.
func TestTupleIsInjective(t *testing.T) {
	parts := [][]byte{nil, []byte("a"), []byte("ab"), {0, 0, 0, 1}, {0, 0, 0, 0}}
	seen := make(map[string]string)
	try := func(domain string, fields ...[]byte) {
		name, _ := json.Marshal([]any{domain, fields})
		key := string(wire.Tuple(domain, fields...))
		if other, found := seen[key]; found {
			t.Errorf("%s and %s give the same bytes", other, name)
		}
		seen[key] = string(name)
	}
	for _, domain := range []string{"", "a", "ab"} {
		try(domain)
		for i, a := range parts {
			try(domain, a)
			for j, b := range parts {
				try(domain, a, b)
				if i+j > 0 {
					try(domain, a, b, nil)
				}
			}
		}
	}
}

func TestValues(t *testing.T) {
	if !(wire.Hash{}).IsZero() || !(wire.Digest{}).IsZero() || !(wire.Time{}).IsZero() {
		t.Error("a zero value is not zero")
	}
	h := wire.HashOf([]byte("abc"))
	if h.String() != "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" || h.Short() != "ba7816bf8f01" || h.IsZero() {
		t.Errorf("SHA-256 of abc is %s", h)
	}
	if d := wire.DigestOf([]byte("abc")); d.Short() != "cb00753f45a3" || d.IsZero() {
		t.Errorf("SHA-384 of abc is %s", d)
	}
	if got, err := wire.ParseHash(h.String()); err != nil || got != h {
		t.Errorf("read back as %s, %v", got, err)
	}
	if _, err := wire.ParseDigest(h.String()); err == nil {
		t.Error("a hash was read as a digest")
	}
	zone := time.FixedZone("east", 3600)
	if got := wire.At(time.Date(2026, 11, 24, 10, 30, 0, 999, zone)).String(); got != "2026-11-24T09:30:00Z" {
		t.Errorf("a time in another zone is %s", got)
	}
	if got, n, err := wire.HashReader(strings.NewReader("abc")); err != nil || n != 3 || got != h {
		t.Errorf("reader: %s, %d, %v", got, n, err)
	}
	if _, _, err := wire.HashReader(io.MultiReader(strings.NewReader("a"), failing{})); err == nil {
		t.Error("a failing reader was hashed")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

func FuzzCanonical(f *testing.F) {
	for _, v := range vectors() {
		if v.Kind == "canonical" {
			f.Add([]byte(v.Input))
		}
	}
	f.Add([]byte(sampleText))
	f.Add([]byte(`{"a":"]}\\\"","b":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = wire.Object(data, "a", "b")
		out, err := wire.Canonical(data)
		if err != nil {
			return
		}
		if again, err := wire.Canonical(out); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q becomes %q, which becomes %q, %v", data, out, again, err)
		}
		if !json.Valid(data) || !json.Valid(out) {
			t.Fatalf("%q is no JSON", data)
		}
		if parts, err := wire.Object(out, "a", "b"); err == nil && fmt.Sprintf(`{"a":%s,"b":%s}`, parts[0], parts[1]) != string(out) {
			t.Fatalf("%q is taken apart as %q", out, parts)
		}
		var s sample
		if wire.Unmarshal(out, &s) == nil {
			if back, err := wire.Marshal(s); err != nil || !bytes.Equal(back, out) {
				t.Fatalf("%q is read and written as %q, %v", out, back, err)
			}
		}
	})
}

func FuzzTexts(f *testing.F) {
	for _, v := range textVectors() {
		f.Add([]byte(v.Input))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []string{"id", "time", "hash", "digest", "bytes"} {
			_ = runText(t, kind, data)
		}
	})
}
