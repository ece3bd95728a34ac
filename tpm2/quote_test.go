package tpm2_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"maps"
	"strings"
	"testing"

	peer "github.com/google/go-tpm/tpm2"

	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
)

func nonce() []byte { return bytes.Repeat([]byte{0xab}, 32) }

// TestSchemes verifies quotes by every scheme that TPMs have.
func TestSchemes(t *testing.T) {
	for name, d := range map[string]device{
		"RSASSA, bare":   {key: rsaKey(), hash: crypto.SHA256, bare: true},
		"RSASSA":         {key: rsaKey(), hash: crypto.SHA256},
		"RSASSA SHA-384": {key: rsaKey(), hash: crypto.SHA384},
		"RSAPSS":         {key: rsaKey(), hash: crypto.SHA256, pss: true},
		"RSAPSS SHA-512": {key: rsaKey(), hash: crypto.SHA512, pss: true},
		"ECDSA P-256":    {key: ecKey(elliptic.P256()), hash: crypto.SHA256},
		"ECDSA P-384":    {key: ecKey(elliptic.P384()), hash: crypto.SHA384},
		"ECDSA P-521":    {key: ecKey(elliptic.P521()), hash: crypto.SHA512},
	} {
		q := d.quote(nonce(), bank(measure.SHA1), bank(measure.SHA256), bank(measure.SHA384))
		a, err := q.Verify(d.key.Public())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(a.Extra, nonce()) || a.Clock != 12345 || a.ResetCount != 3 || a.RestartCount != 1 || !a.Safe || a.Firmware != 77 || len(a.Selections) != 3 || len(a.Selections[2].PCRs) != 24 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// refusal is a quote that must not verify, and a word of the reason.
type refusal struct {
	name string
	q    tpm2.Quote
	key  crypto.PublicKey
	why  string
}

func refusals() []refusal {
	d := device{key: rsaKey(), hash: crypto.SHA256}
	key := d.key.Public()
	good := d.quote(nonce(), bank(measure.SHA256))
	with := func(change func(*tpm2.Quote)) tpm2.Quote {
		q := tpm2.Quote{Message: bytes.Clone(good.Message), Signature: bytes.Clone(good.Signature)}
		for _, b := range good.Banks {
			q.Banks = append(q.Banks, tpm2.Bank{Bank: b.Bank, Values: maps.Clone(b.Values)})
		}
		change(&q)
		return q
	}
	altered := func(change func(*peer.TPMSAttest)) tpm2.Quote {
		a := d.structure(nonce(), bank(measure.SHA256))
		change(&a)
		return d.sign(peer.Marshal(a), bank(measure.SHA256))
	}
	resigned := func(change func([]byte) []byte) tpm2.Quote {
		return d.sign(change(bytes.Clone(good.Message)), bank(measure.SHA256))
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	w := device{key: weak, hash: crypto.SHA256}
	old := device{key: rsaKey(), hash: crypto.SHA1}
	three := *rsaKey()
	three.E = 3
	return []refusal{
		{"a value altered", with(func(q *tpm2.Quote) { q.Banks[0].Values[7] = make([]byte, 32) }), key, "hash"},
		{"a value more than quoted", with(func(q *tpm2.Quote) { q.Banks = append(q.Banks, bank(measure.SHA384)) }), key, "given"},
		{"a value outside the bank", with(func(q *tpm2.Quote) { q.Banks[0].Values[24] = make([]byte, 32) }), key, "given"},
		{"a value left out", with(func(q *tpm2.Quote) { delete(q.Banks[0].Values, 23) }), key, "PCR 23"},
		{"a value cut short", with(func(q *tpm2.Quote) { q.Banks[0].Values[3] = q.Banks[0].Values[3][:31] }), key, "PCR 3"},
		{"a bank left out", with(func(q *tpm2.Quote) { q.Banks = nil }), key, "no values"},
		{"values of another bank", with(func(q *tpm2.Quote) { q.Banks = []tpm2.Bank{bank(measure.SHA384)} }), key, "no values"},
		{"another key", good, ecKey(elliptic.P256()).Public(), "does not verify"},
		{"another RSA key", good, &weak.PublicKey, "RSA key of 1024"},
		{"no key", good, nil, "a key of kind"},
		{"RSA of 1024 bits", w.quote(nonce(), bank(measure.SHA256)), &weak.PublicKey, "RSA key of 1024"},
		{"RSA exponent 3", good, &three.PublicKey, "exponent 3"},
		{"P-224", device{key: ecKey(elliptic.P224()), hash: crypto.SHA256}.quote(nonce(), bank(measure.SHA256)), ecKey(elliptic.P224()).Public(), "a key of kind"},
		{"signed with SHA-1", old.quote(nonce(), bank(measure.SHA256)), key, "sha1"},
		{"no signature", with(func(q *tpm2.Quote) { q.Signature = nil }), key, "scheme"},
		{"a byte behind the signature", with(func(q *tpm2.Quote) { q.Signature = append(q.Signature, 0) }), key, "lengths"},
		{"an HMAC for a signature", with(func(q *tpm2.Quote) { q.Signature = append([]byte{0, 5}, q.Signature[2:]...) }), key, "scheme"},
		{"a byte behind the quote", resigned(func(m []byte) []byte { return append(m, 0) }), key, "behind"},
		{"a byte short", resigned(func(m []byte) []byte { return m[:len(m)-1] }), key, "cut short"},
		{"a quote too long", resigned(func(m []byte) []byte { return append(m, make([]byte, 2000)...) }), key, "at most"},
		{"not made by the TPM", altered(func(a *peer.TPMSAttest) { a.Magic = 0xff544348 }), key, "not made by a TPM"},
		{"an attestation of another kind", resigned(func(m []byte) []byte { m[5] = 0x17; return m }), key, "kind 8017"},
		{"a PCR that there is not", altered(func(a *peer.TPMSAttest) {
			info, _ := a.Attested.Quote()
			info.PCRSelect.PCRSelections[0].PCRSelect = []byte{255, 255, 255, 1}
			a.Attested = peer.NewTPMUAttest(peer.TPMSTAttestQuote, info)
		}), key, "PCR 24"},
		{"a bit map too long", altered(func(a *peer.TPMSAttest) {
			info, _ := a.Attested.Quote()
			info.PCRSelect.PCRSelections[0].PCRSelect = []byte{255, 255, 255, 0, 0}
			a.Attested = peer.NewTPMUAttest(peer.TPMSTAttestQuote, info)
		}), key, "cut short"},
		{"no PCRs", d.quote(nonce()), key, "no PCRs"},
		{"one bank twice", d.quote(nonce(), bank(measure.SHA256), bank(measure.SHA256)), key, "twice"},
		{"a bank of an unknown hash", d.sign(peer.Marshal(d.structure(nonce(), tpm2.Bank{Bank: 0x12, Values: bank(measure.SHA256).Values})), tpm2.Bank{Bank: 0x12, Values: bank(measure.SHA256).Values}), key, "algorithm 0x0012"},
	}
}

// TestQuoteRefused refuses what is no genuine quote of exactly these values.
func TestQuoteRefused(t *testing.T) {
	for _, c := range refusals() {
		_, err := c.q.Verify(c.key)
		if err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.why)
		}
	}
}

// TestQuotesTogether refuses quotes that don't belong together.
func TestQuotesTogether(t *testing.T) {
	d := device{key: rsaKey(), hash: crypto.SHA256}
	q := func(n []byte, algs ...measure.Algorithm) tpm2.Quote {
		var all []tpm2.Bank
		for _, a := range algs {
			all = append(all, bank(a))
		}
		return d.quote(n, all...)
	}
	later := d.structure(nonce(), bank(measure.SHA384))
	later.ClockInfo.ResetCount++
	renamed := d.structure(nonce(), bank(measure.SHA384))
	renamed.QualifiedSigner.Buffer = append([]byte{0, 0x0b}, bytes.Repeat([]byte{1}, 32)...)
	resumed := d.structure(nonce(), bank(measure.SHA384))
	resumed.ClockInfo.RestartCount++
	if got, err := tpm2.VerifyQuotes([]tpm2.Quote{q(nonce(), measure.SHA384), q(nonce(), measure.SHA1), q(nonce(), measure.SHA256)}, d.key.Public()); err != nil ||
		got.Best().Bank != measure.SHA384 || len(got.Banks) != 2 || got.Weak.Bank != measure.SHA1 || len(got.Best().Measurements()) != 24 || got.Best().Missing(23) != nil {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := tpm2.VerifyQuotes([]tpm2.Quote{q(nonce(), measure.SHA1)}, d.key.Public()); err != nil || got.Best().Bank != 0 || len(got.Best().Missing(23)) != 24 {
		t.Errorf("SHA-1 alone: %+v %v", got, err)
	}
	for name, all := range map[string][]tpm2.Quote{
		"none":               nil,
		"too many":           make([]tpm2.Quote, tpm2.MaxQuotes+1),
		"another nonce":      {q(nonce(), measure.SHA256), q(nonce()[1:], measure.SHA384)},
		"another boot":       {q(nonce(), measure.SHA256), d.sign(peer.Marshal(later), bank(measure.SHA384))},
		"another key's name": {q(nonce(), measure.SHA256), d.sign(peer.Marshal(renamed), bank(measure.SHA384))},
		"after a resume":     {q(nonce(), measure.SHA256), d.sign(peer.Marshal(resumed), bank(measure.SHA384))},
		"one bank twice":     {q(nonce(), measure.SHA256), q(nonce(), measure.SHA256)},
		"SHA-1 twice":        {q(nonce(), measure.SHA1), q(nonce(), measure.SHA1)},
		"the second altered": {q(nonce(), measure.SHA256), {Message: []byte{1}, Signature: []byte{2}}},
	} {
		if _, err := tpm2.VerifyQuotes(all, d.key.Public()); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
}

// TestMeasurements leaves out what nothing extended.
func TestMeasurements(t *testing.T) {
	b := bank(measure.SHA256)
	b.Values[3], b.Values[17], b.Values[18] = make([]byte, 32), bytes.Repeat([]byte{0xff}, 32), make([]byte, 32)
	m := b.Measurements()
	if _, ok := m["pcr3"]; ok || m["pcr17"] != "" || m["pcr18"] == "" || len(m) != 22 || len(m["pcr23"]) != 64 {
		t.Errorf("%v", m)
	}
}

// TestExtendedOnce tells a PCR that holds one value from all others.
func TestExtendedOnce(t *testing.T) {
	value := measure.SHA256.Sum([]byte("agreement"))
	once := measure.SHA256.Sum(make([]byte, 32), value)
	b := tpm2.Bank{Bank: measure.SHA256, Values: map[int][]byte{8: once, 9: measure.SHA256.Sum(once, value), 10: value, 11: make([]byte, 32)}}
	if !b.ExtendedOnce(8, value) {
		t.Error("extended once, and not recognised")
	}
	for name, got := range map[string]bool{
		"twice": b.ExtendedOnce(9, value), "set, not extended": b.ExtendedOnce(10, value), "untouched": b.ExtendedOnce(11, value), "not quoted": b.ExtendedOnce(12, value),
		"other length": b.ExtendedOnce(8, value[:31]), "nothing": b.ExtendedOnce(8, nil), "no bank": tpm2.Bank{}.ExtendedOnce(8, nil),
	} {
		if got {
			t.Errorf("%s: taken for extended once", name)
		}
	}
}
