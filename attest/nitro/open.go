package nitro

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"

	"strongroom.dev/scale"
	"strongroom.dev/unwrap"
	"strongroom.dev/wire"
)

// Type is the document type of this program's own form of evidence.
const Type = "strongroom/nitro-evidence/v1"

// InitDataPCR is the PCR that holds the init data of a room: extended with it once, then
// locked. PCRs below belong to the Nitro hypervisor.
const InitDataPCR = 16

// Evidence is this program's own form (spec/evidence.md): canonical JSON.
type Evidence struct {
	Type string `json:"type"`
	// Document is what the NSM gave: a COSE_Sign1.
	Document wire.Bytes `json:"document"`
	// InitData is what [InitDataPCR] was extended with, as its first and only value.
	InitData wire.Bytes `json:"init_data"`
}

// Encode gives the evidence as it is sent.
func (e Evidence) Encode() ([]byte, error) {
	e.Type = Type
	return wire.Marshal(e)
}

// envelope is what evidence holds, once taken out of its wrapping. Nothing in it is verified.
type envelope struct {
	document []byte
	form     string
	// initData came with our own form.
	initData []byte
	// reportData came with dstack's form.
	reportData []byte
	// carrier is the TLS certificate that held the document.
	carrier *x509.Certificate
}

// prefix is how documents start behind the tag, which may be absent: an array of four, and
// the protected header {1: -35}, ES384.
const prefix = "\x84\x44\xa1\x01\x38\x22"

// looksLike recognises an attestation document of an NSM.
func looksLike(b []byte) bool {
	return bytes.HasPrefix(bytes.TrimPrefix(b, []byte{0xd2}), []byte(prefix)) && bytes.Contains(b, []byte("\x69module_id"))
}

// wrapped recognises what [open] takes, outside of text.
func wrapped(b []byte) bool {
	return looksLike(b) || dstack(b) || own(b) || carried(b) != nil
}

// Detect reports whether data looks like a document of a Nitro enclave, in any form that
// Examine takes.
func Detect(data []byte) bool {
	_, err := unwrap.Find(data, MaxEvidence, wrapped)
	return err == nil
}

// open takes a document out of evidence: raw; our own form; dstack's SCALE encoding; a TLS
// certificate with the document in hex as the first label of a name (as Evervault's enclaves
// make them); any of these in hex, base64, PEM, or anywhere in a JSON document.
func open(evidence []byte) (*envelope, error) {
	b, err := unwrap.Find(evidence, MaxEvidence, wrapped)
	if err != nil {
		return nil, err
	}
	switch {
	case looksLike(b):
		return &envelope{document: b, form: "document"}, nil
	case dstack(b):
		return openDstack(b)
	case own(b):
		return openOwn(b)
	}
	c, err := x509.ParseCertificate(b)
	if err != nil {
		return nil, err
	}
	return &envelope{document: carried(b), form: "TLS certificate", carrier: c}, nil
}

func own(b []byte) bool {
	return len(b) > 0 && b[0] == '{' && bytes.Contains(b, []byte(`"type":"`+Type+`"`))
}

func openOwn(b []byte) (*envelope, error) {
	var e Evidence
	if err := wire.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	if e.Type != Type || !looksLike(e.Document) {
		return nil, fmt.Errorf("no attestation document in %s", Type)
	}
	return &envelope{document: e.Document, form: Type, initData: e.InitData}, nil
}

// dstack recognises dstack's VersionedAttestation, version 0: a version, the number of the
// platform, and the document as a vector.
func dstack(b []byte) bool {
	if len(b) < 8 || b[0] != 0 || !bytes.HasPrefix(b[4:], []byte(prefix)) {
		return false
	}
	r := scale.Reader(b[2:])
	document, err := r.Vector()
	return err == nil && looksLike(document)
}

// openDstack takes the document and the report data that stands behind it: dstack puts
// runtime events (names and payloads), 64 bytes of report data and its configuration there.
func openDstack(b []byte) (*envelope, error) {
	r := scale.Reader(b[2:])
	document, err := r.Vector()
	if err != nil {
		return nil, err
	}
	events, err := r.Compact()
	if err != nil || events > 1024 {
		return nil, fmt.Errorf("dstack: %d events, %w", events, err)
	}
	for range 2 * events { // a name and a payload each
		if _, err := r.Vector(); err != nil {
			return nil, err
		}
	}
	reportData, err := r.Take(64)
	if err != nil {
		return nil, err
	}
	if _, err := r.Vector(); err != nil { // configuration
		return nil, err
	}
	if len(bytes.Trim(r, "\x00")) != 0 {
		return nil, fmt.Errorf("dstack: %d bytes behind its end", len(r))
	}
	return &envelope{document: document, form: "dstack attestation", reportData: reportData}, nil
}

// carried gives the document in a TLS certificate, nil if there is none.
func carried(b []byte) []byte {
	if len(b) < 2048 || b[0] != 0x30 {
		return nil
	}
	c, err := x509.ParseCertificate(b)
	if err != nil {
		return nil
	}
	for _, name := range c.DNSNames {
		label, _, _ := strings.Cut(name, ".")
		if document, err := hex.DecodeString(label); err == nil && looksLike(document) {
			return document
		}
	}
	return nil
}
