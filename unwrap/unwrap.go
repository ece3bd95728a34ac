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
		return u.json(text, nesting, 0)
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

// json reads one value of a valid text.
func (u *unwrapping) json(text []byte, nesting, depth int) error {
	if u.spent++; u.spent > maxWrapped || depth > maxWrappedDepth {
		return fmt.Errorf("more than %d values, or deeper than %d", maxWrapped, maxWrappedDepth)
	}
	switch text[0] {
	case '"':
		var plain string
		if err := json.Unmarshal(text, &plain); err != nil {
			return err
		}
		return u.any([]byte(plain), nesting+1)
	case '[':
		if list := byteList(text); list != nil {
			return u.any(list, nesting+1)
		}
		return u.members(text, nesting, depth)
	case '{':
		return u.members(text, nesting, depth)
	}
	return nil
}

// members reads what is in an object or array.
func (u *unwrapping) members(text []byte, nesting, depth int) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil {
		return err
	}
	seen := map[json.Token]bool{}
	for d.More() {
		if text[0] == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if seen[name] {
				return fmt.Errorf("duplicate member %.40q", name)
			}
			seen[name] = true
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := u.json(value, nesting, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// byteList reads a list of numbers from 0 to 255, nothing else; nil if it is none.
func byteList(text []byte) []byte {
	inside := bytes.TrimSpace(text[1 : len(text)-1])
	list := make([]byte, 0, len(inside)/2)
	for more := len(inside) > 0; more; {
		var item []byte
		item, inside, more = bytes.Cut(inside, []byte{','})
		n, err := strconv.ParseUint(string(bytes.TrimSpace(item)), 10, 8)
		if err != nil {
			return nil
		}
		list = append(list, byte(n))
	}
	if len(list) == 0 {
		return nil
	}
	return list
}
