package release

import (
	"encoding/binary"
	"fmt"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// ActivatedType is the document type of a broker's word that a key lives in a TPM: the record
// of an activation in package attest/tpm (spec/tpm.md, section 3).
const ActivatedType = "strongroom/tpm-activation/v1"

// TPMKey is the attestation key of a room's TPM, and the endorsement key it should live beside.
type TPMKey struct {
	// EKCertificate is the endorsement key's certificate, DER; Certificates lead to its root.
	EKCertificate wire.Bytes   `json:"ek_certificate"`
	Certificates  []wire.Bytes `json:"certificates"`
	// AKPublic is the attestation key's TPMT_PUBLIC.
	AKPublic wire.Bytes `json:"ak_public"`
}

// ActivateRequest asks a broker to have a TPM prove where its attestation key lives. It is not
// signed: whoever asks learns no more than that.
type ActivateRequest struct {
	Version   string      `json:"version"`
	Broker    wire.ID     `json:"broker"`
	Agreement wire.Digest `json:"agreement"`
	Key       TPMKey      `json:"key"`
}

// Activate is the broker's answer, not signed either: only the TPM can make anything of it.
type Activate struct {
	Version string  `json:"version"`
	Broker  wire.ID `json:"broker"`
	// Credential and Secret are for TPM2_ActivateCredential.
	Credential wire.Bytes `json:"credential"`
	Secret     wire.Bytes `json:"secret"`
	// Ticket is for the broker, which remembers nothing.
	Ticket wire.Bytes `json:"ticket"`
}

// ActivatedRequest brings the TPM's answer. The broker answers it with a document of type
// ActivatedType signed by its release key.
type ActivatedRequest struct {
	Version   string      `json:"version"`
	Broker    wire.ID     `json:"broker"`
	Agreement wire.Digest `json:"agreement"`
	Key       TPMKey      `json:"key"`
	Ticket    wire.Bytes  `json:"ticket"`
	Answer    wire.Bytes  `json:"answer"`
}

func (k TPMKey) check() error {
	if n := len(k.Certificates); n > MaxTPMCertificates {
		return fmt.Errorf("%d certificates, at most %d", n, MaxTPMCertificates)
	}
	for _, c := range append([]wire.Bytes{k.EKCertificate}, k.Certificates...) {
		if len(c) == 0 || len(c) > MaxTPMCertificate {
			return fmt.Errorf("certificate of %d bytes, expected 1 to %d", len(c), MaxTPMCertificate)
		}
	}
	if n := len(k.AKPublic); n == 0 || n > MaxTPMPublic {
		return fmt.Errorf("public area of %d bytes, expected 1 to %d", n, MaxTPMPublic)
	}
	return nil
}

func checkActivation(broker wire.ID, agreement wire.Digest, key TPMKey) error {
	switch {
	case !broker.Valid():
		return fmt.Errorf("broker %.70q", string(broker))
	case agreement.IsZero():
		return fmt.Errorf("agreement is zero")
	}
	return key.check()
}

// unsigned reads a message that nobody signed; its own check comes last.
func unsigned[T any](data []byte, what string, version func(T) string, check func(T) error) (m T, err error) {
	if err = sized(data, MaxSmall); err == nil {
		err = wire.Unmarshal(data, &m)
	}
	if err == nil && version(m) != Version {
		var none T
		return none, otherVersion(version(m))
	}
	if err == nil {
		err = check(m)
	}
	if err != nil {
		var none T
		return none, malformed(what, err)
	}
	return m, nil
}

// encoded writes a message that nobody signs, no longer than the reader will accept.
func encoded(m any, what string, checked error) ([]byte, error) {
	if checked != nil {
		return nil, malformed(what, checked)
	}
	data, err := wire.Marshal(m)
	if err == nil {
		err = sized(data, MaxSmall)
	}
	if err != nil {
		return nil, malformed(what, err)
	}
	return data, nil
}

const (
	asksForActivation = "request to activate a key"
	activationSecret  = "challenge to a TPM"
	activationAnswer  = "answer of a TPM"
)

func (r ActivateRequest) check() error { return checkActivation(r.Broker, r.Agreement, r.Key) }

// NewActivateRequest encodes a room's request.
func NewActivateRequest(r ActivateRequest) ([]byte, error) {
	r.Version = Version
	r.Key.Certificates = append([]wire.Bytes{}, r.Key.Certificates...)
	return encoded(r, asksForActivation, r.check())
}

// ParseActivateRequest reads it on the broker's side: form and limits only.
func ParseActivateRequest(data []byte) (ActivateRequest, error) {
	return unsigned(data, asksForActivation, func(r ActivateRequest) string { return r.Version }, ActivateRequest.check)
}

func (a Activate) check() error {
	if !a.Broker.Valid() {
		return fmt.Errorf("broker %.70q", string(a.Broker))
	}
	for _, part := range []wire.Bytes{a.Credential, a.Secret} {
		if len(part) == 0 || len(part) > MaxCredential {
			return fmt.Errorf("%d bytes for the TPM, expected 1 to %d", len(part), MaxCredential)
		}
	}
	return checkTicket(a.Ticket)
}

func checkTicket(ticket []byte) error {
	if len(ticket) == 0 || len(ticket) > MaxToken {
		return fmt.Errorf("ticket of %d bytes, expected 1 to %d", len(ticket), MaxToken)
	}
	return nil
}

// NewActivate encodes a broker's challenge to a TPM.
func NewActivate(a Activate) ([]byte, error) {
	a.Version = Version
	return encoded(a, activationSecret, a.check())
}

// ParseActivate reads the challenge in the room.
func ParseActivate(data []byte, broker wire.ID) (Activate, error) {
	a, err := unsigned(data, activationSecret, func(a Activate) string { return a.Version }, Activate.check)
	if err == nil && a.Broker != broker {
		return Activate{}, verdict.NotGenuine("activation.answer", "a challenge by "+string(broker), "one by "+string(a.Broker), "ask again; somebody on the way exchanged answers")
	}
	return a, err
}

func (r ActivatedRequest) check() error {
	if n := len(r.Answer); n == 0 || n > MaxTPMAnswer {
		return fmt.Errorf("answer of %d bytes, expected 1 to %d", n, MaxTPMAnswer)
	}
	if err := checkTicket(r.Ticket); err != nil {
		return err
	}
	return checkActivation(r.Broker, r.Agreement, r.Key)
}

// NewActivatedRequest encodes the TPM's answer.
func NewActivatedRequest(r ActivatedRequest) ([]byte, error) {
	r.Version = Version
	r.Key.Certificates = append([]wire.Bytes{}, r.Key.Certificates...)
	return encoded(r, activationAnswer, r.check())
}

// ParseActivatedRequest reads it on the broker's side: form and limits only.
func ParseActivatedRequest(data []byte) (ActivatedRequest, error) {
	return unsigned(data, activationAnswer, func(r ActivatedRequest) string { return r.Version }, ActivatedRequest.check)
}

// VerifyActivated checks that a broker's word about a key is signed by its release key. What
// it is about is checked where it is relied on: with the evidence.
func VerifyActivated(data []byte, releaseKey keys.PublicKey) error {
	doc, err := parsed(data, ActivatedType, MaxSmall, nil)
	if err != nil {
		return err
	}
	return signedBy(doc, releaseKey)
}

// ticketDomain is that of the MAC in a ticket, answerDomain that of the secret behind it.
const (
	ticketDomain = "strongroom/activation-ticket/v1"
	answerDomain = "strongroom/activation-answer/v1"
)

// Ticket is what a broker knows of a challenge that it made for a TPM (spec/release.md, section
// 8): nothing of it is kept, all of it follows from the broker's secret.
type Ticket struct {
	// Answer is what the TPM must find in the challenge.
	Answer [32]byte
	// Bytes travel with the challenge and come back with the answer.
	Bytes []byte
}

// ticketFields is what a ticket is bound to.
func ticketFields(head []byte, issuer wire.ID, agreement wire.Digest, akName, ekCertificate []byte) [][]byte {
	return [][]byte{head, []byte(issuer), agreement[:], akName, ekCertificate}
}

// IssueTicket makes a ticket for one attestation key, by its name, beside the endorsement key
// in one certificate, under one agreement, good until ChallengeLifetimeMS from now.
func IssueTicket(secret *keys.Secret, issuer wire.ID, agreement wire.Digest, akName, ekCertificate []byte, now time.Time) Ticket {
	return makeTicket(secret, keys.RandomID(), now.UnixMilli()+ChallengeLifetimeMS, issuer, agreement, akName, ekCertificate)
}

func makeTicket(secret *keys.Secret, id [16]byte, expires int64, issuer wire.ID, agreement wire.Digest, akName, ekCertificate []byte) Ticket {
	head := binary.BigEndian.AppendUint64(id[:], uint64(expires))
	fields := ticketFields(head, issuer, agreement, akName, ekCertificate)
	mac := secret.MAC(ticketDomain, fields...)
	return Ticket{secret.Derive(answerDomain, fields...), append(mac[:], head...)}
}

// RecogniseTicket reads a ticket that this secret issued for the same key, certificate and
// agreement, unless it is over.
func RecogniseTicket(secret *keys.Secret, issuer wire.ID, agreement wire.Digest, akName, ekCertificate, ticket []byte, now time.Time) (Ticket, error) {
	const macSize, headSize = 32, 16 + 8
	if len(ticket) != macSize+headSize {
		return Ticket{}, alienTicket()
	}
	mac, head := ticket[:macSize], ticket[macSize:]
	fields := ticketFields(head, issuer, agreement, akName, ekCertificate)
	if !secret.VerifyMAC(mac, ticketDomain, fields...) {
		return Ticket{}, alienTicket()
	}
	if expires := int64(binary.BigEndian.Uint64(head[16:])); now.UnixMilli() >= expires {
		return Ticket{}, verdict.NotGenuine("activation.fresh", "a ticket of the last five minutes", fmt.Sprintf("one that expired %d s ago", (now.UnixMilli()-expires)/1000), "ask for a new challenge")
	}
	return Ticket{secret.Derive(answerDomain, fields...), ticket}, nil
}

func alienTicket() error {
	return verdict.NotGenuine("activation.known", "a ticket of this broker for this key, certificate and agreement", "another ticket", "ask this broker for a challenge")
}
