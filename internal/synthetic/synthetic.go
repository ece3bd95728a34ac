// Package synthetic makes rows that look as an input's schema and rules say and hold nobody's
// data, so that people can try queries before any key leaves.
package synthetic

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/agreement"
)

// Made says what rows to make. The same numbers make the same rows.
type Made struct {
	Rows int // at least 1
	Seed uint64
	// Unique makes every row another person's; else two in three rows are a person's first.
	Unique bool
}

// CSV gives rows of an input as CSV. People have numbers from 0 on in every input, so that those
// of one number are the same where inputs are joined; inputs of one number of rows share most.
func CSV(in agreement.Input, m Made) []byte {
	h := fnv.New64a()
	h.Write([]byte(in.Name))
	r := rand.New(rand.NewPCG(m.Seed, h.Sum64()))
	people := max(1, m.Rows*2/3)
	if m.Unique {
		people = m.Rows
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	var names []string
	for _, c := range in.Schema {
		names = append(names, c.Name)
	}
	w.Write(names) // into memory: never fails
	order := r.Perm(people)
	for i := range m.Rows {
		person := order[i%people]
		if !m.Unique && i >= people {
			person = r.IntN(people)
		}
		var row []string
		for _, c := range in.Schema {
			row = append(row, value(r, c, in.ColumnRule(c.Name), person))
		}
		w.Write(row)
	}
	w.Flush()
	return b.Bytes()
}

// value makes one field of a person's row. Identifiers are the person's, one field in twenty of
// the others is empty.
func value(r *rand.Rand, c agreement.Column, rule agreement.ColumnRule, person int) string {
	if c.Unit || rule.Key != "" {
		return identifier(c, rule, person)
	}
	if r.IntN(20) == 0 {
		return ""
	}
	switch c.Type {
	case "integer", "decimal":
		return number(r, c, rule)
	case "boolean":
		return strconv.FormatBool(r.IntN(2) == 0)
	case "date":
		return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(3*365)).Format(time.DateOnly)
	}
	return c.Name + "-" + string(rune('a'+min(r.IntN(5), r.IntN(5)))) // some are rarer
}

func identifier(c agreement.Column, rule agreement.ColumnRule, person int) string {
	switch {
	case c.Type == "integer":
		return strconv.Itoa(person)
	case rule.Form == agreement.Email:
		return fmt.Sprintf("person%d@example.org", person)
	case rule.Form == agreement.Phone:
		return fmt.Sprintf("+4930%07d", person)
	}
	return fmt.Sprintf("person-%d", person)
}

// number makes a number within its rule's bounds, else from 0 to 1000: small ones more often.
func number(r *rand.Rand, c agreement.Column, rule agreement.ColumnRule) string {
	unit := int64(1)
	for range c.Scale {
		unit *= 10
	}
	low, high := int64(0), 1000*unit
	if rule.Min != "" {
		low, high = lastPlaces(rule.Min), lastPlaces(rule.Max)
	}
	span := uint64(high - low)
	n := low
	if span > 0 {
		n += int64(min(r.Uint64N(span), r.Uint64N(span)))
	}
	return text(n, int(c.Scale))
}

// lastPlaces reads a number's canonical text, which its agreement has checked.
func lastPlaces(text string) int64 {
	n, _ := strconv.ParseInt(strings.Replace(text, ".", "", 1), 10, 64)
	return n
}

func text(n int64, scale int) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	if scale == 0 {
		return sign + digits
	}
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}
