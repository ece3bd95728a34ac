package tpm2

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"math/big"

	"strongroom.dev/measure"
)

// Public is a TPMT_PUBLIC of a key (TPM 2.0, part 2, 12.2.4).
type Public struct {
	Key        crypto.PublicKey
	Attributes uint32
	NameAlg    measure.Algorithm
	// Name is the algorithm and the hash of the structure: how a TPM names the key.
	Name []byte
}

// ParsePublic reads a TPMT_PUBLIC, or a TPM2B_PUBLIC, which has a length in front.
func ParsePublic(data []byte) (*Public, error) {
	if len(data) > MaxPublic {
		return nil, fmt.Errorf("public area of %d bytes, at most %d", len(data), MaxPublic)
	}
	if len(data) > 2 && int(binary.BigEndian.Uint16(data)) == len(data)-2 {
		data = data[2:]
	}
	r := &reader{data: data}
	kind := r.u16()
	p := &Public{NameAlg: measure.Algorithm(r.u16()), Attributes: r.u32()}
	r.sized(maxDigest) // policy
	var err error
	switch kind {
	case algRSA:
		p.Key, err = r.rsaKey()
	case algECC:
		p.Key, err = r.eccKey()
	default:
		err = fmt.Errorf("a key of kind %04x", kind)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("public area: %w", err)
	case r.short:
		return nil, fmt.Errorf("public area: cut short, or with a field that is too long")
	case r.at != len(data):
		return nil, fmt.Errorf("public area: %d bytes behind it", len(data)-r.at)
	case p.NameAlg != measure.SHA256 && p.NameAlg != measure.SHA384 && p.NameAlg != measure.SHA512:
		return nil, fmt.Errorf("public area: named by %s", p.NameAlg)
	}
	p.Name = append(binary.BigEndian.AppendUint16(nil, uint16(p.NameAlg)), p.NameAlg.Sum(data)...)
	return p, nil
}

// Lacks says what keeps the key from being an attestation key: that it signs more than what
// the TPM itself made, or may leave the TPM; "" for a proper one (TPM 2.0, part 1, 25.1.5).
func (p *Public) Lacks() string {
	for _, need := range []struct {
		bit  uint32
		lack string
	}{
		{attrRestricted, "it signs anything (not restricted)"},
		{attrSign, "it doesn't sign"},
		{attrFixedTPM, "it may leave the TPM (not fixedTPM)"},
		{attrFixed, "it may leave the TPM (not fixedParent)"},
		{attrOrigin, "it may be known outside (not sensitiveDataOrigin)"},
	} {
		if p.Attributes&need.bit == 0 {
			return need.lack
		}
	}
	if p.Attributes&attrDecrypt != 0 {
		return "it also decrypts"
	}
	return ""
}

// symmetric reads over a TPMT_SYM_DEF_OBJECT.
func (r *reader) symmetric() {
	if r.u16() != algNull {
		r.take(4) // bits and mode
	}
}

// scheme reads over a TPMT_RSA_SCHEME, TPMT_ECC_SCHEME or TPMT_KDF_SCHEME of the kinds that
// carry nothing or a hash.
func (r *reader) scheme() {
	if s := r.u16(); s != algNull && s != algRSAES {
		r.take(2)
	}
}

func (r *reader) rsaKey() (crypto.PublicKey, error) {
	r.symmetric()
	r.scheme()
	bits, exponent := int(r.u16()), r.u32()
	modulus := r.sized(maxRSA / 8)
	if exponent == 0 {
		exponent = 65537
	}
	if r.short {
		return nil, nil
	}
	n := new(big.Int).SetBytes(modulus)
	if n.BitLen() != bits || exponent > 1<<31-1 {
		return nil, fmt.Errorf("RSA key of %d bits, expected %d, exponent %d", n.BitLen(), bits, exponent)
	}
	key := &rsa.PublicKey{N: n, E: int(exponent)}
	return key, CheckKey(key)
}

func (r *reader) eccKey() (crypto.PublicKey, error) {
	r.symmetric()
	r.scheme()
	id := r.u16()
	r.scheme() // of key derivation
	x, y := r.sized(maxCoordinate), r.sized(maxCoordinate)
	if r.short {
		return nil, nil
	}
	curve := curveOf(id)
	if curve == nil {
		return nil, fmt.Errorf("curve %04x", id)
	}
	return point(curve, x, y)
}

func curveOf(id uint16) elliptic.Curve {
	switch id {
	case curveP256:
		return elliptic.P256()
	case curveP384:
		return elliptic.P384()
	case curveP521:
		return elliptic.P521()
	}
	return nil
}

// point reads coordinates that TPMs give with or without leading zeros.
func point(curve elliptic.Curve, x, y []byte) (*ecdsa.PublicKey, error) {
	size := (curve.Params().BitSize + 7) / 8
	flat := make([]byte, 1+2*size)
	flat[0] = 4
	bx, by := new(big.Int).SetBytes(x), new(big.Int).SetBytes(y)
	if bx.BitLen() > 8*size || by.BitLen() > 8*size {
		return nil, fmt.Errorf("a point beyond its curve")
	}
	bx.FillBytes(flat[1 : 1+size])
	by.FillBytes(flat[1+size:])
	return ecdsa.ParseUncompressedPublicKey(curve, flat)
}

// CheckKey refuses keys that are too weak to believe or too long to check.
func CheckKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA || k.E < 65537 || k.E%2 == 0 || k.N.Bit(0) == 0 {
			return fmt.Errorf("RSA key of %d bits with exponent %d, expected %d to %d bits and at least 65537", n, k.E, minRSA, maxRSA)
		}
		return nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
	}
	return fmt.Errorf("a key of kind %T", key)
}

// KeyText names a key's kind.
func KeyText(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Params().Name
	}
	return fmt.Sprintf("%T", key)
}
