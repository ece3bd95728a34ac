package room

import (
	"time"

	"strongroom.dev/wire"
)

// Limits of what a host sends a room and a room tells its host.
const (
	// MaxStart is that of the start message: a signed agreement, its parties, the request and a
	// statement for each of 64 inputs.
	MaxStart = wire.MaxDocument
	// MaxEvent is that of one event: evidence is the largest thing in one.
	MaxEvent = 1 << 20
	// MaxChunk is that of one piece of a file.
	MaxChunk = 256 << 10
	// MaxName bounds a file's name: output, receiver and eight digits of the run id.
	MaxName = 160
	// MaxFD is the highest descriptor a host hands over.
	MaxFD = 400
	// maxLedgerAnswer is that of a ledger's answer: an entry of 64 KiB in base64, its proof and
	// checkpoint.
	maxLedgerAnswer = 256 << 10
	// certifyPatience is how long a room waits for a certificate: an authority outside may have to
	// see changes of DNS. pendingPause is between two questions, which the broker answers late.
	certifyPatience = 20 * time.Minute
	pendingPause    = 2 * time.Second
	// maxTries is how often a call that did not get through is made: what did get through is
	// never asked twice.
	maxTries = 4
	// MaxPatience is how long a room waits for a broker or ledger once a run has been paid for:
	// long enough for one to restart, and well below the life of a challenge.
	MaxPatience = time.Minute
	// MaxWork is how long keys are used in one run, however long brokers renew their leases:
	// agreed work takes minutes, and what takes longer has gone astray or holds data for somebody.
	MaxWork = time.Hour
	// maxSealedParts is the most bytes the owners' sealed parts of a record take together, in
	// base64: an entry holds 65,535 bytes, and the public part takes up to 12 KiB of them.
	maxSealedParts = 48 << 10
)
