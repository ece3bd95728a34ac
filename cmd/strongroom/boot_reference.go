package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/image"
	eventlog "strongroom.dev/measure"
	"strongroom.dev/predict"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
)

// bootImage is what an image's directory measures, event by event.
type bootImage struct {
	dir string
	// fromDisk is set where a machine's own firmware starts it: nothing is expected of that.
	fromDisk bool
	events   []eventlog.Expected
}

// imageFlags name an image that must have booted, and how.
type imageFlags struct{ dir, from string }

func (f *imageFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "image", "", "`DIR` of the room image that must have booted, and nothing else")
	cmd.Flags().StringVar(&f.from, "boot", fromVMM, "with --image, what starts it: kernel (QEMU's -kernel, with the image's firmware), or disk (a cloud's or a machine's own firmware, with which nothing is compared)")
}

// readBootImage computes the events of an image directory; nil without one.
func (a *app) readBootImage(given imageFlags) (*bootImage, error) {
	if given.from != fromVMM && (given.from != fromDisk || given.dir == "") {
		return nil, verdict.Misuse("--boot", "kernel; or disk, with --image", fmt.Sprintf("%q", verdict.Short(given.from)), "correct it")
	}
	if given.dir == "" {
		return nil, nil
	}
	dir := filepath.Clean(given.dir)
	f := measureFlags{platform: string(tpm.Name), from: given.from, inputs: map[string]string{}}
	firmware, boot, err := a.bootFiles(f, []string{dir}, image.FileCode)
	if err != nil {
		return nil, err
	}
	if boot == nil {
		return nil, misfile(dir, "an image directory", "no "+image.FileUKI+" in it", "`strongroom image build` makes one")
	}
	b := &bootImage{dir: dir, fromDisk: given.from == fromDisk}
	if b.fromDisk {
		b.events, err = predict.DiskEvents(boot.Kernel)
	} else {
		b.events, err = predict.TPM{Firmware: firmware, Boot: boot}.Events()
	}
	for i := range b.events {
		b.events[i].File = imageFile(dir, b.events[i].File)
	}
	return b, err
}

// imageFile names the file of a part: the copy of it that lies beside the kernel image, if there
// is one.
func imageFile(dir, part string) string {
	name := map[string]string{
		predict.PartFirmware: image.FileCode, predict.PartKernel: image.FileKernel, predict.PartLine: image.FileCmdline, predict.PartInitrd: image.FileInitrd,
	}[part]
	if name != "" {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return name
		}
	}
	if part == "" {
		return ""
	}
	return image.FileUKI
}

// add has the boot compared with the image: with all that a machine of QEMU's measures, or where
// the relying party says that other firmware boots it with what follows from the image alone.
func (b *bootImage) add(c *bootClaims, r *bootReference) {
	if b == nil || c.kind() != eventlog.PCRs || c.Log.Bank != eventlog.SHA256.String() {
		return
	}
	if r.Registers == nil {
		r.Registers = map[uint32]bool{}
	}
	for i := range eventlog.NumPCRs {
		if r.exact = r.exact || !b.fromDisk; i > 11 && (!b.fromDisk || i < 14) {
			r.Registers[uint32(i)] = c.untouched(i)
		}
	}
	for _, e := range b.events {
		r.Registers[e.Register] = false // unless the events are there
	}
	if !b.fromDisk {
		for _, i := range []uint32{0, 1, 8, 10} { // unless they hold what can't be known ahead
			r.Registers[i] = false
		}
		if c.Log.BootVariables {
			delete(r.Registers, 1) // which depend on the machine, and no measurement is of them
		}
	}
	r.Events = slices.DeleteFunc(r.Events, func(e eventlog.Expected) bool { return b.names(e.Register) })
	r.Events = append(r.Events, c.proven(b.events)...)
	if !b.fromDisk && c.Log.Firmware == nil { // other firmware than OVMF, whatever it measures
		r.Events = slices.DeleteFunc(r.Events, func(e eventlog.Expected) bool { return e.Register == 0 })
	}
	r.also("the image in " + b.dir)
	r.image = b
}

// names reports whether events of a register are known.
func (b *bootImage) names(register uint32) bool {
	return slices.ContainsFunc(b.events, func(e eventlog.Expected) bool { return e.Register == register })
}

// untouched reports whether nothing was measured into a PCR.
func (c *bootClaims) untouched(i int) bool {
	return c.value(i) != "" && !slices.Contains(c.Log.Matched, i) && !slices.Contains(c.Log.Unexplained, i) && !slices.Contains(c.Log.Differ, i)
}

// also names something more that lines are compared with.
func (r *bootReference) also(name string) {
	if r.names != "" {
		r.names += " and "
	}
	r.names += name
}

// proven leaves out events of registers of which the log proves nothing: they would be missing
// from it, while the register as a whole tells.
func (c *bootClaims) proven(events []eventlog.Expected) (some []eventlog.Expected) {
	for _, e := range events {
		if i := int(e.Register); !slices.Contains(c.Log.Differ, i) && !slices.Contains(c.Log.Unexplained, i) && !slices.Contains(c.Log.Unquoted, i) {
			some = append(some, e)
		}
	}
	return some
}

