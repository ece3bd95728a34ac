package nitro

import (
	"crypto/x509"
	"fmt"
	"time"

	"strongroom.dev/cbor"
	"strongroom.dev/cose"
	"strongroom.dev/verdict"
)

// pcrSize is the bytes of a PCR: all are SHA-384.
const pcrSize = 48

// document is an attestation document (AWS Nitro Enclaves, "Verifying the root of trust",
// section 2; nsm_api: AttestationDoc). Nothing in it is verified.
type document struct {
	signed   *cose.Sign1
	moduleID string
	time     time.Time // to the millisecond
	pcrs     map[int][pcrSize]byte
	// certificate signed the document; bundle leads from the root to it.
	certificate *x509.Certificate
	bundle      []*x509.Certificate
	// What the enclave chose; nil for what it left out.
	publicKey, userData, nonce []byte
	// unknown are members that are not known here.
	unknown []string
}

func parseDocument(data []byte) (*document, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("a document of %d bytes, at most %d", len(data), maxDocument)
	}
	s, err := cose.ParseSign1(data, limits())
	if err != nil {
		return nil, err
	}
	if labels, ok := s.Critical(); !ok || len(labels) > 0 {
		return nil, fmt.Errorf("critical members in its header that are not known here")
	}
	payload, err := cbor.Parse(s.Payload, limits())
	if err != nil {
		return nil, err
	}
	d := &document{signed: s}
	if err := d.read(payload); err != nil {
		return nil, err
	}
	return d, nil
}

// read takes the members of the payload.
func (d *document) read(payload cbor.Value) error {
	if payload.Kind != cbor.Map {
		return fmt.Errorf("a payload that is %s, expected a map", payload.Kind)
	}
	if payload.Named("nitrotpm_pcrs").Kind != cbor.None {
		return fmt.Errorf("a document of a NitroTPM, not of an enclave")
	}
	for _, p := range payload.Pairs {
		if p.Key.Kind != cbor.Text {
			return fmt.Errorf("a member named by %s", p.Key.Kind)
		}
		if err := d.member(p.Key.Text, p.Value); err != nil {
			return fmt.Errorf("%.40q: %w", p.Key.Text, err)
		}
	}
	if d.moduleID == "" || payload.Named("digest").Kind == cbor.None || d.time.IsZero() || d.pcrs == nil || d.certificate == nil || d.bundle == nil {
		return fmt.Errorf("a payload without module_id, digest, timestamp, pcrs, certificate or cabundle")
	}
	return nil
}

func (d *document) member(name string, v cbor.Value) (err error) {
	switch name {
	case "module_id":
		d.moduleID = v.Text
		if v.Kind != cbor.Text || d.moduleID == "" || len(d.moduleID) > 128 {
			return fmt.Errorf("not a text of 1 to 128 bytes")
		}
	case "digest":
		if v.Kind != cbor.Text || v.Text != "SHA384" {
			return fmt.Errorf("%.20q, expected SHA384", v.Text)
		}
	case "timestamp":
		millis, ok := v.Int()
		if v.Kind != cbor.Unsigned || !ok || millis == 0 || millis > 1<<46 { // the year 4199
			return fmt.Errorf("not a time in milliseconds")
		}
		d.time = time.UnixMilli(millis).UTC()
	case "pcrs":
		d.pcrs, err = readPCRs(v)
	case "certificate":
		d.certificate, err = readCertificate(v)
	case "cabundle":
		d.bundle, err = readBundle(v)
	case "public_key":
		d.publicKey, err = readField(v)
	case "user_data":
		d.userData, err = readField(v)
	case "nonce":
		d.nonce, err = readField(v)
	default:
		d.unknown = append(d.unknown, verdict.Short(name))
	}
	return err
}

// readPCRs reads the PCRs that are locked: others are not in a document.
func readPCRs(v cbor.Value) (map[int][pcrSize]byte, error) {
	if v.Kind != cbor.Map || len(v.Pairs) > maxPCR+1 {
		return nil, fmt.Errorf("not a map of up to %d PCRs", maxPCR+1)
	}
	pcrs := make(map[int][pcrSize]byte)
	for _, p := range v.Pairs {
		if p.Key.Kind != cbor.Unsigned || p.Key.Number > maxPCR || p.Value.Kind != cbor.Bytes || len(p.Value.Bytes) != pcrSize {
			return nil, fmt.Errorf("a PCR that is not %d bytes with a number up to %d", pcrSize, maxPCR)
		}
		pcrs[int(p.Key.Number)] = [pcrSize]byte(p.Value.Bytes)
	}
	for _, needed := range []int{0, 1, 2} {
		if _, ok := pcrs[needed]; !ok {
			return nil, fmt.Errorf("PCR %d is missing", needed)
		}
	}
	return pcrs, nil
}

func readCertificate(v cbor.Value) (*x509.Certificate, error) {
	if v.Kind != cbor.Bytes {
		return nil, fmt.Errorf("%s, expected a byte string", v.Kind)
	}
	return x509.ParseCertificate(v.Bytes)
}

func readBundle(v cbor.Value) ([]*x509.Certificate, error) {
	if v.Kind != cbor.Array || len(v.Items) < 1 || len(v.Items) > maxCertificates {
		return nil, fmt.Errorf("not a list of 1 to %d certificates", maxCertificates)
	}
	var bundle []*x509.Certificate
	for _, item := range v.Items {
		c, err := readCertificate(item)
		if err != nil {
			return nil, err
		}
		bundle = append(bundle, c)
	}
	return bundle, nil
}

// readField reads one of the fields that the enclave may fill. An empty one is there; null
// is not.
func readField(v cbor.Value) ([]byte, error) {
	switch {
	case v.Kind == cbor.Null:
		return nil, nil
	case v.Kind != cbor.Bytes || len(v.Bytes) > maxField:
		return nil, fmt.Errorf("not null or up to %d bytes", maxField)
	}
	return append([]byte{}, v.Bytes...), nil
}
