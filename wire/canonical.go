package wire

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Canonical gives data in the canonical form of RFC 8785, and refuses what has no place in
// it here: see limits.go, duplicate members, null, numbers that are not integers of
// magnitude below 2^53, invalid UTF-8, text that is not NFC, and trailing bytes.
//
// Most of what is read came from strangers, and nothing of it is believed yet. So this is
// one pass that keeps the members of the objects it is in and one copy, never longer than
// data, and nothing else.
func Canonical(data []byte) ([]byte, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("document of %d bytes, at most %d", len(data), MaxDocument)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("not valid UTF-8")
	}
	c := canonicaliser{in: data, out: make([]byte, 0, len(data))}
	return c.document()
}

// document reads and writes the one value of a document.
func (c *canonicaliser) document() ([]byte, error) {
	if err := c.value(0); err != nil {
		return nil, err
	}
	if c.peek() != 0 || c.at < len(c.in) {
		return nil, fmt.Errorf("bytes after the document")
	}
	return c.out, nil
}

// canonicaliser is where reading and writing stand.
type canonicaliser struct {
	in  []byte
	at  int
	out []byte
	// checked is set if what is written will be held against a document whose texts were checked.
	checked bool
	// values is how many there were.
	values int
	// names and members are of the objects that are open, the innermost last.
	names   []byte
	members []member
	// text and sorted are room for one text without its escapes, and for one object.
	text, sorted []byte
}

// member is one of an object: its name without escapes, in names, and itself, in out.
type member struct{ name, nameEnd, start, end int32 }

// peek gives the byte that comes next after white space, zero at the end.
func (c *canonicaliser) peek() byte {
	for ; c.at < len(c.in); c.at++ {
		switch b := c.in[c.at]; b {
		case ' ', '\t', '\n', '\r':
		default:
			return b
		}
	}
	return 0
}

// unexpected reports what comes next as an error.
func (c *canonicaliser) unexpected(wanted string) error {
	if c.at >= len(c.in) {
		return io.ErrUnexpectedEOF
	}
	r, _ := utf8.DecodeRune(c.in[c.at:])
	return fmt.Errorf("invalid character %q at byte %d, expected %s", r, c.at, wanted)
}

func (c *canonicaliser) value(depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("nested deeper than %d", MaxDepth)
	}
	if c.values++; c.values > MaxValues {
		return fmt.Errorf("more values than a document holds, at most %d", MaxValues)
	}
	switch b := c.peek(); {
	case b == '{':
		return c.object(depth)
	case b == '[':
		return c.array(depth)
	case b == '"':
		return c.string()
	case b == '-' || '0' <= b && b <= '9':
		return c.integer()
	case c.literal("true"), c.literal("false"):
		return nil
	case bytes.HasPrefix(c.in[c.at:], []byte("null")):
		// Without this, null and [] would be two spellings of an empty list.
		return fmt.Errorf("null has no place in a document; an empty list is [], an absent member is left out")
	}
	return c.unexpected("a value")
}

func (c *canonicaliser) literal(word string) bool {
	if !bytes.HasPrefix(c.in[c.at:], []byte(word)) {
		return false
	}
	c.at += len(word)
	c.out = append(c.out, word...)
	return true
}

// next reads what follows element n of an array or object: more of them, or its end.
func (c *canonicaliser) next(n int, end byte) (more bool, err error) {
	switch b := c.peek(); {
	case b == end:
		c.at++
		return false, nil
	case n == 0:
		return true, nil
	case b != ',':
		return false, c.unexpected("a comma or the end")
	case n >= MaxElements:
		return false, fmt.Errorf("a list or object of more elements than a document holds, at most %d", MaxElements)
	}
	c.at++
	return true, nil
}

func (c *canonicaliser) array(depth int) error {
	c.at++
	c.out = append(c.out, '[')
	for n := 0; ; n++ {
		more, err := c.next(n, ']')
		if err != nil {
			return err
		}
		if !more {
			c.out = append(c.out, ']')
			return nil
		}
		if n > 0 {
			c.out = append(c.out, ',')
		}
		if err := c.value(depth + 1); err != nil {
			return err
		}
	}
}