// check says whether what booted is the image and nothing else.
func (b *bootImage) check(s *bootStory) verdict.Check {
	c := verdict.Check{ID: "image", Expected: "a boot of the image in " + b.dir + ", and of nothing beside it", Fix: "start the machine with this very image; or name the one that it should boot, and --boot disk if its own firmware starts it"}
	switch wrong := s.wrong(); {
	case s == nil || s.image != b:
		c.Got = "no event log of a machine with a TPM that its quote proves in the SHA-256 bank"
		c.Fix = "leave --image out: only a TPM's quote tells an image's boot event by event; compare what is measured with what strongroom image measure prints for the platform"
	case s.Left > 0:
		c.Got = fmt.Sprintf("an event log of which %d events were not looked at", s.Left)
	case wrong != nil:
		c.Got = verdict.Printable(fmt.Sprintf("%s: %s: %s", wrong.Name, wrong.Match, wrong.Words))
	default:
		c.OK, c.Fix, c.Got = true, "", fmt.Sprintf("%d of %d lines matched, and no reference value is about the others", s.count(eventlog.Matched), len(s.Lines))
	}
	return c
}

// pinned are measurements that a reference gives, by name, each with the values that will do.
type pinned map[string][]string

// compareMeasurements makes a reference of measurements by name. With exact, what is measured and
// not pinned is not expected.
func compareMeasurements(c *bootClaims, measured map[string]string, want pinned, exact bool) bootReference {
	r := bootReference{exact: exact, Reference: eventlog.Reference{Registers: map[uint32]bool{}}}
	prefix := "pcr"
	if c.kind() == eventlog.RTMRs {
		prefix = "rtmr"
	}
	for name, values := range want {
		if i, err := strconv.ParseUint(strings.TrimPrefix(name, prefix), 10, 8); err == nil && strings.HasPrefix(name, prefix) {
			r.Registers[uint32(i)] = slices.Contains(values, measured[name])
		}
	}
	for name := range measured {
		i, err := strconv.ParseUint(strings.TrimPrefix(name, prefix), 10, 8)
		if _, known := r.Registers[uint32(i)]; exact && err == nil && strings.HasPrefix(name, prefix) && !known {
			r.Registers[uint32(i)] = false
		}
	}
	if c.Log.Firmware != nil {
		r.Events = c.firmware(measured, want, exact)
	}
	return r
}

// firmware gives the events of PCR 0 of a machine that OVMF booted, as far as its parts are pinned.
func (c *bootClaims) firmware(measured map[string]string, want pinned, exact bool) []eventlog.Expected {
	digest := func(name string) string {
		switch values := want[name]; {
		case slices.Contains(values, measured[name]):
			return measured[name]
		case len(values) > 0:
			return values[0]
		case exact:
			return "none" // which no digest is
		}
		return ""
	}
	events := []eventlog.Expected{{Digest: digest("firmware.version")}}
	for _, v := range c.Log.Firmware.Volumes {
		e := eventlog.Expected{}
		if !v.Open {
			e.Digest = digest("firmware." + strings.TrimPrefix(v.Base, "0x"))
		}
		events = append(events, e)
	}
	return append(events, eventlog.Expected{}) // the separator, without which there would be no firmware by its parts
}

// addBoot tells what booted, compared with what policy and image say; an image that is named must
// have booted.
func (r *appraised) addBoot(d appraise.Demand, b *bootImage, explain bool) {
	if r.invalid || !explain && b == nil {
		return
	}
	if c := readBoot(r.Claims); c != nil {
		ref := policyReference(c, d, r.Result)
		b.add(c, &ref)
		r.Boot = c.tell(ref)
	}
	if b == nil {
		return
	}
	c := b.check(r.Boot)
	if r.Checks = append(r.Checks, c); !c.OK {
		r.Verdict = attest.Contraindicated
	}
}

// policyReference is what a policy and the reference values that it accepted say.
func policyReference(c *bootClaims, d appraise.Demand, r appraise.Result) bootReference {
	if d.Policy == nil {
		return bootReference{}
	}
	want, exact := pinned{}, false
	for name, values := range d.Policy.Platforms[r.Platform].Measurements {
		want[name] = values
	}
	if g := usedGroup(d.References.Sets, r.Reference); g != nil {
		for name, value := range g.Measurements {
			want[name] = []string{value}
		}
		exact = g.Exact
	}
	if len(want) == 0 {
		return bootReference{}
	}
	ref := compareMeasurements(c, r.Measurements, want, exact)
	ref.also("policy " + string(d.Policy.ID))
	return ref
}

// usedGroup finds the group of reference values that evidence matched.
func usedGroup(sets [][]byte, used *appraise.ReferenceUsed) *reference.Group {
	if used == nil || used.Group == "" {
		return nil
	}
	for _, data := range sets {
		p, err := reference.Parse(data)
		if err != nil || p.Document.Digest() != used.Digest {
			continue
		}
		for i := range p.Values.Groups {
			if g := &p.Values.Groups[i]; g.Name == used.Group {
				return g
			}
		}
	}
	return nil
}

// agreedReference is what an agreement says of a machine: its image that comes nearest. accepted
// says that a release line lists what was measured.
func agreedReference(c *bootClaims, ag *agreement.SignedAgreement, facts attest.Facts, accepted bool) bootReference {
	var best map[string]string
	for _, p := range ag.Platforms {
		for _, image := range p.Images {
			if p.Kind == facts.Platform && (best == nil || equalIn(image.Measurements, facts.Measurements) > equalIn(best, facts.Measurements)) {
				best = image.Measurements
			}
		}
	}
	if accepted {
		best = facts.Measurements // the agreement accepts them all
	}
	want := pinned{}
	for name, value := range best {
		want[name] = []string{value}
	}
	r := compareMeasurements(c, facts.Measurements, want, best != nil)
	r.agreement = ag.Digest().Short() + ": " + string(ag.ID) + " version " + strconv.FormatInt(ag.Version, 10)
	r.also("the agreement")
	return r
}

// equalIn counts what two sets of measurements have in common.
func equalIn(a, b map[string]string) (n int) {
	for name := range maps.Keys(a) {
		if a[name] == b[name] {
			n++
		}
	}
	return n
}
