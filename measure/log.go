package measure

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Log is a parsed event log. Its slices point into the bytes it was parsed from.
type Log struct {
	// Agile is set for the crypto-agile form, with digests for several banks.
	Agile bool
	// Banks are the algorithms of the digests, in the log's order.
	Banks []Algorithm
	// Events are all events behind the header, in order.
	Events []Event
	// Spec is what the header says; zero in logs without one.
	Spec Spec
	// Size is the bytes of the log proper, without padding behind it.
	Size int

	sizes    []int // of the digests of Banks
	locality byte
}

// Spec is the header of a log (PFP, section 10.4.5.1: TCG_EfiSpecIDEventStruct).
type Spec struct {
	PlatformClass         uint32
	Major, Minor, Errata  uint8
	UintnSize, VendorInfo int // bytes of a UINTN; bytes of vendor information
}

// Event is one measurement.
type Event struct {
	// Register is the register's number as the log has it: of a PCR, or of a CC measurement
	// register, which is one more than that of the RTMR.
	Register uint32
	Type     Type
	Digests  []Digest
	Data     []byte
	// Offset is where the event begins in the log.
	Offset int
}

// Digest is a digest in one bank.
type Digest struct {
	Bank  Algorithm
	Value []byte
}

// Digest gives the event's digest in a bank; nil if it has none.
func (e Event) Digest(bank Algorithm) []byte {
	for _, d := range e.Digests {
		if d.Bank == bank {
			return d.Value
		}
	}
	return nil
}

// Extends reports whether the event extended its register. EV_NO_ACTION events did not,
// whatever their digests say.
func (e Event) Extends() bool { return e.Type != NoAction }

// Has reports whether the log has digests for a bank.
func (l *Log) Has(bank Algorithm) bool {
	return slices.Contains(l.Banks, bank)
}

// Detect reports whether data is an event log. It parses it, which is cheap; a log of the
// SHA-1-only form has nothing else to be known by than that all of it makes sense.
func Detect(data []byte) bool {
	l, err := Parse(data)
	if err != nil {
		return false
	}
	for _, e := range l.Events {
		if !l.Agile && (!e.Type.known() || e.Register >= NumPCRs) {
			return false
		}
	}
	return true
}

// acpi recognises the ACPI table that says where a CCEL is, which is often kept beside it.
func acpi(data []byte) bool {
	return bytes.HasPrefix(data, []byte("CCEL")) || bytes.HasPrefix(data, []byte("TPM2"))
}

// Parse reads a log. What stands behind the last event must be all zeros or all ones, as in
// the memory areas that logs are copied from.
func Parse(data []byte) (*Log, error) {
	switch {
	case len(data) == 0:
		return nil, fmt.Errorf("event log is empty")
	case len(data) > MaxLog:
		return nil, fmt.Errorf("event log of %d bytes, at most %d", len(data), MaxLog)
	case acpi(data):
		return nil, fmt.Errorf("this is the ACPI table that says where the event log is, not the log")
	}
	l := &Log{}
	r := &reader{data: data}
	if err := l.first(r); err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	for !r.padding() {
		if len(l.Events) == MaxEvents {
			return nil, fmt.Errorf("event log of more than %d events", MaxEvents)
		}
		e, err := l.event(r)
		if err != nil {
			return nil, fmt.Errorf("event log: event %d at offset %d: %w", len(l.Events)+1, e.Offset, err)
		}
		l.Events = append(l.Events, e)
	}
	l.Size = r.at
	if len(l.Events) == 0 {
		return nil, fmt.Errorf("event log has no events")
	}
	return l, l.findLocality()
}

// first reads the header, if there is one; r then stands at the first event.
func (l *Log) first(r *reader) error {
	l.Banks, l.sizes = []Algorithm{SHA1}, []int{SHA1.Size()}
	e, err := l.event(r)
	if err != nil {
		return err
	}
	if e.Type != NoAction || !bytes.HasPrefix(e.Data, []byte("Spec ID Event0")) {
		r.at = 0
		return nil
	}
	if len(e.Data) < 16 {
		return fmt.Errorf("header is cut short")
	}
	if e.Register > 1 || !zero(e.Digests[0].Value) { // OVMF puts that of a CCEL in register 1
		return fmt.Errorf("header in register %d or with a digest", e.Register)
	}
	if !bytes.HasPrefix(e.Data, []byte("Spec ID Event03\x00")) {
		return l.spec(&reader{data: e.Data[16:]}, false) // events 00 and 02 head SHA-1-only logs
	}
	return l.spec(&reader{data: e.Data[16:]}, true)
}

