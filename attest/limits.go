package attest

// Limits, checked before any signature.
const (
	// MaxEvidence is the most bytes of one platform's evidence: a TDX quote with its event log
	// and collateral, or a GPU's report with certificate chains, is below 300 KiB.
	MaxEvidence = 1 << 20
	// MaxMeasurements is the most measurements of one machine: 24 PCRs in each of two banks and
	// a dozen named values are the most any platform has.
	MaxMeasurements = 128
)
