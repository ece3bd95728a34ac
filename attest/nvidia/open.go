package nvidia

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/attest"
	"strongroom.dev/endorse"
)

// Device is one device in a piece of evidence.
type Device struct {
	Report []byte
	// Certificates came with the report.
	Certificates []*x509.Certificate
	// Hints are what the wrapping says. Nobody signs it; it must not contradict the report.
	Hints Hints
}

// Hints are what NVIDIA's and others' tools write beside a report. "" is not said.
type Hints struct {
	Architecture, Nonce, Driver, VBIOS, UUID string
}

// formError is a constant error.
type formError string

func (e formError) Error() string { return string(e) }

const errForm formError = "no report of an NVIDIA GPU or NVSwitch in a known form"

// Open finds the devices in evidence: one report, raw, in hex or in base64, alone or with a
// PEM chain behind it; or JSON of NVIDIA's tools (lists of nvattest and nvtrust, requests to
// NVIDIA's remote service, conceptual message wrappers), of Trustee, or of others that keep
// reports and chains the same way. Several such texts may stand one behind the other.
func Open(data []byte) ([]Device, error) {
	if looksLikeReport(data) {
		return []Device{{Report: data}}, nil
	}
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) == 0 || len(data) > attest.MaxEvidence {
		return nil, errForm
	}
	if c := trimmed[0]; c == '{' || c == '[' {
		v, err := parseJSON(trimmed)
		if err != nil {
			return nil, err
		}
		w := &walker{parsed: make(map[[sha256.Size]byte]*x509.Certificate)}
		if err := w.walk(v, Hints{}, 0); err != nil {
			return nil, err
		}
		if len(w.devices) == 0 {
			return nil, errForm
		}
		return w.devices, nil
	}
	head, tail := trimmed, []byte(nil)
	if at := bytes.Index(trimmed, []byte("-----BEGIN")); at > 0 {
		head, tail = trimmed[:at], trimmed[at:]
	}
	report := decodeReport(head)
	if report == nil {
		return nil, errForm
	}
	w := &walker{parsed: make(map[[sha256.Size]byte]*x509.Certificate)}
	d := Device{Report: report}
	if err := w.certificates(&d.Certificates, tail); err != nil {
		return nil, err
	}
	return []Device{d}, nil
}

// Detect reports whether data looks like evidence of an NVIDIA device, in any form.
func Detect(data []byte) bool {
	_, err := Open(data)
	return err == nil
}

// decodeReport gives a report out of hex or base64; nil for anything else.
func decodeReport(text []byte) []byte {
	if len(text) > 3*maxReport {
		return nil
	}
	if report := endorse.Decode(text); looksLikeReport(report) {
		return report
	}
	return nil
}

// walker collects devices out of JSON.
type walker struct {
	devices []Device
	parsed  map[[sha256.Size]byte]*x509.Certificate // chains share most of theirs
}

func (w *walker) appendTo(d Device) *Device {
	w.devices = append(w.devices, d)
	return &w.devices[len(w.devices)-1]
}

// reportMembers are the members in which tools keep reports.
func reportMembers() []string {
	return []string{"evidence", "attestation_report", "AttestationReport", "attestationReport"}
}

// walk looks for objects that hold a report. What they do not say themselves is taken from
// the object around them.
func (w *walker) walk(v *value, around Hints, texts int) error {
	for _, child := range v.list {
		if err := w.walk(child, around, texts); err != nil {
			return err
		}
	}
	if t := strings.TrimSpace(v.text); texts < maxTexts && !v.number && t != "" && (t[0] == '{' || t[0] == '[') {
		inner, err := parseJSON([]byte(t))
		if err != nil {
			return nil // some other text
		}
		return w.walk(inner, around, texts+1)
	}
	if !v.object {
		return nil
	}
	hints := around.with(v)
	report, name, err := reportIn(v)
	if err != nil {
		return err
	}
	if report != nil {
		return w.device(v, report, name, hints)
	}
	for _, m := range v.members {
		if err := w.walk(m.value, hints, texts); err != nil {
			return err
		}
	}
	return nil
}