func (c *canonicaliser) object(depth int) error {
	c.at++
	c.out = append(c.out, '{')
	first, names, start := len(c.members), len(c.names), len(c.out)
	for n := 0; ; n++ {
		more, err := c.next(n, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if n > 0 {
			c.out = append(c.out, ',')
		}
		if err := c.member(depth); err != nil {
			return err
		}
	}
	if err := c.sort(c.members[first:], start); err != nil {
		return err
	}
	c.members, c.names = c.members[:first], c.names[:names]
	c.out = append(c.out, '}')
	return nil
}

func (c *canonicaliser) member(depth int) error {
	if c.peek() != '"' {
		return c.unexpected("the name of a member")
	}
	m := member{name: int32(len(c.names)), start: int32(len(c.out))}
	text, err := c.unescaped()
	if err != nil {
		return err
	}
	c.names = append(c.names, text...)
	m.nameEnd = int32(len(c.names))
	c.out = appendString(c.out, text)
	if c.peek() != ':' {
		return c.unexpected("a colon")
	}
	c.at++
	c.out = append(c.out, ':')
	if err := c.value(depth + 1); err != nil {
		return err
	}
	m.end = int32(len(c.out))
	c.members = append(c.members, m)
	return nil
}

// sort puts the members of an object, which was written from start on, into the order of
// RFC 8785, section 3.2.3.
func (c *canonicaliser) sort(members []member, start int) error {
	compare := func(a, b member) int { return compareNames(c.names[a.name:a.nameEnd], c.names[b.name:b.nameEnd]) }
	inOrder := slices.IsSortedFunc(members, compare)
	if !inOrder {
		slices.SortFunc(members, compare)
	}
	for i := range members {
		if i > 0 && compare(members[i-1], members[i]) == 0 {
			return fmt.Errorf("member %.60q stands twice", c.names[members[i].name:members[i].nameEnd])
		}
	}
	if inOrder {
		return nil
	}
	c.sorted = c.sorted[:0]
	for i, m := range members {
		if i > 0 {
			c.sorted = append(c.sorted, ',')
		}
		c.sorted = append(c.sorted, c.out[m.start:m.end]...)
	}
	copy(c.out[start:], c.sorted)
	return nil
}

// compareNames orders UTF-8 as its UTF-16 code units would be. That is the order of the
// bytes, but for characters above U+FFFF, whose surrogates come before U+E000.
func compareNames(a, b []byte) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	if i == len(a) || i == len(b) {
		return cmp.Compare(len(a), len(b))
	}
	x, y := a[i], b[i]
	switch {
	case x >= 0xf0 && (y == 0xee || y == 0xef):
		return -1
	case y >= 0xf0 && (x == 0xee || x == 0xef):
		return 1
	}
	return cmp.Compare(x, y)
}

func (c *canonicaliser) string() error {
	text, err := c.unescaped()
	if err != nil {
		return err
	}
	c.out = appendString(c.out, text)
	return nil
}

// unescaped reads a string. What it gives is a part of in, or of text until the next call.
func (c *canonicaliser) unescaped() ([]byte, error) {
	c.at++
	start, plain := c.at, true
	for ; c.at < len(c.in); c.at++ {
		switch b := c.in[c.at]; {
		case b == '"':
			text := c.in[start:c.at]
			c.at++
			return text, c.checkText(text, plain)
		case b == '\\':
			return c.unescape(start)
		case b < 0x20:
			return nil, c.unexpected("no control character in a text")
		case b >= firstMark:
			plain = false
		}
	}
	return nil, io.ErrUnexpectedEOF
}

// unescape goes on reading a string at its first escape.
func (c *canonicaliser) unescape(start int) ([]byte, error) {
	c.text = append(c.text[:0], c.in[start:c.at]...)
	for c.at < len(c.in) {
		switch b := c.in[c.at]; {
		case b == '"':
			c.at++
			return c.text, c.checkText(c.text, false)
		case b == '\\':
			r, err := c.escape()
			if err != nil {
				return nil, err
			}
			c.text = utf8.AppendRune(c.text, r)
		case b < 0x20:
			return nil, c.unexpected("no control character in a text")
		default:
			c.text = append(c.text, b)
			c.at++
		}
	}
	return nil, io.ErrUnexpectedEOF
}

