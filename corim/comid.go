package corim

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"strongroom.dev/cbor"
	"strongroom.dev/verdict"
)

// Triple is a reference triple: what one kind of thing measures, all of it at once.
type Triple struct {
	// Tag is the id of the CoMID that it stands in.
	Tag string
	// Class says in words what is measured: class id, vendor, model, layer, index.
	Class string
	// Model is the class's model; "" if there is none.
	Model        string
	Measurements []Measurement
}

// Measurement is one element with its values.
type Measurement struct {
	// Key names the element: a text, a number in digits, a dotted OID or a UUID; "" if it has
	// none. Name is the element's own name, for people.
	Key, Name string
	// Version is what makers call it; evidence does not show it.
	Version string
	// Digests are of one content, by several algorithms.
	Digests []Digest
	// Raw is the value itself; nil if there is none.
	Raw []byte
	SVN *SVN
	// Registers are integrity registers, by name or number.
	Registers []Register
}

// Digest is a hash value; Algorithm is as in "sha-384".
type Digest struct {
	Algorithm string
	Value     []byte
}

// SVN is a security version number: exactly that, or at least that.
type SVN struct {
	Value uint64
	Least bool
}

// Register is an integrity register.
type Register struct {
	Key     string
	Digests []Digest
}

// unsupported says that reading on would lose a condition.
func unsupported(got string) error {
	return verdict.Refuse("corim.unsupported", "reference values that are digests, security version numbers or raw values", verdict.Short(got), "it narrows what is good, and would be lost: write the draft by hand, or ask for a CoRIM without")
}

// list gives the items of an array that may not be empty.
func list(v cbor.Value, what string) ([]cbor.Value, error) {
	if v.Kind != cbor.Array || len(v.Items) == 0 {
		return nil, malformed("a list of "+what, v.Kind.String())
	}
	return v.Items, nil
}

// members refuses a map with other members than those named.
func members(v cbor.Value, what string, known ...int64) error {
	if v.Kind != cbor.Map {
		return malformed(what+", a map", v.Kind.String())
	}
	for _, p := range v.Pairs {
		if n, ok := p.Key.Int(); !ok || !slices.Contains(known, n) {
			return unsupported("a member of " + what + " that is not known: " + label(p.Key))
		}
	}
	return nil
}

func label(v cbor.Value) string {
	if n, ok := v.Int(); ok {
		return strconv.FormatInt(n, 10)
	}
	return v.Text
}

// readCorim reads what was signed: a tagged map (unsigned-corim-map).
func (m *Manifest) readCorim(payload []byte, now time.Time) error {
	v, err := cbor.Parse(payload, content())
	if err != nil {
		return malformed("a CoRIM", err.Error())
	}
	if v.Kind != cbor.Tag || v.Number != tagUnsigned {
		return malformed(fmt.Sprintf("a CoRIM with tag %d", tagUnsigned), v.Kind.String())
	}
	v = v.Items[0]
	if err := members(v, "the CoRIM", 0, 1, 2, 3, 4, 5); err != nil {
		return err
	}
	if m.ID, err = id(v.Get(0)); err != nil {
		return err
	}
	if err := m.readProfile(v.Get(3)); err != nil {
		return err
	}
	if err := m.validity(v.Get(4), now); err != nil {
		return err
	}
	if v.Get(2).Kind != cbor.None {
		m.leaveOut("references to other CoRIMs")
	}
	tags, err := list(v.Get(1), "tags")
	if err != nil {
		return err
	}
	for _, t := range tags {
		if err := m.readTag(t); err != nil {
			return err
		}
	}
	if len(m.Triples) == 0 {
		return unsupported("no reference values")
	}
	return nil
}

func (m *Manifest) leaveOut(what string) {
	if !slices.Contains(m.LeftOut, what) {
		m.LeftOut = append(m.LeftOut, what)
	}
}

