package chip

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Key is a key inside the TPM.
type Key struct {
	// Public is its TPMT_PUBLIC.
	Public []byte
	handle uint32
}

// Attributes of objects (TPM 2.0, part 2, 8.3).
const (
	fixedTPM            uint32 = 1 << 1
	fixedParent         uint32 = 1 << 4
	sensitiveDataOrigin uint32 = 1 << 5
	userWithAuth        uint32 = 1 << 6
	adminWithPolicy     uint32 = 1 << 7
	noDA                uint32 = 1 << 10
	restricted          uint32 = 1 << 16
	decrypt             uint32 = 1 << 17
	sign                uint32 = 1 << 18
)

// NewAttestationKey makes a restricted signing key on P-256 in the endorsement hierarchy,
// which signs nothing but what the TPM states. The TPM derives it from its own secret and
// salt: a salt that was never used before gives a key that nobody vouched for before.
func (t *TPM) NewAttestationKey(salt [32]byte) (Key, error) {
	return t.create(slices.Concat(
		u16(algECC, algSHA256), u32(fixedTPM|fixedParent|sensitiveDataOrigin|userWithAuth|noDA|restricted|sign), sized(nil),
		u16(algNull, algECDSA, algSHA256, curveP256, algNull), sized(salt[:]), sized(nil)))
}

// create makes a primary key in the endorsement hierarchy.
func (t *TPM) create(template []byte) (Key, error) {
	const name = "CreatePrimary"
	sensitive := slices.Concat(sized(nil), sized(nil)) // no password, no data
	r, err := t.run(command{name: name, code: ccCreatePrimary, handles: []uint32{rhEndorsement}, auths: []auth{password}, returns: 1,
		params: slices.Concat(sized(sensitive), sized(template), sized(nil), u32(0))})
	if err != nil {
		return Key{}, err
	}
	k := Key{handle: r.u32()}
	k.Public = r.sized()
	return k, r.err(name)
}

// Forget removes a key that was made here from the TPM's memory, for good.
func (t *TPM) Forget(k Key) error { return t.flush(k.handle) }

func (t *TPM) flush(handle uint32) error {
	_, err := t.run(command{name: "FlushContext", code: ccFlushContext, params: u32(handle)})
	return err
}

// Endorsement is an endorsement key with its certificate.
type Endorsement struct {
	Key
	// Certificate is the certificate that the TPM holds for it, DER.
	Certificate []byte
	transient   bool
}

// endorsement is one of the kinds of endorsement key that the TCG defines (EK credential
// profile 2.5, sections 2.2.1.4 and B): where its certificate is, where the key is if it was
// left in the TPM, and the template that gives it again otherwise.
type endorsement struct {
	certificate, persistent uint32
	template                []byte
}

// endorsements are the kinds in order of preference: elliptic curves are made in
// milliseconds, RSA keys in seconds.
func endorsements() []endorsement {
	// The policies that the profile gives keys with SHA-256 and with SHA-384 (B.3, B.6).
	policyA := must("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
	policyB := must("b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12")
	aes := func(bits uint16) []byte { return u16(algAES, bits, algCFB) }
	low := fixedTPM | fixedParent | sensitiveDataOrigin | adminWithPolicy | restricted | decrypt
	return []endorsement{
		{0x01c0000a, 0x8101000a, slices.Concat(u16(algECC, algSHA256), u32(low), sized(policyA), aes(128), u16(algNull, curveP256, algNull), sized(make([]byte, 32)), sized(make([]byte, 32)))},
		{0x01c00016, 0x81010016, slices.Concat(u16(algECC, algSHA384), u32(low|userWithAuth), sized(policyB), aes(256), u16(algNull, curveP384, algNull), sized(nil), sized(nil))},
		{0x01c00002, 0x81010001, slices.Concat(u16(algRSA, algSHA256), u32(low), sized(policyA), aes(128), u16(algNull, 2048), u32(0), sized(make([]byte, 256)))},
	}
}

func must(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err) // a constant of this file
	}
	return b
}

