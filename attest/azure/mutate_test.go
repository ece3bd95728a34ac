package azure_test

import (
	"os"
	"testing"
	"time"

	"strongroom.dev/attest/azure"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/wire"
)

// accepted reports whether evidence is still taken for what the unaltered one is.
func accepted(t *testing.T, v azure.Verifier, e azure.Evidence, now time.Time, failing string) bool {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		return false
	}
	f, err := v.Examine(data, now)
	return err == nil && evidencetest.Failed(f) == failing && len(f.Claims) != 0
}

// mutate flips one bit of every byte, every step-th in short tests.
func mutate(t *testing.T, name string, part []byte, step int, ok func() bool) {
	t.Helper()
	if testing.Short() {
		step *= 17
	}
	for i := 0; i < len(part); i += step {
		part[i] ^= byte(1 << (i % 8))
		if ok() {
			t.Errorf("%s altered at %d, and accepted", name, i)
		}
		part[i] ^= byte(1 << (i % 8))
	}
}

// TestMutatedSNP alters every byte of the HCL report, padding included, of the quote and of
// the values.
func TestMutatedSNP(t *testing.T) {
	t.Parallel()
	e, v, day, failing := base(t, false)
	ok := func() bool { return accepted(t, v, e, evidencetest.Time(day), failing) }
	if !ok() {
		t.Fatal("unaltered, and refused")
	}
	for name, part := range map[string]wire.Bytes{"HCL report": e.HCLReport, "message": e.Quotes[0].Message, "signature": e.Quotes[0].Signature, "PCR 0": e.Quotes[0].Banks["sha256"]["0"], "PCR 23": e.Quotes[0].Banks["sha256"]["23"]} {
		mutate(t, name, part, 1, ok)
	}
}

// TestMutatedTDX does so for TDX. Of the TDREPORT the quote speaks for the fields that it has;
// the rest, with the MAC, is for the machine that made it. The TD quote is altered byte by byte
// in package dcap's tests; here, every 29th.
func TestMutatedTDX(t *testing.T) {
	t.Parallel()
	e, v, day, failing := base(t, true)
	ok := func() bool { return accepted(t, v, e, evidencetest.Time(day), failing) }
	if !ok() {
		t.Fatal("unaltered, and refused")
	}
	step := 29
	if os.Getenv("STRONGROOM_LONG") != "" {
		step = 1
	}
	const td = 32 // where the TDREPORT begins
	for name, part := range map[string]wire.Bytes{
		"HCL header": e.HCLReport[:td], "report data": e.HCLReport[td+128 : td+192], "TEE_TCB_SVN, MRSEAM, MRSIGNERSEAM": e.HCLReport[td+264 : td+376], "TDINFO up to RTMR3": e.HCLReport[td+512 : td+912],
		"behind the TDREPORT": e.HCLReport[td+1024:], "message": e.Quotes[0].Message, "signature": e.Quotes[0].Signature, "PCR 0": e.Quotes[0].Banks["sha256"]["0"],
	} {
		mutate(t, name, part, 1, ok)
	}
	const signed = 48 + 584 + 4 + 4600 // behind it the chain's last characters and padding
	mutate(t, "TD quote", e.TDQuote[:min(signed, len(e.TDQuote)-200)], step, ok)
}
