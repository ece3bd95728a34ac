package dcap

// Limits, checked before any signature.
const (
	// MaxEnvelope is the most bytes of evidence in any form: JSON around a quote, with the whole
	// area of 1 MiB that firmware set aside for its event log, is 1.4 MiB.
	MaxEnvelope = 3 << 19
	// MaxQuote is the most bytes of a quote with its padding: genuine ones are 5 KiB, which
	// platforms pad to 8,000 bytes at most.
	MaxQuote = 64 << 10
	// MaxChain is the most bytes of the certificate chain in a quote: three certificates are
	// 3,700 bytes of PEM.
	MaxChain = 16 << 10
	// MaxDocument is the most bytes of one signed JSON document: Intel's largest TCB
	// information is 20 KiB.
	MaxDocument = 256 << 10
	// MaxLevels is the most TCB levels of one list: Intel's longest has 20.
	MaxLevels = 128
	// MaxModules is the most TDX module identities: Intel lists 3.
	MaxModules = 64
	// MaxAdvisories is the most advisories of one TCB level: Intel's longest list has 40.
	MaxAdvisories = 512
	// MaxDocuments is the most signed documents, and separately the most CRLs, that a verifier
	// takes: SGX and TDX for every processor generation is below 200.
	MaxDocuments = 4096
	// MaxSigners is the most certificates that may sign documents: Intel has used two.
	MaxSigners = 16
	// maxDepth bounds nesting of JSON: Intel's has 7 levels.
	maxDepth = 16
	// maxValues bounds the values of one JSON text: Intel's largest TCB information has 4,000,
	// evidence with a firmware report as a list of bytes 3,000.
	maxValues = 16384
	// maxFound is the deepest member "quote" that is looked for in foreign evidence.
	maxFound = 4
)
