package reference

import "time"

const (
	// MaxLife is the longest that values may be used (R5).
	MaxLife = 180 * 24 * time.Hour
	// MaxGroups is the most groups of a set: an image on eight platforms, for every number of
	// processors that clouds rent out, and the versions before it.
	MaxGroups = 1024
	// MaxRegisters is the most registers, and the most claims, of a group: a TPM has 24.
	MaxRegisters = 64
	// MaxValue is the most bytes of a measurement: no hash is longer than 64.
	MaxValue = 64
	// MaxText is the most bytes of a path or text of a claim.
	MaxText = 255
	// MaxKeys is the most keys of a release line.
	MaxKeys = 32
	// maxShown is the most differences that are told.
	maxShown = 64
)
