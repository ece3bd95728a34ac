// Package verifier is the attestation service without its network: it issues challenges,
// appraises evidence by policies that its officers put in force, and answers with results and
// tokens (spec/attestation.md). It also speaks as Microsoft Azure Attestation and Intel Trust
// Authority do, for clients that know those.
//
// It promises that a token comes only of evidence that was made for this asking, judged by a
// policy in force, and names the key that the evidence binds. What others' protocols reach is
// off until it is named together with a policy (R16). Several instances may share one store.
//
// Whoever has to have a challenge redeemed once only keeps books of its own, as brokers do
// (R11); the service does it if told to.
package verifier
