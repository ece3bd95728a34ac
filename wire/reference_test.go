package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"strongroom.dev/wire"
)

// referenceCanonical is the canonical form by encoding/json, token by token: slow, and
// another reading of the standard than wire's own.
func referenceCanonical(data []byte) ([]byte, error) {
	if len(data) > wire.MaxDocument || !utf8.Valid(data) {
		return nil, fmt.Errorf("too long or no UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	c := reference{dec: dec}
	out, err := c.value(nil, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("bytes after the document")
	}
	return out, nil
}

// sameAsReference holds wire's canonical form against the reference's.
func sameAsReference(t *testing.T, data []byte) {
	t.Helper()
	got, err := wire.Canonical(data)
	want, wantErr := referenceCanonical(data)
	if err != nil && (strings.Contains(err.Error(), "more values") || strings.Contains(err.Error(), "more elements")) {
		return // the reference does not count
	}
	if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
		t.Fatalf("%.200q: got %.200q, %v; the reference gives %.200q, %v", data, got, err, want, wantErr)
	}
}

func TestCanonicalAsReference(t *testing.T) {
	for _, v := range vectors() {
		if v.Kind == "canonical" {
			sameAsReference(t, []byte(v.Input))
		}
	}
	for _, text := range []string{
		sampleText, `0`, `-1`, `"a"`, `true`, `tru`, `truex`, `[`, `]`, `{`, `{]`, `[}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[,]`, `-`, `[1.]`, `[1e]`, `[.5]`, `[0x1]`,
		`{"a":{"b":1,"a":{"d":2,"c":[{"z":0,"y":1}]}},"A":[{"2":1,"1":2}]}`, `{"\n":1,"\u000a":2}`, `{"\"":1,"\\":2,"!":3,"/":4}`, `"\ud800\u0041"`, `"\udc00\ud800"`, `"\u00e"`, `"\x"`, `"\`, `"\u`,
		`"\u006e\u0303"`, "\"\\n\u0303\"", "\"\\u00e9\u0323\"", "\x00", "1\x00", "\"a\x00\"", "\u00a01", "[1]\v", `{"a":1 "b":2}`, `{"a":1}}`, `[[]`, `[]]`, `"a""b"`, `1 2`, `[1]/`, `{"a" : 1 , "b":[ ] , "c" : { } }`,
		"{\"\uffee\":1,\"\U0001f600\":2,\"\U0001f601\":3,\"\ue000\":4,\"\ud7ff\":5}", "{\"x\U0001f600\":1,\"x\ufe00\":2,\"x\":3}",
	} {
		sameAsReference(t, []byte(text))
	}
}

func FuzzCanonicalAsReference(f *testing.F) {
	for _, v := range vectors() {
		if v.Kind == "canonical" {
			f.Add([]byte(v.Input))
		}
	}
	f.Add([]byte(sampleText))
	f.Add([]byte(`{"\u00e9":1,"\ud83d\ude00":[0,-12,{"b":"\n","a":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) { sameAsReference(t, data) })
}

type reference struct{ dec *json.Decoder }

func (c *reference) value(out []byte, depth int) ([]byte, error) {
	if depth > wire.MaxDepth {
		return nil, fmt.Errorf("nested deeper than %d", wire.MaxDepth)
	}
	token, err := c.dec.Token()
	if err == io.EOF {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '[' {
			return c.array(out, depth)
		}
		return c.object(out, depth)
	case string:
		return referenceString(out, t)
	case json.Number:
		return referenceInteger(out, t)
	case bool:
		return strconv.AppendBool(out, t), nil
	}
	// Without this, null and [] would be two spellings of an empty list.
	return nil, fmt.Errorf("null has no place in a document; an empty list is [], an absent member is left out")
}

func (c *reference) array(out []byte, depth int) ([]byte, error) {
	out = append(out, '[')
	for i := 0; c.dec.More(); i++ {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = c.value(out, depth+1); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), c.close()
}

// close reads the delimiter that ends an array or an object.
func (c *reference) close() error {
	_, err := c.dec.Token()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

type referenceMember struct {
	name  string
	units []uint16
	value []byte
}

func (c *reference) object(out []byte, depth int) ([]byte, error) {
	var members []referenceMember
	for c.dec.More() {
		token, err := c.dec.Token()
		if err != nil {
			return nil, err
		}
		name := token.(string) // the decoder allows nothing else in this place
		value, err := c.value(nil, depth+1)
		if err != nil {
			return nil, err
		}
		members = append(members, referenceMember{name, utf16.Encode([]rune(name)), value})
	}
	if err := c.close(); err != nil {
		return nil, err
	}
	// RFC 8785, section 3.2.3: members sorted by the UTF-16 code units of their names.
	slices.SortFunc(members, func(a, b referenceMember) int { return slices.Compare(a.units, b.units) })
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			if members[i-1].name == m.name {
				return nil, fmt.Errorf("member %.60q stands twice", m.name)
			}
			out = append(out, ',')
		}
		var err error
		if out, err = referenceString(out, m.name); err != nil {
			return nil, err
		}
		out = append(append(out, ':'), m.value...)
	}
	return append(out, '}'), nil
}

// referenceString writes a string as RFC 8785, section 3.2.2.2 says.
func referenceString(out []byte, s string) ([]byte, error) {
	if !norm.NFC.IsNormalString(s) {
		return nil, fmt.Errorf("text %.60q is not in Unicode normal form C", s)
	}
	const hex = "0123456789abcdef"
	short := map[rune]byte{'\b': 'b', '\t': 't', '\n': 'n', '\f': 'f', '\r': 'r', '"': '"', '\\': '\\'}
	out = append(out, '"')
	for _, r := range s {
		if r == utf8.RuneError {
			// A lone surrogate escape decodes to this; so does nothing else that is worth keeping.
			return nil, fmt.Errorf("text holds U+FFFD or a lone surrogate")
		}
		if e, found := short[r]; found {
			out = append(out, '\\', e)
		} else if r < 0x20 {
			out = append(out, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return append(out, '"'), nil
}

func referenceInteger(out []byte, n json.Number) ([]byte, error) {
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || i < -wire.MaxInteger || i > wire.MaxInteger || strconv.FormatInt(i, 10) != string(n) {
		return nil, fmt.Errorf("number %.40q is not an integer of magnitude below 2^53", string(n))
	}
	return strconv.AppendInt(out, i, 10), nil
}
