package tpm2

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"strongroom.dev/measure"
	"strongroom.dev/wire"
)

// banks are the algorithms of banks that are known here.
func banks() []measure.Algorithm {
	return []measure.Algorithm{measure.SHA1, measure.SHA256, measure.SHA384, measure.SHA512}
}

// Document is a quote in this program's own forms of evidence (spec/tpm.md): canonical JSON.
type Document struct {
	// Banks are the quoted values: bank ("sha256") to PCR number ("0" to "23") to bytes.
	Banks     map[string]map[string]wire.Bytes `json:"banks"`
	Message   wire.Bytes                       `json:"message"`
	Signature wire.Bytes                       `json:"signature"`
}

// Document gives the quote as it stands in evidence of this program.
func (q Quote) Document() Document {
	d := Document{Banks: map[string]map[string]wire.Bytes{}, Message: q.Message, Signature: q.Signature}
	for _, b := range q.Banks {
		values := map[string]wire.Bytes{}
		for i, v := range b.Values {
			values[strconv.Itoa(i)] = v
		}
		d.Banks[b.Bank.String()] = values
	}
	return d
}

// Quote reads the document back.
func (d Document) Quote() (Quote, error) {
	q := Quote{Message: d.Message, Signature: d.Signature}
	for _, name := range slices.Sorted(maps.Keys(d.Banks)) {
		b := Bank{Values: map[int][]byte{}}
		for _, alg := range banks() {
			if alg.String() == name {
				b.Bank = alg
			}
		}
		if b.Bank == 0 {
			return Quote{}, fmt.Errorf("bank %.20q", name)
		}
		for index, value := range d.Banks[name] {
			i, err := strconv.Atoi(index)
			if err != nil || strconv.Itoa(i) != index || i < 0 || i >= measure.NumPCRs {
				return Quote{}, fmt.Errorf("PCR %.20q", index)
			}
			b.Values[i] = value
		}
		q.Banks = append(q.Banks, b)
	}
	return q, nil
}

// Documents reads several quotes, at least one.
func Documents(all []Document) ([]Quote, error) {
	if len(all) == 0 || len(all) > MaxQuotes {
		return nil, fmt.Errorf("%d quotes, expected 1 to %d", len(all), MaxQuotes)
	}
	var quotes []Quote
	for _, d := range all {
		q, err := d.Quote()
		if err != nil {
			return nil, err
		}
		quotes = append(quotes, q)
	}
	return quotes, nil
}

// ParseJSON reads {"message", "signature", "pcrs"} as Trustee, az-cvm-vtpm and others write
// it, bytes in hex, base64 or arrays; pcrs are values of one bank in the order of their
// numbers.
func ParseJSON(text []byte) (Quote, error) {
	var e struct {
		Message   AnyBytes   `json:"message"`
		Signature AnyBytes   `json:"signature"`
		PCRs      []AnyBytes `json:"pcrs"`
	}
	if err := Decode(text, &e); err != nil {
		return Quote{}, fmt.Errorf("quote: %w", err)
	}
	if len(e.Message) == 0 || len(e.Signature) == 0 {
		return Quote{}, fmt.Errorf("quote without message or signature")
	}
	bank, err := listed(e.PCRs)
	return Quote{Message: e.Message, Signature: e.Signature, Banks: []Bank{bank}}, err
}

// listed makes a bank of values in the order of their numbers; their length says which.
func listed(values []AnyBytes) (Bank, error) {
	if len(values) == 0 || len(values) > measure.NumPCRs {
		return Bank{}, fmt.Errorf("%d PCR values, expected 1 to %d", len(values), measure.NumPCRs)
	}
	b := Bank{Values: map[int][]byte{}}
	for _, alg := range banks() {
		if alg.Size() == len(values[0]) {
			b.Bank = alg
		}
	}
	for i, v := range values {
		if b.Bank == 0 || len(v) != b.Bank.Size() {
			return Bank{}, fmt.Errorf("PCR %d with a value of %d bytes", i, len(v))
		}
		b.Values[i] = v
	}
	return b, nil
}

// ParseBinary reads the form of az-cvm-vtpm's struct Quote in bincode: lengths of 64 bits,
// little endian; signature, message, 24 values of 32 bytes. It reports whether data has it.
func ParseBinary(data []byte) (Quote, bool) {
	next := func(most uint64) []byte {
		if len(data) < 8 {
			return nil
		}
		n := binary.LittleEndian.Uint64(data)
		if n == 0 || n > most || n > uint64(len(data)-8) {
			return nil
		}
		out := data[8 : 8+n]
		data = data[8+n:]
		return out
	}
	q := Quote{Signature: next(MaxSignature)}
	q.Message = next(MaxMessage)
	if q.Signature == nil || q.Message == nil || len(data) != 8+32*measure.NumPCRs || binary.LittleEndian.Uint64(data) != measure.NumPCRs {
		return Quote{}, false
	}
	b := Bank{Bank: measure.SHA256, Values: map[int][]byte{}}
	for i := range measure.NumPCRs {
		b.Values[i] = data[8+32*i:][:32]
	}
	q.Banks = []Bank{b}
	return q, true
}
