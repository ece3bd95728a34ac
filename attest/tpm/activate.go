package tpm

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
	"strongroom.dev/wire"
)

// ActivationType is the document type of an activation record.
const ActivationType = "strongroom/tpm-activation/v1"

// Activation is what an activator signs once a TPM answered its challenge: the attestation
// key of this name lives in the TPM whose endorsement key this certificate is about. It is
// not evidence of anything that the TPM measured.
type Activation struct {
	// EKCertificate is the endorsement key's certificate, DER; Certificates lead to its root.
	EKCertificate wire.Bytes   `json:"ek_certificate"`
	Certificates  []wire.Bytes `json:"certificates"`
	// AKName is the attestation key's name: algorithm and hash of its public area.
	AKName    wire.Bytes `json:"ak_name"`
	Activated wire.Time  `json:"activated"`
	Expires   wire.Time  `json:"expires"`
}

// Challenge is a question that only the TPM with an endorsement key can answer, and only
// with the attestation key loaded (TPM 2.0, part 1, 24: credential protection).
type Challenge struct {
	// Credential and Secret are the TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET for
	// TPM2_ActivateCredential.
	Credential, Secret []byte

	answer [32]byte
	record Activation
}

// NewChallenge makes a challenge for the TPM that an EK certificate is about, to prove that
// ak lives in it. It refuses keys that are no proper attestation keys. Whether the EK
// certificate is genuine is checked when the record is used. random gives the challenge's
// secrets.
func NewChallenge(ekCertificate []byte, certificates [][]byte, ak *tpm2.Public, random io.Reader) (*Challenge, error) {
	var answer [32]byte
	if _, err := io.ReadFull(random, answer[:]); err != nil {
		return nil, fmt.Errorf("activation: %w", err)
	}
	return ChallengeFor(answer, ekCertificate, certificates, ak, random)
}

// ChallengeFor is [NewChallenge] with an answer that the caller chose, so that whoever can find
// it again need not keep the challenge. It must be secret, and of this key and certificate alone.
func ChallengeFor(answer [32]byte, ekCertificate []byte, certificates [][]byte, ak *tpm2.Public, random io.Reader) (*Challenge, error) {
	if lack := ak.Lacks(); lack != "" {
		return nil, fmt.Errorf("activation: no attestation key: %s", lack)
	}
	cert, err := parseCertificate(ekCertificate)
	if err != nil {
		return nil, fmt.Errorf("activation: %w", err)
	}
	c := &Challenge{answer: answer, record: Activation{EKCertificate: cert.Raw, AKName: ak.Name, Certificates: []wire.Bytes{}}}
	for _, der := range certificates {
		c.record.Certificates = append(c.record.Certificates, der)
	}
	if _, err := parseCertificates(c.record.Certificates); err != nil {
		return nil, fmt.Errorf("activation: %w", err)
	}
	c.Credential, c.Secret, err = makeCredential(cert.PublicKey, ak.Name, c.answer[:], random)
	if err != nil {
		return nil, fmt.Errorf("activation: %w", err)
	}
	return c, nil
}

// Answered compares the TPM's answer and, if it is right, signs the record of it.
func (c *Challenge) Answered(answer []byte, activator keys.Signer, at, expires time.Time) ([]byte, error) {
	if subtle.ConstantTimeCompare(answer, c.answer[:]) != 1 {
		return nil, fmt.Errorf("activation: the TPM's answer is wrong: the key does not live in it")
	}
	record := c.record
	record.Activated, record.Expires = wire.At(at), wire.At(expires)
	if err := record.check(at); err != nil {
		return nil, fmt.Errorf("activation: %w", err)
	}
	doc, err := keys.NewDocument(ActivationType, record)
	if err != nil {
		return nil, fmt.Errorf("activation: %w", err)
	}
	if err := doc.Sign(activator); err != nil {
		return nil, fmt.Errorf("activation: %w", err)
	}
	return doc.Encode()
}

func (a Activation) check(now time.Time) error {
	from, to := a.Activated.Time(), a.Expires.Time()
	switch {
	case to.Sub(from) > MaxActivationLife || !to.After(from):
		return fmt.Errorf("one valid from %s to %s, where at most %s will do", a.Activated, a.Expires, days(MaxActivationLife))
	case now.Before(from):
		return fmt.Errorf("one valid from %s to %s, %s ahead", a.Activated, a.Expires, days(from.Sub(now)))
	case !now.Before(to):
		return fmt.Errorf("one valid from %s to %s, %s ago", a.Activated, a.Expires, days(now.Sub(to)))
	}
	return nil
}

// openActivation reads a record without checking signature or dates.
func openActivation(data []byte) (Activation, *keys.Document, error) {
	var a Activation
	if len(data) > maxActivation {
		return a, nil, fmt.Errorf("activation record of %d bytes, at most %d", len(data), maxActivation)
	}
	doc, err := keys.ParseDocument(data, ActivationType, &a)
	return a, doc, err
}

