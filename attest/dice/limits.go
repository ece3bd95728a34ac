package dice

import "time"

// Limits, checked before any signature.
const (
	// MaxEvidence is the most bytes of evidence: ten certificates with ML-DSA-87 are 80 KiB, in
	// base64 within JSON 110.
	MaxEvidence = 256 << 10
	// maxCertificates is the most certificates in one piece of evidence: Caliptra's chain has four
	// layers above an owner's and a maker's authorities.
	maxCertificates = 16
	// maxDepth is the most certificates of a chain, those of the endorsements included.
	maxDepth = 16
	// maxTries is the most keys tried for one certificate that does not say whose it is.
	maxTries = 64
	// skew is how far the clock of whoever made a certificate and the verifier's may be apart.
	skew = 5 * time.Minute
)
