package nitro

import (
	"time"

	"strongroom.dev/cbor"
)

// Limits, checked before any signature.
const (
	// MaxEvidence is the most bytes of evidence: a document is below 16 KiB, as a list of numbers
	// in JSON four times that.
	MaxEvidence = 256 << 10
	// maxDocument is the most bytes of a document (NSM API: responses fit in 12 KiB; they were
	// 16 KiB in early versions).
	maxDocument = 32 << 10
	// maxCertificates is the most certificates of a bundle: the root, region, zone and instance.
	maxCertificates = 8
	// maxField bounds user data, nonce and public key; the NSM takes 512, 512 and 1,024 bytes.
	maxField = 1024
	// maxPCR is the highest number of a PCR.
	maxPCR = 31
	// skew is how far the clock of an NSM and the verifier's may be apart.
	skew = 5 * time.Minute
)

// limits of CBOR: a document has 60 values, nested three levels deep. The NSM writes its
// payload as a map of indefinite length.
func limits() cbor.Limits { return cbor.Limits{Values: 256, Depth: 6, Indefinite: true} }
