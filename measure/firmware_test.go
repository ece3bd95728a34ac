package measure_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"slices"
	"testing"

	"strongroom.dev/measure"
)

// recorded reads the log of a boot of OVMF 2022.11 in QEMU, with a software TPM.
func recorded(t testing.TB, name string) ([]byte, *measure.Log) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	log, err := measure.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return data, log
}

// rewritten gives the log with other events.
func rewritten(t testing.TB, data []byte, log *measure.Log, change func([]measure.Event) []measure.Event) *measure.Log {
	t.Helper()
	le := binary.LittleEndian
	out := bytes.Clone(data[:log.Events[0].Offset])
	for _, e := range change(slices.Clone(log.Events)) {
		out = le.AppendUint32(le.AppendUint32(le.AppendUint32(out, e.Register), uint32(e.Type)), uint32(len(e.Digests)))
		for _, d := range e.Digests {
			out = append(le.AppendUint16(out, uint16(d.Bank)), d.Value...)
		}
		out = append(le.AppendUint32(out, uint32(len(e.Data))), e.Data...)
	}
	changed, err := measure.Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// event makes one whose digest is that of what was measured.
func event(register uint32, kind measure.Type, measured, data []byte) measure.Event {
	return measure.Event{Register: register, Type: kind, Data: data, Digests: []measure.Digest{{Bank: measure.SHA256, Value: measure.SHA256.Sum(measured)}}}
}

func area(base, size uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, base), size)
}

// bootVariable makes an event whose digest is that of a variable's contents.
func bootVariable(name string, contents []byte) measure.Event {
	out := []byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	out = append(out, area(uint64(len(name)), uint64(len(contents)))...)
	for _, c := range []byte(name) {
		out = append(out, c, 0)
	}
	return event(1, measure.EFIVariableBoot, contents, append(out, contents...))
}

// TestOVMF finds OVMF's volumes in recorded logs: whatever the memory's size, all but the early
// code's digest are the same.
func TestOVMF(t *testing.T) {
	const dxe = "82a0445201cb49945461acc6ed78426700fb7e92819862edc55ba3ad4559b135"
	early := map[string]bool{}
	for _, name := range []string{"ovmf-512mib.bin", "ovmf-1024mib.bin"} {
		_, log := recorded(t, name)
		f, ok := log.OVMF(measure.SHA256)
		if !ok || len(f.Volumes) != 2 || !bytes.Equal(f.Version, measure.SHA256.Sum([]byte{0, 0})) || f.Volumes[1].Base != 0x900000 || hex.EncodeToString(f.Volumes[1].Digest) != dxe || !log.BootVariablesOnly(measure.SHA256) {
			t.Errorf("%s: %v %+v", name, ok, f)
		}
		early[string(f.Volumes[0].Digest)] = true
	}
	if len(early) != 2 {
		t.Error("the same early code for two sizes: the logs are one")
	}
}

// TestNotOVMF leaves PCR 0 alone where anything in it is not what OVMF measures.
func TestNotOVMF(t *testing.T) {
	data, log := recorded(t, "ovmf-512mib.bin")
	const version, early, late, end = 0, 1, 2, 13 // events of PCR 0
	insert := func(at int, e measure.Event) func([]measure.Event) []measure.Event {
		return func(all []measure.Event) []measure.Event { return slices.Insert(all, at, e) }
	}
	with := func(at int, change func(*measure.Event)) func([]measure.Event) []measure.Event {
		return func(all []measure.Event) []measure.Event {
			change(&all[at])
			return all
		}
	}
	without := func(at int) func([]measure.Event) []measure.Event {
		return func(all []measure.Event) []measure.Event { return slices.Delete(all, at, at+1) }
	}
	blob := measure.EFIFirmwareBlob
	for name, change := range map[string]func([]measure.Event) []measure.Event{
		"no version":                      without(version),
		"version that its digest denies":  with(version, func(e *measure.Event) { e.Data = []byte{1, 0} }),
		"version under another type":      with(version, func(e *measure.Event) { e.Type = measure.PostCode }),
		"no early code":                   without(early),
		"early code elsewhere":            with(early, func(e *measure.Event) { e.Data = area(0x830000, measure.OVMFEarlySize) }),
		"early code of another size":      with(early, func(e *measure.Event) { e.Data = area(measure.OVMFEarlyBase, 0xf0000) }),
		"early code behind other code":    func(all []measure.Event) []measure.Event { all[early], all[late] = all[late], all[early]; return all },
		"early code twice":                insert(late, event(0, blob, []byte("x"), area(measure.OVMFEarlyBase, measure.OVMFEarlySize))),
		"early code alone":                without(late),
		"a volume twice":                  insert(late, event(0, blob, []byte("x"), area(0x900000, 0xc00000))),
		"a volume of nothing":             with(late, func(e *measure.Event) { e.Data = area(0x900000, 0) }),
		"a volume with more said":         with(late, func(e *measure.Event) { e.Data = append(bytes.Clone(e.Data), 0) }),
		"a volume cut short":              with(late, func(e *measure.Event) { e.Data = e.Data[:15] }),
		"a volume under another type":     with(late, func(e *measure.Event) { e.Type = measure.EFIFirmwareBlob2 }),
		"a separator that is called blob": insert(late, event(0, blob, make([]byte, 4), area(0x1000, 0x1000))),
		"more code":                       insert(end, event(0, measure.PostCode, []byte("x"), []byte("x"))),
		"more behind the separator":       insert(end+1, event(0, blob, []byte("x"), area(0xa00000, 0x1000))),
		"no separator":                    without(end),
		"separator of an error":           with(end, func(e *measure.Event) { *e = event(0, measure.Separator, []byte{1, 0, 0, 0}, []byte{1, 0, 0, 0}) }),
		"separator of ones": with(end, func(e *measure.Event) {
			ones := []byte{255, 255, 255, 255}
			*e = event(0, measure.Separator, ones, ones)
		}),
		"separator that its digest denies": with(end, func(e *measure.Event) { e.Digests = event(0, 0, []byte("x"), nil).Digests }),
		"another locality": insert(0, measure.Event{Register: 0, Type: measure.NoAction, Data: []byte("StartupLocality\x00\x03"),
			Digests: []measure.Digest{{Bank: measure.SHA256, Value: make([]byte, 32)}}}),
	} {
		if f, ok := rewritten(t, data, log, change).OVMF(measure.SHA256); ok {
			t.Errorf("%s: taken for OVMF: %+v", name, f)
		}
	}
	if _, ok := log.OVMF(measure.SHA384); ok {
		t.Error("by digests that the log lacks")
	}
	more := rewritten(t, data, log, insert(late+1, event(0, blob, []byte("x"), area(0x2000000, 0x1000))))
	if f, ok := more.OVMF(measure.SHA256); !ok || len(f.Volumes) != 3 {
		t.Error("one more volume under a name of its own is still OVMF")
	}
}

