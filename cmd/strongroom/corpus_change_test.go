package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"
)

// caseChange is one change to bytes or to JSON. Which members it has depends on the
// operation: test/evidence/README.md lists them.
type caseChange struct {
	Op      string          `json:"op"`
	At      int             `json:"at"` // from the end if negative
	N       int             `json:"n"`
	Hex     string          `json:"hex"`
	Text    string          `json:"text"`
	Old     string          `json:"old"`
	New     string          `json:"new"`
	As      string          `json:"as"`
	Path    string          `json:"path"`
	Value   json.RawMessage `json:"value"`
	From    *caseSource     `json:"from"`
	Member  string          `json:"member"`
	Changes []caseChange    `json:"changes"`
}

func (c caseChange) files() []string {
	var all []string
	if c.From != nil {
		all = c.From.files()
	}
	for _, inner := range c.Changes {
		all = append(all, inner.files()...)
	}
	return all
}

// changed applies changes. One that changes nothing is an error: the case would prove nothing.
func changed(dir string, data []byte, changes []caseChange) ([]byte, error) {
	for _, c := range changes {
		after, err := c.apply(dir, bytes.Clone(data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Op, err)
		}
		if bytes.Equal(after, data) {
			return nil, fmt.Errorf("%s changes nothing", c.Op)
		}
		data = after
	}
	return data, nil
}

func (c caseChange) apply(dir string, data []byte) ([]byte, error) {
	at := c.At
	if at < 0 {
		at += len(data)
	}
	operand, err := c.operand(dir)
	if err != nil {
		return nil, err
	}
	if at < 0 || at > len(data) || c.N < 0 || c.N > 1<<25 {
		return nil, fmt.Errorf("at %d, %d of %d bytes", c.At, c.N, len(data))
	}
	switch c.Op {
	case "xor", "write":
		if at+len(operand) > len(data) {
			return nil, fmt.Errorf("beyond the end")
		}
		for i, b := range operand {
			if c.Op == "xor" {
				b ^= data[at+i]
			}
			data[at+i] = b
		}
		return data, nil
	case "insert":
		return append(data[:at:at], append(operand, data[at:]...)...), nil
	case "append":
		return append(data, bytes.Repeat(operand, max(1, c.N))...), nil
	case "prepend":
		return append(bytes.Repeat(operand, max(1, c.N)), data...), nil
	case "keep":
		if c.N == 0 {
			return data[at:], nil
		}
		if at+c.N > len(data) {
			return nil, fmt.Errorf("%d bytes at %d of %d", c.N, at, len(data))
		}
		return data[at:][:c.N], nil
	case "cut":
		return data[:max(0, len(data)-c.N)], nil
	case "replace":
		if n := bytes.Count(data, []byte(c.Old)); c.Old == "" || n != max(1, c.N) {
			return nil, fmt.Errorf("%q is there %d times", c.Old, n)
		}
		return bytes.ReplaceAll(data, []byte(c.Old), []byte(c.New)), nil
	case "encode":
		return encoded(c.As, data)
	case "decode":
		return decoded(c.As, data)
	}
	return c.applyJSON(dir, data)
}

// operand is what is written, inserted or appended.
func (c caseChange) operand(dir string) ([]byte, error) {
	switch {
	case c.From != nil:
		return c.From.read(dir)
	case c.Text != "":
		return []byte(c.Text), nil
	}
	return hex.DecodeString(c.Hex)
}

func encoded(as string, data []byte) ([]byte, error) {
	switch as {
	case "hex":
		return []byte(hex.EncodeToString(data)), nil
	case "base64":
		return []byte(base64.StdEncoding.EncodeToString(data)), nil
	case "base64url":
		return []byte(base64.RawURLEncoding.EncodeToString(data)), nil
	case "pem":
		return pem.EncodeToMemory(&pem.Block{Type: "REPORT", Bytes: data}), nil
	}
	return nil, fmt.Errorf("unknown encoding %q", as)
}

