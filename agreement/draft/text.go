package draft

import (
	"maps"
	"slices"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func or(s, placeholder string) string {
	if s == "" {
		return placeholder
	}
	return s
}

func orTime(t wire.Time, placeholder string) string {
	if t.IsZero() {
		return placeholder
	}
	return t.String()
}

func orDigest(d wire.Digest) string {
	if d.IsZero() {
		return "<sha384:..., as `strongroom party list` prints it>"
	}
	return d.String()
}

// quote writes s as a YAML single-quoted scalar, which has one escape only.
func quote(s string) string {
	return "'" + strings.ReplaceAll(verdict.Printable(s), "'", "''") + "'"
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func texts(ids []wire.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}
