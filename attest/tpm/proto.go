package tpm

import (
	"crypto/x509"
	"fmt"

	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
)

// field is one field of a protocol buffer message.
type field struct {
	number uint64
	value  uint64 // of a varint
	bytes  []byte // of a length-delimited field
}

// fields reads a message of varints and length-delimited fields, the only kinds that the
// messages here have; at most so many.
func fields(data []byte, most int) ([]field, error) {
	var all []field
	for len(data) > 0 {
		if len(all) == most {
			return nil, fmt.Errorf("more than %d fields", most)
		}
		tag, n := varint(data)
		f := field{number: tag >> 3}
		if n == 0 || f.number == 0 {
			return nil, fmt.Errorf("no protocol buffer message")
		}
		data = data[n:]
		value, n := varint(data)
		if n == 0 {
			return nil, fmt.Errorf("field %d is cut short", f.number)
		}
		data = data[n:]
		switch tag & 7 {
		case 0:
			f.value = value
		case 2:
			if value > uint64(len(data)) {
				return nil, fmt.Errorf("field %d is cut short", f.number)
			}
			f.bytes, data = data[:value:value], data[value:]
			if f.bytes == nil {
				f.bytes = []byte{}
			}
		default:
			return nil, fmt.Errorf("field %d of wire type %d", f.number, tag&7)
		}
		all = append(all, f)
	}
	return all, nil
}

// varint reads a number of at most 10 bytes; n is 0 if there is none.
func varint(data []byte) (value uint64, n int) {
	for i := 0; i < len(data) && i < 10; i++ {
		value |= uint64(data[i]&0x7f) << (7 * i)
		if data[i] < 0x80 {
			if i == 9 && data[i] > 1 {
				return 0, 0
			}
			return value, i + 1
		}
	}
	return 0, 0
}

// The fields of the messages that go-tpm-tools writes (proto/attest.proto, proto/tpm.proto).
const (
	attestationAK            = 1
	attestationQuote         = 2
	attestationLog           = 3
	attestationInstance      = 4
	attestationCanonicalLog  = 5
	attestationAKCertificate = 6
	attestationCertificate   = 7
	attestationSNP           = 8
	attestationTDX           = 9
)

// openMessage reads an Attestation message. Its instance information is not signed and left
// out; so is the report of other hardware that it may carry.
func openMessage(data []byte) (*parts, error) {
	all, err := fields(data, maxFields)
	if err != nil {
		return nil, err
	}
	p := &parts{form: "go-tpm-tools' form"}
	seen := map[uint64]bool{}
	for _, f := range all {
		repeated := f.number == attestationQuote || f.number == attestationCertificate
		if f.bytes == nil || seen[f.number] && !repeated {
			return nil, fmt.Errorf("field %d twice or of another type", f.number)
		}
		seen[f.number] = true
		if err := p.field(f); err != nil {
			return nil, err
		}
	}
	if p.public == nil || len(p.quotes) == 0 {
		return nil, fmt.Errorf("no attestation key or no quote")
	}
	p.key = p.public.Key
	return p, nil
}

func (p *parts) field(f field) (err error) {
	switch f.number {
	case attestationAK:
		p.public, err = tpm2.ParsePublic(f.bytes)
	case attestationQuote:
		var q tpm2.Quote
		if q, err = messageQuote(f.bytes); err == nil {
			p.quotes = append(p.quotes, q)
		}
		if len(p.quotes) > tpm2.MaxQuotes {
			err = fmt.Errorf("more than %d quotes", tpm2.MaxQuotes)
		}
	case attestationLog:
		p.log = f.bytes
	case attestationAKCertificate:
		p.akCert, err = parseCertificate(f.bytes)
	case attestationCertificate:
		if len(p.certs) == MaxCertificates {
			return fmt.Errorf("more than %d certificates", MaxCertificates)
		}
		var c *x509.Certificate
		c, err = parseCertificate(f.bytes)
		p.certs = append(p.certs, c)
	case attestationInstance, attestationCanonicalLog: // not signed; nothing is concluded from them
	case attestationSNP, attestationTDX:
		p.hardware = true
	default:
		err = fmt.Errorf("unknown field %d", f.number)
	}
	return err
}

// messageQuote reads a Quote message: quote, raw_sig, pcrs.
func messageQuote(data []byte) (tpm2.Quote, error) {
	all, err := fields(data, 3)
	if err != nil {
		return tpm2.Quote{}, err
	}
	var q tpm2.Quote
	for _, f := range all {
		switch {
		case f.number == 1 && q.Message == nil && f.bytes != nil:
			q.Message = f.bytes
		case f.number == 2 && q.Signature == nil && f.bytes != nil:
			q.Signature = f.bytes
		case f.number == 3 && q.Banks == nil && f.bytes != nil:
			b, err := messagePCRs(f.bytes)
			if err != nil {
				return tpm2.Quote{}, err
			}
			q.Banks = []tpm2.Bank{b}
		default:
			return tpm2.Quote{}, fmt.Errorf("quote: field %d twice, unknown or of another type", f.number)
		}
	}
	return q, nil
}

// messagePCRs reads a PCRs message: hash, and a map from number to value.
func messagePCRs(data []byte) (tpm2.Bank, error) {
	all, err := fields(data, 1+measure.NumPCRs)
	if err != nil {
		return tpm2.Bank{}, err
	}
	b := tpm2.Bank{Values: map[int][]byte{}}
	for _, f := range all {
		switch {
		case f.number == 1 && f.bytes == nil && b.Bank == 0 && f.value <= 0xffff:
			b.Bank = measure.Algorithm(f.value)
		case f.number == 2 && f.bytes != nil:
			i, value, err := messagePCR(f.bytes)
			if err != nil {
				return tpm2.Bank{}, err
			}
			if _, twice := b.Values[i]; twice {
				return tpm2.Bank{}, fmt.Errorf("PCR %d twice", i)
			}
			b.Values[i] = value
		default:
			return tpm2.Bank{}, fmt.Errorf("PCRs: field %d twice, unknown or of another type", f.number)
		}
	}
	return b, nil
}

// messagePCR reads an entry of the map; number 0 may be left out.
func messagePCR(data []byte) (int, []byte, error) {
	all, err := fields(data, 2)
	if err != nil {
		return 0, nil, err
	}
	index, value := -1, []byte(nil)
	for _, f := range all {
		switch {
		case f.number == 1 && f.bytes == nil && index < 0 && f.value < measure.NumPCRs:
			index = int(f.value)
		case f.number == 2 && f.bytes != nil && value == nil:
			value = f.bytes
		default:
			return 0, nil, fmt.Errorf("PCR: field %d twice, unknown or out of range", f.number)
		}
	}
	return max(index, 0), value, nil
}