// readProfile reads one profile, or a list with one, as older drafts have it.
func (m *Manifest) readProfile(v cbor.Value) (err error) {
	if v.Kind == cbor.Array && len(v.Items) == 1 {
		v = v.Items[0]
	}
	switch {
	case v.Kind == cbor.None:
	case v.Kind == cbor.Text:
		m.Profile, err = text(v)
	case v.Kind == cbor.Tag && v.Number == tagURI:
		m.Profile, err = text(v.Items[0])
	case v.Kind == cbor.Tag && v.Number == tagOID:
		m.Profile, err = oid(v.Items[0])
	default:
		err = malformed("a profile", v.Kind.String())
	}
	return err
}

func (m *Manifest) readTag(t cbor.Value) error {
	if t.Kind != cbor.Tag || t.Items[0].Kind != cbor.Bytes {
		return malformed("tags in byte strings", t.Kind.String())
	}
	switch t.Number {
	case tagCoSWID:
		m.leaveOut("software tags (CoSWID)")
		return nil
	case tagCoTL:
		m.leaveOut("lists of tags (CoTL)")
		return nil
	case tagCoMID:
		return m.readComid(t.Items[0].Bytes)
	}
	return malformed("CoMID, CoSWID or CoTL", fmt.Sprintf("tag %d", t.Number))
}

func (m *Manifest) readComid(data []byte) error {
	v, err := cbor.Parse(data, content())
	if err != nil {
		return malformed("a CoMID", err.Error())
	}
	if err := members(v, "the CoMID", 0, 1, 2, 3, 4); err != nil {
		return err
	}
	tag, err := id(v.Get(1).Get(0))
	if err != nil {
		return err
	}
	if v.Get(3).Kind != cbor.None {
		m.leaveOut("links to other CoMIDs")
	}
	triples := v.Get(4)
	if triples.Kind != cbor.Map {
		return malformed("triples, a map", triples.Kind.String())
	}
	for _, p := range triples.Pairs {
		n, ok := p.Key.Int()
		if !ok || n != 0 {
			m.leaveOut(tripleKind(n))
			continue
		}
		records, err := list(p.Value, "reference triples")
		if err != nil {
			return err
		}
		for _, r := range records {
			if len(m.Triples) == MaxTriples {
				return malformed(fmt.Sprintf("at most %d reference triples", MaxTriples), "more")
			}
			t, err := readTriple(r)
			if err != nil {
				return err
			}
			t.Tag = tag
			m.Triples = append(m.Triples, t)
		}
	}
	return nil
}

func tripleKind(n int64) string {
	names := map[int64]string{1: "endorsed values", 2: "identity keys", 3: "attestation keys", 4: "dependencies", 5: "memberships", 6: "links to software tags", 8: "conditional endorsements", 10: "conditional endorsements"}
	if name, known := names[n]; known {
		return name
	}
	return fmt.Sprintf("triples of kind %d", n)
}

func readTriple(v cbor.Value) (t Triple, err error) {
	if v.Kind != cbor.Array || len(v.Items) != 2 {
		return t, malformed("a reference triple: an environment and its measurements", v.Kind.String())
	}
	if t.Class, t.Model, err = environment(v.Items[0]); err != nil {
		return t, err
	}
	measurements, err := list(v.Items[1], "measurements")
	if err != nil {
		return t, err
	}
	if len(measurements) > MaxMeasurements {
		return t, malformed(fmt.Sprintf("at most %d measurements", MaxMeasurements), fmt.Sprint(len(measurements)))
	}
	for _, m := range measurements {
		read, err := readMeasurement(m)
		if err != nil {
			return t, err
		}
		t.Measurements = append(t.Measurements, read)
	}
	return t, nil
}

