// Package tpm2 reads what TPMs of version 2.0 sign and say of themselves: quotes, public
// areas of keys, values of PCRs in the forms in which tools write them, and event logs beside
// them.
//
// It promises that [Quote.Verify] gives an [Attest] only for a quote whose signature is right
// and whose digest covers exactly the PCR values given with it, none more and none less. Whose
// key it was, whether the nonce is fresh, and what the values mean, is for its callers: a
// quote proves nothing until its key is known to live in a TPM.
//
// Sources: TPM 2.0 library specification 1.59, parts 1 to 3; TCG algorithm registry 1.34.
package tpm2
