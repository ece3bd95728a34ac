package dcap

import (
	"encoding/binary"
	"encoding/hex"
)

// EnclaveReport is the body of an SGX report, 384 bytes (Intel SDM volume 3D, table 40-21).
type EnclaveReport struct {
	CPUSVN       [16]byte
	MiscSelect   uint32
	ISVExtProdID [16]byte
	// Attributes are 8 bytes of flags and 8 of XFRM.
	Attributes  [16]byte
	MRENCLAVE   [32]byte
	MRSIGNER    [32]byte
	ConfigID    [64]byte
	ISVProdID   uint16
	ISVSVN      uint16
	ConfigSVN   uint16
	ISVFamilyID [16]byte
	ReportData  [64]byte
}

// Flags of an enclave (SDM volume 3D, section 34.7.1), bits of Attributes[0].
const (
	enclaveInit         = 1 << 0
	enclaveDebug        = 1 << 1
	enclaveMode64       = 1 << 2
	enclaveProvisionKey = 1 << 4
	enclaveTokenKey     = 1 << 5
)

// Debug reports whether the enclave can be looked into.
func (e *EnclaveReport) Debug() bool { return e.Attributes[0]&enclaveDebug != 0 }

// parseEnclave reads 384 bytes. Offsets: CPUSVN 0, MISCSELECT 16, ISVEXTPRODID 32,
// ATTRIBUTES 48, MRENCLAVE 64, MRSIGNER 128, CONFIGID 192, ISVPRODID 256, ISVSVN 258,
// CONFIGSVN 260, ISVFAMILYID 304, REPORTDATA 320.
func parseEnclave(b []byte) EnclaveReport {
	return EnclaveReport{
		CPUSVN:       [16]byte(b[0:16]),
		MiscSelect:   binary.LittleEndian.Uint32(b[16:20]),
		ISVExtProdID: [16]byte(b[32:48]),
		Attributes:   [16]byte(b[48:64]),
		MRENCLAVE:    [32]byte(b[64:96]),
		MRSIGNER:     [32]byte(b[128:160]),
		ConfigID:     [64]byte(b[192:256]),
		ISVProdID:    binary.LittleEndian.Uint16(b[256:258]),
		ISVSVN:       binary.LittleEndian.Uint16(b[258:260]),
		ConfigSVN:    binary.LittleEndian.Uint16(b[260:262]),
		ISVFamilyID:  [16]byte(b[304:320]),
		ReportData:   [64]byte(b[320:384]),
	}
}

// TDReport is what a TDX quote says of the trust domain, 584 bytes (TD 1.0) or 648 (TD
// 1.5): Intel TDX DCAP quoting library API, section A.3.2.
type TDReport struct {
	// TEETCBSVN: byte 0 is the module's security version, byte 1 its major version, byte 2 the
	// late microcode's.
	TEETCBSVN      [16]byte
	MRSEAM         [48]byte
	MRSIGNERSEAM   [48]byte
	SEAMAttributes [8]byte
	Attributes     [8]byte
	XFAM           [8]byte
	MRTD           [48]byte
	MRCONFIGID     [48]byte
	MROWNER        [48]byte
	MROWNERCONFIG  [48]byte
	RTMR           [4][48]byte
	ReportData     [64]byte
	// Newer says that the fields of TD 1.5 are there: the security versions of the module now
	// loaded (TEETCBSVN is the one at launch), and the hash of the service TDs.
	Newer       bool
	TEETCBSVN2  [16]byte
	MRSERVICETD [48]byte
}

// Attributes of a trust domain (Intel TDX module ABI, TD attributes).
const (
	tdSeptVEDisable = 1 << 28
	tdMigratable    = 1 << 29
	tdPKS           = 1 << 30
	tdKeyLocker     = 1 << 31
	tdPerfmon       = 1 << 63
)

// Debug reports whether the trust domain can be looked into: any bit of the group TUD, "TD
// under debug", bits 0 to 7.
func (t *TDReport) Debug() bool { return t.Attributes[0] != 0 }

// flags gives the attributes as the number that Intel's documents index.
func (t *TDReport) flags() uint64 { return binary.LittleEndian.Uint64(t.Attributes[:]) }

// Measurements gives what was measured, by the names of [Result]'s claims, in lower-case hex.
// MRSEAM and MRSIGNERSEAM are left out: they are of Intel's module, which the machine's owner
// updates, and which is judged by Intel's TCB information, as the rest of the TCB is.
// Fields that are zero are left out: nothing was measured into them. All fields are in every
// quote, but for MRSERVICETD, which is of TD 1.5, and zero without service TDs; so a field that
// is left out is known to be zero.
func (t *TDReport) Measurements() map[string]string {
	m := make(map[string]string)
	for name, value := range map[string][48]byte{
		"mrtd": t.MRTD, "mrconfigid": t.MRCONFIGID, "mrowner": t.MROWNER, "mrownerconfig": t.MROWNERCONFIG,
		"rtmr0": t.RTMR[0], "rtmr1": t.RTMR[1], "rtmr2": t.RTMR[2], "rtmr3": t.RTMR[3], "mrservicetd": t.MRSERVICETD,
	} {
		if value != [48]byte{} {
			m[name] = hex.EncodeToString(value[:])
		}
	}
	return m
}

// parseTD reads 584 or 648 bytes. Offsets: TEE_TCB_SVN 0, MRSEAM 16, MRSIGNERSEAM 64,
// SEAMATTRIBUTES 112, TDATTRIBUTES 120, XFAM 128, MRTD 136, MRCONFIGID 184, MROWNER 232,
// MROWNERCONFIG 280, RTMR0 328, REPORTDATA 520, TEE_TCB_SVN2 584, MRSERVICETD 600.
func parseTD(b []byte) TDReport {
	t := TDReport{
		TEETCBSVN:      [16]byte(b[0:16]),
		MRSEAM:         [48]byte(b[16:64]),
		MRSIGNERSEAM:   [48]byte(b[64:112]),
		SEAMAttributes: [8]byte(b[112:120]),
		Attributes:     [8]byte(b[120:128]),
		XFAM:           [8]byte(b[128:136]),
		MRTD:           [48]byte(b[136:184]),
		MRCONFIGID:     [48]byte(b[184:232]),
		MROWNER:        [48]byte(b[232:280]),
		MROWNERCONFIG:  [48]byte(b[280:328]),
		ReportData:     [64]byte(b[520:584]),
	}
	for i := range t.RTMR {
		t.RTMR[i] = [48]byte(b[328+48*i:])
	}
	if len(b) == td15Size {
		t.Newer = true
		t.TEETCBSVN2 = [16]byte(b[584:600])
		t.MRSERVICETD = [48]byte(b[600:648])
	}
	return t
}
