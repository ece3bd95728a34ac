package dice

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"

	"strongroom.dev/endorse"
	"strongroom.dev/tcbinfo"
	"strongroom.dev/wire"
)

// Type is the document type of this program's own form of evidence.
const Type = "strongroom/dice-evidence/v1"

// Evidence is this program's own form (spec/evidence.md): canonical JSON. Certificates alone
// can be shown by anyone who once saw them; in this form the leaf's key answers a challenge.
type Evidence struct {
	Type string `json:"type"`
	// Certificates are the device's, DER, in any order; a request for its identity key may be
	// among them.
	Certificates []wire.Bytes `json:"certificates"`
	// ReportData is what the leaf's key signed, 64 or 32 bytes.
	ReportData wire.Bytes `json:"report_data"`
	// Signature is over [Message]: ECDSA in ASN.1, with the hash of its curve's size, or ML-DSA.
	Signature wire.Bytes `json:"signature"`
}

// Encode gives the evidence as it is sent.
func (e Evidence) Encode() ([]byte, error) {
	e.Type = Type
	if e.Certificates == nil {
		e.Certificates = []wire.Bytes{}
	}
	return wire.Marshal(e)
}

// Message gives what the leaf's key signs in [Evidence].
func Message(reportData []byte) []byte { return wire.Tuple("strongroom/dice-report/v1", reportData) }

// envelope is what evidence holds. Nothing in it is verified.
type envelope struct {
	form         string
	certificates []*layer
	requests     []*layer
	reportData   []byte // own form only
	signature    []byte
}

// layer is a certificate or a request, with its key.
type layer struct {
	der  []byte
	key  *key
	cert *x509.Certificate // nil for a request
	// info are what the certificate states of firmware; ueid is the device's identity.
	infos []tcbinfo.Info
	ueid  []byte
}

// Detect reports whether data holds certificates of a DICE device, and nothing else: DER one
// after the other, PEM, hex or base64 of these; or this program's own form.
func Detect(data []byte) bool {
	if len(data) > MaxEvidence {
		return false
	}
	if own(data) {
		return true
	}
	return bytes.Contains(data, dicePrefix()) && der(data) || text(data)
}

// dicePrefix is how object identifiers of DICE start: 2.23.133.5.4.
func dicePrefix() []byte { return []byte{0x67, 0x81, 0x05, 0x05, 0x04} }

// der reports whether data starts as a certificate does.
func der(data []byte) bool { return len(data) > 64 && data[0] == 0x30 && data[1] == 0x82 }

// text reports whether data is PEM, hex or base64 of certificates of a device.
func text(data []byte) bool {
	ders, err := split(data, 0)
	if err != nil || der(data) {
		return false
	}
	for _, one := range ders {
		if bytes.Contains(one, dicePrefix()) {
			return true
		}
	}
	return false
}

func own(data []byte) bool {
	return bytes.HasPrefix(data, []byte("{")) && bytes.Contains(data, []byte(`"type":"`+Type+`"`))
}

func open(data []byte) (*envelope, error) {
	if len(data) > MaxEvidence {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), MaxEvidence)
	}
	e := &envelope{form: "certificates"}
	ders, err := split(data, 0)
	if own(data) {
		var doc Evidence
		if err = wire.Unmarshal(data, &doc); err == nil && len(doc.ReportData) == 0 {
			err = errors.New("no report data")
		}
		e.form, e.reportData, e.signature, ders = Type, doc.ReportData, doc.Signature, nil
		for _, one := range doc.Certificates {
			ders = append(ders, one)
		}
	}
	if err != nil {
		return nil, err
	}
	if len(ders) == 0 || len(ders) > maxCertificates {
		return nil, fmt.Errorf("%d certificates, expected 1 to %d", len(ders), maxCertificates)
	}
	for _, one := range ders {
		if err := e.add(one); err != nil {
			return nil, err
		}
	}
	if len(e.certificates) == 0 {
		return nil, errors.New("a request alone, without a certificate")
	}
	return e, nil
}

