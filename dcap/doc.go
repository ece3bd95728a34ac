// Package dcap verifies quotes of Intel SGX and TDX (Data Center Attestation Primitives):
// quotes of version 3, 4 and 5, the certificate chain in them up to the Intel SGX Root CA,
// whose public key is pinned, the quoting enclave, and how Intel judges platform, TDX module
// and quoting enclave, from collateral that the caller gives.
//
// It promises that a [Result] comes only from a quote whose signatures are right from the
// root to the last byte of its body, and that every doubt beyond that is a failed check:
// collateral that is missing, forged or outside its dates, a revoked certificate, a TCB that
// is out of date, debugging. It judges as Intel's quote verification library does and knows
// nothing of agreements. It hands on event logs without looking at them, and reads neither
// network nor clock.
//
// Sources: Intel SGX ECDSA quote library API (quote version 3), Intel TDX DCAP quoting
// library API (versions 4 and 5), Intel SGX PCK certificate and CRL profile, Intel PCS API
// version 4 (TCB information, identities), Intel's quote verification library (convergence).
package dcap