// environment reads what is measured. Values for one instance or group of instances are not
// values for all: those are refused.
func environment(v cbor.Value) (class, model string, err error) {
	if err := members(v, "an environment", 0, 1, 2); err != nil {
		return "", "", err
	}
	if v.Get(1).Kind != cbor.None || v.Get(2).Kind != cbor.None {
		return "", "", unsupported("values for one instance or group of instances")
	}
	c := v.Get(0)
	if err := members(c, "a class", 0, 1, 2, 3, 4); err != nil {
		return "", "", err
	}
	for _, part := range []struct {
		key  int64
		name string
	}{{0, "id"}, {1, "vendor"}, {2, "model"}, {3, "layer"}, {4, "index"}} {
		value := c.Get(part.key)
		if value.Kind == cbor.None {
			continue
		}
		said, err := key(value)
		if err != nil {
			return "", "", err
		}
		if class += " " + part.name + " " + said; part.key == 2 {
			model = said
		}
	}
	if class == "" {
		return "", "", malformed("a class that says something", "nothing")
	}
	return class[1:], model, nil
}

func readMeasurement(v cbor.Value) (m Measurement, err error) {
	if err := members(v, "a measurement", 0, 1); err != nil {
		return m, err
	}
	if k := v.Get(0); k.Kind != cbor.None {
		if m.Key, err = key(k); err != nil {
			return m, err
		}
	}
	values := v.Get(1)
	if err := members(values, "a measurement's values", 0, 1, 2, 4, 5, 11, 14); err != nil {
		return m, err
	}
	if n := values.Get(11); n.Kind != cbor.None {
		if m.Name, err = text(n); err != nil {
			return m, err
		}
	}
	if n := values.Get(0); n.Kind != cbor.None {
		if m.Version, err = text(n.Get(0)); err != nil {
			return m, err
		}
	}
	if err := m.readValues(values); err != nil {
		return m, err
	}
	if len(m.Digests) == 0 && m.Raw == nil && m.SVN == nil && len(m.Registers) == 0 {
		return m, unsupported("a measurement " + m.Key + " with a name or version alone")
	}
	return m, nil
}

func (m *Measurement) readValues(v cbor.Value) (err error) {
	if d := v.Get(2); d.Kind != cbor.None {
		if m.Digests, err = digests(d); err != nil {
			return err
		}
	}
	if s := v.Get(1); s.Kind != cbor.None {
		if m.SVN, err = svn(s); err != nil {
			return err
		}
	}
	if r := v.Get(4); r.Kind != cbor.None {
		if m.Raw, err = raw(r); err != nil {
			return err
		}
	}
	if mask := v.Get(5); mask.Kind != cbor.None && !whole(mask.Bytes, m.Raw) {
		return unsupported("a raw value of which only some bits count")
	}
	registers := v.Get(14)
	if registers.Kind == cbor.None {
		return nil
	}
	if registers.Kind != cbor.Map || len(registers.Pairs) == 0 || len(registers.Pairs) > MaxMeasurements {
		return malformed("integrity registers, a map", registers.Kind.String())
	}
	for _, p := range registers.Pairs {
		r := Register{}
		if r.Key, err = key(p.Key); err != nil {
			return err
		}
		if r.Digests, err = digests(p.Value); err != nil {
			return err
		}
		m.Registers = append(m.Registers, r)
	}
	return nil
}

// raw reads a value: bytes, or bytes under a mask that leaves all of them.
func raw(v cbor.Value) ([]byte, error) {
	masked := v.Kind == cbor.Tag && v.Number == tagMasked
	if v.Kind == cbor.Tag && (v.Number == tagBytes || masked) {
		v = v.Items[0]
	}
	if masked {
		if v.Kind != cbor.Array || len(v.Items) != 2 || !whole(v.Items[1].Bytes, v.Items[0].Bytes) {
			return nil, unsupported("a raw value of which only some bits count")
		}
		v = v.Items[0]
	}
	if v.Kind != cbor.Bytes || len(v.Bytes) == 0 {
		return nil, malformed("a raw value of bytes", v.Kind.String())
	}
	return v.Bytes, nil
}

// whole reports whether a mask leaves every bit of a value.
func whole(mask, value []byte) bool {
	return len(value) > 0 && len(mask) == len(value) && !slices.ContainsFunc(mask, func(b byte) bool { return b != 0xff })
}

