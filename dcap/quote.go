package dcap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"strongroom.dev/verdict"
)

// TEE is the kind of machine that a quote speaks for, as numbered in its header.
type TEE uint32

// The kinds. A quote of version 3 has no such number and is always SGX.
const (
	SGX TEE = 0
	TDX TEE = 0x81
)

// String gives Intel's name.
func (t TEE) String() string {
	switch t {
	case SGX:
		return "SGX"
	case TDX:
		return "TDX"
	}
	return fmt.Sprintf("TEE type 0x%x", uint32(t))
}

// prefix starts the ids of checks.
func (t TEE) prefix() string { return strings.ToLower(t.String()) + "." }

// Body types of quotes of version 5 (Intel TDX DCAP quoting library API, section A.4).
const (
	bodyEnclave = 1
	bodyTD10    = 2
	bodyTD15    = 3
)

// Sizes in bytes.
const (
	headerSize  = 48
	enclaveSize = 384
	td10Size    = 584
	td15Size    = 648
)

// Types of certification data (Intel SGX ECDSA quote library API, section A.4).
const (
	certPPIDPlain = 1
	certChain     = 5
	certQEReport  = 6
)

// keyECDSAP256 is the only attestation key type there is evidence of.
const keyECDSAP256 = 2

// intelQE is the vendor id of Intel's quoting enclaves, in hex.
const intelQE = "939a7233f79c4ca9940a0db3957f0607"

// Header is the first 48 bytes of a quote.
type Header struct {
	Version uint16
	KeyType uint16
	TEE     TEE
	// QESVN and PCESVN are claims of version 3; reserved, and zero so far, in later versions.
	QESVN, PCESVN uint16
	Vendor        [16]byte
	// UserData is chosen by the quoting enclave; its first 16 bytes are the platform's id there.
	UserData [20]byte
}

// Quote is a parsed quote. Nothing in it is checked but its form.
type Quote struct {
	Header Header
	// BodyType is 1 for an enclave, 2 for TD 1.0, 3 for TD 1.5, in quotes of every version.
	BodyType uint16
	// Enclave is set for SGX, TD for TDX; the other is nil.
	Enclave *EnclaveReport
	TD      *TDReport

	// QE is the quoting enclave's own report, which the PCK signs.
	QE       EnclaveReport
	AuthData []byte
	// Chain is the PEM text of PCK certificate, CA and root.
	Chain []byte
	// Padding is the number of zero bytes behind the quote.
	Padding int

	signed, signature  []byte // by the attestation key
	key                []byte // x || y of the attestation key
	qeReport, qeSigned []byte // the report's 384 bytes, and the PCK's signature of them
}

// reader takes fields off the front; once something is missing it gives zeros.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.short = true
		r.rest = nil
		return make([]byte, min(max(n, 0), headerSize))
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }

// sized takes a length of 32 bits and that many bytes.
func (r *reader) sized() []byte {
	n := r.u32()
	if uint64(n) > uint64(len(r.rest)) {
		r.short = true
		r.rest = nil
		return nil
	}
	return r.take(int(n))
}

// ParseQuote reads a quote of version 3 (SGX), 4 or 5 (SGX and TDX): Intel SGX ECDSA quote
// library API, section A.4; Intel TDX DCAP quoting library API, section A.3. Little endian.
// Zeros behind the quote are its producer's padding; anything else there is refused.
func ParseQuote(data []byte) (*Quote, error) {
	if len(data) > MaxQuote {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), MaxQuote)
	}
	r := &reader{rest: data}
	q := &Quote{}
	if err := q.header(r); err != nil {
		return nil, err
	}
	if err := q.body(r); err != nil {
		return nil, err
	}
	q.signed = data[: len(data)-len(r.rest) : len(data)-len(r.rest)]
	signature := &reader{rest: r.sized()}
	if r.short {
		return nil, fmt.Errorf("cut off: the signature data is longer than what follows")
	}
	if trailing := bytes.TrimLeft(r.rest, "\x00"); len(trailing) > 0 {
		return nil, fmt.Errorf("%d bytes behind the quote that are not zero padding", len(trailing))
	}
	q.Padding = len(r.rest)
	return q, q.signatureData(signature)
}

