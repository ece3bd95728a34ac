package nvidia

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// This file reads the XML of NVIDIA's RIMs and writes its canonical form. It knows a small
// part of XML, the one that those documents use: elements, attributes in double quotes and
// namespaces, in printable ASCII. Declarations, document types, entities, references,
// comments, processing instructions, CDATA, carriage returns and the xml: attributes are
// refused. Of what remains, canonical form (W3C Canonical XML 1.1, inclusive) is the
// document itself but for the order of attributes, superfluous namespace declarations and
// empty elements; and no two readers can disagree on what it says, which is what signature
// wrapping lives on. encoding/xml accepts far more, resolves prefixes its own way, and can't
// give back what it read, so that its checks would be longer than a reader.

// element is an element with its namespace resolved.
type element struct {
	prefix, local, space string
	// declared are the namespaces that the element itself declares, by prefix; scope are all
	// in force, those included.
	declared, scope map[string]string
	attributes      []attribute
	children        []node
}

// node is a child: an element, or text.
type node struct {
	*element
	text string
}

type attribute struct{ prefix, local, space, value string }

type xmlReader struct {
	data     []byte
	at       int
	elements int
}

// xmlError is a constant error.
type xmlError string

func (e xmlError) Error() string { return string(e) }

const errXML xmlError = "XML of another form than NVIDIA's RIMs have"

// parseXML reads a document.
func parseXML(data []byte) (*element, error) {
	if len(data) > maxXML {
		return nil, fmt.Errorf("%d bytes of XML, at most %d", len(data), maxXML)
	}
	for _, c := range data {
		if c != '\n' && c != '\t' && (c < 0x20 || c > 0x7e) || c == '&' || c == '\'' {
			return nil, fmt.Errorf("%w: byte %#x", errXML, c)
		}
	}
	x := &xmlReader{data: bytes.TrimSpace(data)}
	root, err := x.element(nil, 1)
	if err != nil {
		return nil, fmt.Errorf("%w, at byte %d", err, x.at)
	}
	if x.at != len(x.data) {
		return nil, fmt.Errorf("%w: text behind the root element", errXML)
	}
	return root, nil
}

// skip moves over an expected text.
func (x *xmlReader) skip(text string) bool {
	if !bytes.HasPrefix(x.data[x.at:], []byte(text)) {
		return false
	}
	x.at += len(text)
	return true
}

// until gives what stands before the first of some bytes.
func (x *xmlReader) until(stop string) (string, bool) {
	n := bytes.IndexAny(x.data[x.at:], stop)
	if n < 0 {
		return "", false
	}
	x.at += n
	return string(x.data[x.at-n : x.at]), true
}

