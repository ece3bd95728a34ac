package ear

import "time"

const (
	// MaxToken is the most bytes of a token: what fits into the headers that servers take.
	MaxToken = 8 << 10
	// Lifetime is how long a token is good: the most that R16 allows to bearer tokens, and as much
	// for all others, since a platform can be found vulnerable at any time.
	Lifetime = 5 * time.Minute
	// Skew is how far the clocks of a verifier and a relying party may be apart.
	Skew = 30 * time.Second
	// MaxKeys is the most keys of a key set: an issuer has three.
	MaxKeys = 16
	// maxKeySet is the most bytes of a key set document.
	maxKeySet = 64 << 10
	// maxMeasurements is the most measurements put into a token beyond those that its policy names.
	maxMeasurements = 16
	// maxAudience is the most bytes of an audience: URLs.
	maxAudience = 256
	// leastRSA is the fewest bits of an RSA key that a token may be bound to.
	leastRSA = 2048
	// maxRSA bounds the work of using one.
	maxRSA = 8192
)
