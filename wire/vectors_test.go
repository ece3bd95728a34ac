package wire_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors again")

// vector is one case of spec/vectors/wire. Kind is the encoding that is tried: canonical,
// tuple, or one of the text forms id, time, hash, digest, bytes.
type vector struct {
	Comment string `json:"comment"`
	Kind    string `json:"kind"`
	// Expect is "success", or the class of failure: see spec/wire.md, section 5.
	Expect string `json:"expect"`
	// Input is text; InputHex is there instead if the input is not UTF-8.
	Input    string `json:"input,omitempty"`
	InputHex string `json:"input_hex,omitempty"`
	Output   string `json:"output,omitempty"`
	// Domain and Fields (hex) make a tuple, whose bytes and hashes are in hex.
	Domain string   `json:"domain,omitempty"`
	Fields []string `json:"fields,omitempty"`
	Tuple  string   `json:"tuple,omitempty"`
	SHA256 string   `json:"sha256,omitempty"`
	SHA384 string   `json:"sha384,omitempty"`
	SHA512 string   `json:"sha512,omitempty"`

	name string
}

// classes gives for every class of failure the words by which the code reports it, so that
// one failure can't hide behind another.
var classes = map[string]string{
	"syntax": "", "utf-8": "not valid UTF-8", "duplicate": "stands twice", "null": "null has no place", "number": "is not an integer of magnitude",
	"not-nfc": "normal form C", "replacement": "U+FFFD", "depth": "nested deeper", "trailing": "after the document", "size": "at most", "text-form": "",
}

func canonical(name, comment, input, output string) vector {
	return vector{name: "canonical-" + name, Comment: comment, Kind: "canonical", Expect: "success", Input: input, Output: output}
}

func refused(name, comment, class, input string) vector {
	return vector{name: "canonical-" + name, Comment: comment, Kind: "canonical", Expect: class, Input: input}
}

func text(kind, name, comment, input, expect string) vector {
	return vector{name: kind + "-" + name, Comment: comment, Kind: kind, Expect: expect, Input: input}
}

func tuple(name, comment, domain string, fields ...[]byte) vector {
	v := vector{name: "tuple-" + name, Comment: comment, Kind: "tuple", Expect: "success", Domain: domain, Fields: []string{}}
	for _, f := range fields {
		v.Fields = append(v.Fields, hex.EncodeToString(f))
	}
	v.Tuple = hex.EncodeToString(wire.Tuple(domain, fields...))
	h256, h384, h512 := wire.SHA256(domain, fields...), wire.SHA384(domain, fields...), wire.SHA512(domain, fields...)
	v.SHA256, v.SHA384, v.SHA512 = h256.String(), h384.String(), hex.EncodeToString(h512[:])
	return v
}

func vectors() []vector {
	bad := vector{name: "canonical-invalid-utf-8", Comment: "A lone continuation byte.", Kind: "canonical", Expect: "utf-8", InputHex: hex.EncodeToString([]byte("\"\x80\""))}
	return append(append([]vector{
		bad,
		tuple("empty", "No fields.", "strongroom/test/v1"),
		tuple("one-empty-field", "One empty field is not no field.", "strongroom/test/v1", nil),
		tuple("two", "Two fields.", "strongroom/test/v1", []byte("a"), []byte("bc")),
		tuple("two-split-elsewhere", "The same bytes split elsewhere give another tuple.", "strongroom/test/v1", []byte("ab"), []byte("c")),
		tuple("number", "A number of 8 bytes.", "strongroom/test/v1", wire.Uint64(1<<40)),
	}, canonicalVectors()...), textVectors()...)
}