// name reads a name, split at its colon.
func (x *xmlReader) name() (prefix, local string, err error) {
	text, ok := x.until(" />=")
	prefix, local, colon := strings.Cut(text, ":")
	if !colon {
		prefix, local = "", text
	}
	if !ok || !isName(local) || colon && !isName(prefix) {
		return "", "", fmt.Errorf("%w: a name %.40q", errXML, text)
	}
	return prefix, local, nil
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

func (x *xmlReader) element(scope map[string]string, depth int) (*element, error) {
	if x.elements++; x.elements > maxElements || depth > maxElementDepth {
		return nil, fmt.Errorf("more than %d elements or %d levels", maxElements, maxElementDepth)
	}
	if !x.skip("<") {
		return nil, errXML
	}
	e := &element{scope: scope}
	var err error
	if e.prefix, e.local, err = x.name(); err != nil {
		return nil, err
	}
	if err := x.attributes(e); err != nil {
		return nil, err
	}
	if err := e.resolve(); err != nil {
		return nil, err
	}
	if x.skip("/>") {
		return e, nil
	}
	if !x.skip(">") {
		return nil, errXML
	}
	return e, x.content(e, depth)
}

// content reads children up to the end tag.
func (x *xmlReader) content(e *element, depth int) error {
	for {
		text, ok := x.until("<>")
		if !ok || x.data[x.at] == '>' {
			return errXML
		}
		if text != "" {
			e.children = append(e.children, node{text: text})
		}
		if x.skip("</") {
			prefix, local, err := x.name()
			if err != nil || prefix != e.prefix || local != e.local || !x.skip(">") {
				return fmt.Errorf("%w: %s does not end", errXML, e.local)
			}
			return nil
		}
		child, err := x.element(e.scope, depth+1)
		if err != nil {
			return err
		}
		e.children = append(e.children, node{element: child})
	}
}

// attributes reads attributes, one space before each, and takes the declarations of
// namespaces out of them.
func (x *xmlReader) attributes(e *element) error {
	for n := 0; x.skip(" "); n++ {
		prefix, local, err := x.name()
		if err != nil {
			return err
		}
		if n == maxAttributes || !x.skip(`="`) {
			return errXML
		}
		value, ok := x.until("\"<>\t\n")
		if !ok || !x.skip(`"`) {
			return fmt.Errorf("%w: the value of %s", errXML, local)
		}
		switch {
		case prefix == "" && local == "xmlns":
			err = e.declare("", value)
		case prefix == "xmlns":
			err = e.declare(local, value)
		default:
			e.attributes = append(e.attributes, attribute{prefix: prefix, local: local, value: value})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *element) declare(prefix, space string) error {
	if _, twice := e.declared[prefix]; twice || space == "" || strings.HasPrefix(strings.ToLower(prefix), "xml") {
		return fmt.Errorf("%w: namespace %.40q", errXML, prefix)
	}
	if e.declared == nil {
		e.declared = make(map[string]string)
	}
	e.declared[prefix] = space
	return nil
}

// resolve finds the namespaces of the element and its attributes, of which none may be there
// twice.
func (e *element) resolve() error {
	if len(e.declared) > 0 {
		scope := make(map[string]string, len(e.scope)+len(e.declared))
		for _, from := range []map[string]string{e.scope, e.declared} {
			for prefix, space := range from {
				scope[prefix] = space
			}
		}
		e.scope = scope
	}
	var ok bool
	if e.space, ok = e.scope[e.prefix]; !ok && e.prefix != "" {
		return fmt.Errorf("%w: the unknown prefix %.40q", errXML, e.prefix)
	}
	for i := range e.attributes {
		a := &e.attributes[i]
		if a.prefix != "" { // attributes without a prefix are in no namespace
			if a.space, ok = e.scope[a.prefix]; !ok {
				return fmt.Errorf("%w: the unknown prefix %.40q", errXML, a.prefix)
			}
		}
		for _, b := range e.attributes[:i] {
			if a.space == b.space && a.local == b.local {
				return fmt.Errorf("%w: attribute %.40q twice", errXML, a.local)
			}
		}
	}
	return nil
}

// canonical gives the canonical form of an element as the apex of a document subset, without
// one of its children.
func (e *element) canonical(without *element) []byte {
	var b bytes.Buffer
	e.write(&b, nil, without)
	return b.Bytes()
}

// write writes an element below others that have rendered some namespaces. The apex renders
// all in scope, others those that change something.
func (e *element) write(b *bytes.Buffer, rendered map[string]string, without *element) {
	name := e.local
	if e.prefix != "" {
		name = e.prefix + ":" + e.local
	}
	b.WriteString("<" + name)
	var prefixes []string
	for prefix, space := range e.scope {
		if rendered[prefix] != space {
			prefixes = append(prefixes, prefix)
		}
	}
	slices.Sort(prefixes)
	for _, prefix := range prefixes {
		if prefix == "" {
			b.WriteString(` xmlns="` + e.scope[prefix] + `"`)
			continue
		}
		b.WriteString(` xmlns:` + prefix + `="` + e.scope[prefix] + `"`)
	}
	sorted := slices.Clone(e.attributes)
	slices.SortFunc(sorted, func(a, b attribute) int {
		if c := strings.Compare(a.space, b.space); c != 0 {
			return c
		}
		return strings.Compare(a.local, b.local)
	})
	for _, a := range sorted {
		b.WriteString(" ")
		if a.prefix != "" {
			b.WriteString(a.prefix + ":")
		}
		b.WriteString(a.local + `="` + a.value + `"`)
	}
	b.WriteString(">")
	for _, c := range e.children {
		switch {
		case c.element == nil:
			b.WriteString(c.text)
		case c.element != without:
			c.write(b, e.scope, without)
		}
	}
	b.WriteString("</" + name + ">")
}

// take gives the child elements of an element in a namespace that must hold exactly those,
// in that order, and nothing else but white space.
func (e *element) take(space string, names ...string) ([]*element, error) {
	all, err := e.elements()
	if err != nil {
		return nil, err
	}
	if len(all) != len(names) {
		return nil, fmt.Errorf("%s with %d elements, expected %d", e.local, len(all), len(names))
	}
	for i, c := range all {
		if c.local != names[i] || c.space != space {
			return nil, fmt.Errorf("%.40q in %s, expected %s", c.local, e.local, names[i])
		}
	}
	return all, nil
}

// elements gives the child elements; there must be no text between them but white space.
func (e *element) elements() ([]*element, error) {
	var all []*element
	for _, c := range e.children {
		switch {
		case c.element != nil:
			all = append(all, c.element)
		case strings.TrimSpace(c.text) != "":
			return nil, fmt.Errorf("text in %s", e.local)
		}
	}
	return all, nil
}

// content gives the text of an element that holds nothing else and has no attributes.
func (e *element) content() (string, error) {
	if len(e.children) != 1 || e.children[0].element != nil || len(e.attributes) > 0 {
		return "", fmt.Errorf("%s that is not text alone", e.local)
	}
	return e.children[0].text, nil
}

// only checks that the attributes are exactly those, in no namespace, with those values.
func (e *element) only(pairs ...string) error {
	if len(e.attributes)*2 != len(pairs) {
		return fmt.Errorf("%d attributes of %s, expected %d", len(e.attributes), e.local, len(pairs)/2)
	}
	for i := 0; i < len(pairs); i += 2 {
		if got, ok := e.attribute("", pairs[i]); !ok || got != pairs[i+1] {
			return fmt.Errorf("%s %.80q of %s, expected %q", pairs[i], got, e.local, pairs[i+1])
		}
	}
	return nil
}

func (e *element) attribute(space, local string) (string, bool) {
	for _, a := range e.attributes {
		if a.space == space && a.local == local {
			return a.value, true
		}
	}
	return "", false
}
