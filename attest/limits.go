package attest

// Limits, checked before any signature.
const (
	// MaxEvidence is the most bytes of one platform's evidence, in any form. Without a log, or with
	// one cut where it ends, all are below 300 KiB; but tools also send the whole area that firmware
	// set aside for the log: 1 MiB of it is 1.4 MiB of base64, 256 KiB are up to 1 MiB as a list of
	// numbers. What hostile evidence costs grows with it, below 0.1 ms a KiB, as cmd/strongroom tests.
	MaxEvidence = 3 << 19
	// MaxMeasurements is the most measurements of one machine: 24 PCRs in each of two banks and
	// a dozen named values are the most any platform has.
	MaxMeasurements = 128
)
