package policy

import (
	"fmt"
	"strconv"
	"strings"

	"strongroom.dev/attest"
	"strongroom.dev/wire"
)

// least is the value of a denial of firmware below a number.
type least struct {
	platform   wire.ID
	generation string // "" for all of the platform
	name       string
	number     int64
}

// parseLeast reads PLATFORM[/GENERATION]/NAME=NUMBER, a day as a number too (20250513).
func parseLeast(text string) (l least, err error) {
	where, number, found := strings.Cut(text, "=")
	parts := strings.Split(where, "/")
	if !found || len(parts) < 2 || len(parts) > 3 {
		return l, fmt.Errorf("no PLATFORM/NAME=NUMBER")
	}
	l.platform, l.name = wire.ID(parts[0]), parts[len(parts)-1]
	if len(parts) == 3 {
		if l.generation = parts[1]; l.generation == "" {
			return l, fmt.Errorf("an empty generation")
		}
	}
	l.number, err = strconv.ParseInt(number, 10, 64)
	if err == nil && (l.number < 1 || l.number > wire.MaxInteger || strconv.FormatInt(l.number, 10) != number) {
		err = fmt.Errorf("number %.40q", number)
	}
	return l, err
}

// choice says which names the platform has.
func (l least) choice() string {
	names := attest.TCBNames(l.platform)
	if len(names) == 0 {
		return "a platform whose firmware has numbers: snp, tdx, sgx or azure"
	}
	return fmt.Sprintf("one of %s's numbers: %s", l.platform, strings.Join(names, ", "))
}

// missed says what of a room is too old or not known; "" if nothing is.
func (l least) missed(w Where) string {
	if w.Platform != l.platform || l.generation != "" && w.Generation != "" && !strings.EqualFold(l.generation, w.Generation) {
		return ""
	}
	got, known := w.TCB[l.name]
	switch {
	case !known:
		return fmt.Sprintf("%s %s, of which nothing is known, must be at least %d", l.platform, l.name, l.number)
	case got < l.number:
		return fmt.Sprintf("%s %s %d, below %d, is denied", l.platform, l.name, got, l.number)
	}
	return ""
}
