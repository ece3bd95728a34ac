// Package arm verifies Arm's attestation tokens: PSA tokens of devices (RFC 9783, and profile
// 1 before it) and CCA tokens of realms (draft-ffm-rats-cca-token, versions 00 to 03; RMM
// specification, section A7.2).
//
// It promises that a token it calls genuine was signed by a key that the caller pinned: PSA's
// initial attestation key (IAK), CCA's platform attestation key (CPAK). Arm has no root of
// its own; whoever pins a key vouches that it is of a genuine device. A realm's token is
// signed by a key that the platform's token names by hash. Tokens carry no time and nothing
// revokes them: the challenge alone says that one is fresh.
package arm
