package sevsnp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"

	"strongroom.dev/cbor"
	"strongroom.dev/cose"
)

// sign1 is a COSE_Sign1 with its protected header as a node.
type sign1 struct {
	*cose.Sign1
	header node
}

// parseSign1 reads a COSE_Sign1. Its unprotected header is unsigned and is not looked at.
func parseSign1(data []byte, b *budget) (*sign1, error) {
	if len(data) > maxStatement {
		return nil, fmt.Errorf("COSE document of %d bytes, at most %d", len(data), maxStatement)
	}
	s, err := cose.ParseSign1(data, b.limits())
	if err != nil {
		return nil, err
	}
	header, err := fromCBOR(s.Header, b)
	return &sign1{s, header}, err
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
	found, ok := attestation(s)
	if !ok {
		return fmt.Errorf("a COSE document without a report in its header")
	}
	e.attested = data
	return e.collect(found, 0)
}

// attestation finds the map with the report in a protected header. No other member may be
// critical (RFC 9052, section 3.1).
func attestation(s *sign1) (node, bool) {
	for _, m := range s.header.members {
		if m.value.kind == aMap && m.value.get("attestation").kind == aBytes && m.value.get("cose_key").kind == aMap {
			return m.value, s.onlyCritical(m.name)
		}
	}
	return node{}, false
}

// onlyCritical reports whether a header has no critical member but that of the given name, or
// none at all if that is "".
func (s *sign1) onlyCritical(name string) bool {
	labels, ok := s.Critical()
	for _, label := range labels {
		ok = ok && name != "" && label.Kind == cbor.Text && label.Text == name
	}
	return ok
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
	key, thumbprint, err := s.attestedKey()
	if err != nil {
		return x.invalid("cose", expected, err.Error(), fix)
	}
	if !bytes.Equal(x.report.ReportData[:32], thumbprint[:]) || !zero(x.report.ReportData[32:]) {
		return x.invalid("cose", expected, fmt.Sprintf("REPORT_DATA %x…, and a key with thumbprint %x…", x.report.ReportData[:8], thumbprint[:8]), fix)
	}
	if err := s.Verify(key); err != nil {
		return x.invalid("cose", expected, err.Error(), fix)
	}
	x.pass("cose", expected, fmt.Sprintf("key %x…, payload of %d bytes", thumbprint[:8], len(s.Payload)))
	x.claim("cose_key_thumbprint", hexText(thumbprint[:]))
	payload := sha256.Sum256(s.Payload)
	x.claim("cose_payload_sha256", hexText(payload[:]))
	cwt := s.header.get("#15")
	x.claimText("cose_issuer", cwt.get("#1"))
	x.claimText("cose_subject", cwt.get("#2"))
	x.claimNumber("cose_issued_at", cwt.get("#6"))
	x.claimNumber("cose_svn", cwt.get("svn"))
	return nil
}

// attestedKey gives the key beside the report in the protected header, and its thumbprint.
func (s *sign1) attestedKey() (*ecdsa.PublicKey, [32]byte, error) {
	for _, p := range s.Header.Pairs {
		if p.Value.Named("attestation").Kind != cbor.Bytes || p.Value.Named("cose_key").Kind != cbor.Map {
			continue
		}
		key, err := cose.Key(p.Value.Named("cose_key"))
		if err != nil {
			return nil, [32]byte{}, err
		}
		thumbprint, err := cose.Thumbprint(key)
		return key, thumbprint, err
	}
	return nil, [32]byte{}, fmt.Errorf("no key beside the report")
}
