package sevsnp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
)

// vek is a versioned endorsement key's certificate (AMD 57230, section 3.1): a VCEK or VLEK.
// Reading one checks its form, never its signature.
type vek struct {
	cert    *x509.Certificate
	key     *ecdsa.PublicKey
	kind    KeyKind
	product Product // as its issuer is named
	name    string  // product and stepping, such as "Milan-B0"
	tcb     TCB     // in the product's layout
	chip    [64]byte
	csp     string // whom a VLEK was loaded for
}

// The extensions of AMD's certificates, below 1.3.6.1.4.1.3704.1 (AMD 57230, table 8).
const (
	arcVersion = 1
	arcProduct = 2
	arcSPL     = 3 // .n, a version number each
	arcChip    = 4
	arcCSP     = 5
)

// isVEK reports whether a certificate is meant to be a VCEK or VLEK.
func isVEK(c *x509.Certificate) bool {
	return c.Subject.CommonName == "SEV-VCEK" || c.Subject.CommonName == "SEV-VLEK"
}

// isAuthority reports whether a certificate is meant to be one of AMD's roots or
// intermediates: by any of its names, so that one that was altered is not taken for somebody
// else's.
func isAuthority(c *x509.Certificate) bool {
	name := c.Subject.CommonName
	amd := func(organizations []string) bool { return slices.Contains(organizations, "Advanced Micro Devices") }
	return !isVEK(c) && (amd(c.Subject.Organization) || amd(c.Issuer.Organization) || strings.HasPrefix(name, "ARK-") || strings.HasPrefix(name, "SEV-"))
}

// parseVEK reads a certificate.
func parseVEK(c *x509.Certificate) (*vek, error) {
	v := &vek{cert: c}
	issuer := c.Issuer.CommonName
	switch {
	case c.Subject.CommonName == "SEV-VCEK" && !strings.HasPrefix(issuer, "SEV-VLEK-"):
		v.product = Product(strings.TrimPrefix(issuer, "SEV-"))
	case c.Subject.CommonName == "SEV-VLEK" && strings.HasPrefix(issuer, "SEV-VLEK-"):
		v.kind, v.product = VLEK, Product(strings.TrimPrefix(issuer, "SEV-VLEK-"))
	default:
		return nil, fmt.Errorf("a certificate of %.40q by %.40q", c.Subject.CommonName, issuer)
	}
	if v.product != Milan && v.product != Genoa && v.product != Turin {
		return nil, fmt.Errorf("issued by %.40q, of no product known here", issuer)
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return nil, fmt.Errorf("its key is not one of P-384")
	}
	v.key = key
	if c.Version != 3 || c.SignatureAlgorithm != x509.SHA384WithRSAPSS || len(c.UnhandledCriticalExtensions) != 0 {
		return nil, fmt.Errorf("not a version 3 certificate signed with RSA-PSS and SHA-384")
	}
	return v, v.readExtensions()
}

func (v *vek) readExtensions() error {
	found := make(map[string][]byte)
	for _, e := range v.cert.Extensions { // crypto/x509 refuses an extension that stands twice
		if arcs, ok := strings.CutPrefix(e.Id.String(), "1.3.6.1.4.1.3704.1."); ok {
			found[arcs] = e.Value
		}
	}
	for _, c := range v.product.components() {
		n, err := smallInteger(found[fmt.Sprintf("%d.%d", arcSPL, c.oid)])
		if err != nil {
			return fmt.Errorf("version number of %s: %w", c.name, err)
		}
		v.tcb[c.at] = n
	}
	for oid := 4; oid <= 7; oid++ { // reserved components: present and zero, or absent
		value, ok := found[fmt.Sprintf("%d.%d", arcSPL, oid)]
		if n, err := smallInteger(value); ok && (err != nil || n != 0) {
			return fmt.Errorf("a reserved version number that is not zero")
		}
	}
	if _, err := smallInteger(found[fmt.Sprint(arcVersion)]); err != nil {
		return fmt.Errorf("structure version: %w", err)
	}
	var err error
	if v.name, err = shortText(found[fmt.Sprint(arcProduct)]); err != nil {
		return fmt.Errorf("product name: %w", err)
	}
	if v.product.contradicts(v.name) {
		return fmt.Errorf("product name %q under the issuer of %s", v.name, v.product)
	}
	return v.readOwner(found[fmt.Sprint(arcChip)], found[fmt.Sprint(arcCSP)])
}

