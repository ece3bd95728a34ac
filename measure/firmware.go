package measure

import (
	"bytes"
	"slices"
)

// OVMF's volume of early code (PEI): where it lies in memory, and its size (OvmfPkg's flash
// map, MEMFD_BASE_ADDRESS and PEIFV). It is hashed after it ran and wrote into itself, so that
// its digest depends on how much memory the machine has, and on nothing that can be computed
// from the firmware's file.
const (
	OVMFEarlyBase = 0x820000
	OVMFEarlySize = 0xe0000
)

// Firmware is what a log says of firmware that measured itself volume by volume.
type Firmware struct {
	// Version is the digest of the version that the firmware's first code gives itself.
	Version []byte
	// Volumes are the volumes of the firmware, in the order of their measurement; the first is
	// OVMF's early code.
	Volumes []Volume
}

// Volume is a volume of firmware as it lies in memory. Nothing but the digest is proven by a
// register that replays: where the volume is said to lie is the log's own word.
type Volume struct {
	Base, Size uint64
	Digest     []byte
}

// OVMF reports whether PCR 0 holds OVMF's measurements of itself and nothing else, by the
// digests of a bank: its version, the volume of its early code, at least one other volume, and
// the separator of a boot without errors. Whether PCR 0 has the value that these lead to is for
// the caller to check.
func (l *Log) OVMF(bank Algorithm) (Firmware, bool) {
	all := l.extending(0)
	if len(all) < 4 || l.locality != 0 || all[0].Type != SCRTMVersion || all[0].Cover(bank) != Whole || !all[len(all)-1].ends(bank) {
		return Firmware{}, false
	}
	f := Firmware{Version: all[0].Digest(bank)}
	for i, e := range all[1 : len(all)-1] {
		r := reader{data: e.Data}
		v := Volume{r.u64(), r.u64(), e.Digest(bank)}
		early := v.Base == OVMFEarlyBase && v.Size == OVMFEarlySize
		known := slices.ContainsFunc(f.Volumes, func(other Volume) bool { return other.Base == v.Base })
		if e.Type != EFIFirmwareBlob || r.short || r.at != len(e.Data) || v.Size == 0 || early != (i == 0) || known || e.separates(bank) {
			return Firmware{}, false
		}
		f.Volumes = append(f.Volumes, v)
	}
	return f, true
}

// BootVariablesOnly reports whether PCR 1 holds the variables that say what may be booted, in
// which order, and the separator of a boot without errors, and nothing else, by the digests of
// a bank. Digests often cover a variable's contents and not its name, so contents must be those
// of such a variable too. What did boot is in other registers.
func (l *Log) BootVariablesOnly(bank Algorithm) bool {
	all := l.extending(1)
	if len(all) == 0 || !all[len(all)-1].ends(bank) {
		return false
	}
	seen := map[string]bool{}
	for _, e := range all[:len(all)-1] {
		v, ok := parseVariable(e.Data)
		cover := e.Cover(bank)
		if e.Type != EFIVariableBoot && e.Type != EFIVariableBoot2 || !ok || cover != Whole && cover != Part || !v.boots() || seen[v.name] || e.separates(bank) {
			return false
		}
		seen[v.name] = true
	}
	return true
}

// extending gives the events that extended a PCR.
func (l *Log) extending(pcr uint32) []Event {
	var all []Event
	for _, e := range l.Events {
		if e.Register == pcr && e.Extends() {
			all = append(all, e)
		}
	}
	return all
}

// ends reports whether an event is the separator of a boot without errors.
func (e Event) ends(bank Algorithm) bool {
	return e.Type == Separator && bytes.Equal(e.Data, []byte{0, 0, 0, 0}) && e.Cover(bank) == Whole
}

// boots reports whether a variable is BootOrder or Boot####, in name and contents (UEFI,
// section 3.3).
func (v variable) boots() bool {
	if v.guid != globalVariable {
		return false
	}
	if v.name == "BootOrder" {
		return len(v.data)%2 == 0 && len(v.data) <= maxBootOrder
	}
	number, ok := bytes.CutPrefix([]byte(v.name), []byte("Boot"))
	return ok && len(number) == 4 && len(bytes.Trim(number, "0123456789ABCDEF")) == 0 && isLoadOption(v.data)
}

// isLoadOption reports whether data is an EFI_LOAD_OPTION (UEFI, section 3.1.3): attributes, a
// description, and device paths that fill their length. Optional data may follow.
func isLoadOption(data []byte) bool {
	r := reader{data: data}
	r.u32()
	paths := int(r.u16())
	for unit := r.u16(); unit != 0 && !r.short; {
		unit = r.u16()
	}
	if r.short || paths > len(data)-r.at {
		return false
	}
	p := reader{data: r.take(paths)}
	ended := false
	for n := 0; p.at < paths; n++ {
		kind, sub, length := p.u8(), p.u8(), int(p.u16())
		p.take(length - 4)
		if n == maxNodes || length < 4 || p.short {
			return false
		}
		ended = kind == 0x7f && sub == 0xff
	}
	return ended
}
