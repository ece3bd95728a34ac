package measure_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"strongroom.dev/measure"
)

var le = binary.LittleEndian

// legacy makes an event of the SHA-1-only form.
func legacy(reg uint32, t measure.Type, digest, data []byte) []byte {
	out := le.AppendUint32(le.AppendUint32(nil, reg), uint32(t))
	out = append(out, digest...)
	return append(le.AppendUint32(out, uint32(len(data))), data...)
}

// bank is an algorithm in a header, and the size it claims.
type bank struct {
	alg  measure.Algorithm
	size uint16
}

func header(banks ...bank) []byte {
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2)
	spec = le.AppendUint32(spec, uint32(len(banks)))
	for _, b := range banks {
		spec = le.AppendUint16(le.AppendUint16(spec, uint16(b.alg)), b.size)
	}
	return legacy(0, measure.NoAction, make([]byte, 20), append(spec, 0))
}

func agile(reg uint32, t measure.Type, digests []measure.Digest, data []byte) []byte {
	out := le.AppendUint32(le.AppendUint32(nil, reg), uint32(t))
	out = le.AppendUint32(out, uint32(len(digests)))
	for _, d := range digests {
		out = append(le.AppendUint16(out, uint16(d.Bank)), d.Value...)
	}
	return append(le.AppendUint32(out, uint32(len(data))), data...)
}

