package ledger

const (
	// MaxEntry is the largest entry, in bytes: what the two-byte length of C2SP tlog-tiles
	// entry bundles can say. Records of a run with 32 owners are below 32 KiB.
	MaxEntry = 1<<16 - 1
	// MaxSealed bounds the sealed parts of an entry: as many as an agreement has parties.
	MaxSealed = 32
	// MaxSize bounds tree sizes to integers every JSON reader holds exactly; it also keeps
	// proofs below 64 hashes and the recursion over them as shallow.
	MaxSize = 1<<53 - 1
	// MaxProof bounds the hashes of a proof: log2 of MaxSize, rounded up, and one more on the
	// way of a consistency proof.
	MaxProof = 64
	// MaxNote is the largest checkpoint with all its signatures, in bytes: some 100 bytes of
	// text and, at the most, MaxSignatures lines of some 250 bytes.
	MaxNote = 16 << 10
	// MaxSignatures bounds the signature lines of a checkpoint: its log and 31 witnesses.
	MaxSignatures = 32
	// MaxOrigin is the longest name of a log or witness, in bytes.
	MaxOrigin = 128
	// maxSignature is the longest signature that is carried along unread, in bytes: an
	// ML-DSA-44 cosignature has 2,428.
	maxSignature = 4096
	// maxKey is the longest text of a verifier or signer key, in bytes.
	maxKey = 512
)
