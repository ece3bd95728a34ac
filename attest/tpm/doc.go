// Package tpm verifies evidence of a TPM 2.0: quotes over PCRs by an attestation key (AK), the
// event log that leads to them, and what proves that the key lives in a TPM: a cloud's or
// maker's certificate of the AK, or an [Activation], the record of a challenge that only the
// TPM with a certified endorsement key (EK) could answer. It reads this program's own form
// (spec/tpm.md), Trustee's, go-tpm-tools' and az-cvm-vtpm's.
//
// It promises that a finding with claims comes only from quotes whose signatures are right and
// which cover exactly the PCR values given, and that every doubt beyond that is a failed check:
// a key that nobody vouches for, a root that no maker is known by, certificates or CRLs that
// are missing or outside their dates, a short nonce, a PCR that is not quoted, a log that does
// not replay. A TPM keeps nobody out of memory: its class is integrity-only where a maker or
// cloud whose root is pinned here certified it, and software wherever nobody but the relying
// party itself says what it is.
//
// Sources: TPM 2.0 library specification 1.59; TCG EK credential profile 2.5; RFC 5280.
package tpm
