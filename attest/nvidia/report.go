package nvidia

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
)

// Report is one SPDM 1.1 exchange (DMTF DSP0274, section 10.11): the verifier's
// GET_MEASUREMENTS request and the device's MEASUREMENTS response, one after the other.
type Report struct {
	// Nonce is the verifier's, from the request; Responder the device's own.
	Nonce, Responder [32]byte
	// Params are param1 and param2 of the response.
	Params [2]byte
	// Blocks are the measurements, in the order of the report.
	Blocks []Block
	// Fields are the opaque data.
	Fields []Field
	// Padding is the number of zero bytes behind the signature, which some collectors leave.
	Padding int

	signed []byte // request and response up to the signature
	r, s   [48]byte
}

// Block is one measurement. Index counts from 1; RIMs count from 0.
type Block struct {
	Index byte
	// Type is DMTFSpecMeasurementValueType: bit 7 is set for values that are no digests.
	Type  byte
	Value []byte
}

// Offsets of the request, and of the response's fixed part.
const (
	sizeRequest = 37 // version, code, two params, nonce, slot
	sizeHead    = 8  // version, code, two params, number of blocks, length of the record
	sizeNonce   = 32
	sizeHalf    = 48 // r and s of a P-384 signature
)

// looksLikeReport reports whether data starts as a report does.
func looksLikeReport(data []byte) bool {
	return len(data) >= sizeRequest+sizeHead && len(data) <= maxReport &&
		bytes.HasPrefix(data, []byte{0x11, 0xe0, 0x01, 0xff}) && bytes.HasPrefix(data[sizeRequest:], []byte{0x11, 0x60})
}

// ParseReport reads a report. Lengths inside it say where the signature is; what stands
// behind it must be zeros.
func ParseReport(data []byte) (*Report, error) {
	if !looksLikeReport(data) {
		return nil, errors.New("no GET_MEASUREMENTS request for all signed measurements with its response, of SPDM 1.1")
	}
	if data[sizeRequest-1] != 0 {
		return nil, fmt.Errorf("certificate slot %d; device identities are in slot 0", data[sizeRequest-1])
	}
	r := &Report{Params: [2]byte(data[sizeRequest+2:])}
	copy(r.Nonce[:], data[4:])
	c := cursor{data: data, at: sizeRequest + 4}
	count := int(c.take(1)[0])
	record := c.take(int(le24(c.take(3))))
	copy(r.Responder[:], c.take(sizeNonce))
	opaque := c.take(int(le16(c.take(2))))
	end := c.at
	signature := c.take(2 * sizeHalf)
	if c.short {
		return nil, fmt.Errorf("cut off: %d bytes do not hold what its lengths say", len(data))
	}
	copy(r.r[:], signature)
	copy(r.s[:], signature[sizeHalf:])
	r.signed = bytes.Clone(data[:end])
	if rest := data[c.at:]; len(bytes.TrimLeft(rest, "\x00")) > 0 {
		return nil, fmt.Errorf("%d bytes behind the signature that are not all zero", len(rest))
	}
	r.Padding = len(data) - c.at
	if err := r.blocks(count, record); err != nil {
		return nil, err
	}
	var err error
	r.Fields, err = parseFields(opaque)
	return r, err
}

// cursor reads fields one after the other. Past the end it gives zeros and says so.
type cursor struct {
	data  []byte
	at    int
	short bool
}

func (c *cursor) take(n int) []byte {
	if c.short || n > len(c.data)-c.at {
		c.short = true
		return make([]byte, min(n, sizeNonce+2*sizeHalf))
	}
	c.at += n
	return c.data[c.at-n : c.at]
}

func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }

func le24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

// blocks reads the measurement record: index [1], specification [1] (1 is DMTF's), size [2],
// then type [1], length of the value [2], value.
func (r *Report) blocks(count int, record []byte) error {
	if count == 0 || count > maxBlocks {
		return fmt.Errorf("%d measurements, expected 1 to %d", count, maxBlocks)
	}
	const head, inner = 4, 3
	seen := [256]bool{}
	for ; len(record) > 0; count-- {
		if count == 0 || len(record) < head+inner {
			return errors.New("measurement record and number of measurements differ")
		}
		index, size, length := record[0], int(le16(record[2:])), int(le16(record[5:]))
		switch {
		case record[1] != 1:
			return fmt.Errorf("measurement %d of specification %d, only DMTF's is known", index, record[1])
		case index == 0 || index > maxIndex+1 || seen[index]:
			return fmt.Errorf("measurement %d is out of range or there twice", index)
		case size != length+inner || length == 0 || length > maxValue || len(record) < head+size:
			return fmt.Errorf("measurement %d of %d bytes, its value of %d", index, size, length)
		}
		seen[index] = true
		r.Blocks = append(r.Blocks, Block{index, record[4], bytes.Clone(record[head+inner : head+size])})
		record = record[head+size:]
	}
	if count != 0 {
		return errors.New("fewer measurements than their number says")
	}
	return nil
}

// measurement gives the digest at an index as RIMs count; nil if there is none.
func (r *Report) measurement(index int) []byte {
	for _, b := range r.Blocks {
		if int(b.Index) == index+1 && b.Type&0x80 == 0 {
			return b.Value
		}
	}
	return nil
}

// signedBy checks the signature: ECDSA on P-384 with SHA-384 over request and response, r
// and s bare.
func (r *Report) signedBy(key *ecdsa.PublicKey) bool {
	digest := sha512.Sum384(r.signed)
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(r.r[:]), new(big.Int).SetBytes(r.s[:]))
}