// readOwner reads whose key it is: a chip's, or a cloud's.
func (v *vek) readOwner(chip, csp []byte) (err error) {
	switch {
	case v.kind == VLEK && chip != nil:
		return fmt.Errorf("a VLEK with a chip id")
	case v.kind == VLEK:
		if v.csp, err = shortText(csp); err != nil {
			return fmt.Errorf("name of the cloud: %w", err)
		}
		return nil
	case csp != nil:
		return fmt.Errorf("a VCEK with the name of a cloud")
	}
	// Older certificates hold the bare bytes, newer ones an OCTET STRING of them. Turin's ids
	// have 8 bytes, which stand first in CHIP_ID, zeros after them.
	size := 64
	if v.product == Turin {
		size = 8
	}
	if len(chip) == size+2 && chip[0] == asn1.TagOctetString && int(chip[1]) == size {
		chip = chip[2:]
	}
	if len(chip) != size || zero(chip) {
		return fmt.Errorf("chip id of %d bytes, expected %d", len(chip), size)
	}
	copy(v.chip[:], chip)
	return nil
}

// smallInteger reads a DER INTEGER from 0 to 255.
func smallInteger(der []byte) (byte, error) {
	var n int
	rest, err := asn1.Unmarshal(der, &n)
	if err != nil || len(rest) != 0 || n < 0 || n > 255 {
		return 0, fmt.Errorf("expected an integer from 0 to 255")
	}
	return byte(n), nil
}

// shortText reads a DER string of printable ASCII.
func shortText(der []byte) (string, error) {
	var raw asn1.RawValue
	rest, err := asn1.Unmarshal(der, &raw)
	if err != nil || len(rest) != 0 || raw.Class != asn1.ClassUniversal || len(raw.Bytes) == 0 || len(raw.Bytes) > 128 ||
		(raw.Tag != asn1.TagIA5String && raw.Tag != asn1.TagUTF8String && raw.Tag != asn1.TagPrintableString) {
		return "", fmt.Errorf("expected a short text")
	}
	for _, b := range raw.Bytes {
		if b < 0x20 || b > 0x7e {
			return "", fmt.Errorf("expected printable ASCII")
		}
	}
	return string(raw.Bytes), nil
}

// speaksFor tells why the certificate is not the one for a report; "" if it is: the same
// kind of key, the same product, exactly the TCB that the report was made under, and the
// same chip. A chip id that the host masks is no reason here, see [examination.machine].
func (v *vek) speaksFor(r *Report) (check, expected, got string) {
	if r.Flags.Key() != v.kind {
		return "signer", "the certificate of a " + r.Flags.Key().String(), "a " + v.kind.String()
	}
	if product := productOf(r.Family, r.Model); r.Version >= 3 && product != v.product {
		return "product", fmt.Sprintf("a certificate for family %#x, model %#x (%s)", r.Family, r.Model, orUnknown(product)), "one of the " + string(v.product) + " line"
	}
	if v.tcb != r.ReportedTCB {
		return "tcb", "a certificate for the reported TCB: " + v.product.text(r.ReportedTCB), "one for " + v.product.text(v.tcb)
	}
	if v.kind == VCEK && v.chip != r.ChipID && !zero(r.ChipID[:]) {
		return "chip_id", fmt.Sprintf("the certificate of chip %x…", r.ChipID[:8]), fmt.Sprintf("that of chip %x…", v.chip[:8])
	}
	return "", "", ""
}

func orUnknown(p Product) string {
	if p == "" {
		return "a product not known here"
	}
	return string(p)
}
