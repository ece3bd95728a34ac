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
	} {
		if err := (policy.Denial{What: c.what, Value: c.value}).Check(); (err == nil) != c.ok {
			t.Errorf("%s %q: %v", c.what, c.value, err)
		}
	}
}

func TestFloor(t *testing.T) {
	hex64, root := strings.Repeat("a1", 32), wire.HashOf([]byte("root"))
	where := policy.Where{Platform: "snp", Generation: "Milan", Machine: "chip-1", Root: root, Measurements: map[string]string{"measurement": hex64, "agent": strings.Repeat("b2", 32)}}
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
