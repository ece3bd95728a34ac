package machine

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"strongroom.dev/attest"
	"strongroom.dev/device"
	"strongroom.dev/machine/chip"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The PCRs that a room measures into (spec/tpm.md, sections 1 and 6).
const (
	initDataPCR = 8
	workPCR     = 14
)

// maxLog is the most bytes of an event log; OVMF's have 3 KiB, cloud firmware's 100.
const maxLog = 512 << 10

// trusted is the evidence device of a machine with a TPM, which it owns alone.
type trusted struct {
	found Found
	tpm   *chip.TPM
	ek    chip.Endorsement
	ak    chip.Key
	chain [][]byte
	log   []byte
	// initData is what PCR 8 holds; zero until Begin.
	initData wire.Hash
	// separated is set when PCR 8 holds a separator too, or may.
	separated bool
}

// newTrusted makes an attestation key from a salt that nobody used before, and takes what is
// to be shown of the TPM and of the boot.
func newTrusted(found Found, tpm *chip.TPM, salt [32]byte, log []byte) (*trusted, error) {
	t := &trusted{found: found, tpm: tpm, log: log}
	var err error
	if t.ek, err = tpm.Endorsement(); errors.Is(err, chip.ErrNoEndorsement) {
		return nil, verdict.Refuse("machine.tpm", "a TPM with a certificate of its endorsement key", "none at the indices of the TCG's profile", "have the TPM's maker certify it, or swtpm_setup --create-ek-cert")
	}
	if err != nil {
		return nil, fmt.Errorf("the TPM's endorsement key: %w", err)
	}
	if t.chain, err = tpm.Chain(); err != nil {
		return nil, fmt.Errorf("the TPM's certificates: %w", err)
	}
	if t.ak, err = tpm.NewAttestationKey(salt); err != nil {
		return nil, fmt.Errorf("making an attestation key: %w", err)
	}
	return t, nil
}

// Begin implements [device.Device]: no host set anything when the machine started, so the
// init data is measured now, once, before anything else extends PCR 8.
func (t *trusted) Begin(_ context.Context, long wire.Digest, short wire.Hash) (device.Introduction, error) {
	if t.initData != (wire.Hash{}) {
		return device.Introduction{}, verdict.Refuse("machine.init_data", "one agreement", "another", "start a machine for each agreement")
	}
	t.initData = short
	if err := t.tpm.Extend(initDataPCR, chip.Measurement{SHA256: short, SHA384: long}); err != nil {
		return device.Introduction{}, fmt.Errorf("measuring the agreement: %w", err)
	}
	key := &device.Key{EKCertificate: t.ek.Certificate, Certificates: []wire.Bytes{}, AKPublic: t.ak.Public}
	for _, c := range t.chain {
		key.Certificates = append(key.Certificates, c)
	}
	return device.Introduction{Platform: t.found.Platform, Why: t.found.Why, Key: key}, nil
}

// Activate implements [device.Device].
func (t *trusted) Activate(_ context.Context, credential, secret []byte) ([]byte, error) {
	answer, err := t.tpm.Activate(t.ek, t.ak, credential, secret)
	if err != nil {
		return nil, verdict.Refuse("machine.activation", "a challenge to this TPM's endorsement key, about its attestation key", verdict.Short(err.Error()), "ask for a new one: this may be another machine's")
	}
	return answer, nil
}

// The evidence as package attest/tpm reads it (spec/tpm.md, section 2), which would bring all
// that verifies it.
type (
	tpmEvidence struct {
		Type          string       `json:"type"`
		AKPublic      wire.Bytes   `json:"ak_public"`
		AKCertificate wire.Bytes   `json:"ak_certificate"`
		Activation    wire.Bytes   `json:"activation"`
		Certificates  []wire.Bytes `json:"certificates"`
		Quotes        []tpmQuote   `json:"quotes"`
		EventLog      wire.Bytes   `json:"event_log"`
		InitData      wire.Bytes   `json:"init_data"`
	}
	tpmQuote struct {
		Message   wire.Bytes                       `json:"message"`
		Signature wire.Bytes                       `json:"signature"`
		Banks     map[string]map[string]wire.Bytes `json:"banks"`
	}
)

// Attest implements [device.Device]: a quote of every PCR over the short report data.
func (t *trusted) Attest(_ context.Context, report [64]byte, record []byte) (attest.Evidence, error) {
	if t.separated {
		return attest.Evidence{}, verdict.Refuse("machine.separated", "a question before the work started", "one for evidence that does not say that it did", "start another machine")
	}
	return t.quote(report, record)
}

// Ingress implements [device.Device]: the same, with the separator in PCR 8 for all to see.
func (t *trusted) Ingress(_ context.Context, c device.Connection) (attest.Evidence, error) {
	if !t.separated {
		return attest.Evidence{}, verdict.Refuse("machine.separated", "a question once the work has started", "one before", "a defect in the agent: report it")
	}
	return t.quote(c.Binding().ReportData(), c.Record)
}

func (t *trusted) quote(report [64]byte, record []byte) (attest.Evidence, error) {
	nonce := wire.SHA256("strongroom/short-report-data/v1", report[:])
	q, err := t.tpm.Quote(t.ak, nonce[:])
	if err != nil {
		return attest.Evidence{}, fmt.Errorf("asking the TPM for a quote: %w", err)
	}
	values := map[string]wire.Bytes{}
	for i, v := range q.PCRs {
		values[strconv.Itoa(i)] = v
	}
	data, err := wire.Marshal(tpmEvidence{
		Type:         "strongroom/tpm-evidence/v1",
		AKPublic:     t.ak.Public,
		Activation:   record,
		Certificates: []wire.Bytes{},
		Quotes:       []tpmQuote{{q.Message, q.Signature, map[string]map[string]wire.Bytes{"sha256": values}}},
		EventLog:     t.log,
		InitData:     t.initData[:],
	})
	return attest.Evidence{Platform: TPM, Evidence: data}, err
}

// Separate implements [device.Device]: it measures which run's work starts and separators
// into both PCRs, so that no quote from now on passes for one from before. The keys stay, for
// Ingress and for whoever vouches for them again: a room may serve for long.
func (t *trusted) Separate(_ context.Context, run wire.Digest) error {
	t.separated = true // whatever comes of it
	const domain = "strongroom/work/v1"
	separator := chip.Measure(make([]byte, 4))
	for _, step := range []struct {
		pcr int
		m   chip.Measurement
	}{
		{workPCR, chip.Measurement{SHA256: wire.SHA256(domain, run[:]), SHA384: wire.SHA384(domain, run[:])}},
		{initDataPCR, separator},
		{workPCR, separator},
	} {
		if err := t.tpm.Extend(step.pcr, step.m); err != nil {
			return fmt.Errorf("measuring the start of the work: %w", err)
		}
	}
	return nil
}
