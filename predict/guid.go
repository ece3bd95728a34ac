package predict

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// guid is a GUID in the mixed byte order of UEFI (UEFI 2.10, appendix A): the first three
// fields in little endian.
type guid [16]byte

// parseGUID reads the usual text form. It is for constants of this package only: what is no
// GUID gives another one.
func parseGUID(text string) guid {
	var g guid
	raw, _ := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	copy(g[:], raw)
	binary.LittleEndian.PutUint32(g[0:], binary.BigEndian.Uint32(g[0:]))
	binary.LittleEndian.PutUint16(g[4:], binary.BigEndian.Uint16(g[4:]))
	binary.LittleEndian.PutUint16(g[6:], binary.BigEndian.Uint16(g[6:]))
	return g
}
