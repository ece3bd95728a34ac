package sevsnp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/big"
)

// sign1 is a COSE_Sign1 (RFC 9052, section 4.2): a payload signed by one key.
type sign1 struct {
	protected []byte // as signed
	header    node   // what stands in protected
	payload   []byte
	signature []byte
}

// parseSign1 reads a COSE_Sign1. Its unprotected header is unsigned and is not looked at.
func parseSign1(data []byte, b *budget) (*sign1, error) {
	if len(data) > maxStatement {
		return nil, fmt.Errorf("COSE document of %d bytes, at most %d", len(data), maxStatement)
	}
	data = bytes.TrimPrefix(data, []byte{0xd2}) // tag 18, which may be absent
	n, err := readCBOR(data, b)
	if err != nil {
		return nil, err
	}
	if data[0]>>5 != 4 || len(n.items) != 4 || n.items[0].kind != aBytes || n.items[1].kind != aMap || n.items[2].kind != aBytes || n.items[3].kind != aBytes {
		return nil, fmt.Errorf("not a COSE_Sign1 with its payload inside")
	}
	s := &sign1{protected: n.items[0].bytes, payload: n.items[2].bytes, signature: n.items[3].bytes}
	s.header, err = readCBOR(s.protected, b)
	if err == nil && s.header.kind != aMap {
		err = fmt.Errorf("a protected header that is no map")
	}
	return s, err
}

// toBeSigned gives Sig_structure (RFC 9052, section 4.4).
func (s *sign1) toBeSigned() []byte {
	var b bytes.Buffer
	b.WriteByte(0x84)
	b.WriteString("\x6aSignature1")
	for _, part := range [][]byte{s.protected, nil, s.payload} {
		var head [5]byte
		head[0] = 0x5a
		binary.BigEndian.PutUint32(head[1:], uint32(len(part)))
		b.Write(shortest(head, len(part)))
		b.Write(part)
	}
	return b.Bytes()
}

// shortest gives the shortest head of a byte string of n bytes; long is the five-byte one.
func shortest(long [5]byte, n int) []byte {
	switch {
	case n < 24:
		return []byte{0x40 | byte(n)}
	case n < 1<<8:
		return []byte{0x58, byte(n)}
	case n < 1<<16:
		return []byte{0x59, byte(n >> 8), byte(n)}
	}
	return long[:]
}

// algorithm gives the hash of the algorithm in the protected header, and whether it is one
// of RSA-PSS (RFC 9053, section 2.1; RFC 8230, section 2).
func (s *sign1) algorithm() (crypto.Hash, bool, error) {
	alg := s.header.get("#1")
	if alg.kind == aNegative {
		switch alg.number + 1 {
		case 7:
			return crypto.SHA256, false, nil
		case 35:
			return crypto.SHA384, false, nil
		case 37:
			return crypto.SHA256, true, nil
		case 38:
			return crypto.SHA384, true, nil
		case 39:
			return crypto.SHA512, true, nil
		}
	}
	return 0, false, fmt.Errorf("an algorithm not accepted here")
}

// verify checks the signature.
func (s *sign1) verify(key crypto.PublicKey) error {
	hash, pss, err := s.algorithm()
	if err != nil {
		return err
	}
	digest := digestOf(hash, s.toBeSigned())
	switch k := key.(type) {
	case *rsa.PublicKey:
		if !pss {
			return fmt.Errorf("an RSA key with an algorithm of ECDSA")
		}
		return rsa.VerifyPSS(k, hash, digest, s.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().BitSize + 7) / 8
		if pss || len(s.signature) != 2*size {
			return fmt.Errorf("a signature that is not one of this key's kind")
		}
		r, v := new(big.Int).SetBytes(s.signature[:size]), new(big.Int).SetBytes(s.signature[size:])
		if !ecdsa.Verify(k, digest, r, v) {
			return fmt.Errorf("a signature that does not verify")
		}
		return nil
	}
	return fmt.Errorf("a key of a kind not accepted here")
}

