package tpm_test

import (
	"encoding/binary"
	"testing"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
)

// firmwareEvent is an event of PCR 7 as it was measured, and as the log has it.
type firmwareEvent struct {
	t              measure.Type
	measured, said []byte
}

// secureBootLog makes a log of PCR 7 with SHA-256 digests.
func secureBootLog(events ...firmwareEvent) []byte {
	le := binary.LittleEndian
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, byte(measure.SHA256), 0, 32, 0, 0)
	out := append([]byte{0, 0, 0, 0, byte(measure.NoAction), 0, 0, 0}, make([]byte, 20)...)
	out = append(le.AppendUint32(out, uint32(len(spec))), spec...)
	for _, e := range events {
		out = le.AppendUint32(le.AppendUint32(le.AppendUint32(out, 7), uint32(e.t)), 1)
		out = append(le.AppendUint16(out, uint16(measure.SHA256)), measure.SHA256.Sum(e.measured)...)
		out = append(le.AppendUint32(out, uint32(len(e.said))), e.said...)
	}
	return out
}

func secureBootVariable(on byte) []byte {
	out := []byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	out = append(out, 10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
	for _, c := range []byte("SecureBoot") {
		out = append(out, c, 0)
	}
	return append(out, on)
}

// TestSecureBootForged takes no word for Secure Boot but the firmware's: a machine that booted
// with it off extends PCR 7 anew as if it were on, and gives the firmware's events other names.
func TestSecureBootForged(t *testing.T) {
	off, on, end, x := secureBootVariable(0), secureBootVariable(1), make([]byte, 4), []byte("x")
	for name, c := range map[string]struct {
		log  []byte
		want measure.SecureBoot
	}{
		"on":  {secureBootLog(firmwareEvent{measure.EFIVariableDriverConfig, on, on}, firmwareEvent{measure.Separator, end, end}), measure.SecureBootOn},
		"off": {secureBootLog(firmwareEvent{measure.EFIVariableDriverConfig, off, off}, firmwareEvent{measure.Separator, end, end}), measure.SecureBootOff},
		"forged": {secureBootLog(firmwareEvent{measure.EventTag, off, x}, firmwareEvent{measure.EventTag, end, x},
			firmwareEvent{measure.EFIVariableDriverConfig, on, on}, firmwareEvent{measure.Separator, end, end}), measure.SecureBootUnknown},
	} {
		w := newWorld(t)
		w.evidence.EventLog = c.log
		w.quotes(quoteBy(rsaSigner(3), nonce(), booted(t, c.log)))
		f, err := w.verifier(t).Examine(w.bytes(t), w.now)
		if err != nil || evidencetest.Failed(f) != "" {
			t.Fatalf("%s: %v, failed %q", name, err, evidencetest.Failed(f))
		}
		if got := f.Claims["event_log"].(map[string]any)["secure_boot"]; got != string(c.want) {
			t.Errorf("%s: Secure Boot %v, expected %s", name, got, c.want)
		}
	}
}

// TestEventLogOfAWeakerBank takes nothing from a log of SHA-256 where SHA-384 is quoted too:
// firmware may have left that bank to whatever booted (CVE-2021-42299).
func TestEventLogOfAWeakerBank(t *testing.T) {
	w := newWorld(t)
	w.evidence.EventLog = secureBootLog(firmwareEvent{measure.Separator, make([]byte, 4), make([]byte, 4)})
	w.quotes(quoteBy(rsaSigner(3), nonce(), booted(t, w.evidence.EventLog)), quoteBy(rsaSigner(3), nonce(), bank(measure.SHA384)))
	f, err := w.verifier(t).Examine(w.bytes(t), w.now)
	if err != nil || evidencetest.Failed(f) != "tpm.event_log" || f.Claims["event_log"] != nil {
		t.Errorf("%v, failed %q, claims %v", err, evidencetest.Failed(f), f.Claims["event_log"])
	}
}
