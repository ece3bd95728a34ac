package nvidia

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
)

// examination is one examination under way.
type examination struct {
	*held
	now      time.Time
	devices  []*device
	lacking  string // which certificate is missing, if one is
	tries    int    // of the caller's certificates on reports
	count    int    // devices in the evidence
	checks   []verdict.Check
	warnings []string
	claims   map[string]any
	debug    bool
	used     []lineage.Version
}

func invalid(id, expected, got, fix string) error {
	return verdict.NotGenuine("nvidia."+id, expected, verdict.Short(got), fix)
}

func (x *examination) pass(id, expected, got string) {
	x.checks = append(x.checks, verdict.Check{ID: "nvidia." + id, OK: true, Expected: expected, Got: verdict.Printable(got)})
}

func (x *examination) warn(id, expected, got string) {
	x.pass(id, expected, got)
	x.warnings = append(x.warnings, "nvidia."+id)
}

func (x *examination) fail(id, expected, got, fix string) {
	x.checks = append(x.checks, verdict.Check{ID: "nvidia." + id, Expected: expected, Got: verdict.Printable(got), Fix: verdict.Printable(fix)})
}

// each makes one check of all devices: bad says what is wrong with one, "" if nothing is.
func (x *examination) each(id, expected, allGood, fix string, bad func(*device) string) bool {
	var wrong []string
	for _, d := range x.devices {
		if got := bad(d); got != "" {
			wrong = append(wrong, d.name+": "+got)
		}
	}
	if len(wrong) == 0 {
		x.pass(id, expected, allGood)
		return true
	}
	x.fail(id, expected, some(wrong), fix)
	return false
}

// some shows the first of a list and how many more there are.
func some(list []string) string {
	const most = 3
	if len(list) <= most {
		return joined(list)
	}
	return fmt.Sprintf("%s; and %d more", joined(list[:most]), len(list)-most)
}

func joined(list []string) string {
	text := ""
	for i, s := range list {
		if i > 0 {
			text += "; "
		}
		text += s
	}
	return text
}

// open reads and verifies every device. Those whose certificate is missing are left out:
// [examination.unknown] then says so.
func (x *examination) open(found []Device) error {
	x.count = len(found)
	x.pass("form", "reports of NVIDIA GPUs or NVSwitches", fmt.Sprintf("%d", len(found)))
	gpus, switches := 0, 0
	for i, f := range found {
		r, err := ParseReport(f.Report)
		if err != nil {
			return invalid("form", "SPDM 1.1 measurement reports", fmt.Sprintf("device %d: %s", i, err), "send the evidence exactly as the collecting tool gives it")
		}
		d, err := x.verify(r, f)
		if err != nil {
			return err
		}
		if d == nil {
			continue
		}
		if d.isSwitch() {
			d.name, switches = fmt.Sprintf("switch%d", switches), switches+1
		} else {
			d.name, gpus = fmt.Sprintf("gpu%d", gpus), gpus+1
		}
		x.devices = append(x.devices, d)
	}
	return nil
}

// unknown reports whether a report has no certificate that verifies it, in which case nothing
// at all is known.
func (x *examination) unknown() bool {
	if len(x.devices) == x.count {
		return false
	}
	got := fmt.Sprintf("none for %d of %d reports", x.count-len(x.devices), x.count)
	if x.lacking != "" {
		got = x.lacking
	}
	x.fail("collateral", "the certificate chain of every device", got, "send the chain with the report, or give it as an endorsement: nvidia-smi and nvattest collect both")
	x.devices = nil
	return true
}

// judge makes all checks beyond signatures.
func (x *examination) judge() error {
	pin := x.links.devices.pin.Short()
	x.pass("chain", "certificate chains from NVIDIA Device Identity CA (key "+pin+")", x.names())
	x.pass("signature", "every report signed by its device's attestation key", "they are")
	x.firmware()
	x.nonce()
	x.distinct()
	x.known()
	x.each("hints", "nothing beside the reports that contradicts them", "nothing", "send the evidence exactly as the collecting tool gives it",
		func(d *device) string { return d.hints.contradicts(d.report, d.architecture) })
	x.each("dates", "device certificates valid at "+date(x.now), "they are", "check the clock", func(d *device) string { return outside(d.chain, x.now) })
	x.references()
	x.collateral()
	x.measurements()
	x.debugging()
	x.topology()
	x.state()
	return nil
}

func (x *examination) names() string {
	var all []string
	for _, d := range x.devices {
		all = append(all, d.name+" is "+d.chip+" "+d.serial)
	}
	return some(all)
}

// firmware checks that reports name the firmware that holds the key. Reports of switches and
// of older drivers don't; the certificate, which the boot ROM makes for one firmware, does.
func (x *examination) firmware() {
	const expected = "the FWID of the device certificate in every report"
	var silent []string
	for _, d := range x.devices {
		if _, ok := d.report.field(fieldFWID); !ok {
			silent = append(silent, d.name)
		}
	}
	if len(silent) > 0 {
		x.warn("fwid", expected, "not stated by "+some(silent)+"; the boot ROM made the certificate for it all the same")
		return
	}
	x.pass("fwid", expected, "it is")
}

// nonce checks that all reports answer the same question. What it should be is up to the
// relying party.
func (x *examination) nonce() {
	first := x.devices[0].report.Nonce
	fix := "ask all devices with one nonce of 32 random bytes"
	if first == [32]byte{} {
		x.fail("nonce", "one nonce in all requests", "zeros", fix)
		return
	}
	x.each("nonce", "one nonce in all requests", hex.EncodeToString(first[:]), fix, func(d *device) string {
		if d.report.Nonce != first {
			return hex.EncodeToString(d.report.Nonce[:8]) + "…, that of " + x.devices[0].name + " is " + hex.EncodeToString(first[:8]) + "…"
		}
		return ""
	})
}

// distinct checks that no device stands for two.
func (x *examination) distinct() {
	seen := make(map[string]string)
	x.each("devices", "every device once", fmt.Sprintf("%d devices", len(x.devices)), "send one report of each device", func(d *device) string {
		if other, twice := seen[d.serial]; twice {
			return "the same chip as " + other
		}
		seen[d.serial] = d.name
		return ""
	})
}

// known checks that this package knows how to judge the devices, and that GPUs are of one
// kind: a policy that speaks of an architecture means all of them.
func (x *examination) known() {
	gpus := x.generation()
	x.each("architecture", "GPUs of one architecture, Hopper or Blackwell, and LS10 switches", gpus, "use a release that knows these devices", func(d *device) string {
		version, has := d.report.number(fieldVersion)
		_, stated := d.report.field(fieldVersion)
		switch {
		case d.architecture == "":
			return "unknown chip " + text(d.chip)
		case !d.isSwitch() && string(d.architecture) != gpus:
			return string(d.architecture) + " beside " + gpus
		case stated && (!has || version > 1):
			return fmt.Sprintf("opaque data of version %d", version)
		}
		return ""
	})
}

// generation gives the architecture of the GPUs, or that of the switches if there are none;
// of an unknown one, the chip.
func (x *examination) generation() string {
	for _, d := range x.devices {
		switch {
		case d.architecture == "":
			return d.chip
		case !d.isSwitch():
			return string(d.architecture)
		}
	}
	return string(ls10)
}

// kind gives the devices of one kind.
func (x *examination) kind(switches bool) []*device {
	return slices.DeleteFunc(slices.Clone(x.devices), func(d *device) bool { return d.isSwitch() != switches })
}
