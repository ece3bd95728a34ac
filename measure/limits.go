package measure

// Limits, checked while parsing.
const (
	// MaxLog is the most bytes of a log: CCEL areas are 64 KiB to 1 MiB, logs in them and those
	// of TPMs below 100 KiB.
	MaxLog = 1 << 20
	// MaxEvents is the most events: the longest logs seen have 120.
	MaxEvents = 8192
	// MaxBanks is the most algorithms of a log: TPMs have up to 4 banks, the Linux kernel reads
	// 16.
	MaxBanks = 16
	// maxDigest is the most bytes of a digest: those of SHA-512.
	maxDigest = 64
	// NumPCRs and NumRTMRs are how many registers there are.
	NumPCRs  = 24
	NumRTMRs = 4
	// maxSlack is the most bytes behind a variable: EDK II before 2020 counted the alignment of
	// its structure, 5 bytes, and one more.
	maxSlack = 6
	// maxShown is the most bytes of a text that are shown.
	maxShown = 200
	// maxBootOrder is the most bytes of the order of what may be booted: 512 numbers, of which
	// machines have a dozen.
	maxBootOrder = 1024
	// maxNodes is the most nodes of a device path that are looked at.
	maxNodes = 64
)
