package attest

import "strongroom.dev/wire"

// TCBNames gives the names of the numbers in [Facts.TCB] that evidence of a platform can have;
// nil for a platform without any. Of snp they are the firmware's components, of tdx and sgx what
// Intel's TCB information says of the platform: "date" and "module-date" as YYYYMMDD, the
// "evaluation" number of that information, and "up-to-date", 1 or 0. Which of them there are
// depends on the hardware.
func TCBNames(platform wire.ID) []string {
	amd := []string{"bootloader", "tee", "snp", "microcode", "fmc"}
	switch platform {
	case "snp":
		return amd
	case "tdx":
		return []string{"date", "module-date", "evaluation", "up-to-date"}
	case "sgx":
		return []string{"date", "evaluation", "up-to-date"}
	case "azure":
		return append(amd, TCBNames("tdx")...)
	}
	return nil
}
