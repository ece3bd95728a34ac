package draft_test

import (
	"strings"
	"time"

	"strongroom.dev/reference"
	"strongroom.dev/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func hex48(digit string) string { return strings.Repeat(digit, 96) }

func moment(text string) wire.Time { return wire.At(must(time.Parse(time.RFC3339, text))) }

var now = moment("2026-11-24T09:30:00Z").Time() // constant: the time of most tests

func testValues() reference.Values {
	return reference.Values{
		Product: "room", Version: 7, SecurityVersion: 3, Created: moment("2026-11-01T00:00:00Z"), Expires: moment("2027-04-30T00:00:00Z"),
		Groups: []reference.Group{
			{Name: "four-cpus", Platform: "snp", Measurements: map[string]string{"measurement": hex48("a")}},
			{Name: "eight-cpus", Platform: "snp", Measurements: map[string]string{"measurement": hex48("b")}},
			{Name: "four-cpus", Platform: "tdx", Measurements: map[string]string{"mrtd": hex48("c"), "rtmr0": hex48("d"), "rtmr1": hex48("e")},
				Claims: map[string]string{"td_attributes": "0000001000000000"}, Minimum: map[string]int64{"tdx_components[0]": 6}},
		},
	}
}
