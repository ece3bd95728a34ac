// Package corim reads signed Concise Reference Integrity Manifests (draft-ietf-rats-corim):
// of them, the reference values that are digests, security version numbers and raw values.
//
// It promises that it reads nothing before a signature (COSE_Sign1) verifies under a key that
// the caller pins, or a chain to a root that the caller pins; that dates hold; and that what
// narrows a reference value is never left out: a condition it does not know is an error. What
// is no reference value (endorsements, software tags, links) is named and left out. It knows
// no platform: what an element of a CoRIM is called in evidence is for the caller.
package corim
