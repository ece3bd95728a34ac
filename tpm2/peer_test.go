package tpm2_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"math/rand/v2"
	"strings"
	"testing"

	peer "github.com/google/go-tpm/tpm2"

	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
)

// templates are public areas of keys that TPMs make.
func templates() map[string][]byte {
	ec := func(curve elliptic.Curve, id peer.TPMECCCurve) peer.TPMTPublic {
		k := ecKey(curve)
		p := peer.ECCSRKTemplate
		p.ObjectAttributes = peer.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, Restricted: true, SignEncrypt: true}
		p.Parameters = peer.NewTPMUPublicParms(peer.TPMAlgECC, &peer.TPMSECCParms{
			Scheme: peer.TPMTECCScheme{Scheme: peer.TPMAlgECDSA, Details: peer.NewTPMUAsymScheme(peer.TPMAlgECDSA, &peer.TPMSSigSchemeECDSA{HashAlg: peer.TPMAlgSHA256})}, CurveID: id})
		x, y := coordinates(&k.PublicKey)
		p.Unique = peer.NewTPMUPublicID(peer.TPMAlgECC, &peer.TPMSECCPoint{X: peer.TPM2BECCParameter{Buffer: x}, Y: peer.TPM2BECCParameter{Buffer: y}})
		return p
	}
	rsaPublic := func(base peer.TPMTPublic) peer.TPMTPublic {
		base.Unique = peer.NewTPMUPublicID(peer.TPMAlgRSA, &peer.TPM2BPublicKeyRSA{Buffer: rsaKey().N.Bytes()})
		return base
	}
	return map[string][]byte{
		"EK":         peer.Marshal(rsaPublic(peer.RSAEKTemplate)),
		"SRK":        peer.Marshal(rsaPublic(peer.RSASRKTemplate)),
		"AK P-256":   peer.Marshal(ec(elliptic.P256(), peer.TPMECCNistP256)),
		"AK P-384":   peer.Marshal(ec(elliptic.P384(), peer.TPMECCNistP384)),
		"AK P-521":   peer.Marshal(ec(elliptic.P521(), peer.TPMECCNistP521)),
		"sized, AK ": peer.Marshal(peer.New2B(ec(elliptic.P256(), peer.TPMECCNistP256))),
	}
}

func coordinates(k *ecdsa.PublicKey) (x, y []byte) {
	flat, err := k.Bytes()
	if err != nil {
		panic(err)
	}
	return flat[1 : 1+len(flat)/2], flat[1+len(flat)/2:]
}

// TestPublicArea reads keys as go-tpm does, and tells attestation keys from others.
func TestPublicArea(t *testing.T) {
	for name, data := range templates() {
		p, err := tpm2.ParsePublic(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if (p.Lacks() == "") != (name[:2] == "AK" || name[:2] == "si") {
			t.Errorf("%s: %q", name, p.Lacks())
		}
		if name[:2] == "si" {
			data = data[2:]
		}
		theirs, err := peer.Unmarshal[peer.TPMTPublic](data)
		if err != nil {
			t.Fatal(err)
		}
		objectName, err := peer.ObjectName(theirs)
		if err != nil || !bytes.Equal(objectName.Buffer, p.Name) {
			t.Errorf("%s: name %x, theirs %x %v", name, p.Name, objectName.Buffer, err)
		}
		switch k := p.Key.(type) {
		case *rsa.PublicKey:
			if !k.Equal(rsaKey().Public()) {
				t.Errorf("%s: another key", name)
			}
		case *ecdsa.PublicKey:
			point, err := theirs.Unique.ECC()
			if x, _ := coordinates(k); err != nil || !bytes.Equal(x, point.X.Buffer) {
				t.Errorf("%s: another point", name)
			}
		}
	}
}

// TestLacks says of every attribute what a key lacks that has it otherwise.
func TestLacks(t *testing.T) {
	good := peer.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, Restricted: true, SignEncrypt: true}
	for word, change := range map[string]func(*peer.TPMAObject){
		"":                    func(*peer.TPMAObject) {},
		"restricted":          func(a *peer.TPMAObject) { a.Restricted = false },
		"doesn't sign":        func(a *peer.TPMAObject) { a.SignEncrypt = false },
		"fixedTPM":            func(a *peer.TPMAObject) { a.FixedTPM = false },
		"fixedParent":         func(a *peer.TPMAObject) { a.FixedParent = false },
		"sensitiveDataOrigin": func(a *peer.TPMAObject) { a.SensitiveDataOrigin = false },
		"decrypts":            func(a *peer.TPMAObject) { a.Decrypt = true },
	} {
		attributes := good
		change(&attributes)
		area := peer.RSASRKTemplate
		area.ObjectAttributes = attributes
		area.Unique = peer.NewTPMUPublicID(peer.TPMAlgRSA, &peer.TPM2BPublicKeyRSA{Buffer: rsaKey().N.Bytes()})
		p, err := tpm2.ParsePublic(peer.Marshal(area))
		if err != nil {
			t.Fatal(err)
		}
		if lack := p.Lacks(); (lack == "") != (word == "") || !strings.Contains(lack, word) {
			t.Errorf("%q: %q", word, lack)
		}
	}
}

