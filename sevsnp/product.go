package sevsnp

import (
	"fmt"
	"strings"
)

// Product is a line of processors with roots of its own.
type Product string

// The products. Bergamo and Siena are of the Genoa line, Turin Dense of the Turin line.
const (
	Milan Product = "Milan"
	Genoa Product = "Genoa"
	Turin Product = "Turin"
)

func products() []Product { return []Product{Milan, Genoa, Turin} }

// productOf gives the product of a CPUID family and model, both in their combined form (AMD
// 57230, section 1.1 and PPR volumes); "" for one that this package does not know.
func productOf(family, model byte) Product {
	switch {
	case family == 0x19 && model <= 0x0f:
		return Milan
	case family == 0x19 && (model>>4 == 0x1 || model>>4 == 0xa):
		return Genoa
	case family == 0x1a && model <= 0x1f:
		return Turin
	}
	return ""
}

// Product gives the product of the processor that the report names, "" for one that this
// package does not know, and for reports before version 3, which name none.
func (r *Report) Product() Product {
	if r.Version < 3 {
		return ""
	}
	return productOf(r.Family, r.Model)
}

// KeyQuery gives the query with which AMD's key server is asked for a chip's certificate at a
// TCB (AMD 57230, section 4.1): "blSPL=03&teeSPL=00&...".
func (p Product) KeyQuery(t TCB) string {
	var parts []string
	for _, c := range p.components() {
		parts = append(parts, fmt.Sprintf("%s=%02d", c.kds, t[c.at]))
	}
	return strings.Join(parts, "&")
}

// ChipID gives the part of a report's chip id that is in use: 8 bytes on Turin, else 64.
func (p Product) ChipID(r *Report) []byte {
	if p == Turin {
		return r.ChipID[:8]
	}
	return r.ChipID[:]
}

// contradicts reports whether a product name in a certificate, such as "Milan-B0", is of
// another product than p.
func (p Product) contradicts(name string) bool {
	line, _, _ := strings.Cut(name, "-")
	switch line {
	case "Bergamo", "Siena":
		line = string(Genoa)
	}
	for _, known := range append(products(), "Venice") {
		if line == string(known) {
			return known != p
		}
	}
	return false
}

// TCB is the security version numbers of the firmware (TCB_VERSION, AMD 56860, section 2.2),
// as eight bytes in the order of the report.
type TCB [8]byte

// component is one version number in a TCB.
type component struct {
	name string // as in claims
	at   int    // byte in the TCB
	kds  string // parameter of AMD's key server
	oid  int    // last arc of its extension 1.3.6.1.4.1.3704.1.3.n
}

// components lists the version numbers of a product's TCB; all other bytes are reserved.
func (p Product) components() []component {
	if p == Turin {
		return []component{{"fmc", 0, "fmcSPL", 9}, {"bootloader", 1, "blSPL", 1}, {"tee", 2, "teeSPL", 2}, {"snp", 3, "snpSPL", 3}, {"microcode", 7, "ucodeSPL", 8}}
	}
	return []component{{"bootloader", 0, "blSPL", 1}, {"tee", 1, "teeSPL", 2}, {"snp", 6, "snpSPL", 3}, {"microcode", 7, "ucodeSPL", 8}}
}

// text shows a TCB by component.
func (p Product) text(t TCB) string {
	var parts []string
	for _, c := range p.components() {
		parts = append(parts, fmt.Sprintf("%s %d", c.name, t[c.at]))
	}
	return strings.Join(parts, ", ")
}

// behind tells by how much a is behind b in which components; "" if in none. Comparison is
// by component, never of the whole.
func (p Product) behind(a, b TCB) string {
	var parts []string
	for _, c := range p.components() {
		if a[c.at] < b[c.at] {
			parts = append(parts, fmt.Sprintf("%s %d behind %d", c.name, a[c.at], b[c.at]))
		}
	}
	return strings.Join(parts, ", ")
}

// least gives the components by name, of two TCBs the lesser of each.
func (p Product) least(a, b TCB) map[string]int64 {
	m := make(map[string]int64, 5)
	for _, c := range p.components() {
		m[c.name] = int64(min(a[c.at], b[c.at]))
	}
	return m
}

// reserved reports whether bytes of the TCB that mean nothing for this product are zero.
func (p Product) reserved(t TCB) bool {
	for _, c := range p.components() {
		t[c.at] = 0
	}
	return t == TCB{}
}

// claims gives the components by name.
func (p Product) claims(t TCB) map[string]any {
	m := make(map[string]any, 5)
	for _, c := range p.components() {
		m[c.name] = int64(t[c.at])
	}
	return m
}
