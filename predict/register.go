package predict

import (
	"encoding/binary"
	"encoding/hex"
	"unicode/utf16"

	"strongroom.dev/measure"
)

// register is a PCR or an RTMR that is being filled.
type register struct {
	bank  measure.Algorithm
	value []byte
}

func newRegister(bank measure.Algorithm) *register {
	return &register{bank, make([]byte, bank.Size())}
}

// extend adds digests.
func (r *register) extend(digests ...[]byte) *register {
	for _, d := range digests {
		r.value = r.bank.Sum(r.value, d)
	}
	return r
}

// events adds what events measure of data.
func (r *register) events(data ...[]byte) *register {
	for _, d := range data {
		r.extend(r.bank.Sum(d))
	}
	return r
}

func (r *register) hex() string { return hex.EncodeToString(r.value) }

// What firmware measures whatever it boots (TCG PC Client Platform Firmware Profile 1.06,
// sections 3.3.4 and 10.4).
const (
	callingApplication = "Calling EFI Application from Boot Option"
	exitInvoked        = "Exit Boot Services Invocation"
	exitDone           = "Exit Boot Services Returned with Success"
)

func separator() []byte { return make([]byte, 4) }

// The GUIDs of variables (UEFI 2.10, sections 3.3 and 32.6.1).
const (
	guidGlobal   = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	guidSecurity = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
)

// variable is what is measured of a variable: UEFI_VARIABLE_DATA (PFP, section 10.2.6).
func variable(namespace, name string, data []byte) []byte {
	text := wide(name)
	out := guidBytes(namespace)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(text)/2))
	out = binary.LittleEndian.AppendUint64(out, uint64(len(data)))
	return append(append(out, text...), data...)
}

// noSecureBoot are the variables of Secure Boot in firmware without its keys. secureBoot is what
// the variable of that name holds.
func noSecureBoot(secureBoot []byte) [][]byte {
	return [][]byte{
		variable(guidGlobal, "SecureBoot", secureBoot), variable(guidGlobal, "PK", nil), variable(guidGlobal, "KEK", nil),
		variable(guidSecurity, "db", nil), variable(guidSecurity, "dbx", nil),
	}
}

// wide gives text in UTF-16, without a zero at the end.
func wide(text string) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}
