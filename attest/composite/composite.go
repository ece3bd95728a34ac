// Package composite verifies evidence of a machine together with its devices: a CPU's
// evidence and that of GPUs, bound to each other (spec/composite.md).
//
// It promises that the CPU's report data is a hash over the verifier's nonce, what the
// relying party wants bound, and the very bytes of every device's evidence, and that every
// device answered a nonce made from the verifier's. Evidence of devices can therefore not be
// exchanged, dropped, added or replayed by anybody outside of the CPU's protected memory.
//
// It can't promise that the devices are plugged into that machine: code inside that is
// measured well must have talked to them over an SPDM session of its own, and a relay within
// that code would go unseen. The check composite.attachment says so each time.
package composite

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Name is the platform's name in evidence and agreements.
const Name wire.ID = "composite"

// MaxDevices is the most devices of one machine: eight GPUs, four switches, as many cards
// again.
const MaxDevices = 32

// Body is composite evidence.
type Body struct {
	// Nonce is the verifier's challenge, 16 to 64 bytes.
	Nonce wire.Bytes `json:"nonce"`
	// Bound is what the relying party wants bound, 32 or 64 bytes, such as the report data of
	// [attest.Binding]; it takes the place of the CPU's report data in what is found.
	Bound   wire.Bytes        `json:"bound"`
	CPU     attest.Evidence   `json:"cpu"`
	Devices []attest.Evidence `json:"devices"`
}

// DeviceNonce gives the 32 bytes that every device is to be asked with.
func (b Body) DeviceNonce() wire.Hash {
	return wire.SHA256("strongroom/composite-device/v1", b.Nonce, b.Bound)
}

// ReportData gives the 64 bytes that the CPU is to be asked with, once the devices answered.
func (b Body) ReportData() [64]byte {
	fields := [][]byte{b.Nonce, b.Bound}
	for _, d := range b.Devices {
		digest := d.Digest()
		fields = append(fields, digest[:])
	}
	return wire.SHA512("strongroom/composite/v1", fields...)
}

// Encode gives the evidence to send.
func (b Body) Encode() (attest.Evidence, error) {
	if err := b.check(); err != nil {
		return attest.Evidence{}, err
	}
	data, err := wire.Marshal(b)
	return attest.Evidence{Platform: Name, Evidence: data}, err
}

func (b Body) check() error {
	switch {
	case len(b.Nonce) < 16 || len(b.Nonce) > 64:
		return fmt.Errorf("a nonce of %d bytes, expected 16 to 64", len(b.Nonce))
	case len(b.Bound) != 32 && len(b.Bound) != 64:
		return fmt.Errorf("bound data of %d bytes, expected 32 or 64", len(b.Bound))
	case len(b.Devices) == 0 || len(b.Devices) > MaxDevices:
		return fmt.Errorf("%d devices, expected 1 to %d", len(b.Devices), MaxDevices)
	}
	for i, d := range b.Devices {
		for _, other := range b.Devices[:i] {
			if d.Platform == other.Platform && bytes.Equal(d.Evidence, other.Evidence) {
				return fmt.Errorf("one device's evidence twice")
			}
		}
	}
	return nil
}

// Verifier verifies composite evidence. The zero Verifier knows no platform, and refuses.
type Verifier struct {
	// CPUs and Devices are the platforms that may stand for either.
	CPUs, Devices []attest.Examiner
}

// Detect reports whether data looks like the body of composite evidence.
func Detect(data []byte) bool {
	_, err := parse(data)
	return err == nil
}

// Examiner gives the examiner for a table of all kinds of evidence.
func (v Verifier) Examiner() attest.Examiner {
	return attest.Examiner{Name: Name, Detect: Detect, Examine: v.Examine}
}

// Platform gives the platform for the table handed to [attest.Verify].
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: attest.Strict(v.Examine)}
}

func parse(data []byte) (Body, error) {
	var b Body
	if len(data) > attest.MaxEvidence {
		return b, fmt.Errorf("%d bytes, at most %d", len(data), attest.MaxEvidence)
	}
	canonical, err := wire.Canonical(data)
	if err == nil {
		err = wire.Unmarshal(canonical, &b)
	}
	if err != nil {
		return b, err
	}
	return b, b.check()
}

// Examine says everything there is to say about evidence at a time. It gives an error for
// what is not genuine, the binding between the parts included.
func (v Verifier) Examine(evidence []byte, now time.Time) (attest.Finding, error) {
	b, err := parse(evidence)
	if err != nil {
		return attest.Finding{}, verdict.NotGenuine("composite.form", "evidence of a CPU and its devices (spec/composite.md)", verdict.Short(err.Error()), "take it from the attester as it is")
	}
	cpu, err := examine(v.CPUs, "cpu", b.CPU, now)
	if err != nil {
		return attest.Finding{}, err
	}
	x := &examination{body: b, cpu: cpu}
	for i, d := range b.Devices {
		f, err := examine(v.Devices, fmt.Sprintf("device%d", i), d, now)
		if err != nil {
			return attest.Finding{}, err
		}
		x.devices = append(x.devices, f)
	}
	if err := x.bindings(); err != nil {
		return attest.Finding{}, err
	}
	return x.finding(), nil
}

