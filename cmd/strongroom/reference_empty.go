package main

import (
	"strings"

	"strongroom.dev/attest"
)

// emptyRegisters demands of the registers of a trust domain that are zero, by their claims, that
// they stay so: they are no measurements, and what a group does not name may hold anything.
func emptyRegisters(f attest.Finding) map[string]string {
	empty := make(map[string]string)
	for _, name := range []string{"rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrowner", "mrownerconfig", "mrservicetd"} {
		if value, _ := f.Claims[name].(string); value != "" && strings.Trim(value, "0") == "" {
			empty[name] = value
		}
	}
	return empty
}