// of makes the digests that an event over data has.
func of(data []byte, banks ...measure.Algorithm) (all []measure.Digest) {
	for _, b := range banks {
		all = append(all, measure.Digest{Bank: b, Value: b.Sum(data)})
	}
	return all
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

var (
	sha256Only = bank{measure.SHA256, 32}
	separator  = agile(7, measure.Separator, of(make([]byte, 4), measure.SHA256), make([]byte, 4))
)

func locality(l byte) []byte {
	return agile(0, measure.NoAction, []measure.Digest{{Bank: measure.SHA256, Value: make([]byte, 32)}}, append([]byte("StartupLocality\x00"), l))
}

func TestLegacyForm(t *testing.T) {
	text := []byte("Calling EFI Application from Boot Option")
	data := join(
		legacy(0, measure.SCRTMVersion, measure.SHA1.Sum([]byte{0, 0}), []byte{0, 0}),
		legacy(4, measure.EFIAction, measure.SHA1.Sum(text), text),
	)
	for name, log := range map[string][]byte{
		"without header": data,
		"with header":    join(legacy(0, measure.NoAction, make([]byte, 20), []byte("Spec ID Event02\x00\x00\x00\x00\x00\x02\x01\x00\x02\x00")), data),
		"padded":         join(data, make([]byte, 100)),
		"padded by ones": join(data, bytes.Repeat([]byte{0xff}, 100)),
	} {
		l, err := measure.Parse(log)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		regs, err := l.Replay(measure.PCRs, measure.SHA1)
		want := measure.SHA1.Sum(make([]byte, 20), measure.SHA1.Sum(text))
		if err != nil || l.Agile || len(l.Events) != 2 || !bytes.Equal(regs[4], want) || !measure.Detect(log) {
			t.Errorf("%s: %v, %d events, PCR 4 %x", name, err, len(l.Events), regs[4])
		}
		if _, err := l.Replay(measure.PCRs, measure.SHA256); err == nil {
			t.Errorf("%s: replayed in a bank it doesn't have", name)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	head, d := header(sha256Only), of([]byte("x"), measure.SHA256)
	many := head
	for range measure.MaxEvents + 1 {
		many = append(many, separator...)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":                  {nil, "empty"},
		"zeros":                    {make([]byte, 100), "no events"},
		"header only":              {head, "no events"},
		"too long":                 {make([]byte, measure.MaxLog+1), "at most"},
		"too many events":          {many, "more than"},
		"cut in an event":          {join(head, separator)[:len(head)+20], "cut short"},
		"cut in the header":        {head[:40], "cut short"},
		"data longer than log":     {join(head, separator[:len(separator)-5], []byte{0xff}, make([]byte, 4)), "cut short"},
		"junk behind":              {join(head, separator, []byte{1}), "cut short"},
		"zeros, then something":    {join(head, separator, make([]byte, 64), []byte{1}), "digests"},
		"ACPI table":               {[]byte("CCEL" + strings.Repeat("\x00", 52)), "ACPI"},
		"no banks":                 {join(header(), separator), "0 banks"},
		"too many banks":           {join(header(make([]bank, 17)...), separator), "17 banks"},
		"bank twice":               {join(header(sha256Only, sha256Only), separator), "twice"},
		"wrong digest size":        {join(header(bank{measure.SHA256, 20}), separator), "digests of 20"},
		"unknown bank too large":   {join(header(sha256Only, bank{0x12, 65}), separator), "digests of 65"},
		"header with a digest":     {join(legacy(0, measure.NoAction, bytes.Repeat([]byte{1}, 20), []byte("Spec ID Event03\x00")), separator), "header"},
		"header in register 2":     {join(legacy(2, measure.NoAction, make([]byte, 20), []byte("Spec ID Event03\x00")), separator), "header"},
		"header cut":               {join(legacy(0, measure.NoAction, make([]byte, 20), []byte("Spec ID Event03\x00\x00")), separator), "banks"},
		"header of 15 bytes":       {join(legacy(0, measure.NoAction, make([]byte, 20), []byte("Spec ID Event03")), separator), "cut short"},
		"digest missing":           {join(head, agile(0, measure.Separator, nil, nil)), "0 digests"},
		"digest of another bank":   {join(head, agile(0, measure.Separator, of(nil, measure.SHA1), nil)), "doesn't name"},
		"two digests in one bank":  {join(header(sha256Only, bank{measure.SHA1, 20}), agile(0, measure.Separator, append(d, d...), nil)), "two sha256"},
		"locality 2":               {join(head, locality(2), separator), "locality"},
		"locality twice":           {join(head, locality(3), locality(3), separator), "locality"},
		"locality after extending": {join(head, agile(0, measure.Separator, d, nil), locality(3)), "locality"},
	} {
		if _, err := measure.Parse(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
		if measure.Detect(c.data) {
			t.Errorf("%s: detected", name)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	head, d := header(sha256Only), of([]byte("x"), measure.SHA256)
	for name, c := range map[string]struct {
		log  []byte
		kind measure.Kind
		bank measure.Algorithm
	}{
		"no kind":             {join(head, separator), 0, measure.SHA256},
		"bank it hasn't":      {join(head, separator), measure.PCRs, measure.SHA384},
		"unknown bank":        {join(header(bank{0x12, 32}), agile(7, 4, []measure.Digest{{Bank: 0x12, Value: make([]byte, 32)}}, nil)), measure.PCRs, 0x12},
		"PCR 24":              {join(head, agile(24, measure.Separator, d, nil)), measure.PCRs, measure.SHA256},
		"register 0 of CCEL":  {join(head, agile(0, measure.Separator, d, nil)), measure.RTMRs, measure.SHA256},
		"register 5 of CCEL":  {join(head, agile(5, measure.Separator, d, nil)), measure.RTMRs, measure.SHA256},
		"register 2^32 - 1":   {join(head, agile(1<<32-1, measure.Separator, d, nil)), measure.PCRs, measure.SHA256},
		"nothing is extended": {join(head, locality(3)), measure.PCRs, measure.SHA256},
	} {
		l, err := measure.Parse(c.log)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if regs, err := l.Replay(c.kind, c.bank); err == nil {
			t.Errorf("%s: replayed to %v", name, regs)
		}
	}
}

func TestLocalityStartsPCR0(t *testing.T) {
	d := of([]byte("x"), measure.SHA256)
	l, err := measure.Parse(join(header(sha256Only), locality(3), agile(0, measure.Separator, d, nil), separator))
	if err != nil {
		t.Fatal(err)
	}
	regs, err := l.Replay(measure.PCRs, measure.SHA256)
	start := make([]byte, 32)
	start[31] = 3
	if err != nil || l.StartupLocality() != 3 || !bytes.Equal(regs[0], measure.SHA256.Sum(start, d[0].Value)) {
		t.Errorf("PCR 0 %x, locality %d, %v", regs[0], l.StartupLocality(), err)
	}
	if !bytes.Equal(regs[7], measure.SHA256.Sum(make([]byte, 32), measure.SHA256.Sum(make([]byte, 4)))) {
		t.Errorf("PCR 7 %x", regs[7])
	}
}

// TestNoActionProvesNothing: what extends nothing must neither change a register nor be
// believed.
func TestNoActionProvesNothing(t *testing.T) {
	lie := agile(7, measure.NoAction, of([]byte("lie"), measure.SHA256), []byte("lie"))
	l, err := measure.Parse(join(header(sha256Only), separator, lie))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := measure.Parse(join(header(sha256Only), separator))
	got, _ := l.Replay(measure.PCRs, measure.SHA256)
	want, _ := m.Replay(measure.PCRs, measure.SHA256)
	if !bytes.Equal(got[7], want[7]) || l.Events[1].Cover(measure.SHA256) != measure.None {
		t.Errorf("PCR 7 %x, expected %x; cover %s", got[7], want[7], l.Events[1].Cover(measure.SHA256))
	}
}

func variable(name string, value []byte) []byte {
	out := []byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	out = le.AppendUint64(le.AppendUint64(out, uint64(len(name))), uint64(len(value)))
	for _, c := range []byte(name) {
		out = append(out, c, 0)
	}
	return append(out, value...)
}

func TestSecureBoot(t *testing.T) {
	event := func(v []byte) []byte {
		return agile(7, measure.EFIVariableDriverConfig, of(v, measure.SHA256), v)
	}
	on, off := event(variable("SecureBoot", []byte{1})), event(variable("SecureBoot", []byte{0}))
	forged := agile(7, measure.EFIVariableDriverConfig, of(variable("SecureBoot", []byte{0}), measure.SHA256), variable("SecureBoot", []byte{1}))
	elsewhere := bytes.Clone(on)
	elsewhere[0] = 8
	for name, c := range map[string]struct {
		events []byte
		want   measure.SecureBoot
	}{
		"on":                       {join(on, separator), measure.SecureBootOn},
		"off":                      {join(off, separator), measure.SecureBootOff},
		"on, separator twice":      {join(on, separator, separator), measure.SecureBootOn},
		"no separator":             {on, measure.SecureBootUnknown},
		"said behind a separator":  {join(separator, on, separator), measure.SecureBootUnknown},
		"said twice":               {join(off, on, separator), measure.SecureBootUnknown},
		"said again behind":        {join(off, separator, on), measure.SecureBootUnknown},
		"digest of something else": {join(forged, separator), measure.SecureBootUnknown},
		"in another register":      {join(elsewhere, separator), measure.SecureBootUnknown},
		"other variable":           {join(event(variable("SecureBoo", []byte{1})), separator), measure.SecureBootUnknown},
	} {
		l, err := measure.Parse(join(header(sha256Only), c.events))
		if err != nil {
			t.Fatal(err)
		}
		if got := l.SecureBoot(measure.PCRs, measure.SHA256); got != c.want {
			t.Errorf("%s: %s, expected %s", name, got, c.want)
		}
	}
}

func TestCoverAndText(t *testing.T) {
	cmd := []byte("grub_cmd: linux /vmlinuz\x00")
	tag := append([]byte{0xed, 0x22, 0x3b, 0x8f, 4, 0, 0, 0}, "a\x00b\x00"...)
	for name, c := range map[string]struct {
		t       measure.Type
		hashed  []byte
		data    []byte
		cover   measure.Cover
		excerpt string
	}{
		"separator":           {measure.Separator, make([]byte, 4), make([]byte, 4), measure.Whole, "end of the firmware's own"},
		"error separator":     {measure.Separator, []byte{1, 0, 0, 0}, []byte("disk"), measure.Part, "reports an error"},
		"forged separator":    {measure.Separator, []byte{2, 0, 0, 0}, make([]byte, 4), measure.Mismatch, ""},
		"action":              {measure.EFIAction, []byte("Exit"), []byte("Exit"), measure.Whole, `"Exit"`},
		"forged action":       {measure.EFIAction, []byte("Exit"), []byte("Entry"), measure.Mismatch, `"Entry"`},
		"version":             {measure.SCRTMVersion, []byte("v\x001\x00"), []byte("v\x001\x00"), measure.Whole, `"v1"`},
		"GRUB command":        {measure.IPL, []byte("linux /vmlinuz"), cmd, measure.Part, "linux /vmlinuz"},
		"other prefix":        {measure.IPL, []byte("linux /vmlinuz"), []byte("evil: linux /vmlinuz\x00"), measure.Hint, "evil"},
		"file":                {measure.IPL, []byte("contents"), []byte("/boot/vmlinuz\x00"), measure.Hint, "/boot/vmlinuz"},
		"boot variable":       {measure.EFIVariableBoot, []byte{1, 0}, variable("BootOrder", []byte{1, 0}), measure.Part, `"BootOrder": 0100`},
		"driver variable":     {measure.EFIVariableDriverConfig, []byte{1}, variable("SecureBoot", []byte{1}), measure.Mismatch, "Secure Boot is on"},
		"firmware":            {measure.EFIFirmwareBlob, []byte("image"), le.AppendUint64(le.AppendUint64(nil, 0x820000), 0xe0000), measure.Hint, "917504 bytes at 0x820000"},
		"command line by tag": {measure.EventTag, []byte("a\x00b\x00"), tag, measure.Part, `command line, loaded by the kernel's EFI stub: "ab"`},
		"unknown type":        {0x77, []byte("x"), []byte{0, 1, 2}, measure.Hint, "000102"},
		"no data":             {measure.PostCode, []byte("x"), nil, measure.Hint, "nothing"},
		"control characters":  {measure.Action, []byte("x"), []byte("a\x1b[2Jb"), measure.Mismatch, "611b5b324a62"},
	} {
		e := measure.Event{Type: c.t, Digests: of(c.hashed, measure.SHA256), Data: c.data}
		if got := e.Cover(measure.SHA256); got != c.cover || got.Proven() != (got == measure.Whole) {
			t.Errorf("%s: cover %s, expected %s", name, got, c.cover)
		}
		if got := e.Text(); !strings.Contains(got, c.excerpt) || strings.ContainsAny(got, "\x00\x1b\n") {
			t.Errorf("%s: text %q, expected %q in it", name, got, c.excerpt)
		}
		if e.Cover(measure.SHA384) != measure.None {
			t.Errorf("%s: covered in a bank without a digest", name)
		}
	}
}

func TestUntouched(t *testing.T) {
	ones, zeros := bytes.Repeat([]byte{0xff}, 32), make([]byte, 32)
	for _, c := range []struct {
		kind  measure.Kind
		reg   uint32
		value []byte
		want  bool
	}{
		{measure.PCRs, 0, zeros, true}, {measure.PCRs, 0, ones, false}, {measure.PCRs, 17, ones, true}, {measure.PCRs, 22, zeros, false},
		{measure.PCRs, 23, zeros, true}, {measure.RTMRs, 3, zeros, true}, {measure.RTMRs, 3, ones, false},
	} {
		if got := measure.Untouched(c.kind, c.reg, c.value); got != c.want {
			t.Errorf("register %d with %x…: %v", c.reg, c.value[:2], got)
		}
	}
}

// TestLargestLogIsQuick bounds the time for the worst logs that the limits admit.
func TestLargestLogIsQuick(t *testing.T) {
	one := join(header(sha256Only), agile(8, measure.IPL, of([]byte("x"), measure.SHA256), append([]byte("grub_cmd: "), make([]byte, measure.MaxLog-200)...)))
	many := header(sha256Only)
	for range measure.MaxEvents {
		many = append(many, agile(0, 0, []measure.Digest{{Bank: measure.SHA256, Value: make([]byte, 32)}}, make([]byte, 60))...)
	}
	for name, data := range map[string][]byte{"one event": one, "many events": many} {
		began := time.Now()
		l, err := measure.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		l.Explain(measure.PCRs, measure.SHA256)
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("%s: %s", name, d)
		} else {
			t.Logf("%s: %s", name, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(join(header(sha256Only, bank{measure.SHA1, 20}), agile(0, measure.SCRTMVersion, of([]byte{0, 0}, measure.SHA256, measure.SHA1), []byte{0, 0})))
	f.Add(join(header(sha256Only), locality(3), separator, make([]byte, 8)))
	f.Add(legacy(4, measure.EFIAction, make([]byte, 20), []byte("x")))
	for _, t := range []measure.Type{measure.EFIVariableBoot, measure.EFIBootServicesApp, measure.EFIGPTEvent, measure.EventTag, measure.EFIFirmwareBlob2, measure.EFIHandoffTables2} {
		f.Add(join(header(sha256Only), agile(1, t, of(nil, measure.SHA256), variable("Boot0000", make([]byte, 40)))))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := measure.Parse(data)
		if err != nil {
			if measure.Detect(data) {
				t.Error("detected, but doesn't parse")
			}
			return
		}
		if l.Size > len(data) || len(l.Events) == 0 {
			t.Errorf("%d events in %d of %d bytes", len(l.Events), l.Size, len(data))
		}
		for _, kind := range []measure.Kind{measure.PCRs, measure.RTMRs} {
			for _, b := range l.Banks {
				l.Replay(kind, b)
				l.SecureBoot(kind, b)
				l.Explain(kind, b)
			}
		}
	})
}
