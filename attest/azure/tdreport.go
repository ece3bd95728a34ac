package azure

import (
	"bytes"

	"strongroom.dev/dcap"
)

// Offsets of a TDREPORT_STRUCT, in bytes (Intel TDX module 1.5 ABI, section 4.7.4): the
// REPORTMACSTRUCT of 256 bytes, TEE_TCB_INFO of 239, reserved bytes to 512, TDINFO of 512. Its
// MAC can be checked only on the machine that made it; a quote speaks for it elsewhere.
const (
	tdType       = 0 // 0x81, TDX
	tdReportData = 128
	tdTCBSVN     = 264 // TEE_TCB_INFO, behind VALID of 8 bytes
	tdMRSEAM     = 280
	tdSigner     = 328 // MRSIGNERSEAM
	tdAttributes = 512
	tdXFAM       = 520
	tdMRTD       = 528
	tdConfigID   = 576
	tdOwner      = 624
	tdConfig     = 672 // MROWNERCONFIG
	tdRTMR       = 720 // four of 48 bytes
)

// tdField is a field of a TDREPORT that a quote has too.
type tdField struct {
	name  string
	at    int
	value []byte
}

func tdFields(q *dcap.TDReport) []tdField {
	return []tdField{
		{"REPORTDATA", tdReportData, q.ReportData[:]},
		{"TEE_TCB_SVN", tdTCBSVN, q.TEETCBSVN[:]},
		{"MRSEAM", tdMRSEAM, q.MRSEAM[:]},
		{"MRSIGNERSEAM", tdSigner, q.MRSIGNERSEAM[:]},
		{"ATTRIBUTES", tdAttributes, q.Attributes[:]},
		{"XFAM", tdXFAM, q.XFAM[:]},
		{"MRTD", tdMRTD, q.MRTD[:]},
		{"MRCONFIGID", tdConfigID, q.MRCONFIGID[:]},
		{"MROWNER", tdOwner, q.MROWNER[:]},
		{"MROWNERCONFIG", tdConfig, q.MROWNERCONFIG[:]},
		{"RTMR0", tdRTMR, q.RTMR[0][:]},
		{"RTMR1", tdRTMR + 48, q.RTMR[1][:]},
		{"RTMR2", tdRTMR + 96, q.RTMR[2][:]},
		{"RTMR3", tdRTMR + 144, q.RTMR[3][:]},
	}
}

// differs names the first field in which a TDREPORT is not what a quote says; "" for none.
func differs(report []byte, q *dcap.TDReport) string {
	if report[tdType] != 0x81 {
		return "type"
	}
	for _, f := range tdFields(q) {
		if !bytes.Equal(report[f.at:f.at+len(f.value)], f.value) {
			return f.name
		}
	}
	return ""
}
