// Package unwrap finds evidence in whatever tools wrap it in: PEM, hex, base64, JSON of any
// shape. It refuses what holds two different pieces, so that nobody can show one and have
// another verified, and what is nested deeper or is longer than evidence ever is.
package unwrap

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"

	"strongroom.dev/endorse"
)

// Find finds the one piece of evidence that is recognises in data: raw, in PEM, hex or
// base64, or as such a text or a list of bytes anywhere in a JSON document. Data of more than
// most bytes, a document with a duplicate member, and two pieces that differ are refused.
func Find(data []byte, most int, is func([]byte) bool) ([]byte, error) {
	if len(data) > most {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), most)
	}
	u := unwrapping{is: is}
	if err := u.any(data, 0); err != nil {
		return nil, err
	}
	if u.found == nil {
		return nil, errors.New("no such evidence in it")
	}
	return u.found, nil
}

type unwrapping struct {
	is    func([]byte) bool
	found []byte
	spent int
}

func (u *unwrapping) any(data []byte, nesting int) error {
	if u.is(data) {
		if u.found != nil && !bytes.Equal(u.found, data) {
			return errors.New("two different pieces of evidence")
		}
		u.found = data
		return nil
	}
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0 || nesting > maxWrapping:
		return nil
	case text[0] == '{' || text[0] == '[':
		if !json.Valid(text) {
			return nil
		}
		_, err := u.json(text, 0, nesting, 0)
		return err
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return u.pem(text, nesting)
	}
	if decoded := endorse.Decode(text); decoded != nil {
		return u.any(decoded, nesting+1)
	}
	return nil
}

func (u *unwrapping) pem(text []byte, nesting int) error {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil
		}
		if u.spent++; u.spent > maxWrapped {
			return fmt.Errorf("more than %d values", maxWrapped)
		}
		if err := u.any(block.Bytes, nesting+1); err != nil {
			return err
		}
		text = rest
	}
}

// json walks a valid text once, whatever its nesting: at is where a value begins, and what
// comes back is where it has ended.
func (u *unwrapping) json(text []byte, at, nesting, depth int) (int, error) {
	if u.spent++; u.spent > maxWrapped || depth > maxWrappedDepth {
		return 0, fmt.Errorf("more than %d values, or deeper than %d", maxWrapped, maxWrappedDepth)
	}
	switch text[at] {
	case '"':
		plain, end, err := quoted(text, at)
		if err != nil {
			return 0, err
		}
		return end, u.any([]byte(plain), nesting+1)
	case '[':
		if list, end := byteList(text, at); list != nil {
			return end, u.any(list, nesting+1)
		}
		return u.members(text, at, nesting, depth)
	case '{':
		return u.members(text, at, nesting, depth)
	}
	for at < len(text) && !bytes.ContainsRune([]byte(",]} \t\r\n"), rune(text[at])) { // a number or a word
		at++
	}
	return at, nil
}

// members reads what is in an object or array.
func (u *unwrapping) members(text []byte, at, nesting, depth int) (int, error) {
	object, seen := text[at] == '{', map[string]bool{}
	for at = space(text, at+1); text[at] != ']' && text[at] != '}'; {
		if object {
			name, end, err := quoted(text, at)
			if err != nil {
				return 0, err
			}
			if seen[name] {
				return 0, fmt.Errorf("duplicate member %.40q", name)
			}
			seen[name] = true
			at = space(text, space(text, end)+1) // past the colon
		}
		end, err := u.json(text, at, nesting, depth+1)
		if err != nil {
			return 0, err
		}
		if at = space(text, end); text[at] == ',' {
			at = space(text, at+1)
		}
	}
	return at + 1, nil
}

func space(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n') {
		at++
	}
	return at
}

// quoted reads the text in quotes that begins at a place.
func quoted(text []byte, at int) (plain string, end int, err error) {
	for end = at + 1; text[end] != '"'; end++ {
		if text[end] == '\\' {
			end++
		}
	}
	err = json.Unmarshal(text[at:end+1], &plain)
	return plain, end + 1, err
}

// byteList reads a list of numbers from 0 to 255, nothing else; nil if it is none.
func byteList(text []byte, at int) ([]byte, int) {
	var list []byte
	for at = space(text, at+1); ; {
		from := at
		for at < len(text) && text[at] >= '0' && text[at] <= '9' {
			at++
		}
		n, err := strconv.ParseUint(string(text[from:at]), 10, 8)
		if err != nil {
			return nil, 0
		}
		list = append(list, byte(n))
		switch at = space(text, at); text[at] {
		case ']':
			return list, at + 1
		case ',':
			at = space(text, at+1)
		default:
			return nil, 0
		}
	}
}
