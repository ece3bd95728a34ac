package predict

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"strongroom.dev/verdict"
)

// span is a part of memory from start to before end.
type span struct {
	start, end uint64
	accepted   bool // already the guest's
}

// handOffBlock makes the list of memory that QEMU hands to firmware (Intel TDX Virtual Firmware
// Design Guide, section 4: TD hand-off block; UEFI Platform Initialization 1.8, volume 3, chapter 5:
// HOBs; QEMU, hw/i386/tdvf-hob.c): a first block, one for each part of memory, an end.
func handOffBlock(sections []tdxSection, memory uint64) ([]byte, error) {
	if memory%(1<<20) != 0 || memory < 64<<20 || memory > 1<<46 {
		return nil, verdict.Misuse("measure.memory", "64 MiB to 64 TiB, in whole MiB", fmt.Sprintf("%d bytes", memory), "give the machine's -m")
	}
	low := lowMemory(memory)
	taken, base, err := takenAtLaunch(sections, low)
	if err != nil {
		return nil, err
	}
	var parts []span
	at := uint64(0)
	for _, s := range taken {
		if s.start > at {
			parts = append(parts, span{at, s.start, false})
		}
		parts = append(parts, s)
		at = s.end
	}
	if at < low {
		parts = append(parts, span{at, low, false})
	}
	if memory > low {
		parts = append(parts, span{fourGiB, fourGiB + memory - low, false})
	}
	return blocks(parts, base), nil
}

// takenAtLaunch gives the parts that are the guest's from the start, in order, and where the
// list itself lies.
func takenAtLaunch(sections []tdxSection, low uint64) ([]span, uint64, error) {
	var taken []span
	lists, base := 0, uint64(0)
	for _, s := range sections {
		if s.kind == tdxHandOff {
			lists, base = lists+1, s.address
		}
		if s.kind == tdxHandOff || s.kind == tdxTemporary {
			taken = append(taken, span{s.address, s.address + s.size, true})
		}
	}
	if lists != 1 {
		return nil, 0, badFirmware("TDX metadata with one hand-off block", fmt.Sprint(lists))
	}
	slices.SortFunc(taken, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	at := uint64(0)
	for _, s := range taken {
		if s.start < at || s.end > low {
			return nil, 0, badFirmware("TDX metadata with sections apart from each other in low memory", fmt.Sprintf("one from 0x%x to 0x%x", s.start, s.end))
		}
		at = s.end
	}
	return taken, base, nil
}

func blocks(parts []span, base uint64) []byte {
	const first, resource, end = 56, 48, 8
	out := make([]byte, first, first+len(parts)*resource)
	binary.LittleEndian.PutUint16(out, 1) // hand-off information
	binary.LittleEndian.PutUint16(out[2:], first)
	binary.LittleEndian.PutUint32(out[8:], 9) // version
	binary.LittleEndian.PutUint64(out[48:], base+first+uint64(len(parts))*resource+end)
	for _, p := range parts {
		var b [resource]byte
		binary.LittleEndian.PutUint16(b[0:], 3) // resource descriptor
		binary.LittleEndian.PutUint16(b[2:], resource)
		if !p.accepted {
			b[24] = 7 // EFI_RESOURCE_MEMORY_UNACCEPTED
		}
		binary.LittleEndian.PutUint32(b[28:], 7) // present, initialized, tested
		binary.LittleEndian.PutUint64(b[32:], p.start)
		binary.LittleEndian.PutUint64(b[40:], p.end-p.start)
		out = append(out, b[:]...)
	}
	return out // the end block isn't measured
}
