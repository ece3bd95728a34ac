package azure

import (
	"encoding/binary"
	"fmt"

	"strongroom.dev/dcap"
)

// Assemble puts an HCL report together again from what clients of Microsoft Azure Attestation
// take out of it: the SEV-SNP report, or the TD quote in the place of the TDREPORT, and the
// runtime data. A TDREPORT is written from the quote that speaks for it, so that what [Verifier]
// compares agrees; its MAC, which only the machine itself can check, is left zero. That the
// runtime data is the hardware report's, [Verifier.Examine] finds out as of any other.
func Assemble(snp, tdQuote, runtime []byte) ([]byte, error) {
	hardware, kind := snp, uint32(typeSNP)
	switch {
	case (len(snp) > 0) == (len(tdQuote) > 0):
		return nil, fmt.Errorf("expected a SEV-SNP report or a TD quote, one of the two")
	case len(tdQuote) > MaxQuote:
		return nil, fmt.Errorf("a TD quote of %d bytes, at most %d", len(tdQuote), MaxQuote)
	case len(tdQuote) > 0:
		q, err := dcap.ParseQuote(tdQuote)
		if err != nil {
			return nil, err
		}
		if q.TD == nil {
			return nil, fmt.Errorf("a quote of an enclave, expected one of a TD")
		}
		hardware, kind = tdReportOf(q.TD), typeTDX
	case len(snp) != sizeSNP:
		return nil, fmt.Errorf("a SEV-SNP report of %d bytes, expected %d", len(snp), sizeSNP)
	}
	if len(runtime) > MaxReport-atRuntime {
		return nil, fmt.Errorf("runtime data of %d bytes, at most %d", len(runtime), MaxReport-atRuntime)
	}
	b := make([]byte, atRuntime, atRuntime+len(runtime))
	copy(b, "HCLA")
	for at, n := range map[int]uint32{
		atVersion: 2, atSize: uint32(atRuntime + len(runtime)), atRequest: requestReport,
		atData: uint32(atRuntime - atData + len(runtime)), atData + 4: 1, atData + 8: kind, atData + 12: hashSHA256, atData + 16: uint32(len(runtime)),
	} {
		binary.LittleEndian.PutUint32(b[at:], n)
	}
	copy(b[atHardware:], hardware)
	return append(b, runtime...), nil
}

// tdReportOf writes every field of a TDREPORT that a quote has.
func tdReportOf(q *dcap.TDReport) []byte {
	b := make([]byte, sizeTDX)
	b[tdType] = 0x81
	for _, f := range tdFields(q) {
		copy(b[f.at:], f.value)
	}
	return b
}
