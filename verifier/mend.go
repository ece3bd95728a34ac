package verifier

import (
	"slices"
	"strings"

	"strongroom.dev/verdict"
)

// What mends a freshness check that failed, for each way to ask. The packages that judge speak to
// people at a command line; those who ask here have a document to mend.
const (
	mendChallenge  = "put into the report data what spec/ear.md, section 4, makes of challenge and key (of a room: spec/evidence.md, section 2), and name in the request that very challenge and all that the evidence binds; else ask POST /v1/challenge anew"
	mendNonce      = "put into the report data what spec/attestation.md, section 3, makes of the member nonce and of what else is named; or send in nonce what the attester was asked with"
	mendReportData = "send in report_data what the attester was asked to put in; or ask POST /v1/challenge, and have new evidence answer the challenge"
	mendMAA        = "make the report data SHA-256 of the very bytes of runtimeData.data, and zeros behind it"
	mendGuest      = "have the TPM's quote answer ClientPayload.nonce"
	mendITA        = "make the report data SHA-512, of SGX SHA-256, of the nonce's val and iat and of runtime_data or user_data, as this service gave and as you send them; on Azure, SHA-256 of the paravisor's runtime_data"
	mendTrial      = "give nonce or report_data of this piece as the attester was asked with; leave both away, and it counts as fresh"
)

// mended puts checks into the words of the interface; fresh mends the one about freshness. What
// was given is not changed.
func mended(checks []verdict.Check, fresh string) []verdict.Check {
	out := slices.Clone(checks)
	for i, c := range out {
		if c.OK {
			continue
		}
		if out[i].Fix = flagless(c.Fix); c.ID == "freshness" {
			out[i].Fix = fresh
		}
	}
	return out
}

// mendedError is mended for evidence that is not genuine, of whatever platform.
func mendedError(err error) error {
	e := *verdict.As(err)
	e.Fix, e.Checks = flagless(e.Fix), mended(e.Checks, mendChallenge)
	if e.Check == "evidence.form" || e.Check == "evidence.platform" {
		e.Fix = "send the evidence itself, base64, in a form that docs/verifying.md names for its platform"
	}
	return &e
}

// flagless says without flags of the program what a mend says with them.
func flagless(fix string) string {
	return strings.NewReplacer(
		", or give --insecure-allow-software", "",
		"; judge a recorded one as of its time with --at", "",
		"give it with --reference", "have the service's officers give it such a set",
		"with --endorsements", "among the service's endorsements",
	).Replace(fix)
}
