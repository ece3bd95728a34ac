package nvidia

import (
	"encoding/hex"
	"fmt"
	"slices"
)

// topology checks that GPUs which rely on NVSwitches see exactly the switches that are
// attested here, and that these see exactly the GPUs that are. Identities are taken from
// certificates, so that neither side can name another.
func (x *examination) topology() {
	gpus, switches := x.kind(false), x.kind(true)
	const expected = "GPUs and NVSwitches that see each other, and nobody else"
	modes := make(map[string]bool)
	protected := false
	ok := x.each("mode", "one known mode in all GPUs", "it is", "set all GPUs of a machine to the same mode; use a release that knows it", func(d *device) string {
		if d.isSwitch() {
			return ""
		}
		mode := d.report.mode()
		modes[mode] = true
		protected = protected || mode == modeProtected
		if mode == "" || len(modes) > 1 {
			return "mode " + text(mode)
		}
		return ""
	})
	const whole = "put the reports of all GPUs and NVSwitches of the machine into one list, asked for with one nonce"
	switch {
	case !ok:
		return
	case len(gpus) == 0:
		x.warn("topology", expected, fmt.Sprintf("%d switches without the GPUs they connect: %s", len(switches), whole))
	case !protected && len(switches) == 0:
		x.pass("topology", expected, "GPUs that need no switches")
	case !protected:
		x.fail("topology", expected, "switches beside GPUs that do not say which switches they see", "send their evidence apart, or set the GPUs to protected PCIe mode")
	case len(switches) == 0:
		x.fail("topology", expected, fmt.Sprintf("GPUs that rely on %d switches, of which none is attested", len(x.seen(gpus))), whole)
	default:
		x.views(expected, whole, gpus, switches)
	}
}

// views holds what each device sees against the devices of the other kind.
func (x *examination) views(expected, fix string, gpus, switches []*device) {
	of := map[bool][]PDI{false: identities(switches), true: identities(gpus)}
	x.each("topology", expected, fmt.Sprintf("%d GPUs, %d switches", len(gpus), len(switches)), fix, func(d *device) string {
		sees, stated := d.sees()
		if !stated {
			return "does not say what it sees"
		}
		want := of[d.isSwitch()]
		for _, p := range sees {
			if !slices.Contains(want, p) {
				return "sees " + hex.EncodeToString(p[:]) + ", which is not attested"
			}
		}
		for _, p := range want {
			if !slices.Contains(sees, p) {
				return "does not see " + hex.EncodeToString(p[:])
			}
		}
		return ""
	})
}

func identities(devices []*device) []PDI {
	var all []PDI
	for _, d := range devices {
		all = append(all, d.pdi)
	}
	return all
}

// sees gives the devices of the other kind that a device sees, each once.
func (d *device) sees() ([]PDI, bool) {
	list, ok := d.report.switches()
	if d.isSwitch() {
		list, ok = d.report.gpus()
	}
	var once []PDI
	for _, p := range list {
		if !slices.Contains(once, p) {
			once = append(once, p)
		}
	}
	return once, ok
}

// seen gives all switches that some GPU sees.
func (x *examination) seen(gpus []*device) []PDI {
	var once []PDI
	for _, d := range gpus {
		list, _ := d.sees()
		for _, p := range list {
			if !slices.Contains(once, p) {
				once = append(once, p)
			}
		}
	}
	return once
}
