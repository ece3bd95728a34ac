package tpm2

// Limits, checked while parsing.
const (
	// MaxDocument is the most bytes of a JSON document: a quote with its values as arrays of
	// numbers, a hardware report and an event log are below 256 KiB; an area of 256 KiB that is set
	// aside for the log is up to 1 MiB of numbers.
	MaxDocument = 3 << 19
	// MaxQuotes is the most quotes in one piece of evidence: TPMs have up to 4 banks.
	MaxQuotes = 8
	// MaxMessage is the most bytes of a TPMS_ATTEST: those seen have 113 to 201.
	MaxMessage = 1024
	// MaxSignature is the most bytes of a signature: RSA of 4,096 bits, and 6 bytes around it.
	MaxSignature = 6 + 512
	// MaxPublic is the most bytes of a TPMT_PUBLIC: RSA of 4,096 bits with a policy.
	MaxPublic = 700
	// MinNonce is the fewest bytes of a nonce (RFC 9711, section 4.1). Below GoodNonce somebody
	// who can have a TPM quote ahead of time may hope to meet one.
	MinNonce, GoodNonce = 8, 16
	// MaxExplained is the most events of a log that are explained one by one.
	MaxExplained = 1024

	// maxExtra is the most bytes of extraData: a TPMT_HA with SHA-512 (TPM 2.0, part 2, 10.4.3).
	maxExtra = 66
	// maxName is the most bytes of a name: algorithm and digest.
	maxName = 66
	// maxDigest is the most bytes of a digest: SHA-512's.
	maxDigest = 64
	// maxSelections is the most banks in one quote: TPM2_NUM_PCR_BANKS of the reference is 16.
	maxSelections = 16
	// maxSelect is the most bytes of a bit map of PCRs: PCR_SELECT_MAX of the reference is 3.
	maxSelect = 4
	// minRSA and maxRSA bound an RSA key's bits: fewer are forgeable, more only slow.
	minRSA, maxRSA = 2048, 4096
	// maxCoordinate is the most bytes of a curve's coordinate: P-521's.
	maxCoordinate = 66
	// maxDepth bounds nesting of JSON: the forms known have 4 levels.
	maxDepth = 8
	// maxNested and maxMembers bound the objects and lists of a JSON document, and the members of
	// one object: the forms known have 30 and 20.
	maxNested, maxMembers = 1024, 256
)
