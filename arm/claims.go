package arm

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"strongroom.dev/cbor"
	"strongroom.dev/verdict"
)

// rule says what a claim must be.
type rule struct {
	name string
	kind cbor.Kind
	// sizes are the numbers of bytes that a byte string may have: all listed ones, or from the
	// first to the second if there are two that ranged says so of.
	sizes  []int
	ranged bool
	// required says that a token without it is none.
	required bool
}

func (r rule) check(v cbor.Value) error {
	if v.Kind != r.kind && (r.kind != cbor.Unsigned || v.Kind != cbor.Negative) {
		return fmt.Errorf("%s is %s, expected %s", r.name, v.Kind, r.kind)
	}
	switch v.Kind {
	case cbor.Text:
		if v.Text == "" || len(v.Text) > maxText {
			return fmt.Errorf("%s of %d bytes, expected 1 to %d", r.name, len(v.Text), maxText)
		}
	case cbor.Bytes:
		return r.size(len(v.Bytes))
	case cbor.Unsigned, cbor.Negative:
		if _, ok := v.Int(); !ok {
			return fmt.Errorf("%s is out of range", r.name)
		}
	}
	return nil
}

func (r rule) size(n int) error {
	if r.ranged && n >= r.sizes[0] && n <= r.sizes[1] {
		return nil
	}
	for _, size := range r.sizes {
		if n == size && !r.ranged {
			return nil
		}
	}
	return fmt.Errorf("%s of %d bytes, expected %v", r.name, n, r.sizes)
}

// read checks a claims set by its rules, and that no required claim is missing. Claims
// without a rule are kept as "claim_" and their number.
func read(set cbor.Value, rules map[int64]rule) (map[string]cbor.Value, error) {
	if set.Kind != cbor.Map {
		return nil, fmt.Errorf("claims that are %s, expected a map", set.Kind)
	}
	found := make(map[string]cbor.Value, len(set.Pairs))
	for _, p := range set.Pairs {
		label, ok := p.Key.Int()
		r, known := rules[label]
		name := r.name
		switch {
		case ok && known:
			if err := r.check(p.Value); err != nil {
				return nil, err
			}
		case ok:
			name = "claim_" + strconv.FormatInt(label, 10)
		default:
			name = "claim_" + verdict.Short(p.Key.Text)
		}
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("%s twice", name)
		}
		found[name] = p.Value
	}
	for _, r := range rules {
		if _, ok := found[r.name]; r.required && !ok {
			return nil, fmt.Errorf("no %s", r.name)
		}
	}
	return found, nil
}

// plain gives a value as claims hold it: byte strings in hex, keys as text.
func plain(v cbor.Value) any {
	switch v.Kind {
	case cbor.Bytes:
		return hex.EncodeToString(v.Bytes)
	case cbor.Text:
		return v.Text
	case cbor.Unsigned, cbor.Negative:
		if n, ok := v.Int(); ok {
			return n
		}
		return strconv.FormatUint(v.Number, 10)
	case cbor.Bool:
		return v.Number == 1
	case cbor.Array:
		list := make([]any, 0, len(v.Items))
		for _, item := range v.Items {
			list = append(list, plain(item))
		}
		return list
	case cbor.Map:
		m := make(map[string]any, len(v.Pairs))
		for _, p := range v.Pairs {
			name := p.Key.Text
			if n, ok := p.Key.Int(); ok {
				name = strconv.FormatInt(n, 10)
			}
			m[name] = plain(p.Value)
		}
		return m
	case cbor.Tag:
		return plain(v.Items[0])
	}
	return nil
}
