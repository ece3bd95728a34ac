package tpm2_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	peer "github.com/google/go-tpm/tpm2"

	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
	"strongroom.dev/wire"
)

func FuzzParseAttest(f *testing.F) {
	f.Add(peer.Marshal(device{key: rsaKey(), hash: crypto.SHA256}.structure([]byte{1}, bank(measure.SHA256))))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := tpm2.ParseAttest(data)
		if err == nil && (len(data) > tpm2.MaxMessage || len(a.Selections) == 0) {
			t.Errorf("%+v", a)
		}
	})
}

func FuzzParsePublic(f *testing.F) {
	for _, data := range templates() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := tpm2.ParsePublic(data)
		if err == nil && (p.Key == nil || tpm2.CheckKey(p.Key) != nil || len(p.Name) < 34) {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"message":[1,2],"signature":"00","pcrs":["/w=="]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := tpm2.ParseJSON(data)
		if err != nil {
			return
		}
		if _, err := q.Document().Quote(); err != nil {
			t.Error(err)
		}
		if _, err := wire.Marshal(q.Document()); err != nil {
			t.Error(err)
		}
	})
}

func FuzzParseBinary(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		if q, ok := tpm2.ParseBinary(data); ok && (len(q.Banks[0].Values) != 24 || len(q.Signature) == 0) {
			t.Errorf("%+v", q)
		}
	})
}

// FuzzVerify lets the fuzzer choose message and signature: nothing verifies.
func FuzzVerify(f *testing.F) {
	d := device{key: rsaKey(), hash: crypto.SHA256}
	good := d.quote([]byte{1}, bank(measure.SHA256))
	f.Add(good.Message, good.Signature)
	f.Fuzz(func(t *testing.T, message, signature []byte) {
		if bytes.Equal(message, good.Message) {
			return
		}
		if _, err := (tpm2.Quote{Message: message, Signature: signature, Banks: good.Banks}).Verify(d.key.Public()); err == nil {
			t.Error("forged")
		}
	})
}

// FuzzUnique compares with a walk through encoding/json's tokens.
func FuzzUnique(f *testing.F) {
	for _, text := range []string{`{"a":[1,{"b":"\"\\","B":null}],"c":-1.5e3}`, `{"a":1,"\u0041":2}`, `[[[[[[[[[[]]]]]]]]]]`, `"\ud800"`, " 1 ", "{} {}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := tpm2.Unique(text)
		if len(text) > 4096 { // below it, no limit but that of depth is met
			return
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		want := utf8.Valid(text) && json.Valid(text) && once(dec, 0)
		if (err == nil) != want && !strings.Contains(fmt.Sprint(err), "more than") {
			t.Errorf("%q: %v, expected %v", text, err, want)
		}
	})
}

// once reads a value, and reports whether it is shallow and without duplicate members.
func once(dec *json.Decoder, depth int) bool {
	token, err := dec.Token()
	delim, nested := token.(json.Delim)
	if err != nil || !nested {
		return err == nil
	}
	good := depth < 8
	seen := map[string]bool{}
	for dec.More() {
		if delim == '{' {
			name, err := dec.Token()
			if err != nil {
				return false
			}
			key := strings.ToLower(strings.ToUpper(name.(string)))
			good = good && !seen[key]
			seen[key] = true
		}
		good = once(dec, depth+1) && good
	}
	_, err = dec.Token()
	return good && err == nil
}
