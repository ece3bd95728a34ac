package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// object is a JSON object of DuckDB's. Reading one names every member it may have, so that
// a member this package does not know is never overlooked.
type object map[string]any

// decode reads JSON within limits; numbers stay as written.
func decode(data []byte, limit int) (any, error) {
	if len(data) > limit {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), limit)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("bytes behind the value")
	}
	if depth(v) > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	return v, nil
}

// depth is bounded by the decoder's own limit of 10,000.
func depth(v any) int {
	most := 0
	switch t := v.(type) {
	case map[string]any:
		for _, member := range t {
			most = max(most, depth(member))
		}
	case []any:
		for _, element := range t {
			most = max(most, depth(element))
		}
	default:
		return 0
	}
	return most + 1
}

// members checks that v is an object with exactly the members named.
func members(v any, names ...string) (object, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("no object where one belongs")
	}
	for name := range o {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("unknown member %.60q", name)
		}
	}
	for _, name := range names {
		if _, found := o[name]; !found {
			return nil, fmt.Errorf("member %s is missing", name)
		}
	}
	return o, nil
}

// text gives a member that is a string, else "".
func (o object) text(name string) string {
	s, _ := o[name].(string)
	return s
}

// list gives a member that is an array, else nil.
func (o object) list(name string) []any {
	l, _ := o[name].([]any)
	return l
}

// isEmptyList reports whether a member is an array without elements.
func (o object) isEmptyList(name string) bool {
	l, ok := o[name].([]any)
	return ok && len(l) == 0
}

// want checks that members have exactly the values given, in pairs of name and value.
func (o object) want(pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i].(string)
		if o[name] != pairs[i+1] {
			return fmt.Errorf("member %s is %.60v, not %v", name, o[name], pairs[i+1])
		}
	}
	return nil
}

// class gives an expression's class and type, or a plan node's.
func class(v any) (class, kind string) {
	o, _ := v.(map[string]any)
	c, _ := o["class"].(string)
	k, _ := o["type"].(string)
	return c, k
}

// location gives where in the query's text a node stands, in bytes, or -1.
func location(v any) int {
	o, _ := v.(map[string]any)
	n, _ := o["query_location"].(json.Number)
	at, err := n.Int64()
	if err != nil {
		return -1
	}
	return int(at)
}
