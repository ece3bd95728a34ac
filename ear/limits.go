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
	// chainLifetime is how long a chain of certificates for keys is good: relying parties that pin its
	// root have that long.
	chainLifetime = 5 * 365 * 24 * time.Hour
	// listLifetime is how long a list of revoked certificates is good, and listEvery how often there
	// is a new one.
	listLifetime = 7 * 24 * time.Hour
	listEvery    = 24 * time.Hour
	// backdated is how far behind a relying party's clock may be for certificates and lists.
	backdated = time.Hour
	// maxMeasurements is the most measurements put into a token beyond those that its policy names.
	maxMeasurements = 16
	// maxAudience is the most bytes of an audience: URLs.
	maxAudience = 256
	// leastRSA is the fewest bits of an RSA key that a token may be bound to.
	leastRSA = 2048
	// maxRSA bounds the work of using one.
	maxRSA = 8192
)
