package tpm_test

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/measure"
)

// recorded reads the log of a boot of OVMF in QEMU with so much memory.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("../../measure/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// room makes the world that of a room: booted as a log says, with init data in PCR 8 since.
func (w *world) room(t testing.TB, log []byte) {
	t.Helper()
	initData := measure.SHA256.Sum([]byte("agreement"))
	b := booted(t, log)
	b.Values[8] = measure.SHA256.Sum(make([]byte, 32), initData)
	for i := 17; i <= 22; i++ { // of dynamic launch
		b.Values[i] = bytes.Repeat([]byte{0xff}, 32)
	}
	w.evidence.EventLog, w.evidence.InitData = log, initData
	w.quotes(quoteBy(rsaSigner(3), nonce(), b))
}

// roomRules are about what is measured where a room boots.
func roomRules() []rule {
	return []rule{
		{name: "room under OVMF", change: func(t *testing.T, w *world) { w.room(t, recorded(t, "ovmf-512mib.bin")) }},
		{name: "room under OVMF with more memory", change: func(t *testing.T, w *world) { w.room(t, recorded(t, "ovmf-1024mib.bin")) }},
		{name: "room whose log was edited", failed: "tpm.event_log", change: func(t *testing.T, w *world) {
			log := recorded(t, "ovmf-512mib.bin")
			w.room(t, log)
			w.evidence.EventLog = bytes.Replace(log, measure.SHA256.Sum([]byte("Calling EFI Application from Boot Option")), make([]byte, 32), 1)
		}},
		{name: "room with the log of another size", failed: "tpm.event_log", change: func(t *testing.T, w *world) {
			w.room(t, recorded(t, "ovmf-512mib.bin"))
			w.evidence.EventLog = recorded(t, "ovmf-1024mib.bin")
		}},
	}
}

// TestRoomMeasurements gives a room's measurements names that don't depend on the machine's
// size, and says what of the firmware they leave open.
func TestRoomMeasurements(t *testing.T) {
	var first map[string]string
	for _, name := range []string{"ovmf-512mib.bin", "ovmf-1024mib.bin"} {
		w := newWorld(t)
		w.room(t, recorded(t, name))
		f, err := w.verifier(t).Examine(w.bytes(t), w.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(f.Facts.Measurements)), " "); got != "firmware.900000 firmware.version pcr11 pcr2 pcr3 pcr4 pcr5 pcr6 pcr7 pcr9" {
			t.Error(got)
		}
		if first == nil {
			first = f.Facts.Measurements
		}
		if !maps.Equal(first, f.Facts.Measurements) {
			t.Errorf("%s: %v\n%v", name, f.Facts.Measurements, first)
		}
		if !slices.Contains(f.Warnings, "tpm.firmware") {
			t.Errorf("%s: nothing is said about the early code: %v", name, f.Warnings)
		}
		if log := f.Claims["event_log"].(map[string]any); log["firmware"] == nil {
			t.Errorf("%s: %v", name, log)
		}
	}
	// Without its log, or with another's, a room has PCRs.
	for name, log := range map[string][]byte{"none": nil, "of another size": recorded(t, "ovmf-1024mib.bin")} {
		w := newWorld(t)
		w.room(t, recorded(t, "ovmf-512mib.bin"))
		w.evidence.EventLog = log
		f, err := w.verifier(t).Examine(w.bytes(t), w.now)
		if err != nil || f.Facts.Measurements["pcr0"] == "" || f.Facts.Measurements["firmware.900000"] != "" || slices.Contains(f.Warnings, "tpm.firmware") {
			t.Errorf("log %s: %v %v", name, err, f.Facts.Measurements)
		}
	}
}
