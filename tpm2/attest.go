package tpm2

import (
	"fmt"

	"strongroom.dev/measure"
)

// Attest is a TPMS_ATTEST of a quote (TPM 2.0, part 2, 10.12.12): what the TPM signed.
type Attest struct {
	// Signer is the qualified name of the key.
	Signer []byte
	// Extra is what the caller gave: the nonce.
	Extra []byte
	// Clock is the TPM's time in milliseconds; ResetCount and RestartCount count its resets
	// and resumes; Safe says that Clock never went back.
	Clock                    uint64
	ResetCount, RestartCount uint32
	Safe                     bool
	// Firmware is the maker's number of the TPM's firmware; many TPMs obfuscate it for keys
	// outside their endorsement hierarchy.
	Firmware   uint64
	Selections []Selection
	// Digest is the hash over the selected PCRs, by the signature's algorithm.
	Digest []byte
}

// Selection is the PCRs of one bank that a quote covers, ascending.
type Selection struct {
	Bank measure.Algorithm
	PCRs []int
}

// The numbers of the TCG's registry that are needed here.
const (
	generated      = 0xff544347 // TPM_GENERATED_VALUE
	attestQuote    = 0x8018     // TPM_ST_ATTEST_QUOTE
	algRSA         = 0x0001
	algNull        = 0x0010
	algRSASSA      = 0x0014
	algRSAES       = 0x0015
	algRSAPSS      = 0x0016
	algOAEP        = 0x0017
	algECDSA       = 0x0018
	algECC         = 0x0023
	curveP256      = 0x0003
	curveP384      = 0x0004
	curveP521      = 0x0005
	attrFixedTPM   = 1 << 1
	attrFixed      = 1 << 4 // fixedParent
	attrOrigin     = 1 << 5 // sensitiveDataOrigin
	attrRestricted = 1 << 16
	attrDecrypt    = 1 << 17
	attrSign       = 1 << 18
)

// ParseAttest reads a TPMS_ATTEST of a quote, to its last byte.
func ParseAttest(data []byte) (*Attest, error) {
	if len(data) > MaxMessage {
		return nil, fmt.Errorf("quote of %d bytes, at most %d", len(data), MaxMessage)
	}
	r := &reader{data: data}
	if magic := r.u32(); magic != generated {
		return nil, fmt.Errorf("not made by a TPM (starts with %08x)", magic)
	}
	if kind := r.u16(); kind != attestQuote {
		return nil, fmt.Errorf("an attestation of kind %04x, expected a quote", kind)
	}
	a := &Attest{Signer: r.sized(maxName), Extra: r.sized(maxExtra), Clock: r.u64(), ResetCount: r.u32(), RestartCount: r.u32()}
	safe := r.u8()
	a.Safe = safe == 1
	a.Firmware = r.u64()
	selections, err := r.selections()
	if err != nil {
		return nil, err
	}
	a.Selections, a.Digest = selections, r.sized(maxDigest)
	switch {
	case r.short:
		return nil, fmt.Errorf("cut short, or with a field that is too long")
	case r.at != len(data):
		return nil, fmt.Errorf("%d bytes behind the quote", len(data)-r.at)
	case safe > 1:
		return nil, fmt.Errorf("clock flag %d", safe)
	}
	return a, nil
}

// selections reads a TPML_PCR_SELECTION.
func (r *reader) selections() ([]Selection, error) {
	n := r.u32()
	if n > maxSelections {
		return nil, fmt.Errorf("%d banks of PCRs", n)
	}
	var all []Selection
	total := 0
	for range n {
		s := Selection{Bank: measure.Algorithm(r.u16())}
		bits := r.upTo(int(r.u8()), maxSelect)
		for i := range 8 * len(bits) {
			if bits[i/8]>>(i%8)&1 == 0 {
				continue
			}
			if i >= measure.NumPCRs {
				return nil, fmt.Errorf("PCR %d", i)
			}
			s.PCRs = append(s.PCRs, i)
		}
		for _, other := range all {
			if other.Bank == s.Bank {
				return nil, fmt.Errorf("%s bank twice", s.Bank)
			}
		}
		all, total = append(all, s), total+len(s.PCRs)
	}
	if total == 0 && !r.short {
		return nil, fmt.Errorf("no PCRs")
	}
	return all, nil
}
