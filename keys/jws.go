package keys

import "crypto/ed25519"

// VerifyJWS checks a compact token's signature over its signing input (RFC 7515, section
// 5.2) for the two algorithms that one of these keys can have made: "EdDSA" (RFC 8037) by an
// Ed25519 key and "ES256" (RFC 7518, section 3.4) by a key on P-256. Pairs with ML-DSA make
// no tokens. The error is [ErrSignature], whatever the reason.
//
// It is for tokens that others issue: what this package signs is never a token.
func (k PublicKey) VerifyJWS(algorithm string, input, signature []byte) error {
	v, err := k.split()
	if err != nil || v.pq != nil || len(signature) != ed25519.SignatureSize { // 64 bytes, of both
		return ErrSignature
	}
	if want := map[Algorithm]string{Ed25519: "EdDSA", ECDSAP256: "ES256"}[k.algorithm]; want == "" || algorithm != want {
		return ErrSignature
	}
	if !v.verifyClassic(input, signature) {
		return ErrSignature
	}
	return nil
}
