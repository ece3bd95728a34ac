package nvidia

// Limits, checked before any signature.
const (
	// maxReport is the most bytes of one report with its padding: GPUs send 4.3 KB, switches
	// 2.2 KB, and SPDM 1.1 bounds opaque data to 1 KB.
	maxReport = 16 << 10
	// maxDevices is the most devices in one piece of evidence: a rack of 72 GPUs has 18 switches.
	maxDevices = 128
	// maxCertificates is the most certificates that come with one device: chains have five.
	maxCertificates = 16
	// maxChain is the most certificates between a leaf and the root, both included.
	maxChain = 8
	// maxTries is how many of the caller's device certificates are tried on reports that come
	// without one, in one piece of evidence: a verification takes a millisecond.
	maxTries = 512
	// maxBlocks is the most measurements of a device: GPUs have 64, switches 31.
	maxBlocks = 128
	// maxValue is the most bytes of one measurement: SHA-384 has 48, SHA-512 has 64.
	maxValue = 64
	// maxOpaque is the most bytes, and maxFields the most fields, of opaque data (SPDM 1.1,
	// section 10.11.1, bounds it to 1,024 bytes; reports have up to 600 bytes and 17 fields).
	maxOpaque = 1024
	maxFields = 64

	// maxNodes is the most values in a JSON text: a device has some 30.
	maxNodes = 8192
	// maxDepth bounds nesting of JSON: the deepest form has 6 levels.
	maxDepth = 16
	// maxTexts bounds JSON inside strings of JSON.
	maxTexts = 2

	// maxXML is the most bytes of a RIM: the largest seen has 26 KB.
	maxXML = 256 << 10
	// maxElements, maxElementDepth and maxAttributes bound a RIM's tree: RIMs have 80 elements,
	// 6 levels, 14 attributes.
	maxElements     = 1024
	maxElementDepth = 8
	maxAttributes   = 32
	// maxIndex is the most that a measurement's index in a RIM may be.
	maxIndex = 127
	// maxAlternatives is the most values that a RIM may give one measurement: up to 4 are seen.
	maxAlternatives = 16
	// maxFitting is how many RIMs of one version are compared: boards share VBIOS versions.
	maxFitting = 32

	// maxSingles is the most certificates that one OCSP response may speak of: NVIDIA's name one.
	maxSingles = 16
	// maxKnown is how many verified links of chains a verifier remembers, 100 bytes each.
	maxKnown = 16384
)