func digestOf(hash crypto.Hash, data []byte) []byte {
	switch hash {
	case crypto.SHA384:
		d := sha512.Sum384(data)
		return d[:]
	case crypto.SHA512:
		d := sha512.Sum512(data)
		return d[:]
	}
	d := sha256.Sum256(data)
	return d[:]
}

// cose takes a COSE document whose protected header holds a map with a report in it, the
// certificates for it, Microsoft's statement about the firmware and the key that signed the
// document (as Microsoft's confidential signing service makes them).
func (e *Envelope) cose(data []byte) error {
	e.Form = formCOSE
	s, err := parseSign1(data, &e.budget)
	if err != nil {
		return err
	}
	found, ok := attestation(s.header)
	if !ok {
		return fmt.Errorf("a COSE document without a report in its header")
	}
	e.attested = data
	return e.collect(found, 0)
}

// attestation finds the map with the report in a protected header. No other member may be
// critical (RFC 9052, section 3.1).
func attestation(header node) (node, bool) {
	for _, m := range header.members {
		if m.value.kind == aMap && m.value.get("attestation").kind == aBytes && m.value.get("cose_key").kind == aMap {
			return m.value, onlyCritical(header, m.name)
		}
	}
	return node{}, false
}

// onlyCritical reports whether a header has no critical member but that of the given name.
func onlyCritical(header node, name string) bool {
	crit := header.get("#2")
	for _, label := range crit.items {
		if label.kind != aText || label.text != name {
			return false
		}
	}
	return crit.kind == other || crit.kind == anArray && len(crit.items) > 0
}

// attestedKey checks that a COSE document is signed by the key in its header, and that the
// report vouches for that key: REPORT_DATA is its thumbprint (RFC 9679) and zeros.
func (x *examination) attestedKey() error {
	if x.envelope.attested == nil {
		return nil
	}
	const expected = "a COSE document signed by the key whose thumbprint is REPORT_DATA"
	const fix = "take the document anew from whoever signed it"
	s, err := parseSign1(x.envelope.attested, &budget{})
	if err != nil {
		return x.invalid("cose", expected, err.Error(), fix)
	}
	found, _ := attestation(s.header)
	key, thumbprint, err := coseKey(found.get("cose_key"))
	if err != nil {
		return x.invalid("cose", expected, err.Error(), fix)
	}
	if !bytes.Equal(x.report.ReportData[:32], thumbprint[:]) || !zero(x.report.ReportData[32:]) {
		return x.invalid("cose", expected, fmt.Sprintf("REPORT_DATA %x…, and a key with thumbprint %x…", x.report.ReportData[:8], thumbprint[:8]), fix)
	}
	if err := s.verify(key); err != nil {
		return x.invalid("cose", expected, err.Error(), fix)
	}
	x.pass("cose", expected, fmt.Sprintf("key %x…, payload of %d bytes", thumbprint[:8], len(s.payload)))
	x.claim("cose_key_thumbprint", hexText(thumbprint[:]))
	payload := sha256.Sum256(s.payload)
	x.claim("cose_payload_sha256", hexText(payload[:]))
	cwt := s.header.get("#15")
	x.claimText("cose_issuer", cwt.get("#1"))
	x.claimText("cose_subject", cwt.get("#2"))
	x.claimNumber("cose_issued_at", cwt.get("#6"))
	x.claimNumber("cose_svn", cwt.get("svn"))
	return nil
}

// coseKey reads a P-384 key (RFC 9053, section 7.1.1) and gives its thumbprint.
func coseKey(n node) (*ecdsa.PublicKey, [32]byte, error) {
	x, y := n.get("#-2"), n.get("#-3")
	if n.get("#1").number != 2 || n.get("#-1").number != 2 || n.get("#-1").kind != aNumber || len(x.bytes) != 48 || len(y.bytes) != 48 {
		return nil, [32]byte{}, fmt.Errorf("a key that is not one of P-384")
	}
	point := append(append([]byte{4}, x.bytes...), y.bytes...)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P384(), point)
	canonical := append([]byte{0xa4, 0x01, 0x02, 0x20, 0x02, 0x21, 0x58, 48}, x.bytes...)
	canonical = append(append(canonical, 0x22, 0x58, 48), y.bytes...)
	return key, sha256.Sum256(canonical), err
}
