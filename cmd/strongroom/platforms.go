package main

import (
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
)

// platforms is the table of every platform this build verifies, in one place for all to see.
func platforms() []attest.Platform {
	return []attest.Platform{dev.New()}
}
