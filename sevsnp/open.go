package sevsnp

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"

	"strongroom.dev/endorse"
)

// Envelope is what evidence holds, once taken out of whatever a tool wrapped it in. Nothing
// in it is verified.
type Envelope struct {
	// Report is the report, [ReportSize] bytes.
	Report []byte
	// Form names the wrapping, for people.
	Form string
	// Certificates and CRLs came with the report.
	Certificates []*x509.Certificate
	CRLs         []*x509.RevocationList
	// Statements are COSE documents about the firmware that came with the report.
	Statements [][]byte

	attested []byte // the whole COSE document, if its key is vouched for by the report
	config   []byte // dstack's document that HOST_DATA is a hash of
	budget   budget
}

// The forms.
const (
	formRaw    = "raw report"
	formTable  = "report and certificate table"
	formGuest  = "guest message"
	formDstack = "dstack attestation"
	formCOSE   = "attested COSE document"
	formCBOR   = "CBOR"
	formJSON   = "JSON"
	formPEM    = "PEM"
	formText   = "hex or base64"
)

// Open takes a report out of evidence: raw, with AMD's certificate table or zeros behind it;
// as a guest gets it from the firmware (32 bytes before it); JSON of Trustee, of the sev
// crate, of Azure, of configfs-tsm and others, whatever their members are called; the same in
// CBOR; dstack's SCALE encoding; COSE documents attested by a container group; PEM with type
// REPORT; hex or base64 of these. Two different reports in one piece of evidence are refused.
func Open(evidence []byte) (Envelope, error) {
	if len(evidence) > MaxEvidence {
		return Envelope{}, fmt.Errorf("%d bytes, at most %d", len(evidence), MaxEvidence)
	}
	var e Envelope
	err := e.open(evidence)
	if err == nil && e.Report == nil {
		err = fmt.Errorf("no SEV-SNP report in it")
	}
	return e, err
}

// Detect reports whether data holds a SEV-SNP report in a form that [Open] reads.
func Detect(data []byte) bool {
	e, err := Open(data)
	return err == nil && looksLike(e.Report)
}

func (e *Envelope) open(data []byte) error {
	switch {
	case looksLike(data):
		return e.raw(data)
	case len(data) >= 32+ReportSize && binary.LittleEndian.Uint32(data[4:]) == ReportSize && zero(data[8:32]) && looksLike(data[32:]):
		return e.message(data)
	case dstack(data):
		return e.dstack(data)
	case len(data) > 2 && data[0] == 0xd2 && data[1] == 0x84:
		return e.cose(data)
	case len(data) > 0 && data[0]>>5 == 5 && data[0] != 0xa0:
		n, err := readCBOR(data, &e.budget)
		if err != nil {
			return err
		}
		e.Form = formCBOR
		return e.collect(n, 0)
	}
	return e.text(data, 0)
}

// raw takes a report with AMD's certificate table or zeros behind it.
func (e *Envelope) raw(data []byte) error {
	if e.Form == "" {
		e.Form = formRaw
	}
	if err := e.report(data[:ReportSize]); err != nil {
		return err
	}
	rest := data[ReportSize:]
	if zero(rest) {
		return nil
	}
	if e.Form == formRaw {
		e.Form = formTable
	}
	entries := endorse.Table(rest)
	if entries == nil {
		return fmt.Errorf("%d bytes behind the report that are no certificate table", len(rest))
	}
	return e.table(entries)
}

// table takes AMD's certificate table. Its certificates must parse; entries that are not
// AMD's certificates are somebody else's business.
func (e *Envelope) table(entries []endorse.Entry) error {
	for _, entry := range entries {
		switch entry.GUID {
		case endorse.GUIDVCEK, endorse.GUIDVLEK, endorse.GUIDASK, endorse.GUIDARK, endorse.GUIDCRL:
			if n, err := e.endorsements(entry.Data); err != nil || n == 0 {
				return fmt.Errorf("certificate table with an entry that is no certificate")
			}
		}
	}
	return nil
}

