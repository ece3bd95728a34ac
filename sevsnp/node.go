package sevsnp

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// node is a value of a JSON or CBOR text. Its kind says which of the fields counts.
type node struct {
	kind    kind
	text    string   // of a text
	bytes   []byte   // of a byte string; in JSON, of an array of integers from 0 to 255
	number  uint64   // of an integer: n, or -1-n if negative
	members []member // of a map
	items   []node   // of an array
}

type kind byte

const (
	other kind = iota // null, booleans, fractions: nothing here needs them
	aText
	aBytes
	aNumber
	aNegative
	aMap
	anArray
)

// member is one member of a map. The names of integers in CBOR are "#1" and "#-1".
type member struct {
	name  string
	value node
}

// get gives a member's value; a node of kind other if there is none.
func (n node) get(name string) node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return node{}
}

// add adds a member, refusing a second one of that name.
func (n *node) add(name string, value node) error {
	for _, m := range n.members {
		if m.name == name {
			return fmt.Errorf("duplicate member %.40q", name)
		}
	}
	if len(n.members) >= 256 {
		return fmt.Errorf("more than 256 members")
	}
	n.members = append(n.members, member{name, value})
	return nil
}

// budget counts values, over all texts of one piece of evidence.
type budget struct{ nodes int }

func (b *budget) spend(depth int) error {
	if b.nodes++; b.nodes > maxNodes {
		return fmt.Errorf("more than %d values", maxNodes)
	}
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	return nil
}

// readJSON reads a JSON text, refusing duplicate members.
func readJSON(data []byte, b *budget) (node, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return node{}, fmt.Errorf("not JSON")
	}
	s := scanner{data: data, budget: b} // over valid JSON, so that it need not look for errors of form
	return s.value(0)
}

type scanner struct {
	data   []byte
	at     int
	budget *budget
}

// skip goes over white space and the bytes in also, to the next one, which it gives.
func (s *scanner) skip(also string) byte {
	for ; s.at < len(s.data); s.at++ {
		c := s.data[s.at]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			continue
		}
		found := false
		for i := range len(also) {
			found = found || also[i] == c
		}
		if !found {
			return c
		}
	}
	return 0
}

func (s *scanner) value(depth int) (node, error) {
	if err := s.budget.spend(depth); err != nil {
		return node{}, err
	}
	switch s.skip("") {
	case '{':
		return s.object(depth)
	case '[':
		return s.array(depth)
	case '"':
		text, err := s.str()
		return node{kind: aText, text: text}, err
	}
	word := s.word()
	if n, err := strconv.ParseUint(word, 10, 64); err == nil {
		return node{kind: aNumber, number: n}, nil
	}
	return node{}, nil
}

// word gives the number or literal at hand.
func (s *scanner) word() string {
	from := s.at
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ',', ']', '}', ' ', '\t', '\n', '\r':
			return string(s.data[from:s.at])
		}
		s.at++
	}
	return string(s.data[from:s.at])
}

func (s *scanner) str() (string, error) {
	from := s.at
	escaped := false
	for s.at++; s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			escaped = true
			s.at++
		}
	}
	s.at++
	if !escaped {
		return string(s.data[from+1 : s.at-1]), nil
	}
	var text string
	err := json.Unmarshal(s.data[from:s.at], &text)
	return text, err
}

func (s *scanner) object(depth int) (node, error) {
	n := node{kind: aMap}
	s.at++
	for s.skip(",") != '}' {
		name, err := s.str()
		if err != nil {
			return n, err
		}
		s.skip(":")
		value, err := s.value(depth + 1)
		if err != nil {
			return n, err
		}
		if err := n.add(name, value); err != nil {
			return n, err
		}
	}
	s.at++
	return n, nil
}

func (s *scanner) array(depth int) (node, error) {
	from := s.at
	if bytes, ok := s.byteArray(); ok {
		return node{kind: aBytes, bytes: bytes}, nil
	}
	s.at = from + 1
	n := node{kind: anArray}
	for s.skip(",") != ']' {
		value, err := s.value(depth + 1)
		if err != nil {
			return n, err
		}
		n.items = append(n.items, value)
	}
	s.at++
	return n, nil
}

