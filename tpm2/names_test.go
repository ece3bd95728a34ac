package tpm2_test

import (
	"bytes"
	"encoding/hex"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
)

// room reads the log of a boot of OVMF with so much memory, and the PCRs that it leads to.
func room(t *testing.T, name string) ([]byte, tpm2.Bank) {
	t.Helper()
	log, err := os.ReadFile("../measure/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return log, after(t, log, measure.SHA256)
}

func names(t *testing.T, log []byte, b tpm2.Bank) map[string]string {
	t.Helper()
	boot, err := quoted(t, b).Replay(log)
	if err != nil {
		t.Fatal(err)
	}
	m := b.Measurements()
	boot.Names(m)
	return m
}

// TestNames names measurements alike for machines of two sizes, which boot alike.
func TestNames(t *testing.T) {
	small, b := room(t, "ovmf-512mib.bin")
	large, c := room(t, "ovmf-1024mib.bin")
	m := names(t, small, b)
	if bytes.Equal(b.Values[0], c.Values[0]) || !maps.Equal(m, names(t, large, c)) {
		t.Errorf("%v\n%v", m, names(t, large, c))
	}
	if got := strings.Join(slices.Sorted(maps.Keys(m)), " "); got != "firmware.900000 firmware.version pcr11 pcr2 pcr3 pcr4 pcr5 pcr6 pcr7 pcr9" {
		t.Error(got)
	}
	boot, err := quoted(t, b).Replay(small)
	if err != nil || !strings.Contains(boot.Open(), "917504 bytes at 0x820000") || boot.Claims()["firmware"] == nil {
		t.Errorf("%q %v", boot.Open(), err)
	}
}

// TestNamesUnproven keeps the PCR's own name where the log does not lead to its value, or
// where something else is in it.
func TestNamesUnproven(t *testing.T) {
	log, b := room(t, "ovmf-512mib.bin")
	early := bytes.Index(log, append(binaryArea(0x820000), binaryArea(0xe0000)...))
	if early < 0 {
		t.Fatal("no early code in the log")
	}
	for name, c := range map[string]struct {
		change func(log []byte, b tpm2.Bank)
		stay   string
	}{
		"another digest of the early code": {func(log []byte, _ tpm2.Bank) { log[early-5] ^= 1 }, "pcr0"},
		"another digest of other code":     {func(log []byte, _ tpm2.Bank) { log[bytes.Index(log, binaryArea(0xc00000))-13] ^= 1 }, "pcr0"},
		"another base":                     {func(log []byte, _ tpm2.Bank) { log[early+2]++ }, "pcr0"},
		"another length":                   {func(log []byte, _ tpm2.Bank) { log[early+10]++ }, "pcr0"},
		"more in PCR 0 than in the log":    {func(_ []byte, b tpm2.Bank) { b.Values[0] = measure.SHA256.Sum(b.Values[0], b.Values[1]) }, "pcr0"},
		"more in PCR 1 than in the log":    {func(_ []byte, b tpm2.Bank) { b.Values[1] = measure.SHA256.Sum(b.Values[1], b.Values[0]) }, "pcr1"},
		"PCR 1 of another machine":         {func(_ []byte, b tpm2.Bank) { b.Values[1] = measure.SHA256.Sum(nil) }, "pcr1"},
	} {
		changed, other := bytes.Clone(log), tpm2.Bank{Bank: b.Bank, Values: maps.Clone(b.Values)}
		c.change(changed, other)
		if m := names(t, changed, other); m[c.stay] != hex.EncodeToString(other.Values[map[string]int{"pcr0": 0, "pcr1": 1}[c.stay]]) || c.stay == "pcr0" && (m["firmware.version"] != "" || m["firmware.900000"] != "") {
			t.Errorf("%s: %v", name, m)
		}
	}
	// Genuine logs of other firmware.
	for _, name := range []string{"arch-linux-workstation.bin", "cos-93-amd-sev.bin", "glinux-alex.bin", "ubuntu-2104-no-dbx.bin", "ubuntu-2104-no-secure-boot.bin"} {
		log := evidencetest.Read(t, logs+name)
		b := after(t, log, measure.SHA256)
		if m := names(t, log, b); !maps.Equal(m, b.Measurements()) {
			t.Errorf("%s: %v", name, m)
		}
	}
}

func binaryArea(n uint64) []byte {
	out := make([]byte, 8)
	for i := range out {
		out[i] = byte(n >> (8 * i))
	}
	return out
}

// aggregate gives the list of files that a kernel begins with, by two templates.
func aggregate(b tpm2.Bank, withSignature bool) []byte {
	var all []byte
	for i := range 10 {
		all = append(all, b.Values[i]...)
	}
	entry := append([]byte{40, 0, 0, 0}, "sha256:\x00"...)
	entry = append(append(entry, b.Bank.Sum(all)...), 15, 0, 0, 0)
	entry = append(entry, "boot_aggregate\x00"...)
	if withSignature {
		entry = append(entry, 0, 0, 0, 0)
	}
	return b.Bank.Sum(entry)
}

// TestOnlyBootAggregate tells a kernel that measured nothing from one that measured files.
func TestOnlyAggregate(t *testing.T) {
	log, fresh := room(t, "ovmf-512mib.bin")
	zeros := make([]byte, 32)
	with := func(values map[int][]byte) tpm2.Bank {
		b := tpm2.Bank{Bank: fresh.Bank, Values: maps.Clone(fresh.Values)}
		maps.Copy(b.Values, values)
		return b
	}
	list := measure.SHA256.Sum(zeros, aggregate(fresh, true))
	initData := measure.SHA256.Sum(zeros, measure.SHA256.Sum([]byte("agreement")))
	for name, c := range map[string]struct {
		b     tpm2.Bank
		stays bool
	}{
		"ima-sig":                    {with(map[int][]byte{10: list}), false},
		"ima-ng":                     {with(map[int][]byte{10: measure.SHA256.Sum(zeros, aggregate(fresh, false))}), false},
		"and init data since":        {with(map[int][]byte{10: list, 8: initData}), false},
		"files too":                  {with(map[int][]byte{10: measure.SHA256.Sum(list, initData)}), true},
		"files in front of it":       {with(map[int][]byte{10: measure.SHA256.Sum(initData, aggregate(fresh, true))}), true},
		"that of another boot":       {with(map[int][]byte{10: list, 4: initData}), true},
		"that of another PCR 8":      {with(map[int][]byte{10: measure.SHA256.Sum(zeros, aggregate(with(map[int][]byte{8: initData}), true))}), true},
		"of a machine of other code": {with(map[int][]byte{10: list, 0: initData}), true},
	} {
		if got := names(t, log, c.b)["pcr10"]; (got != "") != c.stays {
			t.Errorf("%s: pcr10 %q", name, got)
		}
	}
	without := with(map[int][]byte{10: list})
	delete(without.Values, 3)
	if m := names(t, log, without); m["pcr10"] == "" {
		t.Error("without one of the PCRs")
	}
	// What the kernel wrote itself in the recorded boot, in its own list.
	const kernels = "c2728f159f0974953fd2a9e1334aa7d1663359d04d90ca085aa2dd1c45452d05"
	var all []byte
	for i := range 10 {
		all = append(all, fresh.Values[i]...)
	}
	if got := hex.EncodeToString(measure.SHA256.Sum(all)); got != kernels {
		t.Errorf("boot_aggregate %s, the kernel's %s", got, kernels)
	}
}
