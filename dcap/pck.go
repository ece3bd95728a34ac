package dcap

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math"
)

// PCK is what Intel's extension to a provisioning certification key's certificate says
// (Intel SGX PCK certificate and CRL profile, section 1.3.5).
type PCK struct {
	PPID       [16]byte
	Components [16]byte
	PCESVN     uint16
	CPUSVN     [16]byte
	PCEID      [2]byte
	FMSPC      [6]byte
	// SGXType is 0 (standard), 1 (scalable) or 2 (scalable with integrity).
	SGXType int
	// The rest is only in certificates of the platform CA, machines with several sockets.
	Platform                                bool
	PIID                                    [16]byte
	DynamicPlatform, CachedKeys, SMTEnabled bool
}

// extension is the arc 1.2.840.113741.1.13.1.
func extension() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1} }

type element struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

// ParsePCK reads the extension of a certificate. Every element must be there once, and none
// that is not known.
func ParsePCK(c *x509.Certificate) (PCK, error) {
	var p PCK
	var value []byte
	for _, e := range c.Extensions {
		if e.Id.Equal(extension()) {
			if value != nil {
				return p, fmt.Errorf("two SGX extensions")
			}
			value = e.Value
		}
	}
	if value == nil {
		return p, fmt.Errorf("no SGX extension: not a PCK certificate")
	}
	seen, err := p.elements(value, extension(), p.element)
	if err != nil {
		return p, err
	}
	for i := 1; i <= 5; i++ {
		if !seen[i] {
			return p, fmt.Errorf("SGX extension without element %d", i)
		}
	}
	if seen[6] != seen[7] {
		return p, fmt.Errorf("SGX extension with one of platform instance id and configuration, expected both or none")
	}
	p.Platform = seen[6]
	return p, nil
}

// elements reads a sequence of {OID, value}, each OID one number below the arc.
func (p *PCK) elements(der []byte, arc asn1.ObjectIdentifier, take func(n int, v asn1.RawValue) error) (seen [19]bool, err error) {
	var list []element
	if rest, err := asn1.Unmarshal(der, &list); err != nil || len(rest) > 0 {
		return seen, fmt.Errorf("SGX extension of unknown form")
	}
	for _, e := range list {
		if len(e.ID) != len(arc)+1 || !e.ID[:len(arc)].Equal(arc) {
			return seen, fmt.Errorf("SGX extension with element %v", e.ID)
		}
		n := e.ID[len(arc)]
		if n < 1 || n >= len(seen) || seen[n] {
			return seen, fmt.Errorf("SGX extension with element %v, unknown or twice", e.ID)
		}
		seen[n] = true
		if err := take(n, e.Value); err != nil {
			return seen, fmt.Errorf("SGX extension, element %v: %w", e.ID, err)
		}
	}
	return seen, nil
}

func (p *PCK) element(n int, v asn1.RawValue) error {
	switch n {
	case 1:
		return octets(p.PPID[:], v)
	case 2:
		seen, err := p.elements(v.FullBytes, append(extension(), 2), p.tcb)
		for i := 1; err == nil && i < len(seen); i++ {
			if !seen[i] {
				err = fmt.Errorf("no TCB element %d", i)
			}
		}
		return err
	case 3:
		return octets(p.PCEID[:], v)
	case 4:
		return octets(p.FMSPC[:], v)
	case 5:
		var kind asn1.Enumerated
		if err := whole(v, &kind); err != nil {
			return err
		}
		if kind < 0 || kind > 2 {
			return fmt.Errorf("SGX type %d, known are 0 to 2", kind)
		}
		p.SGXType = int(kind)
		return nil
	case 6:
		return octets(p.PIID[:], v)
	case 7:
		_, err := p.elements(v.FullBytes, append(extension(), 7), p.configuration)
		return err
	}
	return fmt.Errorf("unknown")
}

// tcb takes components 1 to 16, PCESVN 17 and CPUSVN 18.
func (p *PCK) tcb(n int, v asn1.RawValue) error {
	if n == 18 {
		return octets(p.CPUSVN[:], v)
	}
	var svn int
	if err := whole(v, &svn); err != nil {
		return err
	}
	most := math.MaxUint8
	if n == 17 {
		most = math.MaxUint16
	}
	if svn < 0 || svn > most {
		return fmt.Errorf("security version %d, expected 0 to %d", svn, most)
	}
	if n == 17 {
		p.PCESVN = uint16(svn)
	} else {
		p.Components[n-1] = byte(svn)
	}
	return nil
}

func (p *PCK) configuration(n int, v asn1.RawValue) error {
	switch n {
	case 1:
		return whole(v, &p.DynamicPlatform)
	case 2:
		return whole(v, &p.CachedKeys)
	case 3:
		return whole(v, &p.SMTEnabled)
	}
	return fmt.Errorf("unknown")
}

func whole(v asn1.RawValue, into any) error {
	rest, err := asn1.Unmarshal(v.FullBytes, into)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("bytes behind the value")
	}
	return err
}

func octets(into []byte, v asn1.RawValue) error {
	var b []byte
	if err := whole(v, &b); err != nil {
		return err
	}
	if len(b) != len(into) {
		return fmt.Errorf("%d bytes, expected %d", len(b), len(into))
	}
	copy(into, b)
	return nil
}
