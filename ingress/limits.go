package ingress

import (
	"time"

	"strongroom.dev/attest"
)

// Limits, each before any work is done for a stranger.
const (
	// MaxHello bounds a client's first message: some numbers and names, and the ids of at most
	// MaxActivators keys.
	MaxHello = 4 << 10
	// MaxActivators is how many brokers a client may say it takes the word of: more than an
	// agreement has owners.
	MaxActivators = 32
	// MaxShown bounds a room's answer: evidence in base64, and room around it.
	MaxShown = 2*attest.MaxEvidence + 64<<10
	// MaxAdmission bounds a client's word of who it is: a document with as many signatures as
	// parties have keys, of 3.4 KiB with ML-DSA each; or a token.
	MaxAdmission = 128 << 10
	// MaxToken bounds a token: issuers' have one or two KiB.
	MaxToken = 16 << 10
	// MaxDecision bounds a room's last message, an error document at most.
	MaxDecision = 64 << 10
	// MaxConnections is how many connections a room has at once, each of which takes up to two of
	// the agent's 512 descriptors; maxStrangers is how many of them may be of clients that it
	// has not admitted yet: the others are kept for those that it has.
	MaxConnections = 200
	maxStrangers   = 64
	// maxWaiting is how many clients may wait for evidence at once: it is made one at a time, in
	// up to a second on a TPM. Of these, clients that have not proven yet who they are may be
	// maxStrangersWaiting.
	maxWaiting          = 32
	maxStrangersWaiting = 24
	// maxRemembered is how many digests of evidence a room remembers that clients may know.
	maxRemembered = 256
	// maxChain is how many certificates a client may show.
	maxChain = 8
)

// How long things may take at most, so that nobody holds a place by being slow.
const (
	// helloTime is for a client's TLS handshake and first message.
	helloTime = 10 * time.Second
	// admissionTime is for all that comes before the first byte reaches the container: evidence
	// of slow TPMs with others waiting before it, and people who type.
	admissionTime = 60 * time.Second
	// exchangeTime is how long a client waits for a room's whole exchange: more than the room
	// waits for it.
	exchangeTime = helloTime + admissionTime + 20*time.Second
	// lingerTime is how long a room waits for the other end to take what was written last.
	lingerTime = 10 * time.Second
)
