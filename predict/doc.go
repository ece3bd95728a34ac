// Package predict computes, from files alone, the values that the evidence of a virtual
// machine will carry (spec/measurements.md): the launch digest of SEV-SNP, MRTD and RTMRs of
// TDX, and the PCRs that a TPM holds after a measured boot.
//
// It promises that a value it gives follows from the files it was handed and the rules of the
// specification, and nothing else: what depends on something that it was not given has no
// value, and a note says why. A file that the rules don't cover, such as a boot stub whose
// digest is not known, is an error and never a guess. Whether the files are good is not its
// question. It parses with limits, and touches no file itself.
package predict