// examine examines one part with the platform that it names.
func examine(table []attest.Examiner, part string, e attest.Evidence, now time.Time) (attest.Finding, error) {
	var names []string
	for _, x := range table {
		if x.Name != e.Platform {
			names = append(names, string(x.Name))
			continue
		}
		f, err := x.Examine(e.Evidence, now)
		if err != nil {
			own := *verdict.As(err)
			own.Kind, own.Check = verdict.Invalid, part+"."+own.Check
			return attest.Finding{}, &own
		}
		return f, nil
	}
	return attest.Finding{}, verdict.NotGenuine("composite."+part, "one of "+strings.Join(names, ", "), verdict.Short(string(e.Platform)), "a CPU's evidence may not stand for a device's, nor the other way round")
}

type examination struct {
	body    Body
	cpu     attest.Finding
	devices []attest.Finding
}

// bindings checks that the parts were made for each other.
func (x *examination) bindings() error {
	want := x.body.ReportData()
	if !bytes.Equal(x.cpu.Facts.ReportData, want[:]) {
		return verdict.NotGenuine("composite.binding", "report data of the CPU that covers nonce, bound data and every device's evidence", "something else", "collect the devices' evidence first, then the CPU's, in one go")
	}
	nonce := x.body.DeviceNonce()
	for i, d := range x.devices {
		if !bytes.Equal(d.Facts.ReportData, nonce[:]) {
			return verdict.NotGenuine("composite.nonce", "every device asked with the nonce made from the verifier's", fmt.Sprintf("device%d answered another", i), "collect the devices' evidence anew")
		}
	}
	return nil
}

// finding puts the parts together. Checks and claims carry the part's name; the machine and
// its measurements are the CPU's, those of devices are added under their part's name.
func (x *examination) finding() attest.Finding {
	f := attest.Finding{Facts: x.cpu.Facts, Claims: map[string]any{"nonce": hex.EncodeToString(x.body.Nonce), "bound": hex.EncodeToString(x.body.Bound)}}
	f.Facts.Platform, f.Facts.ReportData, f.Facts.Checks = Name, x.body.Bound, nil
	f.Facts.Measurements = make(map[string]string)
	f.Facts.Excludes, f.Facts.Trusts = slices.Clone(x.cpu.Facts.Excludes), slices.Clone(x.cpu.Facts.Trusts)
	x.add(&f, "cpu", x.cpu)
	names := make(map[string]bool)
	for i, d := range x.devices {
		part := fmt.Sprintf("device%d", i)
		x.add(&f, part, d)
		f.Facts.Debug = f.Facts.Debug || d.Facts.Debug
		f.Facts.Class = weaker(f.Facts.Class, d.Facts.Class)
		for _, who := range d.Facts.Trusts {
			if !slices.Contains(f.Facts.Trusts, who) {
				f.Facts.Trusts = append(f.Facts.Trusts, who)
			}
		}
		f.Checks = append(f.Checks, once(part, d.Facts.Machine, names))
	}
	x.bound(&f)
	return f
}

// once checks that no chip of a device was there before. Evidence of several devices names
// all their chips, joined by a plus.
func once(part, machine string, names map[string]bool) verdict.Check {
	c := verdict.Check{ID: "composite.devices", OK: true, Expected: "each device once", Got: part + " is a device of its own"}
	for _, chip := range strings.Split(machine, "+") {
		if chip != "" && names[chip] {
			c.OK, c.Got, c.Fix = false, part+" names itself as another one does", "attest every device once"
		}
		names[chip] = true
	}
	return c
}

func (x *examination) add(f *attest.Finding, part string, of attest.Finding) {
	for _, c := range of.Checks {
		c.ID = part + "." + c.ID
		f.Checks = append(f.Checks, c)
	}
	for _, id := range of.Warnings {
		f.Warnings = append(f.Warnings, part+"."+id)
	}
	f.Endorsements = append(f.Endorsements, of.Endorsements...)
	for name, value := range of.Facts.Measurements {
		f.Facts.Measurements[part+"."+name] = value
	}
	f.Claims[part] = map[string]any{
		"platform": string(of.Facts.Platform), "root": of.Facts.Root.String(), "machine": of.Facts.Machine,
		"generation": of.Facts.Generation, "claims": of.Claims,
	}
}

func (x *examination) bound(f *attest.Finding) {
	const attachment = "composite.attachment"
	f.Checks = append(f.Checks,
		verdict.Check{ID: "composite.binding", OK: true, Expected: "report data of the CPU that covers nonce, bound data and every device's evidence", Got: fmt.Sprintf("%d devices covered", len(x.devices))},
		verdict.Check{ID: "composite.nonce", OK: true, Expected: "every device asked with the nonce made from the verifier's", Got: "they were"},
		verdict.Check{ID: attachment, OK: true, Expected: "devices plugged into this very machine", Got: "not known: it rests on the measured code having talked to them over sessions of its own"},
	)
	f.Warnings = append(f.Warnings, attachment)
}

// weaker gives the class that protects less.
func weaker(a, b agreement.Class) agreement.Class {
	order := []agreement.Class{agreement.Confidential, agreement.IntegrityOnly, agreement.Software}
	i, j := slices.Index(order, a), slices.Index(order, b)
	if i < 0 || j < 0 {
		return "" // no known class, which nothing accepts
	}
	return order[max(i, j)]
}
