package dev

import (
	"bytes"
	"encoding/hex"
	"time"

	"strongroom.dev/attest"
)

// Examiner gives the examiner that looks at dev evidence. What it finds is insecure and of
// class software; appraisal refuses it unless it is named.
func Examiner() attest.Examiner {
	return attest.Examiner{
		Name:    Name,
		Detect:  func(data []byte) bool { return bytes.Contains(data, []byte(Type)) },
		Examine: examine,
	}
}

func examine(evidence []byte, now time.Time) (attest.Finding, error) {
	f, err := verify(evidence, now)
	if err != nil {
		return attest.Finding{}, err
	}
	return attest.Finding{
		Facts:  f,
		Checks: f.Checks,
		Claims: map[string]any{
			"insecure": true, "root": f.Root.String(), "measurements": f.Measurements,
			"report_data": hex.EncodeToString(f.ReportData), "init_data": hex.EncodeToString(f.InitData),
		},
	}, nil
}
