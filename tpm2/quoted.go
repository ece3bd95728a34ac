package tpm2

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"strongroom.dev/measure"
)

// Quoted is what one or several quotes over the same nonce by the same key say together.
type Quoted struct {
	// Attest is the first of them; in Nonce and Signer they are all alike.
	Attest *Attest
	Nonce  []byte
	// Banks are the values that the quotes cover, without the bank of SHA-1, strongest last.
	Banks []Bank
	// Weak is the SHA-1 bank, if it is quoted. Nothing is to be concluded from it.
	Weak Bank
}

// VerifyQuotes verifies quotes that came together: each by [Quote.Verify], all over the same
// nonce, by the same key, since the same reset of the TPM, and each bank once.
func VerifyQuotes(quotes []Quote, key crypto.PublicKey) (*Quoted, error) {
	if len(quotes) == 0 || len(quotes) > MaxQuotes {
		return nil, fmt.Errorf("%d quotes, expected 1 to %d", len(quotes), MaxQuotes)
	}
	var all Quoted
	for i, q := range quotes {
		a, err := q.Verify(key)
		if err != nil {
			return nil, fmt.Errorf("quote %d: %w", i+1, err)
		}
		if i == 0 {
			all.Attest, all.Nonce = a, a.Extra
		}
		first := all.Attest
		if !bytes.Equal(a.Extra, first.Extra) || !bytes.Equal(a.Signer, first.Signer) || a.ResetCount != first.ResetCount || a.RestartCount != first.RestartCount {
			return nil, fmt.Errorf("quote %d is about another nonce, key or boot than the first", i+1)
		}
		if err := all.add(q.Banks); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all.Banks, func(a, b Bank) int { return a.Bank.Size() - b.Bank.Size() })
	return &all, nil
}

func (all *Quoted) add(banks []Bank) error {
	for _, b := range banks {
		if len(b.Values) == 0 {
			continue
		}
		if b.Bank == all.Weak.Bank || slices.ContainsFunc(all.Banks, func(o Bank) bool { return o.Bank == b.Bank }) {
			return fmt.Errorf("the %s bank twice", b.Bank)
		}
		if b.Bank == measure.SHA1 {
			all.Weak = b
			continue
		}
		all.Banks = append(all.Banks, b)
	}
	return nil
}

// Best is the strongest bank; its Bank is 0 if only that of SHA-1 is quoted.
func (all *Quoted) Best() Bank {
	if len(all.Banks) == 0 {
		return Bank{}
	}
	return all.Banks[len(all.Banks)-1]
}

// Measurements gives the values by name, "pcr0" to "pcr23", in lower-case hex. PCRs that
// nothing has extended are left out: they measure nothing. Only where none is [Bank.Missing]
// does a name that isn't there say so.
func (b Bank) Measurements() map[string]string {
	m := make(map[string]string, len(b.Values))
	for i, v := range b.Values {
		if !measure.Untouched(measure.PCRs, uint32(i), v) {
			m["pcr"+strconv.Itoa(i)] = hex.EncodeToString(v)
		}
	}
	return m
}

// Missing gives those of the PCRs from 0 up to and including last that the bank lacks.
func (b Bank) Missing(last int) []int {
	var missing []int
	for i := range last + 1 {
		if _, ok := b.Values[i]; !ok {
			missing = append(missing, i)
		}
	}
	return missing
}

// ExtendedOnce reports whether a PCR that began at zeros was extended with value alone, a
// digest of the bank's length.
func (b Bank) ExtendedOnce(pcr int, value []byte) bool {
	size := b.Bank.Size()
	return size > 0 && len(value) == size && bytes.Equal(b.Values[pcr], b.Bank.Sum(make([]byte, size), value))
}

// Extended reports whether a PCR that began at zeros was extended with these values, digests of
// the bank's length, in this order and with nothing else.
func (b Bank) Extended(pcr int, values ...[]byte) bool {
	size := b.Bank.Size()
	register := make([]byte, size)
	for _, v := range values {
		if len(v) != size {
			return false
		}
		register = b.Bank.Sum(register, v)
	}
	return size > 0 && len(values) > 0 && bytes.Equal(b.Values[pcr], register)
}

// Claims describes the quotes for people and rules.
func (all *Quoted) Claims() map[string]any {
	a := all.Attest
	banks := map[string]any{}
	for _, b := range append(slices.Clone(all.Banks), all.Weak) {
		if b.Bank == 0 {
			continue
		}
		values := map[string]any{}
		for i, v := range b.Values {
			values[strconv.Itoa(i)] = hex.EncodeToString(v)
		}
		banks[b.Bank.String()] = values
	}
	return map[string]any{
		"nonce":            hex.EncodeToString(all.Nonce),
		"pcrs":             banks,
		"qualified_signer": hex.EncodeToString(a.Signer),
		"clock":            strconv.FormatUint(a.Clock, 10), // may have more than 53 bits
		"clock_safe":       a.Safe,
		"reset_count":      int(a.ResetCount),
		"restart_count":    int(a.RestartCount),
		"firmware_version": fmt.Sprintf("%016x", a.Firmware),
	}
}