func (l *Log) spec(r *reader, agile bool) error {
	l.Spec.PlatformClass = r.u32()
	l.Spec.Minor, l.Spec.Major, l.Spec.Errata = r.u8(), r.u8(), r.u8()
	l.Spec.UintnSize = 4 * int(r.u8())
	if agile {
		l.Agile = true
		if err := l.banks(r); err != nil {
			return err
		}
	}
	l.Spec.VendorInfo = int(r.u8())
	r.take(l.Spec.VendorInfo)
	if r.short {
		return fmt.Errorf("header is cut short")
	}
	if agile && r.at != len(r.data) {
		return fmt.Errorf("%d bytes behind the header", len(r.data)-r.at)
	}
	return nil
}

// banks reads the algorithms and the sizes of their digests. Algorithms that this package
// can't compute (SM3, SHA-3) are read over.
func (l *Log) banks(r *reader) error {
	n := r.u32()
	if n == 0 || n > MaxBanks {
		return fmt.Errorf("%d banks, expected 1 to %d", n, MaxBanks)
	}
	l.Banks, l.sizes = nil, nil
	for range n {
		bank, size := Algorithm(r.u16()), int(r.u16())
		switch {
		case r.short:
			return fmt.Errorf("header is cut short")
		case l.Has(bank):
			return fmt.Errorf("%s bank twice", bank)
		case size == 0 || size > maxDigest || bank.Size() != 0 && size != bank.Size():
			return fmt.Errorf("%s digests of %d bytes", bank, size)
		}
		l.Banks, l.sizes = append(l.Banks, bank), append(l.sizes, size)
	}
	return nil
}

// event reads one event: TCG_PCR_EVENT in the SHA-1-only form (PFP, section 10.2.1),
// TCG_PCR_EVENT2 in the crypto-agile form (10.2.2).
func (l *Log) event(r *reader) (Event, error) {
	e := Event{Offset: r.at}
	e.Register, e.Type = r.u32(), Type(r.u32())
	if !l.Agile {
		e.Digests = []Digest{{SHA1, r.take(SHA1.Size())}}
	} else if err := l.digests(r, &e); err != nil {
		return e, err
	}
	size := r.u32()
	if r.short || uint64(size) > uint64(len(r.data)-r.at) {
		return e, fmt.Errorf("cut short")
	}
	e.Data = r.take(int(size))
	return e, nil
}

// digests reads a TPML_DIGEST_VALUES: exactly one digest for every bank of the header.
func (l *Log) digests(r *reader, e *Event) error {
	if n := r.u32(); !r.short && n != uint32(len(l.Banks)) {
		return fmt.Errorf("%d digests, expected one for each of %d banks", n, len(l.Banks))
	}
	e.Digests = make([]Digest, 0, len(l.Banks))
	for range l.Banks {
		bank := Algorithm(r.u16())
		i := slices.Index(l.Banks, bank)
		switch {
		case r.short:
			return fmt.Errorf("cut short")
		case i < 0:
			return fmt.Errorf("a digest of %s, which the header doesn't name", bank)
		case e.Digest(bank) != nil:
			return fmt.Errorf("two %s digests", bank)
		}
		value := r.take(l.sizes[i])
		if r.short {
			return fmt.Errorf("cut short")
		}
		e.Digests = append(e.Digests, Digest{bank, value})
	}
	return nil
}

// findLocality looks for the event that says in which locality the TPM was started (PFP,
// section 10.4.5.3). It must come before anything extends PCR 0.
func (l *Log) findLocality() error {
	extended, seen := false, false
	for i, e := range l.Events {
		if e.Extends() {
			extended = extended || e.Register == 0
			continue
		}
		rest, ok := bytes.CutPrefix(e.Data, []byte("StartupLocality\x00"))
		if !ok {
			continue
		}
		if seen || extended || e.Register != 0 || len(rest) != 1 || (rest[0] != 0 && rest[0] != 3 && rest[0] != 4) {
			return fmt.Errorf("event log: event %d: startup locality that is late, repeated or impossible", i+1)
		}
		seen, l.locality = true, rest[0]
	}
	return nil
}

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// reader reads little-endian fields; short is set once something is missing.
type reader struct {
	data  []byte
	at    int
	short bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.data)-r.at {
		r.short, r.at = true, len(r.data)
		return nil
	}
	r.at += n
	return r.data[r.at-n : r.at : r.at]
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// rest gives what is left.
func (r *reader) rest() []byte { return r.take(len(r.data) - r.at) }

// padding reports whether nothing but zeros or nothing but ones is left.
func (r *reader) padding() bool {
	rest := r.data[r.at:]
	if len(rest) == 0 {
		return true
	}
	if rest[0] != 0 && rest[0] != 0xff {
		return false
	}
	for _, b := range rest {
		if b != rest[0] {
			return false
		}
	}
	return true
}
