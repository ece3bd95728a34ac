package nvidia

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
)

// finding gives what was found. If a chain is missing, nothing is known but that.
func (x *examination) finding() attest.Finding {
	f := attest.Finding{Checks: x.checks, Warnings: x.warnings, Endorsements: x.used}
	if len(x.devices) == 0 {
		f.Facts = attest.Facts{Platform: Name, Class: agreement.Confidential, Debug: true}
		return f
	}
	f.Claims = x.claims
	f.Facts = attest.Facts{
		Platform:     Name,
		Class:        agreement.Confidential,
		Root:         x.links.devices.pin,
		Machine:      x.machine(),
		Generation:   x.generation(),
		ReportData:   slices.Clone(x.devices[0].report.Nonce[:]),
		Measurements: x.measured(),
		Debug:        x.debug,
		Excludes:     []string{"host administrator", "cloud operator"},
		Trusts: []string{"NVIDIA: GPUs, their firmware and keys",
			"whatever binds the GPUs to their machine: their evidence alone does not"},
	}
	if len(x.kind(true)) > 0 || slices.ContainsFunc(x.devices, func(d *device) bool { return !d.isSwitch() && d.report.mode() == modeProtected }) {
		f.Facts.Trusts = append(f.Facts.Trusts, "whoever can touch the links between GPUs, which are not encrypted")
	}
	return f
}

// machine names the machine by the serial numbers of its chips, in order, with plus signs
// between them.
func (x *examination) machine() string {
	var all []string
	for _, d := range x.devices {
		all = append(all, d.serial)
	}
	slices.Sort(all)
	return strings.Join(all, "+")
}

// measured gives what a policy pins: the firmware's digest and the digests of the RIMs that
// the measurements were held against. A name without a number stands for all devices of its
// kind, and is there only if they agree.
func (x *examination) measured() map[string]string {
	m := make(map[string]string)
	for kind, devices := range map[string][]*device{"gpu": x.kind(false), "switch": x.kind(true)} {
		for name, of := range map[string]func(*device) []byte{
			"fwid":       func(d *device) []byte { return d.fwid },
			"driver_rim": func(d *device) []byte { return d.driver.sum() },
			"vbios_rim":  func(d *device) []byte { return d.vbios.sum() },
		} {
			add(m, kind+"_"+name, devices, of)
		}
	}
	return m
}

func (r *rim) sum() []byte {
	if r == nil {
		return nil
	}
	return r.digest[:]
}

func add(m map[string]string, name string, devices []*device, of func(*device) []byte) {
	values := make(map[string]bool)
	for _, d := range devices {
		values[hex.EncodeToString(of(d))] = true
	}
	if len(values) == 1 {
		for value := range values {
			if value != "" {
				m[name] = value
			}
		}
		return
	}
	for i, d := range devices {
		if value := of(d); value != nil {
			m[fmt.Sprintf("%s_%d", name, i)] = hex.EncodeToString(value)
		}
	}
}

// state claims everything that the reports and certificates say. What one device says stands
// at the top, too, if there is only one.
func (x *examination) state() {
	var list []any
	for _, d := range x.devices {
		list = append(list, d.claims())
	}
	if len(x.devices) == 1 {
		maps.Copy(x.claims, x.devices[0].claims())
	}
	x.claims["devices"] = list
	x.claims["nonce"] = hex.EncodeToString(x.devices[0].report.Nonce[:])
	x.claims["gpus"] = int64(len(x.kind(false)))
	x.claims["switches"] = int64(len(x.kind(true)))
	x.claims["root_fingerprint"] = x.links.devices.pin.String()
}

func (d *device) claims() map[string]any {
	r, leaf := d.report, d.chain[0]
	m := map[string]any{
		"device": d.name, "architecture": string(d.architecture), "chip": d.chip, "hardware_model": leaf.Subject.CommonName,
		"serial": d.serial, "device_pdi": hex.EncodeToString(d.pdi[:]), "leaf_serial": fmt.Sprintf("%X", leaf.SerialNumber),
		"certified_fwid": hex.EncodeToString(d.fwid), "certificate_chain": names(d.chain), "certificates_end": date(end(d.chain)),
		"spdm_version": "1.1", "nonce": hex.EncodeToString(r.Nonce[:]), "responder_nonce": hex.EncodeToString(r.Responder[:]),
		"response_params": hex.EncodeToString(r.Params[:]), "padding": int64(r.Padding), "measurements_match": d.matched, "secure_boot": d.matched,
		"debug_disabled": d.matched && len(d.open()) == 0,
	}
	values, types := make(map[string]any), make(map[string]any)
	for _, b := range r.Blocks {
		index := fmt.Sprintf("%d", b.Index-1)
		values[index], types[index] = hex.EncodeToString(b.Value), int64(b.Type)
	}
	m["measurements"], m["measurement_types"] = values, types
	for _, f := range r.Fields {
		switch {
		case f.Type == fieldPDI && !d.isSwitch():
			m["switch_pdis"] = d.field(f)
		case f.Type == fieldGPUPDIs && len(f.Data) > sizePDIs:
			m["gpu_ports"] = hex.EncodeToString(f.Data[sizePDIs:])
			fallthrough
		default:
			m[f.Type.String()] = d.field(f)
		}
	}
	if d.svn != nil {
		m["svn"] = *d.svn
	}
	if d.flags != nil { // as in the certificate, bit 0 first
		m["dice_flags"] = fmt.Sprintf("%08x", bits.Reverse32(uint32(d.flags.Set)))
	}
	if !d.isSwitch() {
		m["mode"] = r.mode()
		d.driver.claim(m, "driver_rim", d.driverRIM())
	}
	d.vbios.claim(m, "vbios_rim", d.vbiosRIM())
	return m
}

// field gives a field as a claim: text, number, list, or hex.
func (d *device) field(f Field) any {
	r := d.report
	switch f.Type {
	case fieldVBIOS:
		if v := r.vbios(); v != "" {
			return v
		}
	case fieldDriver, fieldChipSKU, 16, fieldProject, fieldProjectSKU, 19, fieldChip:
		if s, ok := plainText(f.Data); ok {
			return s
		}
	case fieldVersion, fieldMode:
		if n, ok := r.number(f.Type); ok && n < 1<<16 {
			return int64(n)
		}
	case fieldCounts:
		if len(f.Data)%4 == 0 {
			list := []any{}
			for n := range slices.Chunk(f.Data, 4) {
				list = append(list, int64(le16(n))|int64(le16(n[2:]))<<16)
			}
			return list
		}
	case fieldPDI, fieldGPUPDIs:
		if list, ok := d.sees(); ok && d.isSwitch() == (f.Type == fieldGPUPDIs) {
			all := []any{}
			for _, p := range list {
				all = append(all, hex.EncodeToString(p[:]))
			}
			return all
		}
	}
	return hex.EncodeToString(f.Data)
}

// claim adds what is known of a RIM.
func (r *rim) claim(m map[string]any, name, id string) {
	m[name+"_id"] = id
	if r == nil {
		return
	}
	m[name+"_version"], m[name+"_digest"] = r.version, r.digest.String()
	m[name+"_signer"], m[name+"_signer_end"] = common(r.chain[0]), date(end(r.chain))
}
