package acme

import "time"

const (
	// MaxNames is the most DNS names of one request: what public authorities allow.
	MaxNames = 100
	// maxURL bounds the directory's URL; it goes into the log.
	maxURL = 256
	// minBinding is the least length of a MAC key: 128 bits.
	minBinding = 16
	// minToken and maxToken bound a token: at least 128 bits in base64url (RFC 8555, section
	// 8.1), and nobody needs more than ten times as much.
	minToken, maxToken = 22, 256
	// maxShown is the most proofs shown at the same time.
	maxShown = 1024
	// requestTime bounds one request to an authority.
	requestTime = 30 * time.Second
	// hideTime bounds taking a proof away.
	hideTime = 30 * time.Second
	// hookTime bounds one run of a hook, which waits until a record can be seen.
	hookTime = 5 * time.Minute
	// maxSaid is how much of what a hook prints is kept for people.
	maxSaid = 4 << 10
	// maxRetries is how often a request that did not get through is made again.
	maxRetries = 4
)
