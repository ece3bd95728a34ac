package tpm2_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"maps"
	"math/big"
	"slices"
	"sync"

	peer "github.com/google/go-tpm/tpm2"

	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
)

// rsaKey is made once: it takes a while.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func ecKey(curve elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// bank fills all 24 PCRs with values that differ.
func bank(alg measure.Algorithm) tpm2.Bank {
	b := tpm2.Bank{Bank: alg, Values: map[int][]byte{}}
	for i := range measure.NumPCRs {
		b.Values[i] = alg.Sum([]byte{byte(i)})
	}
	return b
}

// device signs what a test wants, as a TPM would.
type device struct {
	key  crypto.Signer
	pss  bool
	hash crypto.Hash
	bare bool // an RSA signature without its TPMT_SIGNATURE
}

// structure makes the TPMS_ATTEST over banks, in their order.
func (d device) structure(nonce []byte, banks ...tpm2.Bank) peer.TPMSAttest {
	a := peer.TPMSAttest{
		Magic: peer.TPMGeneratedValue, Type: peer.TPMSTAttestQuote, QualifiedSigner: peer.TPM2BName{Buffer: append([]byte{0, 0x0b}, make([]byte, 32)...)},
		ExtraData: peer.TPM2BData{Buffer: nonce}, ClockInfo: peer.TPMSClockInfo{Clock: 12345, ResetCount: 3, RestartCount: 1, Safe: true}, FirmwareVersion: 77,
	}
	info := peer.TPMSQuoteInfo{}
	h := d.hash.New()
	for _, b := range banks {
		var select24 [3]byte
		for _, i := range slices.Sorted(maps.Keys(b.Values)) {
			select24[i/8] |= 1 << (i % 8)
			h.Write(b.Values[i])
		}
		info.PCRSelect.PCRSelections = append(info.PCRSelect.PCRSelections, peer.TPMSPCRSelection{Hash: peer.TPMAlgID(b.Bank), PCRSelect: select24[:]})
	}
	info.PCRDigest.Buffer = h.Sum(nil)
	a.Attested = peer.NewTPMUAttest(peer.TPMSTAttestQuote, &info)
	return a
}

func (d device) quote(nonce []byte, banks ...tpm2.Bank) tpm2.Quote {
	return d.sign(peer.Marshal(d.structure(nonce, banks...)), banks...)
}

// sign signs any message.
func (d device) sign(message []byte, banks ...tpm2.Bank) tpm2.Quote {
	h := d.hash.New()
	h.Write(message)
	digest := h.Sum(nil)
	alg := map[crypto.Hash]peer.TPMAlgID{crypto.SHA1: peer.TPMAlgSHA1, crypto.SHA256: peer.TPMAlgSHA256, crypto.SHA384: peer.TPMAlgSHA384, crypto.SHA512: peer.TPMAlgSHA512}[d.hash]
	q := tpm2.Quote{Message: message, Banks: banks}
	switch key := d.key.(type) {
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = d.hash
		scheme := peer.TPMAlgRSASSA
		if d.pss {
			opts, scheme = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: d.hash}, peer.TPMAlgRSAPSS
		}
		raw, err := key.Sign(rand.Reader, digest, opts)
		if err != nil {
			panic(err)
		}
		q.Signature = raw
		if !d.bare {
			q.Signature = peer.Marshal(peer.TPMTSignature{SigAlg: scheme, Signature: peer.NewTPMUSignature(scheme, &peer.TPMSSignatureRSA{Hash: alg, Sig: peer.TPM2BPublicKeyRSA{Buffer: raw}})})
		}
	case *ecdsa.PrivateKey:
		der, err := key.Sign(rand.Reader, digest, d.hash)
		if err != nil {
			panic(err)
		}
		var pair struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &pair); err != nil {
			panic(err)
		}
		q.Signature = peer.Marshal(peer.TPMTSignature{SigAlg: peer.TPMAlgECDSA, Signature: peer.NewTPMUSignature(peer.TPMAlgECDSA, &peer.TPMSSignatureECC{
			Hash: alg, SignatureR: peer.TPM2BECCParameter{Buffer: pair.R.Bytes()}, SignatureS: peer.TPM2BECCParameter{Buffer: pair.S.Bytes()}})})
	}
	return q
}
