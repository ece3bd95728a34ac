package dcap

import "encoding/base64"

// NewWithRoot lets tests play Intel with keys of their own.
func NewWithRoot(c Collateral, spki []byte) *Verifier {
	r, err := newRoot(base64.StdEncoding.EncodeToString(spki))
	if err != nil {
		panic(err)
	}
	return newVerifier(r, c)
}

// Converge is exported for its table.
func Converge(platform, part Status) Status { return converge(platform, part) }
