package azure

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Offsets of an HCL report, in bytes; all numbers are little endian. A header of 32 bytes, the
// hardware report with zeros up to 1216, the head of the request data, and the runtime data.
const (
	atVersion  = 4
	atSize     = 8
	atRequest  = 12
	atStatus   = 16
	atHardware = 32
	atData     = 1216 // IgvmRequestData: data_size, version, report_type, hash_type, variable data size
	atRuntime  = 1236

	sizeSNP = 1184
	sizeTDX = 1024

	requestReport = 2 // request_type of a report
	typeSNP       = 2 // report_type
	typeTDX       = 4
	hashSHA256    = 1
)

// Report is an HCL report. Reading one checks its form and nothing else.
type Report struct {
	// Version is that of the header: 1 on older machines, 2 on newer ones.
	Version uint32
	// SNP is a SEV-SNP report, or TD a TDREPORT; the other is nil.
	SNP, TD []byte
	// Runtime is the runtime data, JSON, without padding.
	Runtime []byte
}

// ParseReport reads an HCL report, behind which there may be zeros.
func ParseReport(b []byte) (*Report, error) {
	if len(b) < atRuntime || len(b) > MaxReport {
		return nil, fmt.Errorf("%d bytes, expected %d to %d", len(b), atRuntime, MaxReport)
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	size, data, runtime := word(atSize), word(atData), word(atData+16)
	r := &Report{Version: word(atVersion)}
	switch {
	case string(b[:4]) != "HCLA":
		return nil, fmt.Errorf("it starts with %x, not HCLA", b[:4])
	case r.Version != 1 && r.Version != 2:
		return nil, fmt.Errorf("header of version %d, expected 1 or 2", r.Version)
	case word(atRequest) != requestReport:
		return nil, fmt.Errorf("request type %d, expected %d", word(atRequest), requestReport)
	case word(atStatus) != 0:
		return nil, fmt.Errorf("status %d: the report could not be made", word(atStatus))
	case !zero(b[atStatus+4 : atHardware]):
		return nil, fmt.Errorf("reserved bytes of the header that are not zero")
	case word(atData+4) != 1:
		return nil, fmt.Errorf("request data of version %d, expected 1", word(atData+4))
	case word(atData+12) != hashSHA256:
		return nil, fmt.Errorf("hash type %d, expected %d (SHA-256)", word(atData+12), hashSHA256)
	case runtime > uint32(len(b)-atRuntime):
		return nil, fmt.Errorf("runtime data of %d bytes, cut short", runtime)
	case data != runtime+atRuntime-atData || size != data+atData:
		return nil, fmt.Errorf("sizes that don't agree: report %d, request data %d, runtime data %d", size, data, runtime)
	case !zero(b[size:]):
		return nil, fmt.Errorf("bytes behind the report that are not zero")
	}
	r.Runtime = b[atRuntime:size:size]
	return r, r.hardware(b[atHardware:atData], word(atData+8))
}

// hardware takes the hardware report of the kind that the request data names.
func (r *Report) hardware(area []byte, kind uint32) error {
	size := sizeSNP
	switch kind {
	case typeSNP:
		r.SNP = area[:size:size]
	case typeTDX:
		size = sizeTDX
		r.TD = area[:size:size]
	default:
		return fmt.Errorf("a hardware report of type %d, expected %d (SEV-SNP) or %d (TDX)", kind, typeSNP, typeTDX)
	}
	if !zero(area[size:]) {
		return fmt.Errorf("bytes behind the hardware report that are not zero")
	}
	return nil
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// binds reports whether report data is the hash of the runtime data, and zeros.
func (r *Report) binds(reportData []byte) bool {
	sum := sha256.Sum256(r.Runtime)
	return len(reportData) == 64 && bytes.Equal(reportData[:32], sum[:]) && zero(reportData[32:])
}