// ErrNoEndorsement means that the TPM holds no certificate of an endorsement key.
var ErrNoEndorsement = errors.New("the TPM holds no certificate of an endorsement key")

// Endorsement gives the TPM's endorsement key of the first kind that it has a certificate
// of. [TPM.Release] frees what it takes of the TPM's memory.
func (t *TPM) Endorsement() (Endorsement, error) {
	for _, kind := range endorsements() {
		certificate, err := t.Read(kind.certificate)
		if absent(err) {
			continue
		}
		if err != nil {
			return Endorsement{}, err
		}
		e := Endorsement{Certificate: trimDER(certificate)}
		e.Key, err = t.persistent(kind.persistent)
		if absent(err) {
			e.transient = true
			e.Key, err = t.create(kind.template)
		}
		return e, err
	}
	return Endorsement{}, ErrNoEndorsement
}

// Release frees what an endorsement key takes of the TPM's memory.
func (t *TPM) Release(e Endorsement) error {
	if !e.transient {
		return nil
	}
	return t.flush(e.handle)
}

func (t *TPM) persistent(handle uint32) (Key, error) {
	const name = "ReadPublic"
	r, err := t.run(command{name: name, code: ccReadPublic, handles: []uint32{handle}})
	if err != nil {
		return Key{}, err
	}
	k := Key{Public: r.sized(), handle: handle}
	return k, r.err(name)
}

// Activate answers a challenge to an endorsement key about another key of this TPM
// (TPM2_ActivateCredential). credential and secret are whole TPM2Bs.
func (t *TPM) Activate(e Endorsement, k Key, credential, secret []byte) ([]byte, error) {
	const name = "ActivateCredential"
	session, err := t.authorise(e)
	if err != nil {
		return nil, err
	}
	r, err := t.run(command{name: name, code: ccActivateCredential, handles: []uint32{k.handle, e.handle}, auths: []auth{password, session}, params: slices.Concat(credential, secret)})
	if err != nil {
		if session != password {
			err = errors.Join(err, t.flush(uint32(session))) // a session ends by itself only with success
		}
		return nil, err
	}
	answer := r.sized()
	return answer, r.err(name)
}

// authorise starts what authorises use of an endorsement key: its own empty password where
// the profile gives it one (with SHA-384), else a policy that asks for the endorsement
// hierarchy's, which is empty too.
func (t *TPM) authorise(e Endorsement) (auth, error) {
	r := reader{rest: e.Public}
	r.u16()
	alg, attributes := r.u16(), r.u32()
	if r.bad {
		return 0, fmt.Errorf("the endorsement key's public area is cut")
	}
	if attributes&userWithAuth != 0 {
		return password, nil
	}
	session, nonce, err := t.startPolicy(alg)
	if err != nil {
		return 0, err
	}
	_, err = t.run(command{name: "PolicySecret", code: ccPolicySecret, handles: []uint32{rhEndorsement, session}, auths: []auth{password},
		params: slices.Concat(sized(nonce), sized(nil), sized(nil), u32(0))})
	if err != nil {
		return 0, errors.Join(err, t.flush(session))
	}
	return auth(session), nil
}

// startPolicy starts a policy session, without a secret: nothing that passes is one.
func (t *TPM) startPolicy(alg uint16) (session uint32, nonce []byte, err error) {
	const name = "StartAuthSession"
	ours := sha256.Sum256([]byte(name)) // needed for sessions with a secret only
	r, err := t.run(command{name: name, code: ccStartAuthSession, handles: []uint32{rhNull, rhNull}, returns: 1,
		params: slices.Concat(sized(ours[:16]), sized(nil), []byte{1}, u16(algNull, alg))}) // TPM_SE_POLICY
	if err != nil {
		return 0, nil, err
	}
	session, nonce = r.u32(), r.sized()
	return session, nonce, r.err(name)
}