// TestNotBootVariables leaves PCR 1 alone where it holds anything but boot variables.
func TestNotBootVariables(t *testing.T) {
	data, log := recorded(t, "ovmf-512mib.bin")
	const order, option, end = 10, 11, 14 // events of PCR 1
	good := append([]byte{1, 0, 0, 0, 4, 0, 'x', 0, 0, 0}, 0x7f, 0xff, 4, 0)
	insert := func(e measure.Event) func([]measure.Event) []measure.Event {
		return func(all []measure.Event) []measure.Event { return slices.Insert(all, end, e) }
	}
	with := func(at int, change func(*measure.Event)) func([]measure.Event) []measure.Event {
		return func(all []measure.Event) []measure.Event {
			change(&all[at])
			return all
		}
	}
	if !rewritten(t, data, log, insert(bootVariable("Boot00FF", good))).BootVariablesOnly(measure.SHA256) {
		t.Fatal("one more thing to boot is no boot variable")
	}
	for name, change := range map[string]func([]measure.Event) []measure.Event{
		"tables of the machine":        insert(event(1, measure.EFIHandoffTables, []byte("x"), []byte("x"))),
		"another variable":             insert(bootVariable("Boots", good)),
		"a variable in lower case":     insert(bootVariable("Boot00ff", good)),
		"a variable of another number": insert(bootVariable("Boot00FF0", good)),
		"contents that are no option":  insert(bootVariable("Boot00FF", []byte("SMBIOS"))),
		"paths that never end":         insert(bootVariable("Boot00FF", append(bytes.Clone(good[:10]), 1, 1, 4, 0))),
		"paths cut short":              insert(bootVariable("Boot00FF", good[:12])),
		"a description without end":    insert(bootVariable("Boot00FF", good[:8])),
		"the same variable twice":      insert(bootVariable("Boot0000", good)),
		"an order of half numbers":     with(order, func(e *measure.Event) { *e = bootVariable("BootOrder", []byte{0, 0, 0}) }),
		"an order without end":         with(order, func(e *measure.Event) { *e = bootVariable("BootOrder", make([]byte, 1026)) }),
		"an order that separates":      with(order, func(e *measure.Event) { *e = bootVariable("BootOrder", make([]byte, 4)) }),
		"a digest of something else":   with(option, func(e *measure.Event) { e.Digests = event(1, 0, []byte("x"), nil).Digests }),
		"another namespace":            with(option, func(e *measure.Event) { e.Data = append([]byte{0}, e.Data[1:]...) }),
		"another type":                 with(option, func(e *measure.Event) { e.Type = measure.EventTag }),
		"no separator":                 func(all []measure.Event) []measure.Event { return slices.Delete(all, end, end+1) },
		"more behind the separator": func(all []measure.Event) []measure.Event {
			return slices.Insert(all, end+1, bootVariable("Boot00FF", good))
		},
		"a separator of an error": with(end, func(e *measure.Event) { *e = event(1, measure.Separator, []byte{1, 0, 0, 0}, []byte{1, 0, 0, 0}) }),
	} {
		if rewritten(t, data, log, change).BootVariablesOnly(measure.SHA256) {
			t.Errorf("%s: taken for boot variables alone", name)
		}
	}
}

// FuzzFirmware: whatever a log holds, what is said of it holds together.
func FuzzFirmware(f *testing.F) {
	for _, name := range []string{"ovmf-512mib.bin", "ovmf-1024mib.bin"} {
		data, _ := recorded(f, name)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		log, err := measure.Parse(data)
		if err != nil {
			return
		}
		for _, bank := range log.Banks {
			log.BootVariablesOnly(bank)
			if found, ok := log.OVMF(bank); ok && (len(found.Volumes) < 2 || found.Volumes[0].Base != measure.OVMFEarlyBase || len(found.Version) != bank.Size()) {
				t.Errorf("%+v", found)
			}
		}
	})
}
