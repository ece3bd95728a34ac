package arm

import "strongroom.dev/cbor"

// Limits, checked before any signature.
const (
	// MaxToken is the most bytes of a token: a CCA token with 13 components is 2.2 KiB.
	MaxToken = 64 << 10
	// maxComponents is the most software components of a token: 13 are the most seen.
	maxComponents = 64
	// maxText bounds every text of a token, maxBytes every byte string that is no hash.
	maxText  = 256
	maxBytes = 4096
	// maxTries is the most pinned keys that a token's signature is tried with, those first that
	// its instance id is a hash of.
	maxTries = 64
)

// limits of CBOR: a token with 13 components has 170 values, nested four levels deep.
func limits() cbor.Limits { return cbor.Limits{Values: 2048, Depth: 8} }
