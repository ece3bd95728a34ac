package policy

import (
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/wire"
)

// Challenge is what the broker knows of the challenge a request carries. The zero Challenge
// refuses.
type Challenge struct {
	// Recognised is set if the broker's own secret made it.
	Recognised bool
	ID         string    // 32 hex digits; redeemed once
	Nonce      wire.Hash // what evidence binds for it
	Purpose    attest.Purpose
	Agreement  wire.Digest
	Expires    time.Time
	// Unused is set if nothing has redeemed it so far.
	Unused bool
}
