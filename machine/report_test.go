package machine_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"strongroom.dev/dcap"
	"strongroom.dev/device"
	"strongroom.dev/machine"
	"strongroom.dev/sevsnp"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var (
	initData = wire.DigestOf([]byte("agreement"))
	short    = wire.HashOf([]byte("agreement"))
	data     = [64]byte{1, 2, 3}
)

// snpReport is a report with HOST_DATA and report data, unsigned.
func snpReport(host wire.Hash, report [64]byte) string {
	b := make([]byte, sevsnp.ReportSize)
	binary.LittleEndian.PutUint32(b, 2)
	copy(b[0x50:], report[:])
	copy(b[0xc0:], host[:])
	return string(b)
}

// tdQuote is a quote with MRCONFIGID and report data, unsigned.
func tdQuote(version uint16, config wire.Digest, report [64]byte) string {
	b := make([]byte, 48+584+64)
	binary.LittleEndian.PutUint16(b, version)
	body := b[48:]
	if version == 5 {
		body = b[54:]
	}
	copy(body[184:], config[:])
	copy(body[520:], report[:])
	return string(b)
}

// made is a tree of files as the kernel's for one report.
func made(t *testing.T, out, aux string) string {
	return tree(t, map[string]string{entry + "inblob": "", entry + "generation": "1\n", entry + "outblob": out, entry + "auxblob": aux})
}

func processor(t *testing.T, root string, found machine.Found) device.Device {
	t.Helper()
	d, err := machine.NewProcessor(root, found)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestProcessor(t *testing.T) {
	ctx, zero := t.Context(), [64]byte{}
	for name, test := range map[string]struct {
		platform       wire.ID
		begins, attest string // outblobs
		want           string
	}{
		"SNP":     {machine.SNP, snpReport(short, zero), snpReport(short, data), snpReport(short, data) + "aux"},
		"TDX":     {machine.TDX, tdQuote(4, initData, zero), tdQuote(4, initData, data), tdQuote(4, initData, data)},
		"TDX 1.5": {machine.TDX, tdQuote(5, initData, zero), tdQuote(5, initData, data), tdQuote(5, initData, data)},
	} {
		found := machine.Found{Platform: test.platform, Why: "why"}
		intro, err := processor(t, made(t, test.begins, "aux"), found).Begin(ctx, initData, short)
		if err != nil || intro.Platform != test.platform || intro.Why != "why" || intro.Key != nil {
			t.Errorf("%s: %+v, %v", name, intro, err)
		}
		d := processor(t, made(t, test.attest, "aux"), found)
		e, err := d.Attest(ctx, data, nil)
		if err != nil || e.Platform != test.platform || string(e.Evidence) != test.want {
			t.Errorf("%s: %d bytes, %v", name, len(e.Evidence), err)
		}
		if _, err := d.Attest(ctx, data, []byte("record")); verdict.As(err).Check != "device.key" {
			t.Errorf("%s: with a record: %v", name, err)
		}
		if _, err := d.Activate(ctx, nil, nil); verdict.As(err).Check != "device.key" {
			t.Errorf("%s: activated: %v", name, err)
		}
		if err := d.Separate(ctx, initData); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProcessorRefuses(t *testing.T) {
	other := [64]byte{9}
	for name, test := range map[string]struct {
		platform wire.ID
		out      string
		check    string
	}{
		"another agreement, SNP":       {machine.SNP, snpReport(wire.HashOf([]byte("another")), [64]byte{}), "machine.init_data"},
		"no agreement, SNP":            {machine.SNP, snpReport(wire.Hash{}, [64]byte{}), "machine.init_data"},
		"another agreement, TDX":       {machine.TDX, tdQuote(4, wire.DigestOf([]byte("another")), [64]byte{}), "machine.init_data"},
		"another agreement, TDX 1.5":   {machine.TDX, tdQuote(5, wire.DigestOf([]byte("another")), [64]byte{}), "machine.init_data"},
		"another's report, SNP":        {machine.SNP, snpReport(short, other), "internal"},
		"another's report, TDX":        {machine.TDX, tdQuote(4, initData, other), "internal"},
		"an empty report":              {machine.SNP, "", "internal"},
		"a report that is cut":         {machine.SNP, snpReport(short, [64]byte{})[:0x8f], "internal"},
		"init data that is cut":        {machine.SNP, snpReport(short, [64]byte{})[:0xc8], "internal"},
		"an empty quote":               {machine.TDX, "", "internal"},
		"a quote that is cut":          {machine.TDX, tdQuote(4, initData, [64]byte{})[:60], "internal"},
		"a quote of an unknown format": {machine.TDX, tdQuote(6, initData, [64]byte{}), "internal"},
		"too much":                     {machine.SNP, snpReport(short, [64]byte{}) + string(bytes.Repeat([]byte{0}, 256<<10)), "internal"},
	} {
		_, err := processor(t, made(t, test.out, ""), machine.Found{Platform: test.platform}).Begin(t.Context(), initData, short)
		if err == nil || verdict.As(err).Check != test.check {
			t.Errorf("%s: %v", name, err)
		}
	}
	missing := tree(t, map[string]string{entry + "inblob": "", entry + "outblob": snpReport(short, data)})
	if _, err := processor(t, missing, machine.Found{Platform: machine.SNP}).Attest(t.Context(), data, nil); err == nil {
		t.Error("evidence without a generation to compare")
	}
	if _, err := processor(t, t.TempDir(), machine.Found{Platform: machine.SNP}).Attest(t.Context(), data, nil); err == nil {
		t.Error("evidence without configfs-tsm")
	}
}

// TestProcessorLog: on TDX the firmware's log goes with the quote, in a form that verifiers
// take apart.
func TestProcessorLog(t *testing.T) {
	quote := tdQuote(4, initData, data)
	quote = quote[:4] + "\x81\x00\x00\x00" + quote[8:12] + "\x93\x9a\x72\x33\xf7\x9c\x4c\xa9\x94\x0a\x0d\xb3\x95\x7f\x06\x07" + quote[28:]
	root := tree(t, map[string]string{entry + "inblob": "", entry + "generation": "1\n", entry + "outblob": quote, "sys/firmware/acpi/tables/data/CCEL": "a log"})
	e, err := processor(t, root, machine.Found{Platform: machine.TDX}).Attest(t.Context(), data, nil)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := dcap.Open(e.Evidence)
	if err != nil || string(opened.Quote) != quote || string(opened.EventLog) != "a log" {
		t.Errorf("%d bytes of quote, log %q, %v", len(opened.Quote), opened.EventLog, err)
	}
	long := tree(t, map[string]string{"sys/firmware/acpi/tables/data/CCEL": string(make([]byte, 513<<10))})
	if _, err := machine.NewProcessor(long, machine.Found{Platform: machine.TDX}); err == nil {
		t.Error("a log of 513 KiB")
	}
}
