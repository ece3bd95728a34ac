package verifier

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// looseBytes are bytes as others' clients write them: base64 of either alphabet, with padding or
// without. There is one reading of each text.
type looseBytes []byte

// UnmarshalJSON reads them.
func (b *looseBytes) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	bare := strings.TrimRight(s, "=")
	if pad := len(s) - len(bare); strings.ContainsAny(s, "\r\n") || pad > 0 && (pad > 2 || len(s)%4 != 0) {
		return fmt.Errorf("base64 with line breaks or wrong padding")
	}
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(bare, "-_") {
		encoding = base64.RawURLEncoding
	}
	out, err := encoding.Strict().DecodeString(bare)
	*b = out
	return err
}