func canonicalVectors() []vector {
	return []vector{
		canonical("order", "Members are sorted.", `{"b":1,"a":[true,false],"":"x"}`, `{"":"x","a":[true,false],"b":1}`),
		canonical("order-utf-16", "Sorted by UTF-16 code units: U+1F600 (d83d ...) before U+FF21.", "{\"\uff21\":1,\"\U0001f600\":2}", "{\"\U0001f600\":2,\"\uff21\":1}"),
		canonical("white-space", "White space is dropped.", " {\n\t\"a\" : [ 1 , 2 ] }\r\n", `{"a":[1,2]}`),
		canonical("escapes", "Escapes in their one form.", `"\u0041\/\u000a\u0008\u001f\u007f\"\\"`, `"A/\n\b\u001f`+"\u007f"+`\"\\"`),
		canonical("html", "Nothing is escaped for HTML.", `"\u003c\u003e\u0026\u2028"`, "\"<>&\u2028\""),
		canonical("surrogates", "A pair of surrogates is one character.", `"\ud83d\ude00"`, "\"\U0001f600\""),
		canonical("integers", "The largest and the smallest integer.", `[9007199254740991,-9007199254740991,0]`, `[9007199254740991,-9007199254740991,0]`),
		canonical("depth-32", "Nested as deep as may be.", strings.Repeat("[", 33)+strings.Repeat("]", 33), strings.Repeat("[", 33)+strings.Repeat("]", 33)),
		refused("depth-33", "Nested too deep.", "depth", strings.Repeat("[", 34)+strings.Repeat("]", 34)),
		refused("elements-8193", "A list with one element too many.", "size", "[0"+strings.Repeat(",0", 8192)+"]"),
		refused("duplicate", "A member stands twice.", "duplicate", `{"a":1,"a":1}`),
		refused("duplicate-escaped", "A member stands twice, once escaped.", "duplicate", `{"a":1,"\u0061":2}`),
		refused("duplicate-deep", "A member stands twice in an inner object.", "duplicate", `[{"x":{"a":1,"b":2,"a":3}}]`),
		refused("null", "null has no place.", "null", `{"a":null}`),
		refused("float", "A fraction.", "number", `[1.0]`),
		refused("exponent", "An exponent.", "number", `[1e3]`),
		refused("minus-zero", "Zero has no sign.", "number", `[-0]`),
		refused("2-53", "2^53.", "number", `[9007199254740992]`),
		refused("minus-2-53", "-2^53.", "number", `[-9007199254740992]`),
		refused("huge", "A number of 400 digits.", "number", "["+strings.Repeat("9", 400)+"]"),
		refused("leading-zero", "A leading zero is no JSON.", "syntax", `[01]`),
		refused("plus", "A plus sign is no JSON.", "syntax", `[+1]`),
		refused("not-nfc", "e and an accent instead of one character.", "not-nfc", "\"e\u0301\""),
		refused("not-nfc-name", "The same in a member's name.", "not-nfc", "{\"e\u0301\":1}"),
		refused("lone-surrogate", "Half a character.", "replacement", `"\ud83d"`),
		refused("replacement", "U+FFFD stands for something lost.", "replacement", "\"\ufffd\""),
		refused("trailing", "A second document.", "trailing", `{}{}`),
		refused("trailing-text", "Bytes after the document.", "trailing", `{} x`),
		refused("empty", "Nothing.", "syntax", ``),
		refused("cut-off", "The end is missing.", "syntax", `{"a":[1,2`),
		refused("comma", "A comma too many.", "syntax", `[1,]`),
		refused("no-comma", "A comma too few.", "syntax", `[1 2]`),
		refused("comment", "A comment.", "syntax", `[1 // one
]`),
		refused("quotes", "Single quotes.", "syntax", `{'a':1}`),
		refused("name-number", "A member's name that is no text.", "syntax", `{1:1}`),
		refused("byte-order-mark", "A byte order mark.", "syntax", "\ufeff{}"),
		refused("control", "A control character that is not escaped.", "syntax", "\"\x01\""),
	}
}

func textVectors() []vector {
	zeros := strings.Repeat("0", 64)
	return []vector{
		text("id", "good", "", "a-1", "success"), text("id", "63", "", strings.Repeat("a", 63), "success"),
		text("id", "64", "Too long.", strings.Repeat("a", 64), "text-form"), text("id", "empty", "", "", "text-form"),
		text("id", "digit-first", "", "1a", "text-form"), text("id", "hyphen-last", "", "a-", "text-form"), text("id", "hyphen-first", "", "-a", "text-form"),
		text("id", "upper", "", "Alpha", "text-form"), text("id", "underscore", "", "a_b", "text-form"), text("id", "letter-of-another-script", "A Cyrillic a.", "\u0430lpha", "text-form"),
		text("time", "good", "", "2026-11-24T09:30:00Z", "success"), text("time", "leap-day", "", "2028-02-29T23:59:59Z", "success"),
		text("time", "no-such-day", "", "2027-02-29T00:00:00Z", "text-form"), text("time", "offset", "", "2026-11-24T09:30:00+00:00", "text-form"),
		text("time", "fraction", "", "2026-11-24T09:30:00.5Z", "text-form"), text("time", "zero-fraction", "", "2026-11-24T09:30:00.0Z", "text-form"),
		text("time", "lower", "", "2026-11-24t09:30:00z", "text-form"), text("time", "leap-second", "", "2026-12-31T23:59:60Z", "text-form"),
		text("time", "date", "", "2026-11-24", "text-form"), text("time", "comma", "", "2026-11-24T09:30:00,5Z", "text-form"),
		text("hash", "good", "", "sha256:"+zeros, "success"), text("hash", "upper", "", "sha256:"+strings.Repeat("A", 64), "text-form"),
		text("hash", "short", "", "sha256:"+zeros[2:], "text-form"), text("hash", "long", "", "sha256:"+zeros+"00", "text-form"),
		text("hash", "no-prefix", "", zeros, "text-form"), text("hash", "other-prefix", "", "sha384:"+zeros, "text-form"), text("hash", "not-hex", "", "sha256:"+zeros[1:]+"g", "text-form"),
		text("digest", "good", "", "sha384:"+zeros+zeros[:32], "success"), text("digest", "of-32-bytes", "", "sha384:"+zeros, "text-form"),
		text("bytes", "good", "", "AAE=", "success"), text("bytes", "empty", "", "", "success"), text("bytes", "no-padding", "", "AAE", "text-form"),
		text("bytes", "spare-bits", "", "AAF=", "text-form"), text("bytes", "url-alphabet", "", "_-8=", "text-form"), text("bytes", "line-break", "", "AA\nE=", "text-form"),
	}
}

