package tpm2_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
	"strongroom.dev/wire"
)

const (
	azure   = "azure/confidential-containers+trustee/deps/verifier/test_data/"
	kinvolk = "azure/kinvolk+azure-cvm-tooling/az-cvm-vtpm/test/"
)

// genuine gives a captured quote with its key.
func genuine(t testing.TB) (tpm2.Quote, crypto.PublicKey) {
	t.Helper()
	q, ok := tpm2.ParseBinary(evidencetest.Read(t, kinvolk+"quote.bin"))
	if !ok {
		t.Fatal("the captured quote is not recognised")
	}
	block, _ := pem.Decode(evidencetest.Read(t, kinvolk+"akpub.pem"))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return q, key
}

// TestGenuine verifies a captured quote, and every other spelling of it.
func TestGenuine(t *testing.T) {
	q, key := genuine(t)
	a, err := q.Verify(key)
	if err != nil || len(a.Selections) != 1 || a.Selections[0].Bank != measure.SHA256 || len(a.Selections[0].PCRs) != 24 {
		t.Fatalf("%+v %v", a, err)
	}
	spell := map[string]func([]byte) any{
		"hex":      func(b []byte) any { return hex.EncodeToString(b) },
		"base64":   func(b []byte) any { return base64.StdEncoding.EncodeToString(b) },
		"URL":      func(b []byte) any { return base64.URLEncoding.EncodeToString(b) },
		"unpadded": func(b []byte) any { return base64.RawStdEncoding.EncodeToString(b) },
		"array": func(b []byte) any {
			var list []int
			for _, x := range b {
				list = append(list, int(x))
			}
			return list
		},
	}
	for name, as := range spell {
		var pcrs []any
		for i := range 24 {
			pcrs = append(pcrs, as(q.Banks[0].Values[i]))
		}
		text, err := json.Marshal(map[string]any{"message": as(q.Message), "signature": as(q.Signature), "pcrs": pcrs})
		if err != nil {
			t.Fatal(err)
		}
		got, err := tpm2.ParseJSON(text)
		if err != nil || cmp.Diff(q, got) != "" {
			t.Errorf("%s: %v %s", name, err, cmp.Diff(q, got))
		}
	}
	for _, name := range []string{"az-snp-vtpm/tpm-quote-v1.json", "az-tdx-vtpm/tpm-quote-v1.json"} {
		if _, err := tpm2.ParseJSON(evidencetest.Read(t, azure+name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMutatedQuote flips every bit of one byte after the other: of message, signature and
// values.
func TestMutatedQuote(t *testing.T) {
	q, key := genuine(t)
	parts := map[string][]byte{"message": q.Message, "signature": q.Signature}
	for i, v := range q.Banks[0].Values {
		parts[fmt.Sprintf("PCR %d", i)] = v
	}
	for name, part := range parts {
		for i := range part {
			if testing.Short() && i%7 != 0 {
				continue
			}
			part[i] ^= byte(1 << (i % 8))
			if _, err := q.Verify(key); err == nil {
				t.Errorf("%s altered at %d, and verified", name, i)
			}
			part[i] ^= byte(1 << (i % 8))
		}
	}
	if _, err := q.Verify(key); err != nil {
		t.Errorf("altered back: %v", err)
	}
}

// TestJSONRefused refuses what could be read in two ways.
func TestJSONRefused(t *testing.T) {
	value := strings.Repeat("00", 32)
	list := func(n int) string { return `"` + strings.Repeat(value+`","`, n-1) + value + `"` }
	good := `{"message":"00","signature":"00","pcrs":[` + list(24) + `]}`
	for _, text := range []string{good, strings.Replace(good, "{", `{"nonce":null,"more":[1.5,{}],`, 1)} {
		if _, err := tpm2.ParseJSON([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"duplicate member":               `{"message":"00","message":"01","signature":"00","pcrs":["` + value + `"]}`,
		"duplicate in capitals":          `{"message":"00","MESSAGE":"01","signature":"00","pcrs":["` + value + `"]}`,
		"duplicate, long s":              `{"message":"00","ſignature":"01","signature":"00","pcrs":["` + value + `"]}`,
		"null member":                    strings.Replace(good, `"00"`, "null", 1),
		"fraction":                       strings.Replace(good, `"00"`, "[1.0]", 1),
		"exponent":                       strings.Replace(good, `"00"`, "[1e1]", 1),
		"negative":                       strings.Replace(good, `"00"`, "[-1]", 1),
		"number over a byte":             strings.Replace(good, `"00"`, "[256]", 1),
		"number for bytes":               strings.Replace(good, `"00"`, "7", 1),
		"object for bytes":               strings.Replace(good, `"00"`, "{}", 1),
		"object as array":                `["00","00",[` + list(24) + `]]`,
		"an unknown member too deep":     strings.Replace(good, "{", `{"x":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+",", 1),
		"too many members":               strings.Replace(good, "{", "{"+members(300), 1),
		"too many values in others":      strings.Replace(good, "{", `{"x":[`+strings.Repeat("{},", 1100)+"1],", 1),
		"duplicate in escapes":           strings.Replace(good, "{", `{"\u006dessage":"00",`, 1),
		"duplicate deep inside":          strings.Replace(good, "{", `{"x":[1,{"a\\":1,"a\\":2}],`, 1),
		"two texts":                      good + " " + good,
		"a comma too many":               strings.Replace(good, `"00"`, `"00",`, 1),
		"nested too deep":                strings.Replace(good, `"00"`, strings.Repeat("[", 20)+strings.Repeat("]", 20), 1),
		"text behind it":                 good + "{}",
		"padded hex":                     strings.Replace(good, `"00"`, `"00="`, 1),
		"one hex digit":                  strings.Replace(good, `"00"`, `"0"`, 1),
		"stray bits in base64":           strings.Replace(good, `"00"`, `"//8B/x=="`, 1),
		"too much padding":               strings.Replace(good, `"00"`, `"/w==="`, 1),
		"line break in base64":           strings.Replace(good, `"00"`, `"/w\n=="`, 1),
		"no message":                     `{"signature":"00","pcrs":[` + list(24) + `]}`,
		"no signature":                   `{"message":"00","pcrs":[` + list(24) + `]}`,
		"no values":                      `{"message":"00","signature":"00","pcrs":[]}`,
		"25 values":                      `{"message":"00","signature":"00","pcrs":[` + list(25) + `]}`,
		"values of two lengths":          `{"message":"00","signature":"00","pcrs":["` + value + `","00"]}`,
		"values of no hash":              `{"message":"00","signature":"00","pcrs":["0000"]}`,
		"invalid UTF-8":                  strings.Replace(good, `"00"`, "\"\xff\"", 1),
		"nothing":                        "",
		"document over the size allowed": good + strings.Repeat(" ", tpm2.MaxDocument),
	} {
		if q, err := tpm2.ParseJSON([]byte(text)); err == nil {
			t.Errorf("%s: read as %+v", name, q)
		}
	}
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%q:%d,", fmt.Sprint("x", i), i)
	}
	return b.String()
}

// TestHostileJSON takes little time and memory for documents made to take much.
func TestHostileJSON(t *testing.T) {
	for name, text := range map[string]string{
		"numbers": `{"message":[` + strings.Repeat("1,", 500_000) + `1]}`,
		"objects": `{"x":[` + strings.Repeat("{},", 300_000) + `1]}`,
		"members": "{" + members(80_000) + `"x":1}`,
		"texts":   `{"x":["` + strings.Repeat(`\u0041`, 170_000) + `"]}`,
		"nesting": strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000),
	} {
		start := time.Now()
		allocated := testing.AllocsPerRun(1, func() {
			if err := tpm2.Unique([]byte(text)); err == nil && (name == "objects" || name == "members" || name == "nesting") {
				t.Errorf("%s: accepted", name)
			}
		})
		if spent := time.Since(start); allocated > 2000 || spent > 2*time.Second {
			t.Errorf("%s: %v allocations, %v", name, allocated, spent)
		}
	}
}

// TestBinaryRefused recognises the binary form by all its lengths.
func TestBinaryRefused(t *testing.T) {
	good := evidencetest.Read(t, kinvolk+"quote.bin")
	for name, data := range map[string][]byte{
		"nothing": nil, "a byte short": good[:len(good)-1], "a byte more": append(bytes.Clone(good), 0), "length of all ones": append(bytes.Repeat([]byte{0xff}, 8), good[8:]...),
		"no signature": append(make([]byte, 8), good[8:]...),
	} {
		if _, ok := tpm2.ParseBinary(data); ok {
			t.Errorf("%s: recognised", name)
		}
	}
}

// TestDocument brings a quote into this program's own form and back.
func TestDocument(t *testing.T) {
	q := device{key: rsaKey(), hash: crypto.SHA256}.quote(nonce(), bank(measure.SHA1), bank(measure.SHA256))
	text, err := wire.Marshal(q.Document())
	if err != nil {
		t.Fatal(err)
	}
	var d tpm2.Document
	if err := wire.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	got, err := tpm2.Documents([]tpm2.Document{d})
	if err != nil || cmp.Diff([]tpm2.Quote{q}, got) != "" {
		t.Errorf("%v %s", err, cmp.Diff([]tpm2.Quote{q}, got))
	}
	for name, change := range map[string]func(map[string]map[string]wire.Bytes){
		"unknown bank":   func(b map[string]map[string]wire.Bytes) { b["md5"] = nil },
		"leading zero":   func(b map[string]map[string]wire.Bytes) { b["sha256"]["07"] = nil },
		"PCR 24":         func(b map[string]map[string]wire.Bytes) { b["sha256"]["24"] = nil },
		"a negative PCR": func(b map[string]map[string]wire.Bytes) { b["sha256"]["-1"] = nil },
		"no number":      func(b map[string]map[string]wire.Bytes) { b["sha256"]["x"] = nil },
	} {
		d := q.Document()
		change(d.Banks)
		if _, err := d.Quote(); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	if _, err := tpm2.Documents(nil); err == nil {
		t.Error("no quotes: read")
	}
	if _, err := tpm2.Documents(make([]tpm2.Document, tpm2.MaxQuotes+1)); err == nil {
		t.Error("too many quotes: read")
	}
}
