package agreement

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Diff says what changed between two agreements, one line a change, "" if nothing did:
// "+" for what is new, "-" for what is gone, "~" for what has another value, and last in words
// what that means for containers, "!". Entries of
// lists are matched by their name, so that a changed query does not look like two.
func Diff(old, new *SignedAgreement) string {
	d := differ{}
	d.compare("", decode(old.Document.Body), decode(new.Document.Body))
	for _, w := range new.Work {
		before, found := old.WorkByName(w.Name)
		if !found || before.Container == nil || w.Container == nil {
			continue
		}
		for _, line := range DiffContainers(*before.Container, *w.Container) {
			fmt.Fprintf(&d.b, "! %s: %s\n", w.Name, line)
		}
	}
	return d.b.String()
}

// decode reads canonical bytes into plain values; they were parsed before.
func decode(body []byte) any {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil
	}
	return v
}

type differ struct{ b strings.Builder }

func (d *differ) compare(path string, old, new any) {
	switch o := old.(type) {
	case map[string]any:
		if n, ok := new.(map[string]any); ok {
			d.members(path, o, n)
			return
		}
	case []any:
		if n, ok := new.([]any); ok {
			d.lists(path, o, n)
			return
		}
	default:
		if old == new {
			return
		}
	}
	d.changed(path, show(old), show(new))
}

// changed writes one change; texts of several lines stand below it, line by line.
func (d *differ) changed(path, old, new string) {
	if !strings.Contains(old+new, "\n") {
		fmt.Fprintf(&d.b, "~ %s: %s -> %s\n", path, old, new)
		return
	}
	fmt.Fprintf(&d.b, "~ %s:\n", path)
	for line := range strings.SplitSeq(strings.TrimSuffix(old, "\n"), "\n") {
		fmt.Fprintf(&d.b, "    - %s\n", line)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(new, "\n"), "\n") {
		fmt.Fprintf(&d.b, "    + %s\n", line)
	}
}

func (d *differ) members(path string, old, new map[string]any) {
	names := append(sortedNames(old), sortedNames(new)...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		o, inOld := old[name]
		n, inNew := new[name]
		d.one(dotted(path, name), o, n, inOld, inNew)
	}
}

func (d *differ) one(path string, old, new any, inOld, inNew bool) {
	switch {
	case !inOld:
		fmt.Fprintf(&d.b, "+ %s: %s\n", path, flat(new))
	case !inNew:
		fmt.Fprintf(&d.b, "- %s: %s\n", path, flat(old))
	default:
		d.compare(path, old, new)
	}
}

// lists compares two lists by their entries' names; the order of entries is part of what is
// signed, so a mere change of order is reported too.
func (d *differ) lists(path string, old, new []any) {
	oldNames, newNames := entryNames(old), entryNames(new)
	for i, name := range oldNames {
		if j := slices.Index(newNames, name); j < 0 {
			d.one(path+"["+name+"]", old[i], nil, true, false)
		} else {
			d.compare(path+"["+name+"]", old[i], new[j])
		}
	}
	for j, name := range newNames {
		if !slices.Contains(oldNames, name) {
			d.one(path+"["+name+"]", nil, new[j], false, true)
		}
	}
	kept := func(names, other []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(s string) bool { return !slices.Contains(other, s) })
	}
	if before, after := kept(oldNames, newNames), kept(newNames, oldNames); !slices.Equal(before, after) {
		fmt.Fprintf(&d.b, "~ %s: the order of entries: %s -> %s\n", path, strings.Join(before, ", "), strings.Join(after, ", "))
	}
}

// entryNames names the entries of a list by what names them in an agreement, else by their
// text; entries that share a name get their place added.
func entryNames(list []any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = flat(v)
		if m, ok := v.(map[string]any); ok {
			for _, key := range []string{"name", "id", "path", "kind", "product"} {
				if name, ok := m[key].(string); ok {
					out[i] = verdict.Printable(name)
					break
				}
			}
		}
		if slices.Contains(out[:i], out[i]) {
			out[i] += "#" + strconv.Itoa(i+1)
		}
	}
	return out
}

// show gives a value for a screen, line breaks of a text kept.
func show(v any) string {
	text, ok := v.(string)
	if !ok || !strings.Contains(text, "\n") {
		return flat(v)
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = verdict.Printable(strings.ReplaceAll(line, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// flat gives a value on one line.
func flat(v any) string {
	out, err := wire.Marshal(v)
	if err != nil {
		return "?"
	}
	return verdict.Printable(string(out))
}

func dotted(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