func decoded(as string, data []byte) ([]byte, error) {
	text := strings.TrimSpace(string(data))
	switch as {
	case "hex":
		return hex.DecodeString(strings.TrimPrefix(text, "0x"))
	case "base64":
		return base64.StdEncoding.DecodeString(text)
	case "base64url":
		return base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	case "pem":
		if block, _ := pem.Decode(data); block != nil {
			return block.Bytes, nil
		}
	}
	return nil, fmt.Errorf("no %q", as)
}

// applyJSON changes a JSON text: members come out in the order of their names.
func (c caseChange) applyJSON(dir string, data []byte) ([]byte, error) {
	root, err := anyJSON(data)
	if err != nil {
		return nil, err
	}
	before := plainText(root)
	switch c.Op {
	case "set":
		var value any
		if value, err = anyJSON(c.Value); err == nil {
			root, err = edit(root, c.Path, func(any) (any, error) { return value, nil })
		}
	case "delete":
		root, err = edit(root, c.Path, nil)
	case "splice":
		root, err = edit(root, c.Path, func(any) (any, error) {
			other, err := c.From.read(dir)
			if err != nil {
				return nil, err
			}
			from, err := anyJSON(other)
			if err != nil {
				return nil, err
			}
			return look(from, c.Member)
		})
	case "put":
		root, err = edit(root, c.Path, func(any) (any, error) {
			data, err := c.From.read(dir)
			if err != nil {
				return nil, err
			}
			data, err = encoded(c.As, data)
			return string(data), err
		})
	case "field":
		root, err = edit(root, c.Path, func(old any) (any, error) { return c.field(dir, old) })
	default:
		return nil, fmt.Errorf("unknown operation")
	}
	if err != nil {
		return nil, err
	}
	if plainText(root) == before {
		return nil, fmt.Errorf("%s is that already", c.Path)
	}
	return json.Marshal(root)
}

// field changes the bytes that a member holds in some encoding.
func (c caseChange) field(dir string, old any) (any, error) {
	if c.As == "numbers" {
		list, _ := old.([]any)
		data := make([]byte, len(list))
		for i, v := range list {
			n, err := strconv.ParseUint(fmt.Sprint(v), 10, 8)
			if err != nil {
				return nil, err
			}
			data[i] = byte(n)
		}
		data, err := changed(dir, data, c.Changes)
		out := make([]any, len(data))
		for i, b := range data {
			out[i] = int(b)
		}
		return out, err
	}
	text, ok := old.(string)
	if !ok {
		return nil, fmt.Errorf("%s is no text", c.Path)
	}
	data := []byte(text)
	var err error
	if c.As != "text" {
		if data, err = decoded(c.As, data); err != nil {
			return nil, err
		}
	}
	if data, err = changed(dir, data, c.Changes); err == nil && c.As != "text" {
		data, err = encoded(c.As, data)
	}
	return string(data), err
}

func anyJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// look finds what is at a path: names and numbers joined by dots; "" is everything.
func look(v any, path string) (any, error) {
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
		switch in := v.(type) {
		case map[string]any:
			var there bool
			if v, there = in[name]; !there {
				return nil, fmt.Errorf("no %s", path)
			}
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(in) {
				return nil, fmt.Errorf("no %s", path)
			}
			v = in[i]
		default:
			return nil, fmt.Errorf("no %s", path)
		}
	}
	return v, nil
}

// edit replaces what is at a path, adds it, or deletes it if by is nil.
func edit(v any, path string, by func(any) (any, error)) (any, error) {
	if path == "" {
		if by == nil {
			return nil, fmt.Errorf("nothing to delete")
		}
		return by(v)
	}
	name, rest, _ := strings.Cut(path, ".")
	switch in := v.(type) {
	case map[string]any:
		if rest == "" && by == nil {
			delete(in, name)
			return in, nil
		}
		inner, err := edit(in[name], rest, by)
		in[name] = inner
		return in, err
	case []any:
		i, err := strconv.Atoi(name)
		if err != nil || i < 0 || i >= len(in) {
			return nil, fmt.Errorf("no element %s", name)
		}
		if rest == "" && by == nil {
			return append(in[:i:i], in[i+1:]...), nil
		}
		in[i], err = edit(in[i], rest, by)
		return in, err
	}
	return nil, fmt.Errorf("no %s", path)
}