// TestPublicAreaRefused refuses public areas that are none, and keys that are too weak.
func TestPublicAreaRefused(t *testing.T) {
	good := templates()["AK P-256"]
	change := func(at int, value byte) []byte {
		b := bytes.Clone(good)
		b[at] = value
		return b
	}
	small := peer.RSASRKTemplate
	small.Parameters = peer.NewTPMUPublicParms(peer.TPMAlgRSA, &peer.TPMSRSAParms{KeyBits: 1024, Symmetric: peer.TPMTSymDefObject{Algorithm: peer.TPMAlgNull}, Scheme: peer.TPMTRSAScheme{Scheme: peer.TPMAlgNull}})
	small.Unique = peer.NewTPMUPublicID(peer.TPMAlgRSA, &peer.TPM2BPublicKeyRSA{Buffer: bytes.Repeat([]byte{0xff}, 128)})
	odd := peer.RSASRKTemplate
	odd.Unique = peer.NewTPMUPublicID(peer.TPMAlgRSA, &peer.TPM2BPublicKeyRSA{Buffer: rsaKey().N.Bytes()[:255]})
	for name, data := range map[string][]byte{
		"RSA with fewer bits than it says": peer.Marshal(odd),
		"nothing":                          nil, "cut short": good[:len(good)-1], "a byte behind it": append(bytes.Clone(good), 0), "too long": make([]byte, tpm2.MaxPublic+1),
		"a keyed hash": change(1, 8), "named by SHA-1": change(3, 4), "named by nothing": change(3, 0x10), "a point off its curve": change(len(good)-1, good[len(good)-1]^1),
		"RSA of 1024 bits": peer.Marshal(small),
	} {
		if _, err := tpm2.ParsePublic(data); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// TestAgreesWithPeer compares with go-tpm on genuine and altered quotes: where both read
// them, they read the same; what we refuse beyond it is listed.
func TestAgreesWithPeer(t *testing.T) {
	d := device{key: rsaKey(), hash: crypto.SHA256}
	base := peer.Marshal(d.structure(nonce(), bank(measure.SHA1), bank(measure.SHA256)))
	random := rand.New(rand.NewPCG(1, 2))
	both, stricter := 0, 0
	for range 20000 {
		message := bytes.Clone(base)
		for range random.IntN(3) {
			message[random.IntN(len(message))] ^= byte(1 << random.IntN(8))
		}
		ours, err := tpm2.ParseAttest(message)
		theirs, theirErr := peer.Unmarshal[peer.TPMSAttest](message)
		if theirErr != nil || theirs.Magic != peer.TPMGeneratedValue || theirs.Type != peer.TPMSTAttestQuote {
			if err == nil {
				t.Fatalf("read, which go-tpm refuses (%v): %x", theirErr, message)
			}
			continue
		}
		if err != nil { // unknown clock flags, PCRs beyond 23, no PCRs, a bank twice, long fields
			stricter++
			continue
		}
		both++
		info, infoErr := theirs.Attested.Quote()
		if infoErr != nil || !bytes.Equal(ours.Extra, theirs.ExtraData.Buffer) || !bytes.Equal(ours.Signer, theirs.QualifiedSigner.Buffer) || ours.Clock != theirs.ClockInfo.Clock ||
			ours.ResetCount != theirs.ClockInfo.ResetCount || ours.RestartCount != theirs.ClockInfo.RestartCount || ours.Firmware != theirs.FirmwareVersion || !bytes.Equal(ours.Digest, info.PCRDigest.Buffer) ||
			len(ours.Selections) != len(info.PCRSelect.PCRSelections) {
			t.Fatalf("%+v, theirs %+v", ours, theirs)
		}
	}
	if both < 5000 || stricter > both/5 {
		t.Errorf("%d read alike, %d refused here only", both, stricter)
	}
	t.Logf("%d read alike, %d refused here only", both, stricter)
}
