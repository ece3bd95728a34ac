package nvidia_test

import (
	"strings"
	"testing"
)

// TestMends: who lacks RIMs is told to fetch them, and not to change a machine that may be good.
func TestMends(t *testing.T) {
	const fetch = "strongroom endorsements fetch"
	for _, c := range []struct {
		name  string
		spoil func(*scene)
		want  map[string]string
	}{
		{"no RIMs", func(s *scene) { s.rims = nil }, map[string]string{"nvidia.collateral": fetch, "nvidia.measurements": fetch, "nvidia.debug": fetch}},
		{"no VBIOS RIM", func(s *scene) { s.rims = s.rims[:1] }, map[string]string{"nvidia.measurements": fetch, "nvidia.debug": fetch}},
		{"measured otherwise", func(s *scene) { s.rims[0].values[20] = s.rims[1].values[20] }, map[string]string{"nvidia.measurements": "install the driver", "nvidia.debug": "developer mode"}},
	} {
		s := single()
		c.spoil(s)
		f, err := s.examine()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range f.Checks {
			if want := c.want[x.ID]; want != "" && (x.OK || !strings.Contains(x.Fix, want) || want == fetch && (strings.Contains(x.Fix, "install") || strings.Contains(x.Fix, "devtools"))) {
				t.Errorf("%s: %s: %q, expected it to say %q", c.name, x.ID, x.Fix, want)
			}
		}
	}
}