// split takes apart DER one after the other, PEM, hex or base64. Nothing is left out.
func split(data []byte, nesting int) ([][]byte, error) {
	if der(data) {
		return splitDER(data)
	}
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		return splitPEM(data)
	}
	decoded := endorse.Decode(data)
	if decoded == nil || nesting > 0 {
		return nil, errors.New("neither DER nor PEM")
	}
	return split(decoded, nesting+1)
}

func splitDER(data []byte) ([][]byte, error) {
	var ders [][]byte
	for len(data) > 0 {
		var value asn1.RawValue
		rest, err := asn1.Unmarshal(data, &value)
		if err != nil || len(ders) == maxCertificates {
			return nil, fmt.Errorf("%d bytes behind %d certificates that are none, or too many", len(data), len(ders))
		}
		ders, data = append(ders, value.FullBytes), rest
	}
	return ders, nil
}

func splitPEM(data []byte) ([][]byte, error) {
	var ders [][]byte
	want := bytes.Count(data, []byte("-----BEGIN "))
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		ders, data = append(ders, block.Bytes), rest
	}
	if len(ders) != want || want > maxCertificates {
		return nil, fmt.Errorf("%d blocks of PEM of which %d can be read, at most %d", want, len(ders), maxCertificates)
	}
	return ders, nil
}

// add takes a certificate or a request.
func (e *envelope) add(one []byte) error {
	l, err := certificateLayer(one)
	if err == nil {
		e.certificates = append(e.certificates, l)
		return nil
	}
	if request, requestErr := requestLayer(one); requestErr == nil {
		e.requests = append(e.requests, request)
		return nil
	}
	return err
}

func certificateLayer(der []byte) (*layer, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	l := &layer{der: der, cert: cert}
	if l.key, err = parseKey(cert.RawSubjectPublicKeyInfo); err != nil {
		return nil, fmt.Errorf("%.60q: %w", cert.Subject.CommonName, err)
	}
	for _, e := range cert.Extensions {
		if err := l.extension(e.Id, e.Value); err != nil {
			return nil, fmt.Errorf("%.60q: %w", cert.Subject.CommonName, err)
		}
	}
	return l, nil
}

func requestLayer(der []byte) (*layer, error) {
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, err
	}
	l := &layer{der: der}
	l.key, err = parseKey(request.RawSubjectPublicKeyInfo)
	return l, err
}

// extension reads what is DICE's: TcbInfo, also under the number that Blackwell GPUs use for
// it; MultiTcbInfo; UEID.
func (l *layer) extension(id asn1.ObjectIdentifier, value []byte) error {
	switch {
	case id.Equal(tcbinfo.OID(tcbinfo.TCBInfo)), id.Equal(append(tcbinfo.OID(tcbinfo.TCBInfo), 1)):
		info, err := tcbinfo.Parse(value)
		if err != nil {
			return err
		}
		l.infos = append(l.infos, info)
	case id.Equal(tcbinfo.OID(tcbinfo.MultiTCBInfo)):
		infos, err := tcbinfo.ParseMulti(value)
		if err != nil {
			return err
		}
		l.infos = append(l.infos, infos...)
	case id.Equal(tcbinfo.OID(tcbinfo.UEID)):
		ueid, err := tcbinfo.ParseUEID(value)
		if err != nil {
			return err
		}
		l.ueid = ueid
	}
	return nil
}

// known reports whether a critical extension is one that this package reads.
func known(id asn1.ObjectIdentifier) bool {
	for _, n := range []int{tcbinfo.TCBInfo, tcbinfo.UEID, tcbinfo.MultiTCBInfo} {
		if id.Equal(tcbinfo.OID(n)) {
			return true
		}
	}
	return id.Equal(append(tcbinfo.OID(tcbinfo.TCBInfo), 1))
}
