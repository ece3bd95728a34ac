package sevsnp

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"strongroom.dev/cbor"
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

// readCBOR reads one CBOR item that fills data, as package cbor does. Tags are left out:
// what they say is not needed to recognise reports and certificates.
func readCBOR(data []byte, b *budget) (node, error) {
	v, err := cbor.Parse(data, b.limits())
	if err != nil {
		return node{}, err
	}
	return fromCBOR(v, b)
}

// limits gives how much CBOR may still be read.
func (b *budget) limits() cbor.Limits {
	return cbor.Limits{Values: maxNodes - b.nodes, Depth: maxDepth}
}

func fromCBOR(v cbor.Value, b *budget) (node, error) {
	if err := b.spend(0); err != nil { // depth was bounded by the reader
		return node{}, err
	}
	switch v.Kind {
	case cbor.Unsigned:
		return node{kind: aNumber, number: v.Number}, nil
	case cbor.Negative:
		return node{kind: aNegative, number: v.Number}, nil
	case cbor.Bytes:
		return node{kind: aBytes, bytes: v.Bytes}, nil
	case cbor.Text:
		return node{kind: aText, text: v.Text}, nil
	case cbor.Tag:
		return fromCBOR(v.Items[0], b)
	case cbor.Array:
		n := node{kind: anArray}
		for _, item := range v.Items {
			converted, err := fromCBOR(item, b)
			if err != nil {
				return n, err
			}
			n.items = append(n.items, converted)
		}
		return n, nil
	case cbor.Map:
		n := node{kind: aMap}
		for _, p := range v.Pairs {
			converted, err := fromCBOR(p.Value, b)
			if err != nil {
				return n, err
			}
			if err := n.add(keyName(p.Key), converted); err != nil {
				return n, err
			}
		}
		return n, nil
	}
	return node{}, nil
}

// keyName gives a key as [member] names it.
func keyName(key cbor.Value) string {
	switch key.Kind {
	case cbor.Unsigned:
		return "#" + strconv.FormatUint(key.Number, 10)
	case cbor.Negative:
		return "#-" + strconv.FormatUint(key.Number+1, 10)
	}
	return key.Text
}