func (q *Quote) header(r *reader) error {
	h := &q.Header
	h.Version, h.KeyType, h.TEE = r.u16(), r.u16(), TEE(r.u32())
	h.QESVN, h.PCESVN = r.u16(), r.u16()
	copy(h.Vendor[:], r.take(16))
	copy(h.UserData[:], r.take(20))
	switch {
	case r.short:
		return fmt.Errorf("shorter than a quote's header of %d bytes", headerSize)
	case h.Version < 3 || h.Version > 5:
		return fmt.Errorf("quote version %d, known are 3, 4 and 5", h.Version)
	case h.TEE != SGX && h.TEE != TDX, h.Version == 3 && h.TEE != SGX:
		return fmt.Errorf("TEE type 0x%x in a quote of version %d", uint32(h.TEE), h.Version)
	case h.KeyType != keyECDSAP256:
		return fmt.Errorf("attestation key type %d, known is 2 (ECDSA P-256)", h.KeyType)
	case fmt.Sprintf("%x", h.Vendor) != intelQE:
		return fmt.Errorf("quoting enclave of vendor %x, known is Intel's %s", h.Vendor, intelQE)
	}
	return nil
}

func (q *Quote) body(r *reader) error {
	size := 0
	switch {
	case q.Header.Version == 5:
		q.BodyType = r.u16()
		size = int(min(r.u32(), MaxQuote))
	case q.Header.TEE == SGX:
		q.BodyType, size = bodyEnclave, enclaveSize
	default:
		q.BodyType, size = bodyTD10, td10Size
	}
	want := 0
	switch {
	case q.BodyType == bodyEnclave && q.Header.TEE == SGX:
		want = enclaveSize
	case q.BodyType == bodyTD10 && q.Header.TEE == TDX:
		want = td10Size
	case q.BodyType == bodyTD15 && q.Header.TEE == TDX:
		want = td15Size
	default:
		return fmt.Errorf("body type %d in a quote for %s", q.BodyType, q.Header.TEE)
	}
	if size != want {
		return fmt.Errorf("body of %d bytes, type %d has %d", size, q.BodyType, want)
	}
	raw := r.take(want)
	if r.short {
		return fmt.Errorf("cut off within the body of %d bytes", want)
	}
	if q.BodyType == bodyEnclave {
		e := parseEnclave(raw)
		q.Enclave = &e
	} else {
		td := parseTD(raw)
		q.TD = &td
	}
	return nil
}

// signatureData reads signature 64, attestation key 64, then what certifies that key: in
// version 3 the QE's report and its certification data, later the same within certification
// data of type 6.
func (q *Quote) signatureData(r *reader) error {
	q.signature, q.key = r.take(64), r.take(64)
	if q.Header.Version > 3 {
		kind, inner := r.u16(), r.sized()
		if r.short {
			return fmt.Errorf("cut off within the signature data")
		}
		if kind != certQEReport {
			return q.otherCertification(kind)
		}
		if len(r.rest) > 0 {
			return fmt.Errorf("%d bytes behind the certification data", len(r.rest))
		}
		r = &reader{rest: inner}
	}
	q.qeReport, q.qeSigned = r.take(enclaveSize), r.take(64)
	q.AuthData = r.take(int(r.u16()))
	kind, chain := r.u16(), r.sized()
	switch {
	case r.short:
		return fmt.Errorf("cut off within the certification data")
	case kind != certChain:
		return q.otherCertification(kind)
	case len(r.rest) > 0:
		return fmt.Errorf("%d bytes behind the certificate chain", len(r.rest))
	case len(chain) > MaxChain:
		return fmt.Errorf("certificate chain of %d bytes, at most %d", len(chain), MaxChain)
	}
	q.QE, q.Chain = parseEnclave(q.qeReport), chain
	return nil
}

// otherCertification refuses certification data that only Intel or the machine's owner
// could resolve to a certificate.
func (q *Quote) otherCertification(kind uint16) error {
	got := fmt.Sprintf("certification data of type %d", kind)
	switch kind {
	case certPPIDPlain:
		got += " (platform id)"
	case 2, 3:
		got += " (encrypted platform id)"
	case 4:
		got += " (PCK certificate without its chain)"
	}
	return verdict.NotGenuine(q.Header.TEE.prefix()+"certification_data", "the PCK certificate chain in the quote (type 5)", got,
		"let the machine's quote provider (QCNL, PCCS) deliver the PCK certificate chain, then take a new quote")
}
