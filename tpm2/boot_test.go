package tpm2_test

import (
	"bytes"
	"crypto"
	"errors"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
)

const logs = "tpm/google+go-eventlog/testdata/eventlogs/tpm/"

// after gives a bank as it is once a log has been extended into fresh PCRs.
func after(t *testing.T, data []byte, alg measure.Algorithm) tpm2.Bank {
	t.Helper()
	log, err := measure.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	regs, err := log.Replay(measure.PCRs, alg)
	if err != nil {
		t.Fatal(err)
	}
	b := tpm2.Bank{Bank: alg, Values: map[int][]byte{}}
	for i := range measure.NumPCRs {
		b.Values[i] = make([]byte, alg.Size())
		if i >= 17 && i <= 22 { // of dynamic launch
			b.Values[i] = bytes.Repeat([]byte{0xff}, alg.Size())
		}
		if v, ok := regs[uint32(i)]; ok {
			b.Values[i] = v
		}
	}
	return b
}

func quoted(t *testing.T, banks ...tpm2.Bank) *tpm2.Quoted {
	t.Helper()
	d := device{key: rsaKey(), hash: crypto.SHA256}
	all, err := tpm2.VerifyQuotes([]tpm2.Quote{d.quote(nonce(), banks...)}, d.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestReplay compares genuine logs with quotes of a machine that booted so, and of others.
func TestReplay(t *testing.T) {
	for _, name := range []string{"arch-linux-workstation.bin", "cos-93-amd-sev.bin", "glinux-alex.bin", "ubuntu-2104-no-dbx.bin", "ubuntu-2104-no-secure-boot.bin"} {
		log := evidencetest.Read(t, logs+name)
		b := after(t, log, measure.SHA256)
		boot, err := quoted(t, b).Replay(log)
		if err != nil || len(boot.Differ)+len(boot.Unquoted)+len(boot.Unexplained) != 0 || len(boot.Matched) < 8 || len(boot.Events) == 0 || boot.SecureBoot == measure.SecureBootUnknown {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %s", name, boot.Text())

		b.Values[4] = measure.SHA256.Sum(b.Values[4], make([]byte, 32)) // something booted that the log keeps quiet about
		b.Values[7] = make([]byte, 32)
		b.Values[10] = measure.SHA256.Sum(nil) // the kernel's own list
		delete(b.Values, 5)
		boot, err = quoted(t, b).Replay(log)
		if err != nil || !slices.Equal(boot.Differ, []int{4, 7}) || !slices.Equal(boot.Unquoted, []int{5}) || !slices.Contains(boot.Unexplained, 10) || boot.SecureBoot != measure.SecureBootUnknown {
			t.Errorf("%s, other PCRs: %s, unexplained %v, %v", name, boot.Text(), boot.Unexplained, err)
		}
		for _, e := range boot.Events {
			if e.Register == 4 || e.Register == 7 || e.Register == 5 {
				t.Errorf("%s: event %d of PCR %d is claimed, which differs", name, e.Number, e.Register)
			}
		}
	}
}

// TestReplayOfAnotherBoot takes nothing from the log of another machine.
func TestReplayOfAnotherBoot(t *testing.T) {
	b := after(t, evidencetest.Read(t, logs+"arch-linux-workstation.bin"), measure.SHA256)
	boot, err := quoted(t, b).Replay(evidencetest.Read(t, logs+"cos-93-amd-sev.bin"))
	if err != nil || len(boot.Differ) < 5 {
		t.Errorf("%s %v", boot.Text(), err)
	}
}

// TestReplayRefused refuses what proves nothing.
func TestReplayRefused(t *testing.T) {
	log := evidencetest.Read(t, logs+"arch-linux-workstation.bin")
	if _, err := quoted(t, after(t, log, measure.SHA1)).Replay(log); !errors.Is(err, tpm2.ErrNoBank) {
		t.Errorf("by SHA-1 alone: %v", err)
	}
	if _, err := quoted(t, bank(measure.SHA512)).Replay(log); !errors.Is(err, tpm2.ErrNoBank) {
		t.Errorf("a bank that the log lacks: %v", err)
	}
	both := quoted(t, after(t, log, measure.SHA256), bank(measure.SHA384))
	if _, err := both.Replay(log); !errors.Is(err, tpm2.ErrNoBank) || !strings.Contains(err.Error(), "sha384, the strongest bank") {
		t.Errorf("a log of a weaker bank than the strongest that is quoted: %v", err)
	}
	for name, data := range map[string][]byte{"nothing": nil, "text": []byte("hello"), "cut": log[:len(log)-100]} {
		if _, err := quoted(t, bank(measure.SHA256)).Replay(data); err == nil {
			t.Errorf("%s: replayed", name)
		}
	}
}
