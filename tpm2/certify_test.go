package tpm2_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"strongroom.dev/tpm2"
)

// receiver is a TPMT_PUBLIC of a key of the TPM's that decrypts.
func receiver(key *rsa.PublicKey, attributes uint32) []byte {
	be := binary.BigEndian
	b := be.AppendUint16(nil, 0x0001)   // RSA
	b = be.AppendUint16(b, 0x000b)      // SHA-256
	b = be.AppendUint32(b, attributes)  //
	b = be.AppendUint16(b, 0)           // policy
	b = be.AppendUint16(b, 0x0010)      // symmetric: null
	b = be.AppendUint16(b, 0x0010)      // scheme: null
	b = be.AppendUint16(b, 2048)        //
	b = be.AppendUint32(b, 0)           // exponent 65537
	b = be.AppendUint16(b, uint16(256)) //
	return append(b, key.N.FillBytes(make([]byte, 256))...)
}

const decrypts = 1<<1 | 1<<4 | 1<<5 | 1<<17

// certified is a TPMS_ATTEST about a name.
func certified(name []byte) []byte {
	be := binary.BigEndian
	b := be.AppendUint32(nil, 0xff544347)
	b = be.AppendUint16(b, 0x8017)
	b = append(be.AppendUint16(b, 2), "ak"...)
	b = be.AppendUint16(b, 0)
	b = append(b, make([]byte, 17+8)...)
	b = append(be.AppendUint16(b, uint16(len(name))), name...)
	return append(be.AppendUint16(b, 2), "qn"...)
}

func TestVerifyCertify(t *testing.T) {
	ak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(message []byte, by *rsa.PrivateKey) []byte {
		digest := sha256.Sum256(message)
		sig, err := rsa.SignPKCS1v15(nil, by, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	p, err := tpm2.ParsePublic(receiver(&inside.PublicKey, decrypts))
	if err != nil {
		t.Fatal(err)
	}
	good := certified(p.Name)
	if err := tpm2.VerifyCertify(good, sign(good, ak), &ak.PublicKey, p); err != nil {
		t.Error(err)
	}
	for what, c := range map[string]struct {
		message []byte
		by      *rsa.PrivateKey
	}{
		"another key's signature": {good, inside}, "about another key": {certified(p.Name[:33]), ak}, "about no key": {certified(nil), ak}, "cut short": {good[:len(good)-1], ak},
		"trailing bytes": {append(append([]byte{}, good...), 0), ak}, "a quote": {append([]byte{0xff, 0x54, 0x43, 0x47, 0x80, 0x18}, good[6:]...), ak}, "not a TPM's": {append([]byte{0}, good[1:]...), ak},
		"too long": {append(append([]byte{}, good...), make([]byte, tpm2.MaxMessage)...), ak}, "nothing": {nil, ak},
	} {
		if tpm2.VerifyCertify(c.message, sign(c.message, c.by), &ak.PublicKey, p) == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	for n := range good {
		bad := append([]byte{}, good...)
		bad[n] ^= 1
		if tpm2.VerifyCertify(bad, sign(good, ak), &ak.PublicKey, p) == nil {
			t.Errorf("byte %d altered: accepted", n)
		}
	}
	if lack := p.LacksToReceive(); lack != "" {
		t.Errorf("a proper key: %s", lack)
	}
	for _, attributes := range []uint32{0, decrypts &^ (1 << 1), decrypts &^ (1 << 4), decrypts &^ (1 << 5), decrypts &^ (1 << 17), decrypts | 1<<18, decrypts | 1<<16} {
		q, err := tpm2.ParsePublic(receiver(&inside.PublicKey, attributes))
		if err != nil {
			t.Fatal(err)
		}
		if q.LacksToReceive() == "" {
			t.Errorf("attributes %x: a proper key", attributes)
		}
	}
}
