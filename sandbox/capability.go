package sandbox

import (
	"fmt"
	"slices"
)

// AllowedCapabilities are those that a cell's first process may have, and agreements may name:
// what container run-times give by default, without what makes devices, raw packets and
// records of the kernel's. All others reach beyond a room's cell, or would if a layer failed.
func AllowedCapabilities() []string {
	var names []string
	for _, c := range capabilities() {
		names = append(names, c.name)
	}
	return names
}

type capability struct {
	name   string
	number uint
}

// capabilities have their numbers from capabilities(7).
func capabilities() []capability {
	return []capability{
		{"CAP_CHOWN", 0}, {"CAP_DAC_OVERRIDE", 1}, {"CAP_FOWNER", 3}, {"CAP_FSETID", 4}, {"CAP_KILL", 5},
		{"CAP_SETGID", 6}, {"CAP_SETUID", 7}, {"CAP_SETPCAP", 8}, {"CAP_NET_BIND_SERVICE", 10}, {"CAP_SYS_CHROOT", 18},
	}
}

// capabilitySet gives the bits of capabilities by name.
func capabilitySet(names []string) (uint64, error) {
	var set uint64
	for _, name := range names {
		i := slices.IndexFunc(capabilities(), func(c capability) bool { return c.name == name })
		if i < 0 {
			return 0, fmt.Errorf("capability %q: not one that a room gives", name)
		}
		set |= 1 << capabilities()[i].number
	}
	return set, nil
}