// parameters are the name algorithm and the bits of the symmetric key of the endorsement
// keys that the TCG's templates make (EK credential profile 2.5, appendix B): AES-128 and
// SHA-256 for RSA-2048 and P-256, AES-256 and SHA-384 for RSA of more bits and P-384,
// AES-256 and SHA-512 for P-521.
func parameters(ek crypto.PublicKey) (alg measure.Algorithm, newHash func() hash.Hash, bits int) {
	switch k := ek.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() <= 2048 {
			return measure.SHA256, crypto.SHA256.New, 128
		}
	case *ecdsa.PublicKey:
		switch {
		case k.Params().BitSize <= 256:
			return measure.SHA256, crypto.SHA256.New, 128
		case k.Params().BitSize > 384:
			return measure.SHA512, crypto.SHA512.New, 256
		}
	}
	return measure.SHA384, crypto.SHA384.New, 256
}

// makeCredential does what TPM2_MakeCredential does (TPM 2.0, part 1, 24.4 and annexes B.10
// and C.6.4): a seed for the endorsement key, and under keys from it the encrypted secret
// and a MAC that binds the attestation key's name.
func makeCredential(ek crypto.PublicKey, name, secret []byte, random io.Reader) (credential, encrypted []byte, err error) {
	if err := tpm2.CheckKey(ek); err != nil {
		return nil, nil, err
	}
	alg, newHash, bits := parameters(ek)
	seed, encrypted, err := seedFor(ek, alg, newHash, random)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(kdfa(newHash, seed, "STORAGE", name, bits))
	if err != nil {
		return nil, nil, err
	}
	identity := cfb(block, sized(secret))
	mac := hmac.New(newHash, kdfa(newHash, seed, "INTEGRITY", nil, 8*alg.Size()))
	mac.Write(identity)
	mac.Write(name)
	return sized(append(sized(mac.Sum(nil)), identity...)), sized(encrypted), nil
}

// seedFor makes a seed and encrypts it to an endorsement key.
func seedFor(ek crypto.PublicKey, alg measure.Algorithm, newHash func() hash.Hash, random io.Reader) (seed, encrypted []byte, err error) {
	if k, ok := ek.(*rsa.PublicKey); ok {
		seed = make([]byte, alg.Size())
		if _, err := io.ReadFull(random, seed); err != nil {
			return nil, nil, err
		}
		encrypted, err = rsa.EncryptOAEP(newHash(), random, k, seed, []byte("IDENTITY\x00"))
		return seed, encrypted, err
	}
	theirs, err := ek.(*ecdsa.PublicKey).ECDH()
	if err != nil {
		return nil, nil, err
	}
	mine, err := theirs.Curve().GenerateKey(random)
	if err != nil {
		return nil, nil, err
	}
	z, err := mine.ECDH(theirs)
	if err != nil {
		return nil, nil, err
	}
	x, y := coordinates(mine.PublicKey())
	ekX, _ := coordinates(theirs)
	h := newHash() // KDFe (TPM 2.0, part 1, 11.4.10.3); one block gives all bits
	h.Write(binary.BigEndian.AppendUint32(nil, 1))
	for _, part := range [][]byte{z, []byte("IDENTITY\x00"), x, ekX} {
		h.Write(part)
	}
	return h.Sum(nil), append(sized(x), sized(y)...), nil
}

func coordinates(k *ecdh.PublicKey) (x, y []byte) {
	flat := k.Bytes()[1:]
	return flat[:len(flat)/2], flat[len(flat)/2:]
}

// kdfa is KDFa (TPM 2.0, part 1, 11.4.10.2), for up to one block of the hash.
func kdfa(newHash func() hash.Hash, key []byte, label string, context []byte, bits int) []byte {
	mac := hmac.New(newHash, key)
	mac.Write(binary.BigEndian.AppendUint32(nil, 1))
	mac.Write(append([]byte(label), 0))
	mac.Write(context)
	mac.Write(binary.BigEndian.AppendUint32(nil, uint32(bits)))
	return mac.Sum(nil)[:bits/8]
}

// cfb encrypts in cipher feedback mode from a zero vector, as TPMs do.
func cfb(block cipher.Block, plain []byte) []byte {
	out := make([]byte, len(plain))
	feedback := make([]byte, block.BlockSize())
	for at := 0; at < len(plain); at += len(feedback) {
		block.Encrypt(feedback, feedback)
		n := subtle.XORBytes(out[at:], plain[at:], feedback)
		copy(feedback, out[at:at+n])
	}
	return out
}

// sized puts a length of 16 bits in front.
func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

// certificates gives the certificates of an activation.
func (a Activation) certificates() (ek *x509.Certificate, others []*x509.Certificate, err error) {
	if ek, err = parseCertificate(a.EKCertificate); err != nil {
		return nil, nil, err
	}
	others, err = parseCertificates(a.Certificates)
	return ek, others, err
}
