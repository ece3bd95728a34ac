package tpm2_test

import (
	"bytes"
	"crypto"
	"testing"

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
