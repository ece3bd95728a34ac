package appraise

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// step is one step of a path into claims: a member's name, or an index if Name is "".
type step struct {
	name  string
	index int
}

// parsePath reads "a.b[2]".
func parsePath(path string) ([]step, error) {
	var steps []step
	for _, part := range strings.Split(path, ".") {
		name, rest, indexed := strings.Cut(part, "[")
		if name == "" {
			return nil, fmt.Errorf("an empty name")
		}
		steps = append(steps, step{name: name})
		for indexed {
			number, after, closed := strings.Cut(rest, "]")
			i, err := strconv.ParseUint(number, 10, 16)
			if err != nil || !closed {
				return nil, fmt.Errorf("no index: %.20q", rest)
			}
			steps = append(steps, step{index: int(i)})
			if after == "" {
				break
			}
			if !strings.HasPrefix(after, "[") {
				return nil, fmt.Errorf("text after an index: %.20q", after)
			}
			rest = after[1:]
		}
	}
	return steps, nil
}

// lookup gives the value at a path; false if there is none.
func lookup(claims map[string]any, path string) (any, bool) {
	steps, err := parsePath(path)
	if err != nil {
		return nil, false
	}
	var at any = claims
	for _, s := range steps {
		switch v := at.(type) {
		case map[string]any:
			next, found := v[s.name]
			if s.name == "" || !found {
				return nil, false
			}
			at = next
		case []any:
			if s.name != "" || s.index >= len(v) {
				return nil, false
			}
			at = v[s.index]
		default:
			return nil, false
		}
	}
	return at, true
}

// plain gives a claim in the types that policies know: int64, bool, string, []any and
// map[string]any. Integers that do not fit, and whatever else there is, become text.
func plain(v any) any {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Bool:
		return r.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if u := r.Uint(); u <= 1<<63-1 {
			return int64(u)
		}
		return fmt.Sprint(v)
	case reflect.String:
		return r.String()
	case reflect.Slice, reflect.Array:
		list := make([]any, r.Len())
		for i := range list {
			list[i] = plain(r.Index(i).Interface())
		}
		return list
	case reflect.Map:
		if r.Type().Key().Kind() == reflect.String {
			return plainMap(r)
		}
	}
	return fmt.Sprint(v)
}

func plainMap(r reflect.Value) map[string]any {
	m := make(map[string]any, r.Len())
	for it := r.MapRange(); it.Next(); {
		m[it.Key().String()] = plain(it.Value().Interface())
	}
	return m
}

func plainClaims(claims map[string]any) map[string]any { return plainMap(reflect.ValueOf(claims)) }
