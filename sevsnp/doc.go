// Package sevsnp verifies attestation reports of AMD SEV-SNP: report versions 2 to 5 of
// Milan, Genoa (with Bergamo and Siena) and Turin processors, signed by a chip's own key
// (VCEK) or by a key that AMD loads for a cloud (VLEK), up to AMD's root keys (ARK), which
// are pinned; raw, or in the forms that tools wrap them in (see [Open]); and what Microsoft
// says of the firmware of container groups (UVM endorsements).
//
// It promises that a [Result] with claims comes only from a report whose signature, chain
// and bindings are right, and that every doubt beyond that is a failed check: certificates
// or a CRL that are missing or outside their dates, a revoked certificate, debugging,
// migration agents, a VMPL other than 0, reserved bits. It knows nothing of agreements, and
// reads neither network nor clock.
//
// Sources: AMD 56860 (SEV-SNP firmware ABI 1.58), AMD 57230 (VCEK certificates and the key
// server), AMD 56421 (GHCB: certificate tables), RFC 9052 and 9360 (COSE), RFC 9679 (COSE key
// thumbprints), the did:x509 method specification.
package sevsnp
