package tpm2

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Decode reads JSON that others wrote into v. Members that v doesn't have mean nothing here and
// are left out; what could be read in two ways is refused: see [Unique].
func Decode(text []byte, v any) error {
	if err := Unique(text); err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// Unique checks that JSON has one reading: no duplicate members, in any spelling of upper and
// lower case, no deep nesting, no bytes behind the text. It bounds members and nested values.
func Unique(text []byte) error {
	switch {
	case len(text) > MaxDocument:
		return fmt.Errorf("document of %d bytes, at most %d", len(text), MaxDocument)
	case !utf8.Valid(text):
		return fmt.Errorf("not valid UTF-8")
	case !json.Valid(text):
		return fmt.Errorf("no JSON text")
	}
	w := walker{text: text}
	return w.value(0)
}

// walker walks through a valid JSON text.
type walker struct {
	text   []byte
	at     int
	nested int // objects and arrays so far
}

// next gives the next byte behind white space, without taking it.
func (w *walker) next() byte {
	for w.text[w.at] == ' ' || w.text[w.at] == '\t' || w.text[w.at] == '\n' || w.text[w.at] == '\r' {
		w.at++
	}
	return w.text[w.at]
}

func (w *walker) value(depth int) error {
	switch c := w.next(); c {
	case '{', '[':
		if w.nested++; depth == maxDepth || w.nested > maxNested {
			return fmt.Errorf("nested deeper than %d, or more than %d values in others", maxDepth, maxNested)
		}
		w.at++
		if c == '{' {
			return w.object(depth)
		}
		return w.array(depth)
	case '"':
		w.quoted()
	default: // a number or a word
		for w.at < len(w.text) && !strings.ContainsRune(",]} \t\r\n", rune(w.text[w.at])) {
			w.at++
		}
	}
	return nil
}

// quoted takes a text, and gives it with its quotation marks.
func (w *walker) quoted() []byte {
	start := w.at
	for w.at++; w.text[w.at] != '"'; w.at++ {
		if w.text[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.text[start:w.at]
}

func (w *walker) array(depth int) error {
	for w.next() != ']' {
		if err := w.value(depth + 1); err != nil {
			return err
		}
		if w.next() == ',' {
			w.at++
		}
	}
	w.at++
	return nil
}

func (w *walker) object(depth int) error {
	seen := map[string]bool{}
	for w.next() != '}' {
		var name string
		if err := json.Unmarshal(w.quoted(), &name); err != nil {
			return err
		}
		key := strings.ToLower(strings.ToUpper(name)) // both ways: ſ and s, K and k
		if seen[key] {
			return fmt.Errorf("duplicate member %.60q", name)
		}
		if seen[key] = true; len(seen) > maxMembers {
			return fmt.Errorf("more than %d members", maxMembers)
		}
		w.next() // the colon
		w.at++
		if err := w.value(depth + 1); err != nil {
			return err
		}
		if w.next() == ',' {
			w.at++
		}
	}
	w.at++
	return nil
}

// AnyBytes are bytes as tools write them: an array of numbers, hex, or base64 of either
// alphabet. Hex comes first, since most hex is also base64.
type AnyBytes []byte

// UnmarshalJSON reads bytes in any of these forms.
func (b *AnyBytes) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '[' {
		out, err := byteArray(text[1 : len(text)-1])
		*b = out
		return err
	}
	var s *string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if s == nil {
		return fmt.Errorf("null has no place here")
	}
	out, err := decodeText(*s)
	*b = out
	return err
}

// byteArray reads the inside of a JSON array of numbers from 0 to 255.
func byteArray(text []byte) ([]byte, error) {
	out := make([]byte, 0, len(text)/2+1)
	if len(bytes.TrimSpace(text)) == 0 {
		return out, nil
	}
	for len(text) > 0 {
		item, rest, more := bytes.Cut(text, []byte{','})
		n, err := strconv.ParseUint(string(bytes.TrimSpace(item)), 10, 8)
		if err != nil {
			return nil, fmt.Errorf("%.20q is no byte", item)
		}
		out = append(out, byte(n))
		if text = rest; !more {
			break
		}
	}
	return out, nil
}

// decodeText reads hex, or base64 without stray bits or line breaks, padded or not.
func decodeText(s string) ([]byte, error) {
	if out, err := hex.DecodeString(s); err == nil {
		return out, nil
	}
	if strings.ContainsAny(s, "\r\n") {
		return nil, fmt.Errorf("line break in base64")
	}
	bare := strings.TrimRight(s, "=")
	if pad := len(s) - len(bare); pad > 0 && (len(s)%4 != 0 || pad > 2) {
		return nil, fmt.Errorf("wrongly padded base64")
	}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding.Strict(), base64.RawURLEncoding.Strict()} {
		if out, err := e.DecodeString(bare); err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("neither hex nor base64")
}
