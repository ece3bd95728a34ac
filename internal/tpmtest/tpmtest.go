// Package tpmtest is a TPM for tests that need a room's evidence and no real or emulated one:
// registers, an attestation key, and an endorsement key certified by an authority of its own.
// It does in Go what a TPM does with them, and makes exactly the structures a TPM makes; its
// keys are in ordinary memory, and it signs whatever a test wants. For tests only.
//
// Sources: TPM 2.0 library specification, parts 1 and 2; TCG EK credential profile 2.5.
package tpmtest

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"time"

	peer "github.com/google/go-tpm/tpm2"

	"strongroom.dev/attest"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
	"strongroom.dev/wire"
)

// TPM is one TPM. It is not safe for concurrent use.
type TPM struct {
	ek, ak *ecdsa.PrivateKey
	// EKCertificate is the endorsement key's certificate, DER, under Root.
	EKCertificate, Root []byte
	// AKPublic is the attestation key's TPMT_PUBLIC, AKName its name.
	AKPublic, AKName []byte
	// PCRs are those of the SHA-256 bank.
	PCRs [measure.NumPCRs][]byte
	// Log is the event log that goes with the evidence, InitData what PCR 8 holds.
	Log, InitData []byte
}

// New makes a TPM under a root of its own, whose certificates are valid around a time.
func New(around time.Time) (*TPM, error) {
	root, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate("A root of software TPMs", around)
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, root.Public(), root)
	if err != nil {
		return nil, err
	}
	return under(der, root, around)
}

func certificate(name string, around time.Time) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: around.AddDate(-1, 0, 0), NotAfter: around.AddDate(1, 0, 0)}
}

func under(root []byte, key *ecdsa.PrivateKey, around time.Time) (*TPM, error) {
	t := &TPM{Root: root}
	parent, err := x509.ParseCertificate(root)
	if err != nil {
		return nil, err
	}
	for _, k := range []**ecdsa.PrivateKey{&t.ek, &t.ak} {
		if *k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	template := certificate("A software TPM", around)
	template.KeyUsage, template.UnknownExtKeyUsage = x509.KeyUsageKeyAgreement, []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}
	if t.EKCertificate, err = x509.CreateCertificate(rand.Reader, template, parent, t.ek.Public(), key); err != nil {
		return nil, err
	}
	if err := t.describe(); err != nil {
		return nil, err
	}
	t.reset()
	return t, nil
}

// describe makes the public area of the attestation key: restricted, and of this TPM alone.
func (t *TPM) describe() error {
	flat, err := t.ak.PublicKey.Bytes()
	if err != nil {
		return err
	}
	attributes := peer.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, Restricted: true, SignEncrypt: true}
	t.AKPublic = peer.Marshal(peer.TPMTPublic{Type: peer.TPMAlgECC, NameAlg: peer.TPMAlgSHA256, ObjectAttributes: attributes,
		Parameters: peer.NewTPMUPublicParms(peer.TPMAlgECC, &peer.TPMSECCParms{
			Scheme:  peer.TPMTECCScheme{Scheme: peer.TPMAlgECDSA, Details: peer.NewTPMUAsymScheme(peer.TPMAlgECDSA, &peer.TPMSSigSchemeECDSA{HashAlg: peer.TPMAlgSHA256})},
			CurveID: peer.TPMECCNistP256}),
		Unique: peer.NewTPMUPublicID(peer.TPMAlgECC, &peer.TPMSECCPoint{X: peer.TPM2BECCParameter{Buffer: flat[1:33]}, Y: peer.TPM2BECCParameter{Buffer: flat[33:]}})})
	public, err := tpm2.ParsePublic(t.AKPublic)
	if err == nil {
		t.AKName = public.Name
	}
	return err
}

// reset gives the PCRs the values they come up with.
func (t *TPM) reset() {
	for i := range t.PCRs {
		t.PCRs[i] = make([]byte, sha256.Size)
		if i >= 17 && i <= 22 {
			t.PCRs[i] = bytes.Repeat([]byte{0xff}, sha256.Size)
		}
	}
}

// Fingerprint is that of the root, as agreements pin it.
func (t *TPM) Fingerprint() wire.Hash {
	c, err := x509.ParseCertificate(t.Root)
	if err != nil {
		return wire.Hash{}
	}
	return wire.HashOf(c.RawSubjectPublicKeyInfo)
}

// Boot gives the PCRs the values that a log leads to.
func (t *TPM) Boot(log []byte) error {
	parsed, err := measure.Parse(log)
	if err != nil {
		return err
	}
	registers, err := parsed.Replay(measure.PCRs, measure.SHA256)
	for i, value := range registers {
		t.PCRs[i] = value
	}
	t.Log = log
	return err
}

// Extend extends a PCR with a digest.
func (t *TPM) Extend(pcr int, digest []byte) { t.PCRs[pcr] = measure.SHA256.Sum(t.PCRs[pcr], digest) }

// Begin measures the init data of a room.
func (t *TPM) Begin(short wire.Hash) {
	t.InitData = short[:]
	t.Extend(tpm2.InitDataPCR, t.InitData)
}

// Separate measures that a run's work starts (spec/tpm.md, section 1.2).
func (t *TPM) Separate(run wire.Digest) {
	work, end := wire.SHA256("strongroom/work/v1", run[:]), sha256.Sum256(make([]byte, 4))
	t.Extend(14, work[:])
	t.Extend(tpm2.InitDataPCR, end[:])
	t.Extend(14, end[:])
}

