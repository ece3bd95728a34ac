package release

// Paths of a broker's HTTP interface; every one takes a POST but
// PathCheckpoint and PathStatus.
const (
	PathChallenge   = "/v1/challenge"
	PathRelease     = "/v1/release"
	PathLive        = "/v1/live"
	PathConsistency = "/v1/consistency"
	PathCheckpoint  = "/v1/checkpoint"
	PathStatus      = "/v1/status"
	PathSeen        = "/v1/seen"
	PathActivate    = "/v1/activate"
	PathActivated   = "/v1/activated"
	PathVolume      = "/v1/volume"
	PathCertify     = "/v1/certify"
	PathAsked       = "/v1/asked"
)

// Limits of messages, in bytes, checked before anything is parsed.
const (
	// MaxRequest is that of a release request, the largest message. Anyone can send one, and a
	// broker reads it before it knows of whom it is. What real ones hold at the most, in base64
	// where they are bytes: evidence with its collateral (below 300 KiB) 400 KiB; an agreement of
	// hundreds of columns 200 KiB; the descriptors of 32 parties with post-quantum keys 512 KiB;
	// the headers and statements of 64 inputs sealed to four hybrid recipients 900 KiB; peers'
	// checkpoints and the run request 30 KiB. Parts have limits of their own; no request has all of
	// them at their largest.
	MaxRequest = 2 << 20
	// MaxGrant is that of a grant: 2 KiB a key for 64 inputs, and a receipt.
	MaxGrant = 512 << 10
	// MaxLive is that of a live request: what is shown of agreement.MaxAudited inputs, sealed.
	MaxLive = 512 << 10
	// MaxAsked is that of an answer about earlier questions: agreement.MaxHistory for as many
	// inputs, sealed and in base64.
	MaxAsked = 4 << 20
	// MaxSmall is that of every other message: challenges, live requests and their answers,
	// with post-quantum signatures, a receipt and 64 seen logs.
	MaxSmall = 64 << 10
	// MaxToken is that of a challenge token; ours are below 300 bytes.
	MaxToken = 512
	// MaxHeader is that of an age header (R8).
	MaxHeader = 64 << 10
	// MaxCheckpoint is that of a signed checkpoint: 32 cosignatures of 200 bytes.
	MaxCheckpoint = 16 << 10
	// MaxLogKey is that of a log's verifier key: a name of 255 bytes and a key.
	MaxLogKey = 512
	// MaxTPMCertificate is that of one certificate of a TPM's endorsement key or above it: those of
	// RSA keys of 4,096 bits have 2 KiB.
	MaxTPMCertificate = 4 << 10
	// MaxTPMCertificates is the most certificates above an endorsement key's. Even at their largest
	// they leave the other half of a small message free.
	MaxTPMCertificates = 5
	// MaxTPMPublic is that of a TPMT_PUBLIC (package tpm2).
	MaxTPMPublic = 700
	// MaxCredential is that of each part of a challenge to a TPM: a secret encrypted to an RSA key
	// of 4,096 bits has 514 bytes.
	MaxCredential = 1024
	// MaxTPMAnswer is that of a TPM's answer; ours have 32 bytes.
	MaxTPMAnswer = 64
	// MaxSPKI is that of a public key to be certified: those of RSA keys of 8,192 bits have 1 KiB.
	MaxSPKI = 2 << 10
	// MaxCSR is that of a request for a certificate (PKCS #10): 100 names of 70 bytes have 8 KiB.
	MaxCSR = 16 << 10
	// MaxChain is the most certificates in an answer, of at most MaxChainCertificate each.
	MaxChain, MaxChainCertificate = 4, 8 << 10
	// MaxPeers is the most other brokers' checkpoints in a request, and logs seen.
	MaxPeers = 64
	// MaxProof is the most hashes in a proof of a log: a tree has fewer than 2^63 entries, and a
	// consistency proof at most one hash more than twice the levels.
	MaxProof = 128
)

// ChallengeLifetimeMS is the longest a challenge may live, five minutes (R11).
const ChallengeLifetimeMS = 5 * 60 * 1000

// ActivationLifetimeMS is how long a broker vouches for a TPM's key: the keys of a run are asked
// for within minutes.
const ActivationLifetimeMS = 60 * 60 * 1000