// byteArray reads an array of integers from 0 to 255, and reports whether it is one.
func (s *scanner) byteArray() ([]byte, bool) {
	var out []byte
	for s.at++; s.skip(",") != ']'; {
		n, digits := 0, 0
		for ; s.data[s.at] >= '0' && s.data[s.at] <= '9' && digits < 4; s.at++ {
			n, digits = n*10+int(s.data[s.at]-'0'), digits+1
		}
		if c := s.data[s.at]; digits == 0 || n > 255 || c == '.' || c == 'e' || c == 'E' {
			return nil, false
		}
		out = append(out, byte(n))
	}
	s.at++
	return out, len(out) > 0
}

// readCBOR reads one CBOR item (RFC 8949) that fills data, of definite lengths and without
// floating point, tags being skipped, and refuses duplicate keys.
func readCBOR(data []byte, b *budget) (node, error) {
	r := cborReader{data: data, budget: b}
	n, err := r.value(0)
	if err == nil && len(r.data) != 0 {
		err = fmt.Errorf("%d bytes behind the item", len(r.data))
	}
	return n, err
}

type cborReader struct {
	data   []byte
	budget *budget
}

// head reads a head: major type and argument (RFC 8949, section 3).
func (r *cborReader) head() (major byte, argument uint64, err error) {
	if len(r.data) == 0 {
		return 0, 0, fmt.Errorf("cut short")
	}
	major, info := r.data[0]>>5, r.data[0]&31
	r.data = r.data[1:]
	if info < 24 {
		return major, uint64(info), nil
	}
	size := 1 << (info - 24)
	if info > 27 || len(r.data) < size {
		return 0, 0, fmt.Errorf("cut short, or of indefinite length")
	}
	var wide [8]byte
	copy(wide[8-size:], r.data[:size])
	r.data = r.data[size:]
	return major, binary.BigEndian.Uint64(wide[:]), nil
}

func (r *cborReader) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.data)) {
		return nil, fmt.Errorf("cut short")
	}
	taken := r.data[:n]
	r.data = r.data[n:]
	return taken, nil
}

func (r *cborReader) value(depth int) (node, error) {
	if err := r.budget.spend(depth); err != nil {
		return node{}, err
	}
	major, argument, err := r.head()
	if err != nil {
		return node{}, err
	}
	switch major {
	case 0:
		return node{kind: aNumber, number: argument}, nil
	case 1:
		return node{kind: aNegative, number: argument}, nil
	case 2:
		bytes, err := r.take(argument)
		return node{kind: aBytes, bytes: bytes}, err
	case 3:
		text, err := r.take(argument)
		if err == nil && !utf8.Valid(text) {
			err = fmt.Errorf("text that is not UTF-8")
		}
		return node{kind: aText, text: string(text)}, err
	case 4:
		return r.array(argument, depth)
	case 5:
		return r.mapOf(argument, depth)
	case 6:
		return r.value(depth + 1)
	}
	if argument < 20 || argument > 23 {
		return node{}, fmt.Errorf("floating point or an unknown simple value")
	}
	return node{}, nil
}

func (r *cborReader) array(length uint64, depth int) (node, error) {
	n := node{kind: anArray}
	for range length {
		value, err := r.value(depth + 1)
		if err != nil {
			return n, err
		}
		n.items = append(n.items, value)
	}
	return n, nil
}

func (r *cborReader) mapOf(length uint64, depth int) (node, error) {
	n := node{kind: aMap}
	for range length {
		key, err := r.value(depth + 1)
		if err != nil {
			return n, err
		}
		name := key.text
		switch key.kind {
		case aNumber:
			name = "#" + strconv.FormatUint(key.number, 10)
		case aNegative:
			name = "#-" + strconv.FormatUint(key.number+1, 10)
		case aText:
		default:
			return n, fmt.Errorf("a key that is neither text nor an integer")
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return n, err
		}
		if err := n.add(name, value); err != nil {
			return n, err
		}
	}
	return n, nil
}
