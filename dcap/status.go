package dcap

import (
	"fmt"
	"slices"
)

// Status is Intel's judgement of a TCB, of a platform, a TDX module, a quoting enclave or all
// of them together. The zero Status is none.
type Status string

// The statuses, named as Intel does. The last three are the verifier's own conclusions.
const (
	UpToDate                          Status = "UpToDate"
	SWHardeningNeeded                 Status = "SWHardeningNeeded"
	ConfigurationNeeded               Status = "ConfigurationNeeded"
	ConfigurationAndSWHardeningNeeded Status = "ConfigurationAndSWHardeningNeeded"
	OutOfDate                         Status = "OutOfDate"
	OutOfDateConfigurationNeeded      Status = "OutOfDateConfigurationNeeded"
	Revoked                           Status = "Revoked"
	// RelaunchAdvised: the module was updated under a running TD 1.5, which keeps state made by
	// the old one until it is launched again.
	RelaunchAdvised                    Status = "RelaunchAdvised"
	RelaunchAdvisedConfigurationNeeded Status = "RelaunchAdvisedConfigurationNeeded"
	// NotSupported: no TCB level matches, which is worse than a level that is out of date.
	NotSupported Status = "TCBLevelNotSupported"
)

// Good reports whether a platform of this status may be trusted without a word.
func (s Status) Good() bool { return s == UpToDate }

// Tolerable reports whether a platform of this status may be trusted if software or
// configuration makes up for what is known about it: a warning.
func (s Status) Tolerable() bool {
	return s == SWHardeningNeeded || s == ConfigurationNeeded || s == ConfigurationAndSWHardeningNeeded
}

func (s Status) configuration() bool {
	switch s {
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded, OutOfDateConfigurationNeeded, RelaunchAdvisedConfigurationNeeded:
		return true
	}
	return false
}

// platformStatus reads a status of a platform's TCB level.
func platformStatus(text string) (Status, error) {
	known := []Status{UpToDate, SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded, OutOfDate, OutOfDateConfigurationNeeded, Revoked}
	if s := Status(text); slices.Contains(known, s) {
		return s, nil
	}
	return "", fmt.Errorf("unknown TCB status %.60q", text)
}

// enclaveStatus reads a status of a module's or quoting enclave's TCB level.
func enclaveStatus(text string) (Status, error) {
	if s := Status(text); s == UpToDate || s == OutOfDate || s == Revoked {
		return s, nil
	}
	return "", fmt.Errorf("unknown TCB status %.60q of an enclave or module", text)
}

// converge lowers a platform's status by that of something it relies on, the TDX module or
// the quoting enclave, as Intel's quote verification library does. "" changes nothing.
func converge(platform, part Status) Status {
	switch {
	case platform == Revoked || part == Revoked:
		return Revoked
	case platform == NotSupported || part == NotSupported:
		return NotSupported
	case part != OutOfDate:
		return platform
	}
	switch platform {
	case UpToDate, SWHardeningNeeded:
		return OutOfDate
	case ConfigurationNeeded, ConfigurationAndSWHardeningNeeded:
		return OutOfDateConfigurationNeeded
	}
	return platform
}