// escape reads one escape, a pair of them where they are surrogates. Half a pair is U+FFFD.
func (c *canonicaliser) escape() (rune, error) {
	c.at++
	if c.at >= len(c.in) {
		return 0, io.ErrUnexpectedEOF
	}
	if c.in[c.at] != 'u' {
		const escaped, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
		i := bytes.IndexByte([]byte(escaped), c.in[c.at])
		if i < 0 {
			return 0, c.unexpected("an escape")
		}
		c.at++
		return rune(meant[i]), nil
	}
	r, err := c.hex()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if !bytes.HasPrefix(c.in[c.at:], []byte(`\u`)) {
		return utf8.RuneError, nil
	}
	c.at++
	low, err := c.hex()
	return utf16.DecodeRune(r, low), err // U+FFFD if they are no pair: the text is refused then
}

// hex reads u and four digits.
func (c *canonicaliser) hex() (rune, error) {
	var r rune
	for range 4 {
		c.at++
		if c.at >= len(c.in) {
			return 0, io.ErrUnexpectedEOF
		}
		switch b := c.in[c.at]; {
		case '0' <= b && b <= '9':
			r = r<<4 | rune(b-'0')
		case 'a' <= b|0x20 && b|0x20 <= 'f':
			r = r<<4 | rune(b|0x20-'a'+10)
		default:
			return 0, c.unexpected("four hex digits")
		}
	}
	c.at++
	return r, nil
}

// firstMark is the first byte of U+0300. No text of characters before it has another normal
// form.
const firstMark = 0xcc

// checkText refuses what no text may hold; plain says that it has no byte from firstMark on.
func (c *canonicaliser) checkText(text []byte, plain bool) error {
	if plain || c.checked {
		return nil
	}
	if !norm.NFC.IsNormal(text) {
		return fmt.Errorf("text %.60q is not in Unicode normal form C", text)
	}
	if bytes.Contains(text, []byte("\ufffd")) {
		// A lone surrogate escape decodes to this; so does nothing else that is worth keeping.
		return fmt.Errorf("text holds U+FFFD or a lone surrogate")
	}
	return nil
}

// appendString writes a string as RFC 8785, section 3.2.2.2 says.
func appendString(out, text []byte) []byte {
	const hex, escaped, short = "0123456789abcdef", "\"\\\b\f\n\r\t", `"\bfnrt`
	out = append(out, '"')
	done := 0
	for i, b := range text {
		if b >= 0x20 && b != '"' && b != '\\' {
			continue
		}
		out = append(out, text[done:i]...)
		if e := bytes.IndexByte([]byte(escaped), b); e >= 0 {
			out = append(out, '\\', short[e])
		} else {
			out = append(out, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
		done = i + 1
	}
	return append(append(out, text[done:]...), '"')
}

// integer reads a number, of which JSON has more than there are here.
func (c *canonicaliser) integer() error {
	start := c.at
	if c.in[c.at] == '-' {
		c.at++
	}
	first := c.at
	for c.at < len(c.in) && '0' <= c.in[c.at] && c.in[c.at] <= '9' {
		c.at++
	}
	if c.at == first || c.in[first] == '0' && c.at > first+1 {
		c.at = first
		return c.unexpected("digits without leading zeros")
	}
	text := c.in[start:c.at]
	whole := c.at == len(c.in) || bytes.IndexByte([]byte(".eE"), c.in[c.at]) < 0
	const longest = len("-9007199254740991")
	if !whole || len(text) > longest || string(text) == "-0" || !magnitude(text) {
		return fmt.Errorf("number %.40q is not an integer of magnitude below 2^53", c.in[start:min(len(c.in), c.at+10)])
	}
	c.out = append(c.out, text...)
	return nil
}

func magnitude(text []byte) bool {
	i, err := strconv.ParseInt(string(text), 10, 64)
	return err == nil && -maxInteger < i && i < maxInteger
}
