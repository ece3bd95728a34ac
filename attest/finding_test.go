package attest_test

import (
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/verdict"
)

func TestStanding(t *testing.T) {
	good, bad := verdict.Check{ID: "a", OK: true}, verdict.Check{ID: "b"}
	for _, c := range []struct {
		name string
		f    attest.Finding
		want attest.Standing
	}{
		{"zero", attest.Finding{}, attest.Contraindicated},
		{"all passed", attest.Finding{Checks: []verdict.Check{good}}, attest.Affirming},
		{"one failed", attest.Finding{Checks: []verdict.Check{good, bad}}, attest.Contraindicated},
		{"one warns", attest.Finding{Checks: []verdict.Check{good}, Warnings: []string{"a"}}, attest.Warning},
		{"a failure outweighs a warning", attest.Finding{Checks: []verdict.Check{good, bad}, Warnings: []string{"a"}}, attest.Contraindicated},
	} {
		if got := c.f.Standing(); got != c.want {
			t.Errorf("%s: %s, expected %s", c.name, got, c.want)
		}
		facts, err := attest.Strict(func([]byte, time.Time) (attest.Finding, error) { return c.f, nil })(nil, time.Time{})
		if failed := c.want == attest.Contraindicated && len(c.f.Checks) > 0; failed != (err != nil) {
			t.Errorf("%s: strictly %v", c.name, err)
		}
		if err == nil && len(facts.Checks) != len(c.f.Checks) {
			t.Errorf("%s: the facts list %d checks", c.name, len(facts.Checks))
		}
	}
}
