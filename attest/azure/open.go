package azure

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"strongroom.dev/dcap"
	"strongroom.dev/endorse"
	"strongroom.dev/tpm2"
	"strongroom.dev/wire"
)

// Type is the document type of this program's own form of evidence.
const Type = "strongroom/azure-evidence/v1"

// Evidence is this program's own form (spec/tpm.md, section 4): canonical JSON with all
// members; what there is not is empty.
type Evidence struct {
	Type string `json:"type"`
	// HCLReport is the paravisor's report as it is in the virtual TPM's memory.
	HCLReport wire.Bytes `json:"hcl_report"`
	// TDQuote is the quote for the TDREPORT in the HCL report; empty on SEV-SNP.
	TDQuote wire.Bytes `json:"td_quote"`
	// Certificates are the chip's (VCEK) and AMD's above it, DER.
	Certificates []wire.Bytes `json:"certificates"`
	// Quotes are quotes by the virtual TPM's attestation key, all over the same nonce.
	Quotes []tpm2.Document `json:"quotes"`
	// EventLog is the log of firmware and boot loader.
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
	form     string
	report   []byte
	tdQuote  []byte
	certs    []*x509.Certificate
	quotes   []tpm2.Quote
	log      []byte
	initData []byte
}

// Detect reports whether data looks like evidence of an Azure machine, in any form that
// Examine takes.
func Detect(data []byte) bool {
	p, err := open(data)
	return err == nil && bytes.HasPrefix(p.report, []byte("HCLA"))
}

// open takes evidence apart.
func open(data []byte) (*parts, error) {
	if len(data) == 0 || len(data) > MaxEvidence {
		return nil, fmt.Errorf("%d bytes, expected 1 to %d", len(data), MaxEvidence)
	}
	trimmed := bytes.TrimSpace(data)
	switch {
	case bytes.HasPrefix(data, []byte("HCLA")):
		return bare(data), nil
	case len(trimmed) > 0 && trimmed[0] == '{':
		return openJSON(trimmed)
	case bytes.Contains(trimmed, []byte("-----BEGIN ")):
		return openPEM(trimmed)
	}
	if decoded := endorse.Decode(trimmed); bytes.HasPrefix(decoded, []byte("HCLA")) {
		return bare(decoded), nil
	}
	return nil, fmt.Errorf("neither JSON nor an HCL report")
}

// openPEM finds an HCL report, and a TD quote if there is one, under whatever names.
func openPEM(text []byte) (*parts, error) {
	var p *parts
	var quote []byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		tee, isQuote := dcap.TEE(0), false
		if len(block.Bytes) > 0 && block.Bytes[0] != '{' {
			tee, isQuote = dcap.Detect(block.Bytes)
		}
		switch {
		case bytes.HasPrefix(block.Bytes, []byte("HCLA")) && p == nil:
			p = bare(block.Bytes)
		case isQuote && tee == dcap.TDX && quote == nil:
			quote = block.Bytes
		default:
			return nil, fmt.Errorf("PEM with %.20q beside or instead of one HCL report and one TD quote", block.Type)
		}
	}
	if p == nil {
		return nil, fmt.Errorf("PEM without an HCL report")
	}
	p.tdQuote = quote
	return p, nil
}

func bare(report []byte) *parts { return &parts{form: "a bare HCL report", report: report} }

func openJSON(text []byte) (*parts, error) {
	var kind struct {
		Type     json.RawMessage `json:"type"`
		Evidence json.RawMessage `json:"evidence"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return nil, err
	}
	if string(kind.Type) == `"`+Type+`"` {
		return openOwn(text)
	}
	if bytes.HasPrefix(kind.Type, []byte(`"strongroom/`)) {
		return nil, fmt.Errorf("type %.40s, expected %q", kind.Type, Type)
	}
	if kind.Evidence == nil {
		return openTrustee(text)
	}
	return openWrapped(text)
}

// openWrapped reads {"platform", "evidence"} of attestation-rs.
func openWrapped(text []byte) (*parts, error) {
	var wrapped struct {
		Platform string          `json:"platform"`
		Evidence json.RawMessage `json:"evidence"`
	}
	if err := tpm2.Decode(text, &wrapped); err != nil {
		return nil, err
	}
	p, err := openTrustee(wrapped.Evidence)
	if err != nil {
		return nil, err
	}
	snp, tdx := strings.Contains(wrapped.Platform, "snp"), strings.Contains(wrapped.Platform, "tdx")
	if !strings.HasPrefix(wrapped.Platform, "az") || snp == tdx || snp && p.tdQuote != nil || tdx && p.certs != nil {
		return nil, fmt.Errorf("platform %.20q", wrapped.Platform)
	}
	return p, nil
}

func openOwn(text []byte) (*parts, error) {
	var e Evidence
	if err := wire.Unmarshal(text, &e); err != nil {
		return nil, err
	}
	p := &parts{form: Type, report: e.HCLReport, tdQuote: e.TDQuote, log: e.EventLog, initData: e.InitData}
	if len(e.Certificates) > MaxCertificates {
		return nil, fmt.Errorf("%d certificates, at most %d", len(e.Certificates), MaxCertificates)
	}
	for _, der := range e.Certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		p.certs = append(p.certs, c)
	}
	var err error
	p.quotes, err = tpm2.Documents(e.Quotes)
	return p, err
}

// openTrustee reads {"version", "hcl_report", "tpm_quote", "vcek" or "td_quote"} of Trustee and
// attestation-rs, and the older {"report", "quote", "vcek"}.
func openTrustee(text []byte) (*parts, error) {
	var e struct {
		HCLReport tpm2.AnyBytes   `json:"hcl_report"`
		Report    tpm2.AnyBytes   `json:"report"`
		TPMQuote  json.RawMessage `json:"tpm_quote"`
		Quote     json.RawMessage `json:"quote"`
		VCEK      json.RawMessage `json:"vcek"`
		TDQuote   tpm2.AnyBytes   `json:"td_quote"`
	}
	if err := tpm2.Decode(text, &e); err != nil {
		return nil, err
	}
	older := e.Report != nil && e.Quote != nil
	newer := e.HCLReport != nil && e.TPMQuote != nil
	if older == newer || (e.Report != nil || e.Quote != nil) == newer || e.VCEK != nil && e.TDQuote != nil {
		return nil, fmt.Errorf("JSON that is neither Trustee's nor of type %q", Type)
	}
	p := &parts{form: "Trustee's form", report: append(e.HCLReport, e.Report...), tdQuote: e.TDQuote}
	q, err := tpm2.ParseJSON(append(e.TPMQuote, e.Quote...))
	if err != nil {
		return nil, err
	}
	p.quotes = []tpm2.Quote{q}
	if e.VCEK != nil {
		p.certs, err = certificates(e.VCEK)
	}
	return p, err
}

// certificates reads a chip's certificate, in PEM or as the text of DER, and what is with it.
func certificates(value json.RawMessage) ([]*x509.Certificate, error) {
	data := []byte(text(value))
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN")) {
		var der tpm2.AnyBytes
		if err := der.UnmarshalJSON(value); err != nil {
			return nil, fmt.Errorf("vcek: %w", err)
		}
		data = der
	}
	var all []*x509.Certificate
	for _, it := range endorse.Parse("vcek", data) {
		if it.Kind != endorse.X509Certificate || len(all) == MaxCertificates {
			return nil, fmt.Errorf("vcek: something else than certificates, or more than %d", MaxCertificates)
		}
		c, err := x509.ParseCertificate(it.Data)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("vcek: no certificate")
	}
	return all, nil
}
