package predict

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"strongroom.dev/measure"
	"strongroom.dev/verdict"
)

// Values are predicted values by name, in lower-case hex, with what can't be predicted.
type Values struct {
	Values map[string]string
	// Notes say what has no value here, and why.
	Notes []string
}

func (v *Values) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// TPM is a machine that QEMU starts with a TPM, OVMF and a kernel that it hands over.
type TPM struct {
	// Firmware is OVMF's code (OVMF_CODE.fd); its variables are a fresh copy of OVMF_VARS.fd, without
	// keys for Secure Boot.
	Firmware []byte
	// Boot is the kernel; what is measured is certain only of a unified kernel image.
	Boot *DirectBoot
	// Memory is the size of memory in bytes; only a bare kernel's values depend on it.
	Memory uint64
}

// versions are the firmware whose version, which its early code measures, is known: by SHA-256.
// The version is text in UTF-16, with a zero.
//
// constant: a table that is never written.
var versions = map[string]string{
	"b157d97b1f69729514feb7f201d2cbe4957f23ab77920e361fe9f822ba49ca4c": "", // OVMF_CODE_4M.fd of Debian 2022.11-6+deb12u2
	"d9b568def24088c92f34b5479e0ed7e44d0a4d4cea8a0f5716719180bba48106": "", // OVMF_CODE.fd of the same
}

// OVMF's volumes in memory (OvmfPkg's flash map).
const (
	earlySize   = measure.OVMFEarlySize
	driversSize = 0xc00000
	driversBase = measure.OVMFEarlyBase + earlySize
	tcg2Driver  = "fdff263d-5f68-4591-87ba-b768f445a9af" // Tcg2Dxe
	tdxDriver   = "f062221e-c607-44c2-b0b4-c3886331d351" // TdTcg2Dxe

	secureBootDriver = "f0e6a44f-7195-41c3-ac64-54f202cd0a21" // SecureBootConfigDxe, in builds with Secure Boot
)

// PCRs gives what facts about such a machine hold, under the names of spec/tpm.md: PCRs of the
// SHA-256 bank, and the parts of the firmware by the digests of their events. They are the same
// for every number of processors and, with a unified kernel image, for every size of memory.
// Errors are a [verdict.Error] of kind Usage.
func (t TPM) PCRs() (Values, error) {
	const bank = measure.SHA256
	if t.Boot == nil {
		return Values{}, verdict.Misuse("measure.kernel", "a unified kernel image", "none", "name it")
	}
	b, err := boots(t.Boot, t.Memory, bank)
	if err != nil {
		return Values{}, err
	}
	v := Values{Values: map[string]string{}}
	if err := t.firmware(&v); err != nil {
		return Values{}, err
	}
	for _, pcr := range []string{"pcr2", "pcr3", "pcr6"} {
		v.Values[pcr] = newRegister(bank).events(separator()).hex()
	}
	v.Values["pcr4"] = newRegister(bank).extend(b.handedOver(bank)...).hex()
	v.Values["pcr5"] = newRegister(bank).events(separator(), []byte(exitInvoked), []byte(exitDone)).hex()
	v.Values["pcr7"] = newRegister(bank).events(noSecureBoot([]byte{0})...).events(separator()).hex()
	v.Values["pcr9"] = newRegister(bank).extend(b.stubMeasures(bank)...).hex()
	if b.uki != nil {
		v.Values["pcr11"] = b.uki.sections(bank).hex()
	} else {
		v.note("pcr4 is that of QEMU 7.2 to 9, which change a kernel's header; only a unified kernel image is measured as it is")
	}
	return v, nil
}

// DiskPCRs gives the PCRs of the SHA-256 bank that follow from a unified kernel image alone where
// a cloud's or a machine's own firmware starts it from a disk, as the first and only program:
// those of what boots. The rest is the firmware's. Errors are a [verdict.Error] of kind Usage.
func DiskPCRs(image []byte) (Values, error) {
	const bank = measure.SHA256
	b, err := boots(&DirectBoot{Kernel: image}, 0, bank)
	if err != nil {
		return Values{}, err
	}
	if b.uki == nil {
		return Values{}, verdict.Misuse("measure.kernel", "a unified kernel image on the disk", "a bare kernel", "name the unified kernel image")
	}
	v := Values{Values: map[string]string{
		"pcr4":  newRegister(bank).events([]byte(callingApplication), separator()).extend(b.kernel, b.inner).hex(),
		"pcr9":  newRegister(bank).extend(b.stubMeasures(bank)...).hex(),
		"pcr11": b.uki.sections(bank).hex(),
	}}
	v.note("other PCRs hold what the firmware measures of itself, its variables and the disk's partitions: take them from evidence of one boot")
	return v, nil
}

// sections gives PCR 11: each section's name with a zero, then its bytes.
func (u *uki) sections(bank measure.Algorithm) *register {
	r := newRegister(bank)
	for _, name := range u.stub.measured {
		if data := u.parts[name]; data != nil {
			r.events(append([]byte(name), 0), data)
		}
	}
	return r
}

// firmware adds the values of what the firmware measures of itself.
func (t TPM) firmware(v *Values) error {
	if _, err := parseFirmware(t.Firmware); err != nil {
		return err
	}
	unpacked, err := volumes(t.Firmware)
	if err != nil {
		return err
	}
	if len(unpacked) != 2 || len(unpacked[0]) != earlySize || len(unpacked[1]) != driversSize {
		return badFirmware(fmt.Sprintf("OVMF's two volumes of %d and %d bytes", earlySize, driversSize), sizes(unpacked))
	}
	measures, err := hasFile(unpacked[1], tcg2Driver)
	if err != nil {
		return err
	}
	if !measures {
		return badFirmware("firmware that measures into a TPM (Tcg2Dxe)", "firmware without that driver")
	}
	v.Values[fmt.Sprintf("firmware.%x", driversBase)] = hex.EncodeToString(measure.SHA256.Sum(unpacked[1]))
	id := sha256.Sum256(t.Firmware)
	version, ok := versions[hex.EncodeToString(id[:])]
	if !ok {
		v.note("firmware.version has no value: this firmware's version is not known here; evidence of one boot shows it")
		return nil
	}
	v.Values["firmware.version"] = hex.EncodeToString(measure.SHA256.Sum(append(wide(version), 0, 0)))
	return nil
}

func sizes(all [][]byte) string {
	var words []string
	for _, one := range all {
		words = append(words, fmt.Sprint(len(one)))
	}
	return "volumes of " + strings.Join(words, ", ") + " bytes"
}
