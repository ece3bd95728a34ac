package agreement

import (
	"fmt"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// place is a member of a document under validation. Its text, such as
// "inputs[2].schema[0].name", stands in Error.Where, so that a reader of the YAML can turn
// it into a line.
type place struct{ check, path string }

func (p place) dot(name string) place {
	if p.path == "" {
		return place{p.check, name}
	}
	return place{p.check, p.path + "." + name}
}

func (p place) at(i int) place { return place{p.check, p.path + "[" + strconv.Itoa(i) + "]"} }

// bad reports something malformed at the place.
func (p place) bad(expected, got, fix string) error {
	return &verdict.Error{Kind: verdict.Usage, Check: p.check, Where: p.path, Expected: expected, Got: got, Fix: fix}
}

// refuse reports a rule that says no, under a check of its own.
func (p place) refuse(check, expected, got, fix string) error {
	return &verdict.Error{Kind: verdict.Refused, Check: check, Where: p.path, Expected: expected, Got: got, Fix: fix}
}

// first gives the first error of a list of checks, in order.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// inOrder runs checks until one fails: for those that cost something, or that may rely on
// the ones before.
func inOrder(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// each runs a check over a list and gives the first error.
func each[T any](p place, list []T, check func(place, T) error) error {
	for i, v := range list {
		if err := check(p.at(i), v); err != nil {
			return err
		}
	}
	return nil
}

func (p place) id(id wire.ID) error {
	if !id.Valid() {
		return p.bad("a name of 1 to 63 of a-z, 0-9 and -, starting with a letter", quoted(string(id)), "choose such a name")
	}
	return nil
}

// column checks a name as queries use it.
func (p place) column(name string) error {
	if !columnName(name) {
		return p.bad("a name of 1 to 63 of a-z, 0-9 and _, starting with a letter", quoted(name), "choose such a name")
	}
	return nil
}

func columnName(name string) bool {
	if len(name) < 1 || len(name) > 63 || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

func (p place) integer(n, least, most int64) error {
	if n < least || n > most {
		return p.bad(fmt.Sprintf("an integer from %d to %d", least, most), strconv.FormatInt(n, 10), "")
	}
	return nil
}

// count checks the length of a list.
func (p place) count(n, least, most int) error {
	if n < least || n > most {
		return p.bad(fmt.Sprintf("a list of %d to %d", least, most), fmt.Sprintf("%d", n), "")
	}
	return nil
}

// line checks one line of text for people.
func (p place) line(s string, most int) error {
	if strings.ContainsAny(s, "\n\t") {
		return p.bad("text on one line", quoted(s), "")
	}
	return p.text(s, most)
}

// text checks text for people, with line breaks and tabs allowed. What could forge lines
// or turn words round on a screen is refused here, so that nothing has to be hidden later.
func (p place) text(s string, most int) error {
	if strings.TrimSpace(s) == "" {
		return p.bad("text", "nothing", "write it")
	}
	if len(s) > most {
		return p.bad(fmt.Sprintf("text of at most %d bytes", most), fmt.Sprintf("%d bytes", len(s)), "shorten it")
	}
	if plain := strings.NewReplacer("\n", "", "\t", "").Replace(s); verdict.Printable(plain) != plain {
		return p.bad("text without control or direction-changing characters", quoted(s), "remove them")
	}
	if _, err := wire.Marshal(s); err != nil {
		return p.bad("text in Unicode normal form C", quoted(s), "retype or normalise it")
	}
	return nil
}

func quoted(s string) string {
	if s == "" {
		return "nothing"
	}
	if short := verdict.Short(s); short != s {
		return `"` + short + `"` // escaped already
	}
	return strconv.Quote(s)
}

// unique checks that no two entries of a list share a key; member is the key's name in an
// entry, "" where the entry is the key.
func unique[T any](p place, list []T, member string, key func(T) string) error {
	seen := make(map[string]int, len(list))
	for i, v := range list {
		k := key(v)
		if j, found := seen[k]; found {
			at := p.at(i)
			if member != "" {
				at = at.dot(member)
			}
			return at.bad("every entry once", fmt.Sprintf("%s again, as in entry %d", quoted(k), j+1), "remove or rename one of them")
		}
		seen[k] = i
	}
	return nil
}

func self[T ~string](v T) string { return string(v) }

// oneOf checks that a word is among those allowed.
func oneOf[T ~string](p place, word T, allowed ...T) error {
	words := make([]string, len(allowed))
	for i, a := range allowed {
		if word == a {
			return nil
		}
		words[i] = string(a)
	}
	return p.bad(strings.Join(words, " or "), quoted(string(word)), "")
}
