package sql

import "strongroom.dev/agreement"

// Limits of the conversation. The engine's side is not trusted, so nothing is allocated
// before a length passes.
const (
	// maxJob holds the largest agreement's inputs (64 of 1024 columns at about 100 bytes each).
	maxJob = 8 << 20
	// maxFrame holds rowFrame and one row of MaxRow bytes, each of which JSON may write as six.
	maxFrame = 1 << 20
	// rowFrame is where a sender closes a frame of rows: large enough to be cheap.
	rowFrame = 64 << 10
	// maxFrames bounds an answer: 2^30 bytes of rows in frames of at least 32 KiB, and progress.
	maxFrames = 1 << 20
	// maxDetail bounds the detail of a failure: DuckDB quotes a line of the input.
	maxDetail = 16 << 10
	// maxThreads is more than any room has cores.
	maxThreads = 1024
	minMemory  = 64 << 20
	maxMemory  = 1 << 46
	maxRows    = 1 << 30
	maxBytes   = agreement.MaxOutput
	// minFD leaves out the standard streams and the socket itself.
	minFD = 4
	maxFD = 1 << 16
)

// MaxRow bounds the text of one row of a result, in bytes: what is grouped by is names and
// codes, not documents.
const MaxRow = 128 << 10

// MaxSQL bounds the rewritten query, in bytes. The agreed text is at most agreement.MaxQuery.
const MaxSQL = 512 << 10

// NoSalt is the salt of jobs that check a query alone.
const NoSalt = "0000000000000000000000000000000000000000000000000000000000000000"

// MaxAsked bounds the earlier queries that one is held against: a dataset of which more was asked
// has told enough.
const MaxAsked = 64

// maxHeldGroups bounds the groups that are shown of an audited input.
const maxHeldGroups = 100_000