// Evidence quotes all PCRs over a report, with a record of the key's activation.
func (t *TPM) Evidence(report [64]byte, record []byte) (attest.Evidence, error) {
	nonce := wire.SHA256("strongroom/short-report-data/v1", report[:])
	quote, err := t.Quote(nonce[:])
	if err != nil {
		return attest.Evidence{}, err
	}
	data, err := tpm.Evidence{AKPublic: t.AKPublic, Activation: record, Certificates: []wire.Bytes{t.Root}, EventLog: t.Log, InitData: t.InitData, Quotes: []tpm2.Document{quote.Document()}}.Encode()
	return attest.Evidence{Platform: tpm.Name, Evidence: data}, err
}

// Quote does what TPM2_Quote does, of all PCRs.
func (t *TPM) Quote(nonce []byte) (tpm2.Quote, error) {
	bank := tpm2.Bank{Bank: measure.SHA256, Values: map[int][]byte{}}
	for i, value := range t.PCRs {
		bank.Values[i] = value
	}
	info := peer.TPMSQuoteInfo{PCRDigest: peer.TPM2BDigest{Buffer: measure.SHA256.Sum(t.PCRs[:]...)}}
	info.PCRSelect.PCRSelections = []peer.TPMSPCRSelection{{Hash: peer.TPMAlgSHA256, PCRSelect: []byte{0xff, 0xff, 0xff}}}
	message := peer.Marshal(peer.TPMSAttest{Magic: peer.TPMGeneratedValue, Type: peer.TPMSTAttestQuote, QualifiedSigner: peer.TPM2BName{Buffer: t.AKName}, ExtraData: peer.TPM2BData{Buffer: nonce},
		ClockInfo: peer.TPMSClockInfo{Clock: 1, Safe: true}, Attested: peer.NewTPMUAttest(peer.TPMSTAttestQuote, &info)})
	der, err := t.ak.Sign(rand.Reader, measure.SHA256.Sum(message), crypto.SHA256)
	if err != nil {
		return tpm2.Quote{}, err
	}
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &pair); err != nil {
		return tpm2.Quote{}, err
	}
	signature := peer.Marshal(peer.TPMTSignature{SigAlg: peer.TPMAlgECDSA, Signature: peer.NewTPMUSignature(peer.TPMAlgECDSA, &peer.TPMSSignatureECC{
		Hash: peer.TPMAlgSHA256, SignatureR: peer.TPM2BECCParameter{Buffer: pair.R.Bytes()}, SignatureS: peer.TPM2BECCParameter{Buffer: pair.S.Bytes()}})})
	return tpm2.Quote{Message: message, Signature: signature, Banks: []tpm2.Bank{bank}}, nil
}

var errCredential = errors.New("TPM_RC_INTEGRITY: no credential for these keys")

// Activate does what TPM2_ActivateCredential does (part 1, section 24): it gives the secret only
// if it was encrypted to this endorsement key, and for this attestation key's name.
func (t *TPM) Activate(credential, secret []byte) ([]byte, error) {
	seed, err := t.seed(secret)
	if err != nil {
		return nil, err
	}
	blob, rest := sized(credential)
	mac, identity := sized(blob)
	if blob == nil || mac == nil || len(rest) > 0 {
		return nil, errCredential
	}
	h := hmac.New(sha256.New, kdfa(seed, "INTEGRITY", nil, 256))
	h.Write(identity)
	h.Write(t.AKName)
	if !hmac.Equal(h.Sum(nil), mac) {
		return nil, errCredential
	}
	block, err := aes.NewCipher(kdfa(seed, "STORAGE", t.AKName, 128))
	if err != nil {
		return nil, err
	}
	answer, rest := sized(decrypt(block, identity))
	if answer == nil || len(rest) > 0 {
		return nil, errCredential
	}
	return answer, nil
}

// seed finds the seed that was agreed on with the endorsement key (KDFe).
func (t *TPM) seed(secret []byte) ([]byte, error) {
	point, rest := sized(secret)
	x, y := sized(point)
	y, more := sized(y)
	if len(x) != 32 || len(y) != 32 || len(rest)+len(more) > 0 {
		return nil, errCredential
	}
	theirs, err := ecdh.P256().NewPublicKey(append(append([]byte{4}, x...), y...))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCredential, err)
	}
	mine, err := t.ek.ECDH()
	if err != nil {
		return nil, err
	}
	z, err := mine.ECDH(theirs)
	if err != nil {
		return nil, err
	}
	seed := sha256.Sum256(bytes.Join([][]byte{{0, 0, 0, 1}, z, []byte("IDENTITY\x00"), x, mine.PublicKey().Bytes()[1:33]}, nil))
	return seed[:], nil
}

// kdfa is KDFa with SHA-256, up to one block.
func kdfa(key []byte, label string, context []byte, bits uint32) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(append([]byte{0, 0, 0, 1}, label...))
	h.Write(append([]byte{0}, context...))
	h.Write(binary.BigEndian.AppendUint32(nil, bits))
	return h.Sum(nil)[:bits/8]
}

// decrypt is AES in cipher feedback mode from a zero vector.
func decrypt(block cipher.Block, data []byte) []byte {
	out, feedback := bytes.Clone(data), make([]byte, block.BlockSize())
	for at := 0; at < len(data); at += len(feedback) {
		block.Encrypt(feedback, feedback)
		for i := at; i < min(at+len(feedback), len(data)); i++ {
			out[i] ^= feedback[i-at]
		}
		copy(feedback, data[at:])
	}
	return out
}

// sized splits off what stands behind its length, 16 bits; nil if it is cut short.
func sized(b []byte) (head, rest []byte) {
	if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
		return nil, nil
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return b[2:n], b[n:]
}
