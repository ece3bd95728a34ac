package nvidia

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FieldType is the type of a field of opaque data.
type FieldType uint16

// The types that decide something; [FieldType.String] knows the others.
const (
	fieldDriver     FieldType = 3
	fieldVBIOS      FieldType = 6
	fieldNVDEC0     FieldType = 11
	fieldCounts     FieldType = 12
	fieldChipSKU    FieldType = 15
	fieldProject    FieldType = 17
	fieldProjectSKU FieldType = 18
	fieldFWID       FieldType = 20
	fieldProtected  FieldType = 21
	fieldPDI        FieldType = 22 // of a GPU: the switches it sees; of a switch: its own
	fieldGPUPDIs    FieldType = 26 // of a switch: the GPUs it sees, and at which port
	fieldVersion    FieldType = 34
	fieldChip       FieldType = 35
	fieldMode       FieldType = 36
)

// String gives the name of the claim that holds the field.
func (t FieldType) String() string {
	names := map[FieldType]string{
		1: "certificate_issuer", 2: "authority_key_id", fieldDriver: "driver_version", 4: "gpu_info", 5: "sku", fieldVBIOS: "vbios_version",
		7: "manufacturer_id", 8: "tamper_detection", 9: "smc", 10: "vpr", fieldNVDEC0: "nvdec0_status", fieldCounts: "measurement_counts",
		13: "cpr_info", 14: "board_id", fieldChipSKU: "chip_sku", 16: "chip_sku_mod", fieldProject: "project", fieldProjectSKU: "project_sku",
		19: "project_sku_mod", fieldFWID: "fwid", fieldProtected: "protected_pcie_status", fieldPDI: "pdi", 23: "disabled_ports",
		24: "position_id", 25: "lock_status", fieldGPUPDIs: "gpu_pdis", 27: "ports", 32: "gpu_link_connection", 33: "system_enable_status",
		fieldVersion: "opaque_data_version", fieldChip: "chip_info", fieldMode: "feature_flag",
	}
	if name, ok := names[t]; ok {
		return name
	}
	return fmt.Sprintf("opaque_%d", uint16(t))
}

// Field is one field of opaque data.
type Field struct {
	Type FieldType
	Data []byte
}

// parseFields reads opaque data: type [2], length [2], data. A type that is there twice is
// refused, an unknown one kept.
func parseFields(data []byte) ([]Field, error) {
	if len(data) > maxOpaque {
		return nil, fmt.Errorf("%d bytes of opaque data, at most %d", len(data), maxOpaque)
	}
	if bytes.HasPrefix(data, []byte("NVDAOD")) {
		return nil, errors.New("opaque data of the later form with a header, which this release does not read")
	}
	var fields []Field
	for len(data) > 0 {
		if len(data) < 4 || len(data)-4 < int(le16(data[2:])) || len(fields) == maxFields {
			return nil, errors.New("opaque data whose lengths do not fit")
		}
		t, end := FieldType(le16(data)), 4+int(le16(data[2:]))
		if slices.ContainsFunc(fields, func(f Field) bool { return f.Type == t }) {
			return nil, fmt.Errorf("opaque field %d (%s) twice", uint16(t), t)
		}
		fields = append(fields, Field{t, bytes.Clone(data[4:end])})
		data = data[end:]
	}
	return fields, nil
}

// field gives the data of a field.
func (r *Report) field(t FieldType) ([]byte, bool) {
	for _, f := range r.Fields {
		if f.Type == t {
			return f.Data, true
		}
	}
	return nil, false
}

// text gives a field that holds text, "" if it is not there or no text.
func (r *Report) text(t FieldType) string {
	data, _ := r.field(t)
	s, _ := plainText(data)
	return s
}

// plainText gives printable ASCII up to the first NUL. Only NULs may follow.
func plainText(data []byte) (string, bool) {
	text, rest, _ := bytes.Cut(data, []byte{0})
	if len(bytes.Trim(rest, "\x00")) > 0 {
		return "", false
	}
	for _, c := range text {
		if c < 0x20 || c > 0x7e {
			return "", false
		}
	}
	return string(text), true
}

