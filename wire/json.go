package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Marshal gives v as canonical JSON.
func Marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return Canonical(buf.Bytes())
}

// Unmarshal reads canonical JSON into the struct v points to. It refuses bytes that are
// not canonical, members v doesn't have, and anything that v would not write back as the
// same bytes (missing members, null, another spelling of a member's name), so that the
// struct says exactly what the hashed bytes say.
func Unmarshal(data []byte, v any) error {
	canonical, err := Canonical(data)
	if err != nil {
		return err
	}
	if !bytes.Equal(canonical, data) {
		return fmt.Errorf("JSON is not in canonical form (RFC 8785)")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		return err
	}
	back, err := Marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, data) {
		return fmt.Errorf("a member is missing, null or misspelt: %s", firstDifference(data, back))
	}
	return nil
}

// firstDifference shows where two documents part, for people.
func firstDifference(got, want []byte) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(0, i-20)
	cut := func(b []byte) string { return strconv.QuoteToASCII(string(b[min(from, len(b)):min(len(b), i+30)])) }
	return fmt.Sprintf("got %s, expected %s", cut(got), cut(want))
}

// Canonical gives data in the canonical form of RFC 8785, and refuses what has no place in
// it here: see limits.go, duplicate members, null, numbers that are not integers of
// magnitude below 2^53, invalid UTF-8, text that is not NFC, and trailing bytes.
func Canonical(data []byte) ([]byte, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("document of %d bytes, at most %d", len(data), MaxDocument)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	c := canonicaliser{dec: dec}
	out, err := c.value(make([]byte, 0, len(data)), 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("bytes after the document")
	}
	return out, nil
}

type canonicaliser struct{ dec *json.Decoder }

func (c *canonicaliser) value(out []byte, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("nested deeper than %d", MaxDepth)
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
		return appendString(out, t)
	case json.Number:
		return appendInteger(out, t)
	case bool:
		return strconv.AppendBool(out, t), nil
	}
	// Without this, null and [] would be two spellings of an empty list.
	return nil, fmt.Errorf("null has no place in a document; an empty list is [], an absent member is left out")
}

func (c *canonicaliser) array(out []byte, depth int) ([]byte, error) {
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
func (c *canonicaliser) close() error {
	_, err := c.dec.Token()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

type member struct {
	name  string
	units []uint16
	value []byte
}

func (c *canonicaliser) object(out []byte, depth int) ([]byte, error) {
	var members []member
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
		members = append(members, member{name, utf16.Encode([]rune(name)), value})
	}
	if err := c.close(); err != nil {
		return nil, err
	}
	// RFC 8785, section 3.2.3: members sorted by the UTF-16 code units of their names.
	slices.SortFunc(members, func(a, b member) int { return slices.Compare(a.units, b.units) })
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			if members[i-1].name == m.name {
				return nil, fmt.Errorf("member %.60q stands twice", m.name)
			}
			out = append(out, ',')
		}
		var err error
		if out, err = appendString(out, m.name); err != nil {
			return nil, err
		}
		out = append(append(out, ':'), m.value...)
	}
	return append(out, '}'), nil
}

// appendString writes a string as RFC 8785, section 3.2.2.2 says.
func appendString(out []byte, s string) ([]byte, error) {
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

func appendInteger(out []byte, n json.Number) ([]byte, error) {
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || i <= -maxInteger || i >= maxInteger || strconv.FormatInt(i, 10) != string(n) {
		return nil, fmt.Errorf("number %.40q is not an integer of magnitude below 2^53", string(n))
	}
	return strconv.AppendInt(out, i, 10), nil
}

const maxInteger = int64(1) << 53

// MaxInteger is the largest integer a document can hold, 2^53-1: what every JSON reader
// holds exactly.
const MaxInteger = maxInteger - 1
