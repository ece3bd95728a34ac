package agreement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
)

func (param Parameter) validate(p place) error {
	if err := first(
		p.dot("name").column(param.Name),
		oneOf(p.dot("type"), param.Type, "integer", "decimal", "choice", "boolean"),
	); err != nil {
		return err
	}
	number, least, most, choices := false, int64(0), int64(0), 0
	switch param.Type {
	case "integer":
		number = true
	case "decimal":
		number, least, most = true, 1, MaxScale
	case "choice":
		choices = MaxValues
	}
	if err := p.dot("scale").integer(param.Scale, least, most); err != nil {
		return err
	}
	if number {
		return first(param.validateBounds(p), p.dot("values").count(len(param.Values), 0, 0))
	}
	if param.Min != "" || param.Max != "" {
		return p.bad("no min and max for type "+param.Type, quoted(param.Min+param.Max), "remove them")
	}
	return first(
		p.dot("values").count(len(param.Values), min(choices, 1), choices),
		each(p.dot("values"), param.Values, func(p place, v string) error { return p.line(v, MaxLine) }),
		unique(p.dot("values"), param.Values, "", self[string]),
	)
}

func (param Parameter) validateBounds(p place) error {
	for _, bound := range []struct{ name, text string }{{"min", param.Min}, {"max", param.Max}} {
		canonical, _, err := param.number(bound.text)
		if err != nil {
			return p.dot(bound.name).bad(err.Error(), quoted(bound.text), "")
		}
		if canonical != bound.text {
			return p.dot(bound.name).bad(strconv.Quote(canonical), quoted(bound.text), "write it in its one canonical form")
		}
	}
	_, low, _ := param.number(param.Min)
	if _, high, _ := param.number(param.Max); low > high {
		return p.dot("max").bad("at least "+param.Min, quoted(param.Max), "")
	}
	return nil
}

// number reads an integer or decimal and gives its canonical text and its value in units of
// the last digit. The error is what was expected, in words.
func (param Parameter) number(text string) (canonical string, value int64, err error) {
	expected := fmt.Errorf("an integer of 64 bits in digits")
	if param.Type == "decimal" {
		expected = fmt.Errorf("a decimal with at most %d digits after the point, 18 in all", param.Scale)
	}
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if point && (param.Type == "integer" || fraction == "") || whole == "" || len(text) > MaxLine ||
		strings.Trim(whole+fraction, "0123456789") != "" || int64(len(fraction)) > param.Scale {
		return "", 0, expected
	}
	fraction += strings.Repeat("0", int(param.Scale)-len(fraction))
	sign := ""
	if negative {
		sign = "-"
	}
	value, perr := strconv.ParseInt(sign+whole+fraction, 10, 64)
	const most = 999_999_999_999_999_999 // what 18 digits hold
	if perr != nil || param.Type == "decimal" && (value > most || value < -most) {
		return "", 0, expected
	}
	if value == 0 {
		sign = ""
	}
	whole = strings.TrimLeft(whole, "0")
	if whole == "" {
		whole = "0"
	}
	canonical = sign + whole
	if fraction != "" {
		canonical += "." + fraction
	}
	return canonical, value, nil
}

// CanonicalParameter gives a value for a parameter in its one canonical text: an integer
// without leading zeros, a decimal with exactly its scale of digits after the point, a
// choice or boolean as it stands. A value of another type or out of bounds is an error of
// kind Usage.
func CanonicalParameter(param Parameter, text string) (string, error) {
	bad := func(expected string) (string, error) {
		return "", verdict.Misuse("run.parameters", "for "+param.Name+" "+expected, quoted(text), "")
	}
	switch param.Type {
	case "integer", "decimal":
		canonical, value, err := param.number(text)
		if err != nil {
			return bad(err.Error())
		}
		_, low, lowErr := param.number(param.Min)
		_, high, highErr := param.number(param.Max)
		if lowErr != nil || highErr != nil || value < low || value > high {
			return bad("a value from " + param.Min + " to " + param.Max)
		}
		return canonical, nil
	case "boolean":
		if text != "true" && text != "false" {
			return bad("true or false")
		}
		return text, nil
	case "choice":
		if !slices.Contains(param.Values, text) {
			return bad("one of: " + names(param.Values, func(v string) string { return strconv.Quote(v) }))
		}
		return text, nil
	}
	return bad("a parameter of a known type")
}

// publicKey checks the text of a signing key.
func (p place) publicKey(text string) error {
	if _, err := keys.ParsePublicKey(text); err != nil {
		return p.bad("a public key", err.Error(), "")
	}
	return nil
}
