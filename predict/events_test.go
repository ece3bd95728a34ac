package predict_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"strongroom.dev/measure"
	"strongroom.dev/predict"
)

// folded extends the registers of events, as the machine does.
func folded(t *testing.T, events []measure.Expected) map[string]string {
	t.Helper()
	of := map[string][][]byte{}
	for _, e := range events {
		if e.Digest == "" || e.Words == "" {
			if e.Register != 0 {
				t.Errorf("%+v", e)
			}
			continue
		}
		digest, err := hex.DecodeString(e.Digest)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("pcr%d", e.Register)
		of[name] = append(of[name], digest)
	}
	values := map[string]string{}
	for name, digests := range of {
		values[name] = fold(measure.SHA256, digests...)
	}
	return values
}

// TestEvents folds the events of an image to the values that are predicted of it.
func TestEvents(t *testing.T) {
	predict.KnowStub(t, stubImage())
	machine := predict.TPM{Firmware: installed(t, code4M), Boot: &predict.DirectBoot{Kernel: roomImage()}}
	want, err := machine.PCRs()
	if err != nil {
		t.Fatal(err)
	}
	events, err := machine.Events()
	if err != nil {
		t.Fatal(err)
	}
	got := folded(t, events)
	for name, value := range want.Values {
		if strings.HasPrefix(name, "pcr") && got[name] != value {
			t.Errorf("%s: %s, expected %s", name, got[name], value)
		}
	}
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%d %s %s", e.Register, e.Digest, e.File))
	}
	text := strings.Join(all, "\n")
	for _, part := range []string{"0 " + want.Values["firmware.900000"] + " firmware", " image", " kernel", " line", " initrd"} {
		if !strings.Contains(text, part) {
			t.Errorf("nothing is %q of\n%s", part, text)
		}
	}
	disk, err := predict.DiskEvents(roomImage())
	if err != nil {
		t.Fatal(err)
	}
	fromDisk, err := predict.DiskPCRs(roomImage())
	if err != nil {
		t.Fatal(err)
	}
	got = folded(t, disk)
	for name, value := range fromDisk.Values {
		if got[name] != value {
			t.Errorf("from a disk, %s: %s, expected %s", name, got[name], value)
		}
	}
	_, err = predict.DiskEvents(kernelImage())
	refused(t, "a bare kernel on a disk", err, "measure.kernel", "bare")
	machine.Boot, machine.Memory = &predict.DirectBoot{Kernel: kernelImage()}, 1<<30
	_, err = machine.Events()
	refused(t, "a bare kernel", err, "measure.kernel", "bare")
}
