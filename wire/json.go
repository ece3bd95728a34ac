package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Marshal gives v as canonical JSON.
func Marshal(v any) ([]byte, error) {
	data, err := encoded(v)
	if err != nil {
		return nil, err
	}
	return Canonical(data)
}

func encoded(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return buf.Bytes(), err
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
	return UnmarshalCanonical(data, v)
}

// UnmarshalCanonical is [Unmarshal] for data that [Canonical] gave, whole or a value in it:
// it spares looking at its texts and limits once more. Data MUST come from there.
func UnmarshalCanonical(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	back, err := encoded(v)
	if err != nil {
		return err
	}
	if len(back) <= MaxDocument+1 { // and a line feed
		c := canonicaliser{in: back, out: make([]byte, 0, len(back)), checked: true}
		if back, err = c.document(); err != nil {
			return err
		}
	}
	if !bytes.Equal(back, data) {
		if err := unknownMember(data, v); err != nil {
			return err
		}
		return fmt.Errorf("a member is missing, null or misspelt: %s", firstDifference(data, back))
	}
	return nil
}

// unknownMember names a member that v does not have, in documents short enough to have been
// written by people; nil if there is none.
func unknownMember(data []byte, v any) error {
	if len(data) > maxExplained {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
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

// Object gives the values of a canonical object that has exactly the members named, which
// are in canonical order. The values are parts of data, which MUST come from [Canonical].
func Object(data []byte, names ...string) ([][]byte, error) {
	values := make([][]byte, len(names))
	at, open := 0, byte('{')
	for i, name := range names {
		start := fmt.Sprintf(`%c"%s":`, open, name)
		if !bytes.HasPrefix(data[at:], []byte(start)) {
			return nil, fmt.Errorf("a member is missing or unknown: got %s, expected %s", strconv.QuoteToASCII(string(data[at:min(at+40, len(data))])), strconv.QuoteToASCII(start))
		}
		at += len(start)
		end := skip(data, at)
		values[i] = data[at:end:end]
		at, open = end, ','
	}
	if string(data[at:]) != "}" {
		return nil, fmt.Errorf("an unknown member: %s", strconv.QuoteToASCII(string(data[at:min(at+40, len(data))])))
	}
	return values, nil
}

// skip gives where the value that starts at an index of canonical JSON ends.
func skip(data []byte, at int) int {
	for depth := 0; at < len(data); at++ {
		switch data[at] {
		case '"':
			for at++; at < len(data) && data[at] != '"'; at++ {
				if data[at] == '\\' {
					at++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return at
			}
		case ',':
			if depth == 0 {
				return at
			}
		}
	}
	return min(at, len(data))
}

const maxInteger = int64(1) << 53

// MaxInteger is the largest integer a document can hold, 2^53-1: what every JSON reader
// holds exactly.
const MaxInteger = maxInteger - 1
