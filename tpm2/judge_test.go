package tpm2_test

import (
	"bytes"
	"testing"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
)

// TestChecks judges nonce, PCRs and init data, with a mend for what is wrong.
func TestChecks(t *testing.T) {
	of := func(n []byte) *tpm2.Quoted { return &tpm2.Quoted{Nonce: n, Banks: []tpm2.Bank{bank(measure.SHA256)}} }
	gap := of(nonce())
	delete(gap.Banks[0].Values, 16)
	initData := measure.SHA256.Sum([]byte("agreement"))
	held := of(nonce())
	held.Banks[0].Values[8] = measure.SHA256.Sum(make([]byte, 32), initData)
	nonceOf := func(n []byte) verdict.Check {
		c, short := of(n).CheckNonce("x")
		if short != (c.OK && len(n) < tpm2.GoodNonce) {
			t.Errorf("%d bytes: short %v", len(n), short)
		}
		return c
	}
	for name, c := range map[string]struct {
		check verdict.Check
		ok    bool
	}{
		"nonce":            {nonceOf(nonce()), true},
		"nonce of 16":      {nonceOf(nonce()[:16]), true},
		"nonce of 8":       {nonceOf(nonce()[:8]), true},
		"nonce of 7":       {nonceOf(nonce()[:7]), false},
		"no nonce":         {nonceOf(nil), false},
		"nonce of zeros":   {nonceOf(make([]byte, 64)), false},
		"all PCRs":         {of(nil).CheckPCRs("x"), true},
		"a PCR left out":   {gap.CheckPCRs("x"), false},
		"SHA-1 alone":      {(&tpm2.Quoted{Weak: bank(measure.SHA1)}).CheckPCRs("x"), false},
		"init data":        {held.CheckInitData("x", initData), true},
		"other init data":  {held.CheckInitData("x", bytes.Repeat([]byte{1}, 32)), false},
		"no init data":     {held.CheckInitData("x", nil), false},
		"in a weaker bank": {(&tpm2.Quoted{Banks: []tpm2.Bank{held.Banks[0], bank(measure.SHA384)}}).CheckInitData("x", initData), false},
		"SHA-1 init data":  {(&tpm2.Quoted{Weak: tpm2.Bank{Bank: measure.SHA1, Values: map[int][]byte{8: measure.SHA1.Sum(make([]byte, 20), initData[:20])}}}).CheckInitData("x", initData[:20]), false},
	} {
		if c.check.OK != c.ok || c.check.ID != "x" || (c.check.Fix == "") != c.ok || c.check.Expected == "" || c.check.Got == "" {
			t.Errorf("%s: %+v", name, c.check)
		}
	}
}

// TestCheckLog tells logs that are wrong from what is no log.
func TestCheckLog(t *testing.T) {
	log := evidencetest.Read(t, logs+"arch-linux-workstation.bin")
	good := quoted(t, after(t, log, measure.SHA256))
	if c, boot, err := good.CheckLog("x", log); !c.OK || boot == nil || err != nil || len(boot.Claims()["events"].([]any)) == 0 {
		t.Errorf("%+v %v", c, err)
	}
	if c, boot, err := good.CheckLog("x", evidencetest.Read(t, logs+"cos-93-amd-sev.bin")); c.OK || boot == nil || err != nil || c.Fix == "" {
		t.Errorf("of another machine: %+v %v", c, err)
	}
	part := after(t, log, measure.SHA256)
	delete(part.Values, 4)
	if c, _, err := quoted(t, part).CheckLog("x", log); c.OK || err != nil {
		t.Errorf("with events of a PCR that is not quoted: %+v %v", c, err)
	}
	if c, boot, err := quoted(t, bank(measure.SHA512)).CheckLog("x", log); c.OK || boot != nil || err != nil {
		t.Errorf("without the bank: %+v %v", c, err)
	}
	// Firmware may have left SHA-256 alone, so that what booted filled it (CVE-2021-42299).
	if c, boot, err := quoted(t, after(t, log, measure.SHA256), bank(measure.SHA384)).CheckLog("x", log); c.OK || boot != nil || err != nil || c.Fix == "" {
		t.Errorf("of a weaker bank than the strongest: %+v %v", c, err)
	}
	if c, boot, err := good.CheckLog("x", evidencetest.Read(t, logs+"cos-85-amd-sev.bin")); c.OK || boot == nil || boot.Bank != measure.SHA256 || err != nil {
		t.Errorf("of more banks than are quoted: %+v %v", c, err)
	}
	if c, _, err := good.CheckLog("x", []byte("boot")); c.OK || err == nil {
		t.Errorf("no log: %+v %v", c, err)
	}
}
