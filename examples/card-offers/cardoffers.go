// Package cardoffers holds the agreement of a bank, a grocer and an agency, for programs that
// run it or try queries against its rules. Its data comes from internal/cards; README.md walks
// through it.
package cardoffers

import (
	_ "embed"
	"strings"
)

// Agreement is agreement.yaml: what stands in angle brackets is to be filled in.
//
//go:embed agreement.yaml
var Agreement string // constant: the embedded file

// Blanks are the names that stand in angle brackets in [Agreement].
func Blanks() []string {
	return []string{"from", "until", "bank", "grocer", "agency", "root", "agent", "helper", "customers", "payments", "offers", "visits", "ledger"}
}

// Fill gives the agreement with its blanks filled in, and those that values lack as they are.
func Fill(values map[string]string) string {
	var pairs []string
	for _, name := range Blanks() {
		if v, found := values[name]; found {
			pairs = append(pairs, "<"+name+">", v)
		}
	}
	return strings.NewReplacer(pairs...).Replace(Agreement)
}

// Try is the agreement between parties that nobody is: `strongroom sql check` takes it, and
// nobody can sign it.
func Try() string {
	digest := func(hex string) string { return "sha384:" + strings.Repeat(hex, 48) }
	return "# For `strongroom sql check` alone: its parties, machines and data versions are made up.\n" + Fill(map[string]string{
		"from": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z",
		"bank": digest("b1"), "grocer": digest("b2"), "agency": digest("b3"),
		"customers": digest("d1"), "payments": digest("d2"), "offers": digest("d3"), "visits": digest("d4"),
		"root": "sha256:" + strings.Repeat("e1", 32), "agent": strings.Repeat("e2", 48), "helper": strings.Repeat("e3", 48),
		"ledger": "witness.example+0c5551b1+AdypRk6uRcAT6WXtwd5i+RnLdh3W7LVxN1T9NDNgGi8L",
	})
}
