package plainyaml

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// decoder fills structs from YAML nodes, led by the structs alone: what a node means never
// depends on how YAML would resolve it.
type decoder struct {
	*source
	lines map[string]int // line of every member that was read, by its path
}

// fill makes omitted lists empty ones, since a document has no null.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		for it := v.MapRange(); it.Next(); {
			item := reflect.New(v.Type().Elem()).Elem()
			item.Set(it.Value())
			fill(item)
			v.SetMapIndex(it.Key(), item)
		}
	}
}

// value reads a node into v, whose type says what the node must be.
func (d *decoder) value(n *yaml.Node, path string, v reflect.Value) error {
	if err := d.plain(n); err != nil {
		return err
	}
	d.lines[path] = n.Line
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return d.text(n, text)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.members(n, path, func(name string, key, value *yaml.Node) error {
			field, found := fieldByTag(v, name)
			if !found {
				return d.bad(key.Line, "one of the members "+strings.Join(tags(v.Type()), ", "), quoted(name), "correct or remove it")
			}
			return d.value(value, join(path, name), field)
		})
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		return d.members(n, path, func(name string, _, value *yaml.Node) error {
			item := reflect.New(v.Type().Elem()).Elem()
			if err := d.value(value, join(path, name), item); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(name), item)
			return nil
		})
	case reflect.Slice:
		return d.list(n, path, v)
	}
	return d.scalar(n, v)
}

// plain refuses what gives a node a second reading.
func (d *decoder) plain(n *yaml.Node) error {
	switch at := d.charAt(n); {
	case n.Kind == yaml.AliasNode:
		return d.bad(n.Line, "no aliases", "*"+n.Value, "write the value out")
	case n.Anchor != "":
		return d.bad(n.Line, "no anchors", "&"+n.Anchor, "remove it")
	case n.Style&yaml.TaggedStyle != 0, at == '!':
		return d.bad(n.Line, "no tags", quoted(n.Tag), "remove it: every member has its type already")
	}
	return nil
}

// charAt gives the character a node starts with in the file. The YAML library drops the tag
// "!", which only the text still shows.
func (d *decoder) charAt(n *yaml.Node) rune {
	if n.Line < 1 || n.Line > len(d.source.lines) {
		return 0
	}
	column := 1
	for _, r := range d.source.lines[n.Line-1] {
		if column == n.Column {
			return r
		}
		column++
	}
	return 0
}

func (d *decoder) members(n *yaml.Node, path string, read func(name string, key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return d.bad(n.Line, "members (name: value)", found(n), "")
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if err := d.plain(key); err != nil {
			return err
		}
		if key.Kind != yaml.ScalarNode {
			return d.bad(key.Line, "the name of a member", found(key), "")
		}
		if key.Value == "<<" {
			return d.bad(key.Line, "no merge keys", `"<<"`, "write the members out")
		}
		if line, twice := seen[key.Value]; twice {
			return d.bad(key.Line, "every member once", fmt.Sprintf("%s again, as in line %d", quoted(key.Value), line), "remove one of them")
		}
		seen[key.Value] = key.Line
		if err := read(key.Value, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) list(n *yaml.Node, path string, v reflect.Value) error {
	if n.Kind != yaml.SequenceNode {
		return d.bad(n.Line, "a list ([a, b], or lines starting with -)", found(n), "")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		if err := d.value(item, path+"["+strconv.Itoa(i)+"]", v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// text reads a scalar that is an identifier, a digest or a time.
func (d *decoder) text(n *yaml.Node, v encoding.TextUnmarshaler) error {
	var expected string
	switch v.(type) {
	case *wire.ID:
		expected = "a name of 1 to 63 of a-z, 0-9 and -, starting with a letter"
	case *wire.Digest:
		expected = "sha384: and 96 lower-case hex digits"
	case *wire.Hash:
		expected = "sha256: and 64 lower-case hex digits"
	case *wire.Time:
		expected = "a time like 2026-11-24T09:30:00Z"
	}
	if n.Kind != yaml.ScalarNode {
		return d.bad(n.Line, expected, found(n), "")
	}
	if err := v.UnmarshalText([]byte(n.Value)); err != nil {
		return d.bad(n.Line, expected, quoted(n.Value), "")
	}
	return nil
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value) error {
	quotes := n.Style&^yaml.TaggedStyle != 0
	bad := func(expected string) error {
		got := found(n)
		if n.Kind == yaml.ScalarNode && n.Value != "" {
			if got = quoted(n.Value); quotes {
				got = "the text " + got
			}
		}
		return d.bad(n.Line, expected, got, "")
	}
	switch v.Kind() {
	case reflect.String:
		if n.Kind != yaml.ScalarNode || n.Value == "" && !quotes {
			return bad("text")
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || quotes || n.Value != "true" && n.Value != "false" {
			return bad("true or false")
		}
		v.SetBool(n.Value == "true")
	case reflect.Int64:
		i, ok := integer(n.Value)
		if n.Kind != yaml.ScalarNode || quotes || !ok || i > wire.MaxInteger || i < -wire.MaxInteger {
			return bad("an integer in digits, without leading zeros (octal: 0o755)")
		}
		v.SetInt(i)
	default:
		return fmt.Errorf("draft: no reading for %s", v.Type())
	}
	return nil
}

// integer reads an integer of YAML 1.2's core schema, in the one form it has: decimal, or octal
// as people write permissions. What YAML 1.1 reads as octal (0755) is none.
func integer(text string) (int64, bool) {
	if digits, octal := strings.CutPrefix(text, "0o"); octal {
		i, err := strconv.ParseInt(digits, 8, 64)
		return i, err == nil && strconv.FormatInt(i, 8) == digits && i >= 0
	}
	i, err := strconv.ParseInt(text, 10, 64)
	return i, err == nil && strconv.FormatInt(i, 10) == text
}

// found says what a node is, for people.
func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "members"
	case yaml.SequenceNode:
		return "a list"
	}
	return quoted(n.Value)
}

func quoted(s string) string {
	if s == "" {
		return "nothing"
	}
	return strconv.Quote(verdict.Short(s))
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// tag gives the member name of a struct field.
func tag(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func tags(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = tag(t.Field(i))
	}
	return names
}

func fieldByTag(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if tag(v.Type().Field(i)) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}
