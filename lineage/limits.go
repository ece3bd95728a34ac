package lineage

const (
	// maxName is the most bytes of a version's name, as of an endorsement's.
	maxName = 255
	// maxNumber is the most bits of a version's number: a CRL's has up to 20 bytes (RFC 5280,
	// section 5.2.3).
	maxNumber = 160
)
