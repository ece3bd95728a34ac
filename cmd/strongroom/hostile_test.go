package main

import (
	"encoding/base64"
	"runtime"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/endorse"
)

// TestHostileEvidence bounds what the largest evidence that is looked at at all may cost, whoever of
// the whole table looks at it.
func TestHostileEvidence(t *testing.T) {
	fill := func(before, unit, after string) []byte {
		return []byte(before + strings.Repeat(unit, (attest.MaxEvidence-len(before)-len(after))/len(unit)) + after)
	}
	table := examiners(endorse.Set{})
	for name, data := range map[string][]byte{
		"zeros":          make([]byte, attest.MaxEvidence),
		"numbers":        fill("[", "1,", "1]"),
		"numbers inside": fill(`{"quote":[`, "1,", "1]}"),
		"strings":        fill("[", `"x",`, `"x"]`),
		"names":          fill(`{"quote":"",`, `"":0,`, `"a":0}`),
		"quotes":         fill(`{"quote":"",`, `"quote":"",`, `"quote":""}`),
		"objects":        fill(`{"quote":0,"x":[`, "{},", "0]}"),
		"deep":           fill("", "[", ""),
		"deep objects":   fill("", `{"quote":`, ""),
		"escapes":        fill(`{"quote":"`, `\u0041`, `"}`),
		"text in quote":  fill(`{"quote":"`, "A", `"}`),
		"hex":            fill("", "0a", ""),
		"base64":         []byte(base64.StdEncoding.EncodeToString(make([]byte, attest.MaxEvidence/4*3))),
		"base64 of JSON": []byte(base64.StdEncoding.EncodeToString(fill("[", "1,", "1]")[:attest.MaxEvidence/4*3])),
		"enveloped":      fill(`{"platform":"tdx","evidence":"`, "AAAA", `"}`),
		"PEM":            fill("", "-----BEGIN X-----\nAAAA\n-----END X-----\n", ""),
		"quotes as PEM":  fill("", "-----BEGIN QUOTE-----\nAAAA\n-----END QUOTE-----\n", ""),
		"COSE":           fill("\xd2\x84\x43\xa1\x01\x26\xa0", "\x81", ""),
		"CBOR lists":     fill("\x9a\x00\x10\x00\x00", "\x80", ""),
		"reports":        fill(`[{"evidence":"`, "AAAA", `"}]`),
		"a log":          fill(`{"quote":"AAAA","cc_eventlog":"`, "AAAA", `"}`),
		"TPM numbers":    fill(`{"tpm_quote":{"message":[`, "255,", "1]}}"),
		"blobs":          fill(`{"quote":{"a":"`, "-", `"}}`),
		"spaces":         fill("{", " ", "}"),
		"DER":            fill("\x30\x83\x1f\xff\xf0", "\x30\x00", ""),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		x, inner, err := attest.Recognise(table, data)
		if err == nil {
			_, err = x.Examine(inner, time.Now())
		}
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		// 100 ms and 40 times as much on a quiet machine, which this one need not be.
		if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > 48*attest.MaxEvidence || took > time.Second {
			t.Errorf("%s: %v, %d bytes for %d, %s", name, err, n, len(data), took)
		}
	}
}
