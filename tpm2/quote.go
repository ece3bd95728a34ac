package tpm2

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/subtle"
	"fmt"
	"math/big"
	"slices"

	"strongroom.dev/measure"
)

// Quote is a quote with the PCR values that it is about.
type Quote struct {
	// Message is the TPMS_ATTEST that is signed.
	Message []byte
	// Signature is a TPMT_SIGNATURE, or for RSA the bare signature (RSASSA with SHA-256).
	Signature []byte
	// Banks are the values of the PCRs, exactly those that the quote selects.
	Banks []Bank
}

// Bank is the values of PCRs in one bank.
type Bank struct {
	Bank   measure.Algorithm
	Values map[int][]byte
}

// signature is a parsed TPMT_SIGNATURE (TPM 2.0, part 2, 11.3.4).
type signature struct {
	scheme uint16
	hash   measure.Algorithm
	rsa    []byte
	r, s   *big.Int
}

func (s signature) text() string {
	name := map[uint16]string{algRSASSA: "RSASSA", algRSAPSS: "RSAPSS", algECDSA: "ECDSA"}[s.scheme]
	return name + " with " + s.hash.String()
}

// parseSignature reads a signature for a key. A bare RSA signature has exactly the length
// of the modulus; no TPMT_SIGNATURE for that key has.
func parseSignature(data []byte, key crypto.PublicKey) (signature, error) {
	if k, ok := key.(*rsa.PublicKey); ok && len(data) == k.Size() {
		return signature{scheme: algRSASSA, hash: measure.SHA256, rsa: data}, nil
	}
	if len(data) > MaxSignature {
		return signature{}, fmt.Errorf("signature of %d bytes, at most %d", len(data), MaxSignature)
	}
	r := &reader{data: data}
	s := signature{scheme: r.u16(), hash: measure.Algorithm(r.u16())}
	switch s.scheme {
	case algRSASSA, algRSAPSS:
		s.rsa = r.sized(maxRSA / 8)
	case algECDSA:
		s.r, s.s = new(big.Int).SetBytes(r.sized(maxCoordinate)), new(big.Int).SetBytes(r.sized(maxCoordinate))
	default:
		return s, fmt.Errorf("signature scheme %04x, expected RSASSA, RSAPSS or ECDSA", s.scheme)
	}
	switch {
	case r.short || r.at != len(data):
		return s, fmt.Errorf("signature of %d bytes that doesn't fit its lengths", len(data))
	case s.hash != measure.SHA256 && s.hash != measure.SHA384 && s.hash != measure.SHA512:
		return s, fmt.Errorf("a signature with %s", s.hash)
	}
	return s, nil
}

// verify checks the signature over message.
func (s signature) verify(key crypto.PublicKey, message []byte) error {
	digest := s.hash.Sum(message)
	hash := map[measure.Algorithm]crypto.Hash{measure.SHA256: crypto.SHA256, measure.SHA384: crypto.SHA384, measure.SHA512: crypto.SHA512}[s.hash]
	switch k := key.(type) {
	case *rsa.PublicKey:
		if s.scheme == algRSASSA {
			return rsa.VerifyPKCS1v15(k, hash, digest, s.rsa)
		}
		if s.scheme == algRSAPSS { // TPMs choose the salt's length by their version
			return rsa.VerifyPSS(k, hash, digest, s.rsa, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
		}
	case *ecdsa.PublicKey:
		if s.scheme == algECDSA && ecdsa.Verify(k, digest, s.r, s.s) {
			return nil
		}
	}
	return fmt.Errorf("the signature (%s) does not verify under the %s key", s.text(), KeyText(key))
}

// Verify checks the signature of the quote, that it is a quote, and that the PCR values are
// exactly those that it selects and hash to its digest.
func (q Quote) Verify(key crypto.PublicKey) (*Attest, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	s, err := parseSignature(q.Signature, key)
	if err != nil {
		return nil, err
	}
	if len(q.Message) > MaxMessage {
		return nil, fmt.Errorf("quote of %d bytes, at most %d", len(q.Message), MaxMessage)
	}
	if err := s.verify(key, q.Message); err != nil {
		return nil, err
	}
	a, err := ParseAttest(q.Message)
	if err != nil {
		return nil, err
	}
	return a, q.covers(a, s.hash)
}

// covers compares the values with the quote's selection and digest: the hash, by the
// signature's algorithm, over the values in the order of the selection (TPM 2.0, part 3,
// 18.4: TPM2_Quote).
func (q Quote) covers(a *Attest, alg measure.Algorithm) error {
	var parts [][]byte
	count := 0
	for _, sel := range a.Selections {
		i := slices.IndexFunc(q.Banks, func(b Bank) bool { return b.Bank == sel.Bank })
		if len(sel.PCRs) > 0 && i < 0 {
			return fmt.Errorf("the quote covers the %s bank, of which no values are given", sel.Bank)
		}
		for _, pcr := range sel.PCRs {
			value := q.Banks[i].Values[pcr]
			if len(value) != sel.Bank.Size() || len(value) == 0 {
				return fmt.Errorf("the quote covers PCR %d of the %s bank; its value has %d bytes", pcr, sel.Bank, len(value))
			}
			parts = append(parts, value)
			count++
		}
	}
	given := 0
	for _, b := range q.Banks {
		given += len(b.Values)
	}
	if given != count {
		return fmt.Errorf("%d PCR values are given, the quote covers %d", given, count)
	}
	if subtle.ConstantTimeCompare(alg.Sum(parts...), a.Digest) != 1 {
		return fmt.Errorf("the PCR values don't hash to the quote's digest")
	}
	return nil
}
