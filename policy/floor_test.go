package policy_test

import (
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/policy"
	"strongroom.dev/wire"
)

func TestDenialForm(t *testing.T) {
	hex64 := strings.Repeat("a1", 32)
	for _, c := range []struct {
		what  policy.What
		value string
		ok    bool
	}{
		{"", "", false}, {"", hex64, false}, {"tcb", hex64, false},
		{policy.DenyImage, hex64, true}, {policy.DenyImage, strings.Repeat("0", 128), true}, {policy.DenyImage, "", false}, {policy.DenyImage, strings.ToUpper(hex64), false},
		{policy.DenyImage, "sha256:" + hex64, false}, {policy.DenyImage, hex64[:31], false}, {policy.DenyImage, strings.Repeat("0", 129), false},
		{policy.DenyMachine, "chip-1", true}, {policy.DenyMachine, "", false}, {policy.DenyMachine, " chip-1", false}, {policy.DenyMachine, "a\nb", false}, {policy.DenyMachine, strings.Repeat("a", 257), false},
		{policy.DenyRoot, "sha256:" + hex64, true}, {policy.DenyRoot, hex64, false}, {policy.DenyRoot, "", false},
		{policy.DenyGeneration, "snp/Milan", true}, {policy.DenyGeneration, "snp", false}, {policy.DenyGeneration, "snp/", false}, {policy.DenyGeneration, "/Milan", false}, {policy.DenyGeneration, "SNP/Milan", false},
		{policy.DenyBelow, "snp/microcode=211", true}, {policy.DenyBelow, "snp/Milan/microcode=211", true}, {policy.DenyBelow, "tdx/date=20250513", true}, {policy.DenyBelow, "azure/up-to-date=1", true},
		{policy.DenyBelow, "", false}, {policy.DenyBelow, "snp/microcode", false}, {policy.DenyBelow, "snp/microcode=", false}, {policy.DenyBelow, "snp/microcode=0", false},
		{policy.DenyBelow, "snp/microcode=-1", false}, {policy.DenyBelow, "snp/microcode=0211", false}, {policy.DenyBelow, "snp/microcode=0xd3", false}, {policy.DenyBelow, "snp/microcode=9007199254740992", false},
		{policy.DenyBelow, "microcode=211", false}, {policy.DenyBelow, "snp//microcode=211", false}, {policy.DenyBelow, "snp/Milan/B0/microcode=211", false}, {policy.DenyBelow, "snp/ucode=211", false},
		{policy.DenyBelow, "tdx/microcode=211", false}, {policy.DenyBelow, "tpm/date=20250513", false}, {policy.DenyBelow, "tdx/date=2025-05-13", false}, {policy.DenyBelow, "snp/Milan\n/microcode=211", false},
	} {
		if err := (policy.Denial{What: c.what, Value: c.value}).Check(); (err == nil) != c.ok {
			t.Errorf("%s %q: %v", c.what, c.value, err)
		}
	}
}

func TestFloor(t *testing.T) {
	hex64, root := strings.Repeat("a1", 32), wire.HashOf([]byte("root"))
	where := policy.Where{Platform: "snp", Generation: "Milan", Machine: "chip-1", Root: root, Measurements: map[string]string{"measurement": hex64, "agent": strings.Repeat("b2", 32)},
		TCB: map[string]int64{"microcode": 211, "snp": 22}}
	below := func(value string) policy.Denial { return policy.Denial{What: policy.DenyBelow, Value: value} }
	unknown := where
	unknown.TCB = nil
	for name, c := range map[string]struct {
		denied policy.Denial
		where  policy.Where
		ok     bool
	}{
		"image":              {policy.Denial{What: policy.DenyImage, Value: hex64}, where, false},
		"agent":              {policy.Denial{What: policy.DenyImage, Value: where.Measurements["agent"]}, where, false},
		"another image":      {policy.Denial{What: policy.DenyImage, Value: strings.Repeat("c3", 32)}, where, true},
		"machine":            {policy.Denial{What: policy.DenyMachine, Value: "chip-1"}, where, false},
		"in another case":    {policy.Denial{What: policy.DenyMachine, Value: "CHIP-1"}, where, false},
		"another machine":    {policy.Denial{What: policy.DenyMachine, Value: "chip-2"}, where, true},
		"root":               {policy.Denial{What: policy.DenyRoot, Value: root.String()}, where, false},
		"another root":       {policy.Denial{What: policy.DenyRoot, Value: wire.HashOf(nil).String()}, where, true},
		"generation":         {policy.Denial{What: policy.DenyGeneration, Value: "snp/Milan"}, where, false},
		"another generation": {policy.Denial{What: policy.DenyGeneration, Value: "snp/Genoa"}, where, true},
		"another platform":   {policy.Denial{What: policy.DenyGeneration, Value: "tdx/Milan"}, where, true},
		"old firmware":       {below("snp/microcode=212"), where, false},
		"new enough":         {below("snp/microcode=211"), where, true},
		"old, of this make":  {below("snp/milan/snp=23"), where, false},
		"of another make":    {below("snp/Genoa/microcode=999"), where, true},
		"another's firmware": {below("azure/microcode=999"), where, true},
		"a number it lacks":  {below("snp/fmc=1"), where, false},
		"no numbers":         {below("snp/microcode=1"), unknown, false},
		"not understood":     {below("snp/microcode"), where, false},
		"of another version": {policy.Denial{What: "firmware", Value: "7"}, where, false},
		"nothing known":      {policy.Denial{What: policy.DenyMachine, Value: "chip-2"}, policy.Where{}, false},
	} {
		err := policy.Floor{Denied: []policy.Denial{{What: policy.DenyMachine, Value: "chip-9"}, c.denied}}.Allows(c.where)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	where.Class = agreement.Software
	if err := (policy.Floor{}).Allows(where); err == nil {
		t.Error("software is allowed by no setting")
	}
	if err := (policy.Floor{InsecureAllowSoftware: true}).Allows(where); err != nil {
		t.Errorf("software allowed: %v", err)
	}
	where.Class = agreement.Confidential
	if err := (policy.Floor{}).Allows(where); err != nil {
		t.Errorf("nothing denied: %v", err)
	}
}
