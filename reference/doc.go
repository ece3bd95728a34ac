// Package reference holds reference values (RFC 9334): which measurements good code gives, as
// its makers sign them (spec/reference-values.md, protocol rule R5).
//
// A [Values] document lists groups of measurements that belong together: one image, on one
// platform, on one shape of machine. It is signed by k of n release keys, recorded in a log,
// and expires. [Verify] gives a [Set] only if all of that holds and it is no step back; only a
// Set answers questions. The package promises that no value is ever taken from what is not
// signed so, that a group matches as a whole or not at all, and that a mismatch says which
// group is nearest and what differs. It reads no file, no clock and no network.
package reference
