package draft

import (
	"encoding"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/plainyaml"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func containerFormat() plainyaml.Format {
	return plainyaml.Format{Check: "container.draft", What: "a container", Start: "`strongroom container prepare` writes one to start from"}
}

// ParseContainer reads what `container prepare` wrote: the members of an agreement's
// container, by the rules of [Parse]. What they mean is judged with the agreement that they
// become part of.
func ParseContainer(file string, data []byte) (agreement.Container, error) {
	var c agreement.Container
	_, err := containerFormat().Read(file, data, "", &c)
	return c, err
}

// Container writes a container as [ParseContainer] and [Parse] read it.
func Container(c agreement.Container) string { return containerText(c, "") }

// containerText writes it with every line indented.
func containerText(c agreement.Container, indent string) string {
	w := yamlWriter{}
	w.members(reflect.ValueOf(c), indent)
	return w.b.String()
}

// yamlWriter writes structs of package agreement as YAML with one reading.
type yamlWriter struct{ b strings.Builder }

func (w *yamlWriter) members(v reflect.Value, indent string) {
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if options == "omitempty" && v.Field(i).IsZero() {
			continue
		}
		if id, ok := v.Field(i).Interface().(wire.ID); ok && id == "" {
			continue // no name can be written that is none
		}
		w.member(name, v.Field(i), indent)
	}
}

func (w *yamlWriter) member(name string, v reflect.Value, indent string) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch text, scalar := scalarText(v); {
	case scalar:
		if name == "mode" {
			text = fmt.Sprintf("0o%o", v.Int())
		}
		fmt.Fprintf(&w.b, "%s%s: %s\n", indent, name, text)
	case v.Kind() == reflect.Struct:
		fmt.Fprintf(&w.b, "%s%s:\n", indent, name)
		w.members(v, indent+"  ")
	case v.Len() == 0:
		fmt.Fprintf(&w.b, "%s%s: []\n", indent, name)
	default:
		fmt.Fprintf(&w.b, "%s%s:\n", indent, name)
		w.list(v, indent+"  ")
	}
}

func (w *yamlWriter) list(v reflect.Value, indent string) {
	for i := range v.Len() {
		if text, scalar := scalarText(v.Index(i)); scalar {
			fmt.Fprintf(&w.b, "%s- %s\n", indent, text)
			continue
		}
		entry := yamlWriter{}
		entry.members(v.Index(i), indent+"  ")
		w.b.WriteString(indent + "- " + strings.TrimPrefix(entry.b.String(), indent+"  "))
	}
}

// plainScalar are texts that need no quotes.
var plainScalar = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*$`) // constant: never written

// scalarText gives what stands on one line.
func scalarText(v reflect.Value) (text string, scalar bool) {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		data, err := m.MarshalText()
		return string(data), err == nil
	}
	switch v.Kind() {
	case reflect.String:
		return textScalar(v.String()), true
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true
	case reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true
	}
	return "", false
}

// textScalar writes a text so that every character of it is read back: in single quotes,
// which have one escape only, or in double quotes where it has several lines.
func textScalar(s string) string {
	switch {
	case plainScalar.MatchString(s):
		return s
	case strings.ContainsAny(s, "\n\t"):
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// writeService writes what an agreement about a container has in the place of tables and a
// query: the inputs that the container names, the work, and an output if it has one.
func writeService(b *strings.Builder, s Start, parties []agreement.Party) {
	c := *s.Container
	c.Ports = slices.Clone(c.Ports)
	brokers := owners(s.Owners, parties)
	keepers := brokers
	if len(parties) == 1 {
		keepers = []wire.ID{parties[0].ID}
	}
	runs, connects := chosen(s.Runs, parties), chosen(s.Connects, parties)
	for i := range c.Ports {
		if Open(c.Ports[i]) {
			c.Ports[i].Allow.Parties = connects
		}
	}
	inputs := c.Inputs()
	b.WriteString(serviceInputs)
	if len(inputs) == 0 {
		b.WriteString("inputs: []\n")
	} else {
		b.WriteString("inputs:\n")
	}
	for _, in := range inputs {
		format := agreement.Opaque
		if in == c.Image.Sealed {
			format = agreement.Disk
		}
		fmt.Fprintf(b, "  - name: %s\n    owner: %s\n    dataset: %s\n    format: %s\n    runs_per_day: 100\n", in, keepers[0], in, format)
	}
	name := or(string(s.Work), string(serviceName(c.Image.Reference)))
	fmt.Fprintf(b, serviceWork, name, textScalar("The image "+verdict.Printable(c.Image.Reference)+", unchanged"), strings.Join(texts(runs), ", "), strings.Join(texts(keepers), ", "))
	results := slices.ContainsFunc(c.Mounts, func(m agreement.Mount) bool { return m.Kind == agreement.Result })
	if results {
		b.WriteString("    output: result\n")
	}
	b.WriteString("    container:\n" + containerText(c, "      "))
	if results {
		fmt.Fprintf(b, serviceOutput, strings.Join(texts(runs), ", "))
	} else {
		b.WriteString("\n# A service has no result: what leaves it are its ports, its egress and its logs.\noutputs: []\n")
	}
	b.WriteString("\n# Shared ledgers that witness every run, and how many of them must.\nledgers:\n")
}

// Open reports whether a port of a prepared container does not say yet who may connect.
func Open(p agreement.Port) bool {
	a := p.Allow
	return len(a.Parties)+len(a.Authorities)+len(a.Issuers)+len(a.Rooms) == 0 && !a.Anyone
}

// chosen are the parties that were named, or the only one.
func chosen(named []wire.ID, parties []agreement.Party) []wire.ID {
	if len(named) == 0 && len(parties) == 1 {
		return []wire.ID{parties[0].ID}
	}
	return named
}

// serviceName makes a name for work of what an image is called.
func serviceName(reference string) wire.ID {
	base := path.Base(reference)
	base, _, _ = strings.Cut(base, "@")
	base, _, _ = strings.Cut(base, ":")
	base = strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(base), "-"), "-")
	if id := wire.ID(base); id.Valid() {
		return id
	}
	return "service"
}

const serviceInputs = `
# What comes in that nobody but the container may see, each a file sealed by its owner
# ("strongroom dataset publish FILE --dataset ID --format file"; disk for a sealed image).
`

const serviceWork = `tables: []

# What may be run, and by whom. Keepers are parties whose brokers admit every run and may end
# it at any time, whether or not it reads anything of theirs. Everything in container is
# checked by the room: the host chooses nothing but values of kind pattern that the run
# request names.
work:
  - name: %s
    kind: container
    description: %s
    query: ''
    may_run: [%s]
    keepers: [%s]
`

const serviceOutput = `
# What leaves as a result: the file "result" of the mount of that kind.
outputs:
  - name: result
    receivers: [%s]
    format: file
    max_rows: 1
    max_bytes: 1048576
`
