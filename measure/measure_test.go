package measure_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"testing"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
)

const (
	eventlog = "tpm/google+go-eventlog/testdata/eventlogs/"
	tpmtools = "tpm/google+go-tpm-tools/internal/test/eventlogs/"
	trustee  = "tdx/confidential-containers+trustee/deps/verifier/test_data/"
	tdxguest = "tdx/google+go-tdx-guest/testing/testdata/ccel/"
)

// rtmr gives the RTMRs of a TDX quote of version 4: 48 bytes each, at 328 of the body.
func rtmr(quote []byte, i int) []byte { return quote[48+328+48*i:][:48] }

// TestVectors prints what every log is and says, and checks what it must be.
func TestVectors(t *testing.T) {
	for _, c := range []struct {
		path   string
		kind   measure.Kind
		banks  int
		events int
		secure measure.SecureBoot
	}{
		{eventlog + "tpm/arch-linux-workstation.bin", measure.PCRs, 2, 24, measure.SecureBootOff},
		{eventlog + "tpm/cos-85-amd-sev.bin", measure.PCRs, 3, 45, measure.SecureBootOn},
		{eventlog + "tpm/cos-93-amd-sev.bin", measure.PCRs, 3, 45, measure.SecureBootOn},
		{eventlog + "tpm/glinux-alex.bin", measure.PCRs, 2, 28, measure.SecureBootOff},
		{eventlog + "tpm/ubuntu-2104-no-dbx.bin", measure.PCRs, 3, 111, measure.SecureBootOff},
		{eventlog + "tpm/ubuntu-2104-no-secure-boot.bin", measure.PCRs, 3, 105, measure.SecureBootOff},
		{tpmtools + "ubuntu-2404-amd-sevsnp.bin", measure.PCRs, 3, 116, measure.SecureBootOff},
		{tpmtools + "confidential-gke-debug-251000_eventlog.bin", measure.PCRs, 3, 54, measure.SecureBootOn},
		{eventlog + "ccel/CCEL_unpadded.data.bin", measure.RTMRs, 1, 19, measure.SecureBootOff},
		{eventlog + "ccel/cos-113-intel-tdx.bin", measure.RTMRs, 1, 43, measure.SecureBootOff},
		{eventlog + "ccel/event_log.bin", measure.RTMRs, 1, 27, measure.SecureBootOff},
		{trustee + "CCEL_data", measure.RTMRs, 1, 5, measure.SecureBootUnknown},
		{trustee + "CCEL_data_ovmf", measure.RTMRs, 1, 20, measure.SecureBootOff},
		{tdxguest + "ccel_data.dat", measure.RTMRs, 1, 43, measure.SecureBootOff},
	} {
		t.Run(filepath.Base(c.path), func(t *testing.T) {
			data := evidencetest.Read(t, c.path)
			l, err := measure.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if !l.Agile || len(l.Banks) != c.banks || len(l.Events) != c.events {
				t.Errorf("banks %v, %d events; expected %d banks, %d events", l.Banks, len(l.Events), c.banks, c.events)
			}
			if !measure.Detect(data) {
				t.Error("not detected")
			}
			bank := l.Banks[len(l.Banks)-1]
			if got := l.SecureBoot(c.kind, bank); got != c.secure {
				t.Errorf("Secure Boot %s, expected %s", got, c.secure)
			}
			covers := map[measure.Cover]int{}
			for _, x := range l.Explain(c.kind, bank) {
				covers[x.Cover]++
				t.Logf("%3d %2d %-8s %-32s %s", x.Number, x.Register, x.Cover, x.Type, x.Text)
			}
			t.Logf("%s, Secure Boot %s, %v", filepath.Base(c.path), l.SecureBoot(c.kind, bank), covers)
		})
	}
}

func TestReplayCCEL(t *testing.T) {
	quote := evidencetest.Read(t, tdxguest+"cos-113-tdx-quote.dat")
	for _, c := range []struct {
		path string
		same string // which of RTMR 0 to 2 must come out as quoted
	}{
		{eventlog + "ccel/cos-113-intel-tdx.bin", "012"},
		{tdxguest + "ccel_data.dat", "012"},
		{eventlog + "ccel/cos-113-intel-tdx-dupe-separator.bin", "2"},
		{eventlog + "ccel/cos-113-intel-tdx-dupe-separator-unpadded.bin", "2"},
		{eventlog + "ccel/event_log.bin", ""},
		{eventlog + "ccel/CCEL_unpadded.data.bin", ""},
		{trustee + "CCEL_data", ""},
		{trustee + "CCEL_data_ovmf", ""},
	} {
		l, err := measure.Parse(evidencetest.Read(t, c.path))
		if err != nil {
			t.Fatal(err)
		}
		regs, err := l.Replay(measure.RTMRs, measure.SHA384)
		if err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		same := ""
		for i := range 3 {
			if bytes.Equal(regs[uint32(i)], rtmr(quote, i)) {
				same += fmt.Sprint(i)
			}
		}
		if same != c.same || regs[3] != nil || !measure.Untouched(measure.RTMRs, 3, rtmr(quote, 3)) {
			t.Errorf("%s: RTMRs %q as quoted, expected %q; RTMR 3 %x", c.path, same, c.same, regs[3])
		}
	}
}

// TestEveryEventCounts changes each byte of each digest of a log that replays, and each
// register number: the registers must come out different.
func TestEveryEventCounts(t *testing.T) {
	data := bytes.Clone(evidencetest.Read(t, tdxguest+"ccel_data.dat"))
	l, err := measure.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := l.Replay(measure.RTMRs, measure.SHA384)
	for i, e := range l.Events {
		for at := e.Offset; at < e.Offset+8+4+2+48; at++ {
			if at >= e.Offset+4 && at < e.Offset+14 {
				continue // the type, which the digest does not cover, and counts
			}
			data[at] ^= 0x40
			m, err := measure.Parse(data)
			if err == nil {
				got, err := m.Replay(measure.RTMRs, measure.SHA384)
				if err == nil && fmt.Sprint(got) == fmt.Sprint(want) {
					t.Errorf("event %d: byte %d counts for nothing", i+1, at-e.Offset)
				}
			}
			data[at] ^= 0x40
		}
	}
}

func TestACPITablesAreNoLogs(t *testing.T) {
	for _, path := range []string{eventlog + "ccel/CCEL.bin", eventlog + "ccel/cos-113-intel-tdx.table.bin", tdxguest + "ccel_table.dat"} {
		data := evidencetest.Read(t, path)
		if _, err := measure.Parse(data); err == nil || measure.Detect(data) {
			t.Errorf("%s: %v, detected %v", path, err, measure.Detect(data))
		}
	}
}

// TestSeparatorOnly compares with the published value of a register that only a separator
// extended.
func TestSeparatorOnly(t *testing.T) {
	l, err := measure.Parse(evidencetest.Read(t, eventlog+"tpm/cos-93-amd-sev.bin"))
	if err != nil {
		t.Fatal(err)
	}
	regs, err := l.Replay(measure.PCRs, measure.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(regs[3]); got != "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969" {
		t.Errorf("PCR 3 is %s", got)
	}
	if regs[10] != nil || regs[23] != nil {
		t.Error("registers that no event touches have values")
	}
}
