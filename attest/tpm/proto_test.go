package tpm_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"strongroom.dev/attest/tpm"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
	"strongroom.dev/verdict"
)

// number and text are fields of a protocol buffer message.
func number(n, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, n<<3), value)
}

func text(n uint64, parts ...[]byte) []byte {
	value := bytes.Join(parts, nil)
	return append(binary.AppendUvarint(binary.AppendUvarint(nil, n<<3|2), uint64(len(value))), value...)
}

// message makes go-tpm-tools' Attestation of a world, with more fields behind it.
func message(t *testing.T, w *world, more ...[]byte) []byte {
	t.Helper()
	return bytes.Join(append([][]byte{text(1, w.evidence.AKPublic), text(2, quoteMessage(w)), text(6, w.ak.cert.Raw), text(7, w.middle.cert.Raw)}, more...), nil)
}

func quoteMessage(w *world, more ...[]byte) []byte {
	q := w.evidence.Quotes[0]
	pcrs := number(1, uint64(measure.SHA256))
	for i := range measure.NumPCRs {
		index := []byte(nil)
		if i > 0 { // the number 0 is left out by protocol buffers
			index = number(1, uint64(i))
		}
		pcrs = append(pcrs, text(2, index, text(2, bank(measure.SHA256).Values[i]))...)
	}
	return bytes.Join(append([][]byte{text(1, q.Message), text(2, q.Signature), text(3, pcrs)}, more...), nil)
}

// TestMessage reads the message of go-tpm-tools, and tells what is unsigned in it.
func TestMessage(t *testing.T) {
	w := newWorld(t)
	v := w.verifier(t)
	for name, data := range map[string][]byte{"plain": message(t, w), "instance information": message(t, w, text(4, text(1, []byte("zone"))), text(5, []byte("log")))} {
		f, err := v.Examine(data, noon)
		if err != nil || evidencetest.Failed(f) != "" || len(f.Warnings) != 0 || f.Claims["instance_zone"] != nil {
			t.Errorf("%s: %v %s %v", name, err, evidencetest.Failed(f), f.Warnings)
		}
	}
	f, err := v.Examine(message(t, w, text(8, []byte("report"))), noon)
	if err != nil || strings.Join(f.Warnings, "") != "tpm.hardware" {
		t.Errorf("a report of other hardware inside: %v %v", err, f.Warnings)
	}
}

// TestMessageRefused refuses messages that could be read in two ways.
func TestMessageRefused(t *testing.T) {
	w := newWorld(t)
	good := message(t, w)
	quoted := func(more ...[]byte) []byte {
		return bytes.Join([][]byte{text(1, w.evidence.AKPublic), text(2, quoteMessage(w, more...)), text(6, w.ak.cert.Raw)}, nil)
	}
	registers := func(fields ...[]byte) []byte {
		q := w.evidence.Quotes[0]
		return bytes.Join([][]byte{text(1, w.evidence.AKPublic), text(2, text(1, q.Message), text(2, q.Signature), text(3, fields...)), text(6, w.ak.cert.Raw)}, nil)
	}
	value := make([]byte, 32)
	for name, data := range map[string][]byte{
		"two keys":               message(t, w, text(1, w.evidence.AKPublic)),
		"two certificates":       message(t, w, text(6, w.ak.cert.Raw)),
		"two logs":               message(t, w, text(3, nil), text(3, nil)),
		"a number for a key":     append(number(1, 5), good...),
		"an unknown field":       message(t, w, text(31, nil)),
		"a field of 32 bits":     message(t, w, []byte{31<<3 | 5, 0, 0, 0, 0}),
		"field number 0":         message(t, w, []byte{2, 0}),
		"cut short":              good[:len(good)-1],
		"a tag without a value":  message(t, w, []byte{0x1a}),
		"a length without end":   message(t, w, append([]byte{0x1a}, bytes.Repeat([]byte{0xff}, 11)...)),
		"a length of 2^63":       message(t, w, append([]byte{0x1a}, binary.AppendUvarint(nil, 1<<63)...)),
		"too many fields":        message(t, w, bytes.Repeat(text(7, w.middle.cert.Raw), 70)),
		"too many certificates":  message(t, w, bytes.Repeat(text(7, w.middle.cert.Raw), tpm.MaxCertificates)),
		"too many quotes":        message(t, w, bytes.Repeat(text(2, quoteMessage(w)), 8)),
		"the same bank twice":    message(t, w, text(2, quoteMessage(w))),
		"no quotes":              append(text(1, w.evidence.AKPublic), text(6, w.ak.cert.Raw)...),
		"no key":                 append(text(2, quoteMessage(w)), text(6, w.ak.cert.Raw)...),
		"two messages in quote":  quoted(text(1, w.evidence.Quotes[0].Message)),
		"unknown field in quote": quoted(text(4, nil)),
		"two hashes":             registers(number(1, 11), number(1, 11)),
		"a hash beyond 16 bits":  registers(number(1, 11+1<<16)),
		"a text for a hash":      registers(text(1, nil)),
		"PCR 24":                 registers(number(1, 11), text(2, number(1, 24), text(2, value))),
		"PCR of 2^64-1":          registers(number(1, 11), text(2, number(1, 1<<64-1), text(2, value))),
		"PCR 5 twice":            registers(number(1, 11), text(2, number(1, 5), text(2, value)), text(2, number(1, 5), text(2, value))),
		"two values of a PCR":    registers(number(1, 11), text(2, text(2, value), text(2, value))),
		"too many PCRs":          registers(bytes.Repeat(text(2, text(2, value)), 26)),
	} {
		if _, err := w.verifier(t).Examine(data, noon); err == nil || verdict.As(err).Kind != verdict.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