// vbios gives the VBIOS version, "" if there is none in a known form. GPUs send eight bytes:
// of 00 74 00 96 20 00 00 00 it is 96.00.74.00.20. Switches send text.
func (r *Report) vbios() string {
	data, _ := r.field(fieldVBIOS)
	if len(data) == 8 && bytes.Equal(data[5:], []byte{0, 0, 0}) {
		return fmt.Sprintf("%02X.%02X.%02X.%02X.%02X", data[3], data[2], data[1], data[0], data[4])
	}
	if s, ok := plainText(data); ok && isVBIOS(s) {
		return strings.ToUpper(s)
	}
	return ""
}

// isVBIOS reports whether text is five groups of two hex digits.
func isVBIOS(s string) bool {
	groups := strings.Split(s, ".")
	for _, g := range groups {
		if len(g) != 2 || strings.Trim(g, "0123456789abcdefABCDEF") != "" {
			return false
		}
	}
	return len(groups) == 5
}

// driver gives the driver's version, "" if there is none in a known form: two or three
// groups of digits. That is never a VBIOS version, so that one RIM can't serve for both.
func (r *Report) driver() string {
	s := r.text(fieldDriver)
	groups := strings.Split(s, ".")
	if len(groups) < 2 || len(groups) > 3 {
		return ""
	}
	for _, g := range groups {
		if g == "" || len(g) > 5 || strings.Trim(g, "0123456789") != "" {
			return ""
		}
	}
	return s
}

// number gives a field that holds an integer, little endian.
func (r *Report) number(t FieldType) (uint64, bool) {
	data, ok := r.field(t)
	if !ok || len(data) == 0 || len(data) > 8 {
		return 0, false
	}
	var n uint64
	for i := len(data) - 1; i >= 0; i-- {
		n = n<<8 | uint64(data[i])
	}
	return n, true
}

// The modes of a GPU (field 36): one GPU, several GPUs with encrypted links, or several GPUs
// whose links and switches are protected by attesting all of them.
const (
	modeSingle    = "SPT"
	modeMulti     = "MPT"
	modeProtected = "PPCIE"
)

// Status bytes of fields 11 and 21.
const (
	statusOn  = 0xaa
	statusOff = 0x55
)

// mode gives a GPU's mode, "" if it does not say or says something unknown. Drivers before
// 590 have field 21 only, which tells PPCIE from the others.
func (r *Report) mode() string {
	protected, _ := r.number(fieldProtected)
	n, stated := r.number(fieldMode)
	switch {
	case stated && n < 3:
		mode := []string{modeSingle, modeMulti, modeProtected}[n]
		if _, has := r.field(fieldProtected); has && (mode == modeProtected) != (protected == statusOn) {
			return ""
		}
		return mode
	case stated:
		return ""
	case protected == statusOn:
		return modeProtected
	}
	if _, has := r.field(fieldProtected); has && protected != statusOff {
		return ""
	}
	return modeSingle
}

// PDI is the identity of a GPU or switch on NVLink: the last eight bytes of its boot ROM
// certificate's serial number.
type PDI [8]byte

// sizePDIs is the bytes of the eight PDIs of GPUs that a switch states.
const sizePDIs = 64

// switches gives the switches that a GPU sees, one for each link. It states them in the
// opposite byte order. Links that are off have zeros.
func (r *Report) switches() ([]PDI, bool) {
	data, ok := r.field(fieldPDI)
	if !ok || len(data) == 0 || len(data)%len(PDI{}) != 0 {
		return nil, false
	}
	var all []PDI
	for pdi := range slices.Chunk(data, len(PDI{})) {
		p := PDI(pdi)
		slices.Reverse(p[:])
		if p != (PDI{}) {
			all = append(all, p)
		}
	}
	return all, true
}

// own gives the PDI that a switch states as its own.
func (r *Report) own() (PDI, bool) {
	data, ok := r.field(fieldPDI)
	if !ok || len(data) != len(PDI{}) {
		return PDI{}, false
	}
	return PDI(data), true
}

// gpus gives the GPUs that a switch sees: eight PDIs, zeros where there is none, then for each
// of 64 ports which of them is there, 0xff for none.
func (r *Report) gpus() ([]PDI, bool) {
	data, ok := r.field(fieldGPUPDIs)
	if !ok || len(data) < sizePDIs {
		return nil, false
	}
	var all []PDI
	for pdi := range slices.Chunk(data[:sizePDIs], len(PDI{})) {
		if PDI(pdi) != (PDI{}) {
			all = append(all, PDI(pdi))
		}
	}
	return all, true
}
