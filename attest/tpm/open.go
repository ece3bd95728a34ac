package tpm

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"

	"strongroom.dev/endorse"
	"strongroom.dev/tpm2"
	"strongroom.dev/wire"
)

// Type is the document type of this program's own form of evidence.
const Type = "strongroom/tpm-evidence/v1"

// Evidence is this program's own form (spec/tpm.md): canonical JSON with all members; what
// there is not is empty.
type Evidence struct {
	Type string `json:"type"`
	// AKPublic is the attestation key's TPMT_PUBLIC.
	AKPublic wire.Bytes `json:"ak_public"`
	// AKCertificate is the maker's or cloud's certificate of that key, DER.
	AKCertificate wire.Bytes `json:"ak_certificate"`
	// Certificates are what leads from certificates here to their roots, DER.
	Certificates []wire.Bytes `json:"certificates"`
	// Activation is the record of somebody who had the TPM prove that the key lives in it.
	Activation wire.Bytes `json:"activation"`
	// Quotes are quotes by the key, all over the same nonce.
	Quotes []tpm2.Document `json:"quotes"`
	// EventLog is the firmware's log.
	EventLog wire.Bytes `json:"event_log"`
	// InitData is what [tpm2.InitDataPCR] was extended with, once, as its first and only value.
	InitData wire.Bytes `json:"init_data"`
}

// Encode gives the evidence as it is sent.
func (e Evidence) Encode() ([]byte, error) {
	e.Type = Type
	if e.Certificates == nil {
		e.Certificates = []wire.Bytes{}
	}
	if e.Quotes == nil {
		e.Quotes = []tpm2.Document{}
	}
	return wire.Marshal(e)
}

// parts are the parts of evidence, whatever its form. Nothing of them is checked.
type parts struct {
	form       string
	quotes     []tpm2.Quote
	public     *tpm2.Public // of the AK
	key        crypto.PublicKey
	akCert     *x509.Certificate
	certs      []*x509.Certificate
	activation []byte
	log        []byte
	initData   []byte
	hardware   bool // carries a report of other hardware, which is not looked at
}

// Detect reports whether data looks like evidence of a TPM, in any form that Examine takes.
func Detect(data []byte) bool {
	p, err := open(data)
	return err == nil && len(p.quotes) > 0
}

// open takes evidence apart, in one of these forms: [Evidence]; {"ak_public", "tpm_quote"} of
// Trustee; a bare quote {"message", "signature", "pcrs"}; the same as az-cvm-vtpm writes it in
// binary; an Attestation message of go-tpm-tools; hex or base64 of these.
func open(data []byte) (*parts, error) {
	if len(data) == 0 || len(data) > MaxEvidence {
		return nil, fmt.Errorf("%d bytes, expected 1 to %d", len(data), MaxEvidence)
	}
	if text := bytes.TrimSpace(data); len(text) > 0 && text[0] == '{' {
		return openJSON(text)
	}
	if q, ok := tpm2.ParseBinary(data); ok {
		return &parts{form: "a quote in az-cvm-vtpm's binary form", quotes: []tpm2.Quote{q}}, nil
	}
	if decoded := endorse.Decode(data); decoded != nil {
		if q, ok := tpm2.ParseBinary(decoded); ok {
			return &parts{form: "a quote in az-cvm-vtpm's binary form", quotes: []tpm2.Quote{q}}, nil
		}
		return openMessage(decoded)
	}
	return openMessage(data)
}

func openJSON(text []byte) (*parts, error) {
	var kind struct {
		Type    json.RawMessage `json:"type"`
		Quote   json.RawMessage `json:"tpm_quote"`
		Message json.RawMessage `json:"message"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return nil, err
	}
	switch {
	case string(kind.Type) == `"`+Type+`"`:
		return openOwn(text)
	case bytes.HasPrefix(kind.Type, []byte(`"strongroom/`)):
		return nil, fmt.Errorf("type %.40s, expected %q", kind.Type, Type)
	case kind.Quote != nil:
		return openTrustee(text)
	case kind.Message != nil:
		q, err := tpm2.ParseJSON(text)
		return &parts{form: "a bare quote", quotes: []tpm2.Quote{q}}, err
	}
	return nil, fmt.Errorf("JSON without type %q, member tpm_quote or member message", Type)
}

func openOwn(text []byte) (*parts, error) {
	var e Evidence
	if err := wire.Unmarshal(text, &e); err != nil {
		return nil, err
	}
	p := &parts{form: Type, log: e.EventLog, initData: e.InitData, activation: e.Activation}
	var err error
	if p.public, err = tpm2.ParsePublic(e.AKPublic); err != nil {
		return nil, err
	}
	p.key = p.public.Key
	if len(e.AKCertificate) > 0 && len(e.Activation) > 0 {
		return nil, fmt.Errorf("both a certificate of the key and an activation record")
	}
	if len(e.AKCertificate) > 0 {
		if p.akCert, err = parseCertificate(e.AKCertificate); err != nil {
			return nil, err
		}
	}
	if p.certs, err = parseCertificates(e.Certificates); err != nil {
		return nil, err
	}
	p.quotes, err = tpm2.Documents(e.Quotes)
	return p, err
}

func openTrustee(text []byte) (*parts, error) {
	var e struct {
		AK    tpm2.AnyBytes   `json:"ak_public"`
		Quote json.RawMessage `json:"tpm_quote"`
	}
	if err := tpm2.Decode(text, &e); err != nil {
		return nil, err
	}
	q, err := tpm2.ParseJSON(e.Quote)
	if err != nil {
		return nil, err
	}
	p := &parts{form: "Trustee's form", quotes: []tpm2.Quote{q}}
	if p.key, err = x509.ParsePKIXPublicKey(e.AK); err == nil {
		return p, tpm2.CheckKey(p.key)
	}
	if p.public, err = tpm2.ParsePublic(e.AK); err != nil {
		return nil, fmt.Errorf("ak_public is neither a SubjectPublicKeyInfo nor a %w", err)
	}
	p.key = p.public.Key
	return p, nil
}
