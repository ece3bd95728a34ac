package fetch

import "time"

const (
	// Patience is the longest one request to a vendor may take; AMD's key server needs seconds to
	// make a certificate.
	Patience = 60 * time.Second
	// MaxAnswer is the most bytes of an answer: RIMs in base64 are below 200 KiB.
	MaxAnswer = 1 << 20
	// MaxChain is the most bytes of a chain in a header: three certificates in PEM.
	MaxChain = 16 << 10
	// maxTold is the most bytes that are read of an error document of a cache's.
	maxTold = 16 << 10
	// maxDocuments is the most documents that a cache keeps: certificates of some ten thousand
	// machines.
	maxDocuments = 65536
)
