package tpm2

import (
	"bytes"
	"crypto"
	"fmt"
)

const attestCertify = 0x8017 // TPM_ST_ATTEST_CERTIFY

// VerifyCertify checks that a TPM certified one of its own keys (TPM2_Certify; part 2, 10.12.3
// and 10.12.12): message is a TPMS_ATTEST, signed by key, that names p, to its last byte.
func VerifyCertify(message, sig []byte, key crypto.PublicKey, p *Public) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	s, err := parseSignature(sig, key)
	if err != nil {
		return err
	}
	if len(message) > MaxMessage {
		return fmt.Errorf("certificate of %d bytes, at most %d", len(message), MaxMessage)
	}
	if err := s.verify(key, message); err != nil {
		return err
	}
	r := &reader{data: message}
	if magic, kind := r.u32(), r.u16(); magic != generated || kind != attestCertify {
		return fmt.Errorf("not a TPM's word about a key (starts with %08x %04x)", magic, kind)
	}
	r.sized(maxName)      // qualified signer
	r.sized(maxExtra)     // what the caller gave
	r.take(8 + 4 + 4 + 1) // clock
	r.take(8)             // firmware
	name := r.sized(maxName)
	r.sized(maxName) // qualified name
	switch {
	case r.short || r.at != len(message):
		return fmt.Errorf("a TPM's word about a key that doesn't fit its lengths")
	case len(name) == 0 || !bytes.Equal(name, p.Name):
		return fmt.Errorf("a TPM's word about another key")
	}
	return nil
}

// LacksToReceive says what keeps a key from being one that only the TPM can decrypt with; "" for
// a proper one.
func (p *Public) LacksToReceive() string {
	for _, need := range []struct {
		bit  uint32
		lack string
	}{
		{attrDecrypt, "it doesn't decrypt"},
		{attrFixedTPM, "it may leave the TPM (not fixedTPM)"},
		{attrFixed, "it may leave the TPM (not fixedParent)"},
		{attrOrigin, "it may be known outside (not sensitiveDataOrigin)"},
	} {
		if p.Attributes&need.bit == 0 {
			return need.lack
		}
	}
	if p.Attributes&(attrSign|attrRestricted) != 0 {
		return "it is for other uses too"
	}
	return ""
}
