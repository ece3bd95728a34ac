package ledger_test

import (
	"bytes"
	"testing"

	"strongroom.dev/ledger"
	"strongroom.dev/wire"
)

func FuzzEntry(f *testing.F) {
	for _, v := range entryVectors() {
		f.Add([]byte(v.Entry))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ledger.ParseEntry(data)
		if err != nil {
			return
		}
		if back, err := e.Encode(); err != nil || !bytes.Equal(back, data) {
			t.Fatalf("%q is written back as %q (%v)", data, back, err)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	for _, v := range checkpointVectors() {
		f.Add(v.Note)
	}
	f.Add(cosign(newMemory(alpha, 3).note(3), "ledger.example", "ledger.two"))
	f.Fuzz(func(t *testing.T, signed string) {
		c, err := ledger.ReadCheckpoint(signed)
		if err != nil {
			return
		}
		if c.Size < 0 || c.Size > ledger.MaxSize || c.Note != signed {
			t.Fatalf("%+v", c)
		}
		// One state has one spelling: whoever changes a byte breaks a signature.
		if again, err := ledger.AddSignatures(signed, ""); err != nil || again != signed {
			t.Fatalf("%q is written back as %q (%v)", signed, again, err)
		}
		ledger.Cosignatures(c, []ledger.Witness{witness("ledger.example")})
	})
}

func FuzzReceipt(f *testing.F) {
	for _, v := range receiptVectors() {
		f.Add(must(wire.Marshal(v.Receipt)))
	}
	w := []ledger.Witness{witness("ledger.example")}
	key := keyOf(alpha)
	f.Fuzz(func(t *testing.T, data []byte) {
		var r ledger.Receipt
		if wire.Unmarshal(data, &r) != nil {
			return
		}
		e, c, err := r.Verify(key, w, 1)
		if err == nil && (c.Origin != alpha || e.Kind == "") {
			t.Fatalf("%+v %+v", e, c)
		}
	})
}

func FuzzVerifierKey(f *testing.F) {
	f.Add(keyOf(alpha))
	f.Add(witnessKeyOf(alpha))
	f.Add("a+00000000+AA==")
	f.Fuzz(func(t *testing.T, text string) {
		origin, err := ledger.OriginOf(text)
		if err == nil && (origin == "" || len(origin) >= len(text)) {
			t.Fatalf("%q has origin %q", text, origin)
		}
	})
}

func FuzzAddCheckpoint(f *testing.F) {
	for _, v := range requestVectors() {
		f.Add(v.Body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		a, err := ledger.ParseAddCheckpoint(body)
		if err == nil && a.Text() != body {
			t.Fatalf("%q is written back as %q", body, a.Text())
		}
	})
}

func FuzzWitnessed(f *testing.F) {
	for _, v := range witnessedVectors() {
		f.Add(v.Note)
	}
	key, nonce := keyOf("ledger.example"), wire.HashOf([]byte("nonce"))
	f.Fuzz(func(t *testing.T, signed string) {
		w, err := ledger.OpenWitnessed(signed, key, nonce, alpha)
		if err == nil && w.Origin != alpha {
			t.Fatalf("%+v", w)
		}
	})
}