// message takes what the firmware answers a guest (MSG_REPORT_RSP): status, size, 24
// reserved bytes, the report.
func (e *Envelope) message(data []byte) error {
	e.Form = formGuest
	if status := binary.LittleEndian.Uint32(data); status != 0 {
		return fmt.Errorf("the firmware's error %#x in place of a report", status)
	}
	return e.raw(data[32:])
}

// report notes the report; another one beside it is an ambiguity.
func (e *Envelope) report(b []byte) error {
	if e.Report != nil && !bytes.Equal(e.Report, b) {
		return fmt.Errorf("two different reports")
	}
	e.Report = b
	return nil
}

// endorsements takes what is recognised in b and tells how many pieces it found.
func (e *Envelope) endorsements(b []byte) (int, error) {
	items := endorse.Parse("", b)
	for _, it := range items {
		switch it.Kind {
		case endorse.X509Certificate:
			if c, err := x509.ParseCertificate(it.Data); err == nil {
				e.Certificates = append(e.Certificates, c)
			}
		case endorse.X509CRL:
			if l, err := x509.ParseRevocationList(it.Data); err == nil {
				e.CRLs = append(e.CRLs, l)
			}
		case endorse.COSESign1:
			e.Statements = append(e.Statements, it.Data)
		}
	}
	if len(e.Certificates)+len(e.CRLs)+len(e.Statements) > maxCertificates {
		return 0, fmt.Errorf("more than %d certificates", maxCertificates)
	}
	return len(items), nil
}

// text takes JSON, PEM, hex or base64.
func (e *Envelope) text(data []byte, nesting int) error {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0 || nesting > maxNesting:
		return nil
	case data[0] == '{' || data[0] == '[':
		if nesting > 0 && !json.Valid(data) {
			return nil // some text
		}
		n, err := readJSON(data, &e.budget)
		if err != nil {
			return err
		}
		e.named(formJSON)
		return e.collect(n, nesting)
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return e.pem(data)
	}
	if decoded := endorse.Decode(data); decoded != nil {
		e.named(formText)
		return e.blob(decoded, nesting+1)
	}
	return nil
}

func (e *Envelope) named(form string) {
	if e.Form == "" {
		e.Form = form
	}
}

// pem takes reports of type REPORT, and certificates.
func (e *Envelope) pem(data []byte) error {
	e.named(formPEM)
	if n := bytes.Count(data, []byte("-----BEGIN ")); n > 2*maxCertificates {
		return fmt.Errorf("%d blocks of PEM, at most %d", n, 2*maxCertificates)
	}
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if looksLike(block.Bytes) {
			if err := e.raw(block.Bytes); err != nil {
				return err
			}
		}
	}
	_, err := e.endorsements(data)
	return err
}

// blob takes bytes found inside evidence.
func (e *Envelope) blob(b []byte, nesting int) error {
	switch {
	case len(b) == 0 || nesting > maxNesting:
		return nil
	case looksLike(b):
		return e.raw(b)
	case dstack(b):
		return e.dstack(b)
	case b[0] == '{' || b[0] == '[' || b[0] == '-':
		return e.text(b, nesting)
	}
	if entries := endorse.Table(b); entries != nil {
		return e.table(entries)
	}
	_, err := e.endorsements(b)
	return err
}

// collect walks through a tree and takes what it recognises: certificates stand under many
// names, and a report is known by its form.
func (e *Envelope) collect(n node, nesting int) error {
	switch n.kind {
	case aText:
		return e.text([]byte(n.text), nesting)
	case aBytes:
		return e.blob(n.bytes, nesting)
	case anArray:
		for _, item := range n.items {
			if err := e.collect(item, nesting); err != nil {
				return err
			}
		}
	case aMap:
		if isCrate(n) {
			b, err := fromCrate(n)
			if err != nil {
				return err
			}
			return e.report(b)
		}
		for _, m := range n.members {
			if err := e.collect(m.value, nesting); err != nil {
				return err
			}
		}
	}
	return nil
}
