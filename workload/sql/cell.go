package sql

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// canonical reports whether text is the canonical text of a value of the column's type
// (spec/sql.md, section 5).
func canonical(c Column, text string) bool {
	switch c.Type {
	case "integer":
		return canonicalNumber(text, 0)
	case "decimal":
		return canonicalNumber(text, int(c.Scale))
	case "double":
		v, err := strconv.ParseFloat(text, 64)
		return err == nil && DoubleText(v) == text
	case "text":
		return utf8.ValidString(text)
	case "boolean":
		return text == "true" || text == "false"
	case "date":
		t, err := time.Parse(time.DateOnly, text)
		return err == nil && t.Format(time.DateOnly) == text
	}
	return false
}

// DoubleText gives the canonical text of a double that is a number: the shortest that reads
// as the same value. There is no negative zero.
func DoubleText(v float64) string {
	if v == 0 {
		return "0"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// canonicalNumber: an optional "-", digits without a leading zero, and exactly scale digits
// behind a point if scale is above 0; zero has no sign; at most 64 digits, since the mean of
// numbers of 38 digits is given to a few more.
func canonicalNumber(text string, scale int) bool {
	body, negative := strings.CutPrefix(text, "-")
	whole, fraction, pointed := strings.Cut(body, ".")
	if pointed != (scale > 0) || len(fraction) != scale || !allDigits(whole) || !allDigits(fraction) && pointed {
		return false
	}
	if whole == "" || len(whole) > 1 && whole[0] == '0' || len(whole)+len(fraction) > 64 {
		return false
	}
	return !negative || strings.Trim(body, "0.") != ""
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// digits counts the digits of a number's text.
func digits(text string) int {
	n := 0
	for i := range len(text) {
		if text[i] >= '0' && text[i] <= '9' {
			n++
		}
	}
	return n
}
