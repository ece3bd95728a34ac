package verifier

import "time"

const (
	// MaxRequest is the most bytes of a request: the largest evidence in base64 is 2 MiB, the most
	// endorsements beside it 350 KiB.
	MaxRequest = 3 << 20
	// MaxPolicy is the most bytes of a policy: 4,096 machines take 600 KiB.
	MaxPolicy = 1 << 20
	// ChallengeLifetime is how long a challenge may be answered (R11).
	ChallengeLifetime = 5 * time.Minute
	// MaxChallenge is the most bytes of a challenge.
	MaxChallenge = 512
	// maxAudience is the most bytes of an audience.
	maxAudience = 256
	// leastNonce and mostNonce bound a relying party's own nonce in bytes (RFC 9711, section 4.1).
	leastNonce = 16
	mostNonce  = 64
	// maxEndorsements and maxEndorsementBytes bound what may come with a request: each is parsed
	// and verified for that request alone.
	maxEndorsements     = 16
	maxEndorsementBytes = 256 << 10
	// endorsedAtOnce is how many such requests are worked on at the same time: each sets up all
	// platforms anew, which takes milliseconds to tens of them.
	endorsedAtOnce = 2
	// maxTried is the most pieces of recorded evidence that a policy is tried on at once.
	maxTried = 64
	// MaxTry is the most bytes of such a request.
	MaxTry = 4 << 20
	// maxPolicies is the most policies, and maxVersions the most versions of one.
	maxPolicies = 256
	maxVersions = 1024
	// policyFresh is how long an instance may judge by a policy that another has replaced.
	policyFresh = time.Second
	// swapAttempts is how often a change is made anew because another instance came first.
	swapAttempts = 8
	// maxGates is the most audiences that others' protocols serve.
	maxGates = 256
)