func TestVectors(t *testing.T) {
	dir := filepath.Join("..", "spec", "vectors", "wire")
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	made := vectors()
	for _, v := range made {
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, v.name+".json")
		data = append(data, '\n')
		if *update {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, data) {
			t.Errorf("%s is not what the code makes (%v); if that is meant, run go test -update", path, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != len(made) {
		t.Fatalf("%d files, %d vectors (%v)", len(files), len(made), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) { runVector(t, file) })
	}
}

func runVector(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v vector
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	input := []byte(v.Input)
	if v.InputHex != "" {
		if input, err = hex.DecodeString(v.InputHex); err != nil {
			t.Fatal(err)
		}
	}
	switch v.Kind {
	case "tuple":
		runTuple(t, v)
		return
	case "canonical":
		var out []byte
		if out, err = wire.Canonical(input); err == nil && string(out) != v.Output {
			t.Errorf("gives %s", out)
		}
	default:
		err = runText(t, v.Kind, input)
	}
	words, known := classes[v.Expect]
	switch {
	case v.Expect == "success" && err != nil:
		t.Error(err)
	case v.Expect != "success" && (err == nil || !known || !strings.Contains(err.Error(), words)):
		t.Errorf("error %v, expected one of class %s", err, v.Expect)
	}
	for class, other := range classes { // the open classes are what is left
		if err != nil && words == "" && other != "" && strings.Contains(err.Error(), other) {
			t.Errorf("error %v is of class %s", err, class)
		}
	}
}

// runText reads a text form and checks that it is written back as it was.
func runText(t *testing.T, kind string, input []byte) error {
	var id wire.ID
	var tm wire.Time
	var h wire.Hash
	var d wire.Digest
	var b wire.Bytes
	var back []byte
	var err error
	switch kind {
	case "id":
		err = id.UnmarshalText(input)
		back = []byte(id)
	case "time":
		if err = tm.UnmarshalText(input); err == nil {
			back, err = tm.MarshalText()
		}
	case "hash":
		err = h.UnmarshalText(input)
		back, _ = h.MarshalText()
	case "digest":
		err = d.UnmarshalText(input)
		back, _ = d.MarshalText()
	case "bytes":
		err = b.UnmarshalText(input)
		back, _ = b.MarshalText()
	default:
		t.Fatalf("unknown kind %q", kind)
	}
	if err == nil && !bytes.Equal(back, input) {
		t.Errorf("written back as %q", back)
	}
	return err
}

func runTuple(t *testing.T, v vector) {
	var fields [][]byte
	for _, f := range v.Fields {
		b, err := hex.DecodeString(f)
		if err != nil {
			t.Fatal(err)
		}
		fields = append(fields, b)
	}
	h512 := wire.SHA512(v.Domain, fields...)
	for got, want := range map[string]string{
		hex.EncodeToString(wire.Tuple(v.Domain, fields...)): v.Tuple, wire.SHA256(v.Domain, fields...).String(): v.SHA256,
		wire.SHA384(v.Domain, fields...).String(): v.SHA384, hex.EncodeToString(h512[:]): v.SHA512,
	} {
		if got != want {
			t.Errorf("got %s, expected %s", got, want)
		}
	}
}
