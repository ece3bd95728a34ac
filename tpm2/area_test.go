package tpm2_test

import (
	"strings"
	"testing"

	"strongroom.dev/tpm2"
)

// TestWholeLogArea takes an area of 256 KiB that was set aside for a log, as a list of numbers,
// beside everything else.
func TestWholeLogArea(t *testing.T) {
	text := `{"message":"00","signature":"00","pcrs":["` + strings.Repeat("00", 32) + `"],"event_log":[` + strings.Repeat("255,", 256<<10-1) + `255]}`
	if _, err := tpm2.ParseJSON([]byte(text)); err != nil {
		t.Error(err)
	}
}
