package nvidia

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

const rimService = "https://rim.attestation.nvidia.com/v1/rim/"

// indexNVDEC0 is the measurement of the video decoder, which exists only where it is on.
const indexNVDEC0 = 35

// fitting gives the RIMs in the caller's hands for one edition and version of a device.
func (x *examination) fitting(d *device, version string) []*rim {
	edition := "GPU"
	if d.isSwitch() {
		edition = "SWITCH"
	}
	var all []*rim
	for _, r := range x.rims {
		if version != "" && r.edition == edition && strings.EqualFold(r.product, d.product()) && strings.EqualFold(r.version, version) && len(all) < maxFitting {
			all = append(all, r)
		}
	}
	return all
}

// pick chooses among the genuine RIMs of one version: boards share VBIOS versions, and a RIM
// does not name its board. All are NVIDIA's word for that version on that chip, so that
// any of them may vouch: valid ones come before expired ones, and closer ones before others.
// It gives why none is genuine, "" if there are none at all.
func (x *examination) pick(d *device, version string) (*rim, string) {
	var best *rim
	why, least := "", 0
	for _, r := range x.fitting(d, version) {
		if err := r.genuine(x.links); err != nil {
			if why == "" {
				why = fmt.Sprintf("%.80q: %s", r.name, err)
			}
			continue
		}
		wrong := len(d.differences(r))
		if outside(r.chain, x.now) != "" {
			wrong += maxIndex + 1
		}
		if best == nil || wrong < least {
			best, least = r, wrong
		}
	}
	if best != nil {
		return best, ""
	}
	return nil, why
}

// references finds the RIMs of every device and checks that they are genuine and current.
// Missing ones are left to collateral.
func (x *examination) references() {
	const expected = "RIMs signed by NVIDIA, their signers valid at the time"
	count := 0
	bad := func(d *device) string {
		var whyDriver, whyVBIOS string
		if !d.isSwitch() {
			d.driver, whyDriver = x.pick(d, d.report.driver())
		}
		d.vbios, whyVBIOS = x.pick(d, d.report.vbios())
		var wrong []string
		for _, why := range []string{whyDriver, whyVBIOS} {
			if why != "" {
				wrong = append(wrong, why)
			}
		}
		for _, r := range d.rims() {
			count++
			if late := outside(r.chain, x.now); late != "" {
				wrong = append(wrong, fmt.Sprintf("%.80q: %s", r.name, late))
			}
		}
		return joined(wrong)
	}
	var wrong []string
	for _, d := range x.devices {
		if got := bad(d); got != "" {
			wrong = append(wrong, d.name+": "+got)
		}
	}
	switch {
	case len(wrong) > 0:
		x.fail("rim", expected, some(wrong), "fetch the RIM anew from "+rimService+", where NVIDIA signs it again before its signer ends")
	case count > 0:
		x.pass("rim", expected, fmt.Sprintf("%d", count))
	}
}

// rims gives the RIMs that were found.
func (d *device) rims() []*rim {
	var all []*rim
	for _, r := range []*rim{d.driver, d.vbios} {
		if r != nil {
			all = append(all, r)
		}
	}
	return all
}

// complete reports whether all RIMs that the device needs were found.
func (d *device) complete() bool { return d.vbios != nil && (d.driver != nil || d.isSwitch()) }

// wanted is a RIM that is missing.
type wanted struct{ id, version string }

// missing gives the RIMs that were not found.
func (d *device) missing() []wanted {
	var all []wanted
	if d.driver == nil && !d.isSwitch() {
		all = append(all, wanted{d.driverRIM(), d.report.driver()})
	}
	if d.vbios == nil {
		all = append(all, wanted{d.vbiosRIM(), d.report.vbios()})
	}
	return all
}

// measurements checks every measurement that a RIM names as active. Those that none names
// are not judged.
func (x *examination) measurements() {
	judged := 0
	fix := x.orRIMs("install the driver and VBIOS that NVIDIA has signed; a GPU in developer mode measures otherwise, and so does altered firmware")
	x.each("measurements", "the measurements of NVIDIA's RIMs, all of them", "all as the RIMs have them", fix, func(d *device) string {
		if !d.complete() {
			return "nothing to compare with"
		}
		wrong, n := d.judge()
		judged += n
		d.matched = len(wrong) == 0
		return some(wrong)
	})
	if judged > 0 {
		x.claims["measurements_judged"] = int64(judged)
	}
}

// orRIMs gives what mends a comparison with RIMs: where nothing is found wrong but that RIMs are
// missing, that is all there is to say.
func (x *examination) orRIMs(fix string) string {
	lacking := false
	for _, d := range x.devices {
		if len(d.open()) > 0 {
			return fix
		}
		if !d.complete() {
			lacking = true
			continue
		}
		if wrong, _ := d.judge(); len(wrong) > 0 {
			return fix
		}
	}
	if !lacking {
		return fix
	}
	return "fetch the RIMs that are missing (strongroom endorsements fetch), and judge the evidence again with them"
}

// judge compares the report with the device's RIMs. It gives what differs, and how many were
// compared.
func (d *device) judge() (wrong []string, judged int) {
	if d.driver != nil {
		for _, ref := range d.driver.golden {
			if slices.ContainsFunc(d.vbios.golden, func(other reference) bool { return other.index == ref.index }) {
				wrong = append(wrong, fmt.Sprintf("measurement %d is in the RIMs of driver and VBIOS both", ref.index))
			}
		}
	}
	for _, r := range d.rims() {
		for _, ref := range r.golden {
			if !d.without(ref.index) {
				judged++
			}
		}
		wrong = append(wrong, d.differences(r)...)
	}
	if judged == 0 {
		wrong = append(wrong, "no measurement is to be compared")
	}
	return wrong, judged
}

// without reports whether a measurement is that of a part which the report says is off.
func (d *device) without(index int) bool {
	status, _ := d.report.number(fieldNVDEC0)
	return index == indexNVDEC0 && !d.isSwitch() && status == statusOff
}

// differences gives the measurements that are not what a RIM says.
func (d *device) differences(r *rim) []string {
	var wrong []string
	for _, ref := range r.golden {
		if d.without(ref.index) {
			continue
		}
		got := d.report.measurement(ref.index)
		status, _ := d.report.number(fieldNVDEC0)
		switch {
		case ref.index == indexNVDEC0 && !d.isSwitch() && status != statusOn:
			wrong = append(wrong, fmt.Sprintf("NVDEC0 status %#x, which says neither on nor off", status))
		case got == nil:
			wrong = append(wrong, fmt.Sprintf("measurement %d is missing", ref.index))
		case !slices.ContainsFunc(ref.values, func(want []byte) bool { return bytes.Equal(got, want) }):
			wrong = append(wrong, fmt.Sprintf("measurement %d (%.40s) is %.12x…, none of %d alternatives of RIM %s %.40s", ref.index, ref.name, got, len(ref.values), r.product, r.version))
		}
	}
	return wrong
}

// debugging checks that nobody can look inside. NVIDIA's firmware has no field for that: in
// debug and developer modes the chain does not end at the pinned root, or measurements
// differ. The later form of certificates has flags besides.
func (x *examination) debugging() {
	fix := x.orRIMs("turn confidential computing on, and developer mode (devtools) off")
	x.debug = !x.each("debug", "no debug or developer mode", "secure boot, debugging off: the measurements are those of production", fix,
		func(d *device) string {
			switch open := d.open(); {
			case len(open) > 0:
				return "its certificate says: " + strings.Join(open, ", ")
			case !d.matched:
				return "not known, for the measurements are not shown to be those of production"
			}
			return ""
		})
}
