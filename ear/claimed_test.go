package ear_test

import (
	"fmt"
	"strings"
	"testing"

	"strongroom.dev/ear"
	"strongroom.dev/verdict"
)

// TestMeasurementsOfOneClaim: where an attester names what it measured (registers of DICE layers),
// none of its values stands in a claim that another's is looked for in.
func TestMeasurementsOfOneClaim(t *testing.T) {
	r := ring(t, ear.EAR(), ear.ES256)
	for _, other := range []string{"fmc/info", "FMC-INFO", "fmc info", "fmcéinfo", "fmc_info"} {
		s := statement(t)
		s.Results[0].Measurements = map[string]string{"fmc-info": "bad0", other: "600d"}
		_, err := r.Sign(base, s, now)
		fails(t, other, err, verdict.Refused, "token.measurements")
	}
	s := statement(t)
	s.Results[0].Measurements = map[string]string{"fmc-info": "bad0", "fmc-inf0": "600d"}
	got := must(ear.Verify(must(r.Sign(base, s, now)), expect(t, ear.EAR(), r)))
	for _, claim := range []string{`"strongroom_measurement_fmc_info":"bad0"`, `"strongroom_measurement_fmc_inf0":"600d"`} {
		if !strings.Contains(string(got.Claims), claim) {
			t.Errorf("no %s in %s", claim, got.Claims)
		}
	}
	// Among many, those that the policy did not ask for are in no claim, and in nobody's way.
	many := map[string]string{"measurement": "aa11", "Measurement": "bb22"}
	for i := range 20 {
		many[fmt.Sprint(i)] = "cc"
	}
	s.Results[0].Measurements = many
	s.Results[0].Checks = append(s.Results[0].Checks, verdict.Check{ID: "policy.measurement.measurement", OK: true, Expected: "aa11", Got: "aa11"})
	got = must(ear.Verify(must(r.Sign(base, s, now)), expect(t, ear.EAR(), r)))
	if !strings.Contains(string(got.Claims), `"strongroom_measurement_measurement":"aa11"`) || strings.Contains(string(got.Claims), "bb22") {
		t.Errorf("%s", got.Claims)
	}
}
