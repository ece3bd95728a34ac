package tpm2

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"strongroom.dev/measure"
)

// imaPCR is the PCR that the Linux kernel's list of files is measured into.
const imaPCR = 10

// Names turns measurements of a bank ([Bank.Measurements]) into those of a room that OVMF
// booted, which depend on what was started and not on the size of the machine (spec/tpm.md,
// section 1): OVMF's volumes instead of PCR 0, and no PCR 1 of boot variables alone, each only
// where the log proves it. What other firmware booted keeps its names.
func (boot *Boot) Names(measurements map[string]string) {
	f := boot.Firmware
	if f == nil {
		return
	}
	delete(measurements, "pcr0")
	measurements["firmware.version"] = hex.EncodeToString(f.Version)
	for _, v := range f.Volumes[1:] {
		measurements[fmt.Sprintf("firmware.%x", v.Base)] = hex.EncodeToString(v.Digest)
	}
	if boot.BootVariables {
		delete(measurements, "pcr1")
	}
	if boot.OnlyAggregate {
		delete(measurements, "pcr10")
	}
}

// name finds out what [Boot.Names] says.
func (boot *Boot) name(log *measure.Log, good map[uint32]bool, b Bank) {
	if f, ok := log.OVMF(boot.Bank); ok && good[0] {
		boot.Firmware = &f
	}
	boot.BootVariables = good[1] && log.BootVariablesOnly(boot.Bank)
	boot.OnlyAggregate = b.onlyAggregate(good[InitDataPCR])
}

// Open says what of the firmware no measurement is about; "" if there is nothing, or nothing
// known, to say.
func (boot *Boot) Open() string {
	if boot.Firmware == nil {
		return ""
	}
	v := boot.Firmware.Volumes[0]
	return fmt.Sprintf("OVMF's early code (PEI), %d bytes at 0x%x, is measured after it ran and compared with nothing: %x", v.Size, v.Base, v.Digest)
}

// firmwareClaims describes the firmware.
func firmwareClaims(f *measure.Firmware) map[string]any {
	volumes := make([]any, len(f.Volumes))
	for i, v := range f.Volumes {
		volumes[i] = map[string]any{"base": fmt.Sprintf("0x%x", v.Base), "size": fmt.Sprintf("0x%x", v.Size), "digest": hex.EncodeToString(v.Digest), "open": i == 0}
	}
	return map[string]any{"version": hex.EncodeToString(f.Version), "volumes": volumes}
}

// onlyAggregate reports whether the kernel measured no file: whether PCR 10 of the SHA-256 bank
// holds nothing but the entry that Linux begins its list with, the hash of PCRs 0 to 9 as they
// were when it started (security/integrity/ima, templates ima-ng and ima-sig). Then it says
// nothing that those don't. Where no event of the log explains PCR 8, what is in it now (a
// room's init data) came later.
func (b Bank) onlyAggregate(eighthIsLogged bool) bool {
	if b.Bank != measure.SHA256 || len(b.Missing(imaPCR)) > 0 {
		return false
	}
	var registers []byte
	for i := range imaPCR {
		value := b.Values[i]
		if i == InitDataPCR && !eighthIsLogged {
			value = make([]byte, b.Bank.Size())
		}
		registers = append(registers, value...)
	}
	digest := append([]byte("sha256:\x00"), b.Bank.Sum(registers)...)
	entry := append(field(digest), field([]byte("boot_aggregate\x00"))...)
	for _, template := range [][]byte{entry, append(bytes.Clone(entry), field(nil)...)} { // ima-sig has a signature, empty here
		if b.ExtendedOnce(imaPCR, b.Bank.Sum(template)) {
			return true
		}
	}
	return false
}

// field puts a length of 32 bits, little endian, in front.
func field(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}
