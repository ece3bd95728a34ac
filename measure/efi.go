package measure

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// variable is a UEFI_VARIABLE_DATA (PFP, section 10.2.6).
type variable struct {
	guid string
	name string
	data []byte
}

// The namespaces that Secure Boot's variables live in (UEFI, sections 3.3 and 32.6.1).
const (
	globalVariable   = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	securityDatabase = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
)

func parseVariable(data []byte) (variable, bool) {
	r := reader{data: data}
	id := r.take(16)
	units, size := r.u64(), r.u64()
	if r.short || units > uint64(len(data))/2 || size > uint64(len(data)) {
		return variable{}, false
	}
	name, ok := utf16Text(r.take(int(units) * 2))
	value := r.take(int(size))
	if r.short || len(data)-r.at > maxSlack || !ok && units != 0 {
		return variable{}, false
	}
	return variable{guid(id), name, value}, true
}

func (v variable) text() string {
	what := fmt.Sprintf("variable %q", v.name)
	switch {
	case v.guid == globalVariable && v.name == "SecureBoot" && bytes.Equal(v.data, []byte{1}):
		return what + ": Secure Boot is on"
	case v.guid == globalVariable && v.name == "SecureBoot":
		return what + ": Secure Boot is off"
	case v.guid == globalVariable && strings.HasPrefix(v.name, "Boot") && len(v.data) > 6:
		if name, ok := bootOption(v.data); ok {
			return what + ": " + name
		}
	case v.guid == globalVariable || v.guid == securityDatabase:
	default:
		what += " of " + v.guid
	}
	switch n := len(v.data); {
	case n == 0:
		return what + ": empty"
	case n <= 16:
		return what + ": " + hex.EncodeToString(v.data)
	default:
		return fmt.Sprintf("%s: %d bytes", what, n)
	}
}

// bootOption reads the description of an EFI_LOAD_OPTION (UEFI, section 3.1.3): u32
// attributes, u16 length of the paths, a zero-ended UTF-16 text.
func bootOption(data []byte) (string, bool) {
	rest := data[6:]
	for i := 0; i+1 < len(rest); i += 2 {
		if rest[i] == 0 && rest[i+1] == 0 {
			text, ok := utf16Text(rest[:i])
			return fmt.Sprintf("%q", cut(text)), ok
		}
	}
	return "", false
}

// describeImage reads a UEFI_IMAGE_LOAD_EVENT (PFP, section 10.2.3).
func describeImage(data []byte) (string, bool) {
	r := reader{data: data}
	base, size, _, length := r.u64(), r.u64(), r.u64(), r.u64()
	path := r.rest()
	if r.short || length > uint64(len(path)) {
		return "", false
	}
	text := fmt.Sprintf("image of %d bytes at 0x%x", size, base)
	if p := devicePath(path[:length]); p != "" {
		text += " from " + p
	}
	return text, true
}

// devicePath describes the nodes of a device path (UEFI, section 10.3) that say something to
// a reader: partition, file, firmware volume, address.
func devicePath(data []byte) string {
	r := reader{data: data}
	var parts []string
	for n := 0; n < maxNodes && r.at+4 <= len(data); n++ {
		kind, sub, length := r.u8(), r.u8(), int(r.u16())
		if length < 4 || kind == 0x7f {
			break
		}
		body := r.take(length - 4)
		if r.short {
			break
		}
		if p := pathNode(kind, sub, body); p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " ")
}

func pathNode(kind, sub uint8, body []byte) string {
	switch {
	case kind == 4 && sub == 1 && len(body) == 38:
		r := reader{data: body}
		return fmt.Sprintf("partition %d (%s)", r.u32(), guid(body[20:36]))
	case kind == 4 && sub == 4:
		if text, ok := utf16Text(body); ok {
			return "file " + cut(text)
		}
	case kind == 4 && sub == 6 && len(body) == 16:
		return "firmware file " + guid(body)
	case kind == 4 && sub == 7 && len(body) == 16:
		return "firmware volume " + guid(body)
	case kind == 3 && sub == 24 && printable(string(body)):
		return "address " + cut(string(body))
	case kind == 1 && sub == 3 && len(body) == 20:
		return "memory"
	}
	return ""
}
