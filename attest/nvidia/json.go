package nvidia

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// value is a JSON value: an object, a list, or a string; numbers keep their text, all else
// has none.
type value struct {
	members []member
	list    []*value
	object  bool
	array   bool
	text    string
	number  bool
}

type member struct {
	name string
	*value
}

// parseJSON reads one JSON text, refusing members that are there twice, or several objects
// and lists one after the other: files of GPUs and of switches may be joined as they are.
func parseJSON(data []byte) (*value, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	r := &jsonReader{d: d}
	all := &value{}
	for {
		v, err := r.value(1)
		switch {
		case errors.Is(err, io.EOF) && len(all.list) > 0 && !errors.Is(err, io.ErrUnexpectedEOF):
			return all, nil
		case err != nil:
			return nil, err
		case !v.object && !v.array:
			return nil, errors.New("JSON that is no object and no list")
		}
		all.list = append(all.list, v)
	}
}

type jsonReader struct {
	d     *json.Decoder
	nodes int
}

func (r *jsonReader) value(depth int) (*value, error) {
	if r.nodes++; r.nodes > maxNodes || depth > maxDepth {
		return nil, fmt.Errorf("more than %d JSON values or %d levels", maxNodes, maxDepth)
	}
	token, err := r.d.Token()
	if err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	switch t := token.(type) {
	case string:
		return &value{text: t}, nil
	case json.Number:
		return &value{text: t.String(), number: true}, nil
	case json.Delim:
		if t == '{' {
			return r.object(depth)
		}
		return r.array(depth)
	}
	return &value{}, nil
}

func (r *jsonReader) object(depth int) (*value, error) {
	v := &value{object: true}
	seen := make(map[string]bool)
	for r.d.More() {
		name, err := r.d.Token()
		if err != nil {
			return nil, fmt.Errorf("JSON: %w", err)
		}
		text, ok := name.(string)
		if !ok || seen[text] {
			return nil, fmt.Errorf("JSON member %.40q twice", text)
		}
		seen[text] = true
		child, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v.members = append(v.members, member{text, child})
	}
	_, err := r.d.Token()
	return v, err
}

func (r *jsonReader) array(depth int) (*value, error) {
	v := &value{array: true}
	for r.d.More() {
		child, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v.list = append(v.list, child)
	}
	_, err := r.d.Token()
	return v, err
}

// member gives the first member of an object that has one of some names.
func (v *value) member(names ...string) (*value, bool) {
	for _, name := range names {
		for _, m := range v.members {
			if m.name == name {
				return m.value, true
			}
		}
	}
	return nil, false
}