// reportIn gives the one report that an object holds, and in which member.
func reportIn(v *value) (report []byte, name string, err error) {
	for _, m := range v.members {
		if !slices.Contains(reportMembers(), m.name) {
			continue
		}
		text := m.text
		if inner, ok := m.member("py/b64"); ok { // as Python's jsonpickle writes bytes
			text = inner.text
		}
		if len(m.list) == 2 { // a record of a conceptual message wrapper: media type, base64url
			text = m.list[1].text
		}
		if found := decodeReport([]byte(text)); found != nil {
			if report != nil {
				return nil, "", errors.New("two reports in one object")
			}
			report, name = found, m.name
		}
	}
	return report, name, nil
}

// device adds a device, with the certificates that stand anywhere in its object.
func (w *walker) device(v *value, report []byte, name string, hints Hints) error {
	if len(w.devices) == maxDevices {
		return fmt.Errorf("more than %d devices", maxDevices)
	}
	d := w.appendTo(Device{Report: report, Hints: hints})
	for _, m := range v.members {
		if m.name == name {
			continue
		}
		if err := w.inside(d, m.value); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) inside(d *Device, v *value) error {
	if err := w.certificates(&d.Certificates, []byte(v.text)); err != nil {
		return err
	}
	for _, child := range v.list {
		if err := w.inside(d, child); err != nil {
			return err
		}
	}
	for _, m := range v.members {
		if err := w.inside(d, m.value); err != nil {
			return err
		}
	}
	return nil
}

// certificates adds the certificates in a text, if that is what it holds.
func (w *walker) certificates(to *[]*x509.Certificate, text []byte) error {
	if len(text) < 2*sha256.Size {
		return nil // no certificate is that short
	}
	for _, it := range endorse.Parse("", text) {
		if it.Kind != endorse.X509Certificate {
			continue
		}
		id := sha256.Sum256(it.Data)
		c := w.parsed[id]
		if c == nil {
			var err error
			if c, err = x509.ParseCertificate(it.Data); err != nil {
				return fmt.Errorf("a certificate: %w", err)
			}
			w.parsed[id] = c
		}
		if *to = append(*to, c); len(*to) > maxCertificates {
			return fmt.Errorf("more than %d certificates with one device", maxCertificates)
		}
	}
	return nil
}

// with gives the hints of an object, where it has any.
func (h Hints) with(v *value) Hints {
	for _, x := range []struct {
		to    *string
		names []string
	}{
		{&h.Architecture, []string{"arch", "Arch", "GPUArchitecture"}},
		{&h.Nonce, []string{"nonce"}},
		{&h.Driver, []string{"driver_version", "DriverVersion"}},
		{&h.VBIOS, []string{"vbios_version", "VbiosVersion"}},
		{&h.UUID, []string{"uuid", "UUID"}},
	} {
		if m, ok := v.member(x.names...); ok && m.text != "" {
			*x.to = m.text
		}
	}
	return h
}

// contradicts says what in the hints is not what the report says; "" if nothing is. Devices
// of an older driver leave versions out of their reports: then there is nothing to compare.
func (h Hints) contradicts(r *Report, arch architecture) string {
	// NVML's numbers (nvmlDeviceArchitecture_t), where tools write those.
	numbers := map[string]architecture{"9": hopper, "10": blackwell}
	stated := architecture(strings.ToUpper(h.Architecture))
	if byNumber, ok := numbers[h.Architecture]; ok {
		stated = byNumber
	}
	nonce := strings.TrimPrefix(strings.ToLower(h.Nonce), "0x")
	switch driver, vbios := r.driver(), r.vbios(); {
	case stated != "" && arch != "" && stated != arch:
		return fmt.Sprintf("architecture %.20q, its report is of %s", h.Architecture, arch)
	case len(nonce) == 2*sizeNonce && nonce != hex.EncodeToString(r.Nonce[:]):
		return fmt.Sprintf("nonce %.64q, its report was asked for with %x…", nonce, r.Nonce[:8])
	case h.Driver != "" && driver != "" && h.Driver != driver:
		return fmt.Sprintf("driver %.20q, its report says %s", h.Driver, driver)
	case h.VBIOS != "" && vbios != "" && !strings.EqualFold(h.VBIOS, vbios):
		return fmt.Sprintf("VBIOS %.20q, its report says %s", h.VBIOS, vbios)
	}
	return ""
}
