// Package appraise judges what a platform found in evidence ([attest.Finding]) by an
// appraisal policy (RFC 9334), and says so check by check ([Result]).
//
// A [Policy] is a YAML document: requirements for each platform, and expressions in CEL for
// the rest (spec/appraisal.md). It promises that what a policy does not name is refused:
// platforms, software, evidence that nobody asked for. What it explains is what it enforces,
// since both are the same checks. It reads no file, no clock and no network.
//
// Package policy is its neighbour for one purpose: whether a key may be released to a room.
package appraise