func svn(v cbor.Value) (*SVN, error) {
	s := &SVN{}
	if v.Kind == cbor.Tag && (v.Number == tagSVN || v.Number == tagMinSVN) {
		s.Least, v = v.Number == tagMinSVN, v.Items[0]
	}
	if v.Kind != cbor.Unsigned {
		return nil, malformed("a security version number", v.Kind.String())
	}
	s.Value = v.Number
	return s, nil
}

// digests reads hash values, by numbers of the named-information registry, by COSE's, or by
// names.
func digests(v cbor.Value) ([]Digest, error) {
	items, err := list(v, "digests")
	if err != nil {
		return nil, err
	}
	var all []Digest
	for _, it := range items {
		if it.Kind != cbor.Array || len(it.Items) != 2 || it.Items[1].Kind != cbor.Bytes {
			return nil, malformed("a digest: an algorithm and a value", it.Kind.String())
		}
		name, size := algorithm(it.Items[0])
		if size == 0 {
			return nil, unsupported("a digest by the algorithm " + label(it.Items[0]))
		}
		if len(it.Items[1].Bytes) != size {
			return nil, malformed(fmt.Sprintf("%d bytes of %s", size, name), fmt.Sprint(len(it.Items[1].Bytes)))
		}
		if slices.ContainsFunc(all, func(d Digest) bool { return d.Algorithm == name }) {
			return nil, malformed("a digest by each algorithm once", "two by "+name)
		}
		all = append(all, Digest{name, it.Items[1].Bytes})
	}
	return all, nil
}

// algorithm gives the name of a hash and its size in bytes, 0 for one not known.
func algorithm(v cbor.Value) (string, int) {
	name := v.Text
	if n, ok := v.Int(); ok {
		name = map[int64]string{1: "sha-256", 7: "sha-384", 8: "sha-512", -16: "sha-256", -43: "sha-384", -44: "sha-512"}[n]
	}
	return name, map[string]int{"sha-256": 32, "sha-384": 48, "sha-512": 64}[name]
}

// id reads the id of a CoRIM or tag: a text or a UUID.
func id(v cbor.Value) (string, error) {
	if v.Kind == cbor.Bytes {
		return uuid(v)
	}
	return key(v)
}

// key gives what names something as a text.
func key(v cbor.Value) (string, error) {
	switch {
	case v.Kind == cbor.Unsigned:
		return strconv.FormatUint(v.Number, 10), nil
	case v.Kind == cbor.Tag && v.Number == tagUUID:
		return uuid(v.Items[0])
	case v.Kind == cbor.Tag && v.Number == tagOID:
		return oid(v.Items[0])
	case v.Kind == cbor.Tag && v.Number == tagInt:
		if n, ok := v.Items[0].Int(); ok {
			return strconv.FormatInt(n, 10), nil
		}
	case v.Kind == cbor.Tag && v.Number == tagBytes && v.Items[0].Kind == cbor.Bytes && len(v.Items[0].Bytes) <= maxText/2:
		return hex.EncodeToString(v.Items[0].Bytes), nil
	}
	return text(v)
}

func uuid(v cbor.Value) (string, error) {
	if v.Kind != cbor.Bytes || len(v.Bytes) != 16 {
		return "", malformed("a UUID of 16 bytes", v.Kind.String())
	}
	b := v.Bytes
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

// oid reads the content of an OBJECT IDENTIFIER (RFC 9090).
func oid(v cbor.Value) (string, error) {
	var out asn1.ObjectIdentifier
	if v.Kind == cbor.Bytes && len(v.Bytes) < 64 {
		if rest, err := asn1.Unmarshal(append([]byte{asn1.TagOID, byte(len(v.Bytes))}, v.Bytes...), &out); err == nil && len(rest) == 0 {
			return out.String(), nil
		}
	}
	return "", malformed("an object identifier", v.Kind.String())
}
