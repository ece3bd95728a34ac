// Package azure verifies evidence of confidential virtual machines on Microsoft Azure: a
// hardware report (AMD SEV-SNP or Intel TDX) over the runtime data of Microsoft's paravisor
// (HCL), which names the attestation key of the machine's virtual TPM, and quotes by that key.
// It reads this program's own form (spec/tpm.md, section 4), Trustee's, attestation-rs', and
// bare HCL reports.
//
// It promises that a finding with claims comes only from evidence whose parts belong together:
// the hardware report's signatures up to AMD's or Intel's root as packages sevsnp and dcap
// verify them, the runtime data hashed into it, the quotes by the key in the runtime data. The
// hardware report is made once, at boot: freshness comes from the quotes alone, and evidence
// without any has no report data. The virtual TPM runs in the paravisor, inside the machine's protected memory;
// which paravisor it is, is in the hardware report's measurement and must be compared.
//
// Sources: Azure confidential VM guest attestation design (HCL report); TPM 2.0 library
// specification 1.59; AMD 56860; Intel TDX module 1.5 ABI (TDREPORT).
package azure
