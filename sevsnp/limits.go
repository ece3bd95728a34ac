package sevsnp

// Limits, checked before any signature.
const (
	// MaxEvidence is the most bytes of evidence: a report with its certificates and Microsoft's
	// statement in JSON is below 64 KiB, with dstack's event log below 512 KiB.
	MaxEvidence = 1 << 20
	// maxCertificates is the most certificates in one piece of evidence: a chain has three, a
	// table may hold VCEK and VLEK with both their chains.
	maxCertificates = 16
	// maxStatement is the most bytes of a COSE_Sign1: with its chain and RFC 3161 time stamp one
	// is 11 KiB, one with a report and another statement inside 20 KiB.
	maxStatement = 128 << 10
	// maxNodes is the most values in a JSON or CBOR text, an array of bytes being one: the
	// largest form of evidence has 60.
	maxNodes = 2048
	// maxDepth bounds nesting: the deepest form has 5 levels.
	maxDepth = 16
	// maxNesting bounds encodings in encodings: JSON in base64 in JSON is the deepest.
	maxNesting = 4
	// maxChains is how many verified certificates of chips a verifier remembers: 1 KiB each, and
	// more machines than one service sees in a day.
	maxChains = 4096
	// fewCertificates is how many certificates of chips are surely all meant for the one report: its
	// own, an older one, and those of a neighbour.
	fewCertificates = 4
)
