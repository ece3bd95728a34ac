package reference_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func claims(m map[string]any) func(string) (any, bool) {
	return func(path string) (any, bool) { v, found := m[path]; return v, found }
}

func TestMatch(t *testing.T) {
	set := must(reference.Verify(must(good().Encode()), testLine(), reference.Name{}, now))
	tdx := map[string]string{"mrtd": hex48("c"), "rtmr0": hex48("d"), "rtmr1": hex48("e"), "rtmr2": hex48("f")}
	known := map[string]any{"td_attributes": "0000001000000000", "tdx_components[0]": int64(7)}
	without := func(register string) map[string]string {
		m := maps.Clone(tdx)
		delete(m, register)
		return m
	}
	other := maps.Clone(tdx)
	other["rtmr1"] = hex48("0")
	for _, c := range []struct {
		name      string
		platform  wire.ID
		measured  map[string]string
		claims    map[string]any
		registers []string
		group     wire.ID
		differs   string
	}{
		{"first", "snp", map[string]string{"measurement": hex48("a")}, nil, nil, "four-cpus", ""},
		{"second", "snp", map[string]string{"measurement": hex48("b")}, nil, []string{"measurement"}, "eight-cpus", ""},
		{"neither", "snp", map[string]string{"measurement": hex48("c")}, nil, nil, "four-cpus", "measurement"},
		{"nothing measured", "snp", nil, nil, nil, "four-cpus", "measurement"},
		{"another platform's value", "tdx", map[string]string{"measurement": hex48("a")}, nil, nil, "four-cpus", "mrtd rtmr0 rtmr1 td_attributes tdx_components[0]"},
		{"no group", "sgx", map[string]string{"measurement": hex48("a")}, nil, nil, "", ""},
		{"whole", "tdx", tdx, known, nil, "four-cpus", ""},
		{"a register less", "tdx", without("rtmr0"), known, nil, "four-cpus", "rtmr0"},
		{"a register else", "tdx", other, known, nil, "four-cpus", "rtmr1"},
		{"a register that is not named", "tdx", tdx, known, []string{"rtmr1", "rtmr2"}, "four-cpus", "rtmr2"},
		{"no claims", "tdx", tdx, nil, nil, "four-cpus", "td_attributes tdx_components[0]"},
		{"another claim", "tdx", tdx, map[string]any{"td_attributes": "1", "tdx_components[0]": int64(6)}, nil, "four-cpus", "td_attributes"},
		{"too low", "tdx", tdx, map[string]any{"td_attributes": "0000001000000000", "tdx_components[0]": int64(5)}, nil, "four-cpus", "tdx_components[0]"},
		{"a text is no number", "tdx", tdx, map[string]any{"td_attributes": "0000001000000000", "tdx_components[0]": "9"}, nil, "four-cpus", "tdx_components[0]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := reference.Found{Platform: c.platform, Measurements: c.measured, Registers: c.registers}
			if c.claims != nil {
				f.Claim = claims(c.claims)
			}
			m := set.Match(f)
			var differs []string
			for _, d := range m.Differences {
				differs = append(differs, d.What)
				if d.Expected == "" || d.Got == "" || !strings.Contains(m.String(), d.What+" is ") {
					t.Errorf("%+v in %s", d, m)
				}
			}
			if m.Group != c.group || strings.Join(differs, " ") != c.differs || m.OK != (c.differs == "" && c.group != "") {
				t.Errorf("got %s, expected group %s, differences %s", m, c.group, c.differs)
			}
		})
	}
	if m := set.Match(reference.Found{Platform: "snp", Measurements: map[string]string{"measurement": "00"}}); m.Groups != 2 || m.Of != 1 {
		t.Errorf("%+v", m)
	}
	// An exact group names everything that may be measured.
	v := testValues()
	v.Groups = append(v.Groups, reference.Group{Name: "exact", Platform: "tpm", Measurements: map[string]string{"pcr4": hex48("a")}, Exact: true})
	set = must(reference.Verify([]byte(text(logged(signed(v, "one", "two"), testLog))), testLine(), reference.Name{}, now))
	if m := set.Match(reference.Found{Platform: "tpm", Measurements: map[string]string{"pcr4": hex48("a")}}); !m.OK {
		t.Errorf("%+v", m)
	}
	m := set.Match(reference.Found{Platform: "tpm", Measurements: map[string]string{"pcr4": hex48("a"), "pcr12": hex48("b")}})
	if m.OK || m.Of != 2 || len(m.Differences) != 1 || m.Differences[0].What != "pcr12" {
		t.Errorf("%+v", m)
	}
	// The nearest group is told, not the first one.
	v = testValues()
	for i, digits := range []string{"111", "a11", "ab1"} {
		g := reference.Group{Name: wire.ID(fmt.Sprintf("g%d", i)), Platform: "tpm", Measurements: map[string]string{}}
		for j, d := range strings.Split(digits, "") {
			g.Measurements[fmt.Sprintf("pcr%d", j)] = strings.Repeat(d, 64)
		}
		v.Groups = append(v.Groups, g)
	}
	set = must(reference.Verify([]byte(text(logged(signed(v, "one", "two"), testLog))), testLine(), reference.Name{}, now))
	m = set.Match(reference.Found{Platform: "tpm", Measurements: map[string]string{"pcr0": strings.Repeat("a", 64), "pcr1": strings.Repeat("b", 64), "pcr2": strings.Repeat("c", 64)}})
	if m.Group != "g2" || len(m.Differences) != 1 || m.Groups != 3 || m.Of != 3 {
		t.Errorf("%+v", m)
	}
	var zero reference.Set
	if zero.Match(reference.Found{Platform: "snp", Measurements: map[string]string{"measurement": hex48("a")}}).OK {
		t.Error("the zero set matches")
	}
}

func TestFollows(t *testing.T) {
	n := reference.Name{Product: "room", Version: 2, SecurityVersion: 1}
	if n.Follows(reference.Name{}) != nil || n.Follows(n) != nil {
		t.Error("refused")
	}
	if err := n.Follows(reference.Name{Product: "other", Version: 1}); err == nil || verdict.As(err).Kind != verdict.Refused {
		t.Error(err)
	}
}

func TestDocumentRefuses(t *testing.T) {
	if _, err := (reference.Values{}).Document(); err == nil || verdict.As(err).Kind != verdict.Usage {
		t.Error(err)
	}
	if d, err := testValues().Document(); err != nil || d.Digest() != good().Document.Digest() {
		t.Error(err)
	}
}
