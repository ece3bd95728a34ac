// Package ear makes and checks attestation results as signed tokens: EAR (draft-ietf-rats-ear-05)
// in EAT-JWT form, with the trustworthiness vector of AR4SI, and the shapes that existing key
// vaults and clouds gate on (spec/ear.md).
//
// It promises that no two kinds of token can be taken for each other: each [Shape] has its own
// issuer, keys and typ, and every token names its audience. A token that works as a bearer
// credential leaves only sealed to the room's HPKE key; every other carries the room's key
// (cnf), so that whoever copies it can't use it (R16). No token is made of a result that is
// contraindicated.
//
// It reads no clock and no file. Keys are handed to it ([Ring]) and never leave but to their store.
package ear
