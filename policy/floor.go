package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Floor is the owner's own limit below any agreement: it can only refuse more (R5).
type Floor struct {
	// InsecureAllowSoftware is set if this broker may release to rooms of class software at
	// all (R4).
	InsecureAllowSoftware bool
	// Denied is what no room may be or run on, whatever was agreed.
	Denied []Denial
}

// Denial is one thing that a broker's owner denies, alone and at once (R5). The zero Denial
// is none.
type Denial struct {
	What  What   `json:"what"`
	Value string `json:"value"`
}

// What says which of a room's properties a denial is about.
type What string

// The properties that can be denied.
const (
	// DenyImage is any measurement of a room: its image, agent or a helper; 32 to 128 digits of
	// lower-case hex.
	DenyImage What = "image"
	// DenyMachine is one machine, as its platform prints it, in whatever case.
	DenyMachine What = "machine"
	// DenyRoot is a root of evidence, by fingerprint.
	DenyRoot What = "root"
	// DenyGeneration is a make of hardware: its platform, a slash and the vendor's name for it, in
	// whatever case.
	DenyGeneration What = "generation"
	// DenyBelow is firmware older than the owner demands: platform, slash, generation and another
	// slash where only that is meant, a name of [attest.TCBNames], an equals sign and the least
	// number that is not denied: snp/Milan/microcode=211. A room whose number is not known is
	// denied too.
	DenyBelow What = "below"
)

// maxDenied is the longest value of a denial, in bytes: the longest name of a machine is an
// EK's fingerprint or a chip id of 128 digits.
const maxDenied = 256

// Check looks at a denial's form: one that nothing could ever match protects nobody.
func (d Denial) Check() error {
	expected, ok := "image, machine, root, generation or below", false
	switch d.What {
	case DenyImage:
		expected = "32 to 128 digits of lower-case hex"
		ok = len(d.Value) >= 32 && len(d.Value) <= 128 && strings.Trim(d.Value, "0123456789abcdef") == ""
	case DenyMachine:
		expected = fmt.Sprintf("the name of a machine as its platform prints it, at most %d bytes", maxDenied)
		ok = d.Value != "" && len(d.Value) <= maxDenied && plainWord(d.Value)
	case DenyRoot:
		_, err := wire.ParseHash(d.Value)
		expected, ok = "a fingerprint, sha256: and 64 hex digits", err == nil
	case DenyGeneration:
		platform, name, found := strings.Cut(d.Value, "/")
		expected = "a platform, a slash and a generation, such as snp/Milan"
		ok = found && wire.ID(platform).Valid() && name != "" && len(d.Value) <= maxDenied && plainWord(d.Value)
	case DenyBelow:
		expected = "a platform, its generation if only that is meant, a number's name and the least of it, such as snp/Milan/microcode=211"
		l, err := parseLeast(d.Value)
		if err == nil && !slices.Contains(attest.TCBNames(l.platform), l.name) {
			expected = least{platform: l.platform}.choice()
			err = fmt.Errorf("name %q", l.name)
		}
		ok = err == nil && len(d.Value) <= maxDenied && plainWord(d.Value)
	}
	if !ok {
		return verdict.Misuse("broker.denial", expected, verdict.Short(string(d.What)+" "+d.Value), "copy it from `strongroom broker why`, `strongroom inspect` or `strongroom image measure`")
	}
	return nil
}

// plainWord reports whether s is printed as it is and has no space at its ends: copied by hand,
// such a one is never seen, and matches nothing.
func plainWord(s string) bool { return s == verdict.Printable(s) && s == strings.TrimSpace(s) }

func (d Denial) String() string { return string(d.What) + " " + d.Value }

// Where is what evidence says of where a room runs, as far as an owner can deny it. A broker
// keeps it with the run, so that a denial stops rooms that run already.
type Where struct {
	Class        agreement.Class   `json:"class"`
	Platform     wire.ID           `json:"platform"`
	Generation   string            `json:"generation"`
	Machine      string            `json:"machine"`
	Root         wire.Hash         `json:"root"`
	Measurements map[string]string `json:"measurements"`
	TCB          map[string]int64  `json:"tcb,omitempty"`
}

// WhereOf takes it from claims; nothing is known by the zero Claims.
func WhereOf(c attest.Claims) Where {
	f := c.Facts()
	return Where{Class: f.Class, Platform: f.Platform, Generation: f.Generation, Machine: f.Machine, Root: f.Root, Measurements: f.Measurements, TCB: f.TCB}
}

// denied says what of a room is denied; "" if nothing is. Of a room that nothing is known
// of, something may be.
func (f Floor) denied(w Where) string {
	if len(f.Denied) > 0 && w.Platform == "" {
		return "a room of which nothing is known"
	}
	for _, d := range f.Denied {
		switch d.What {
		case DenyImage:
			for _, name := range slices.Sorted(maps.Keys(w.Measurements)) {
				if w.Measurements[name] == d.Value {
					return fmt.Sprintf("%s %s is denied", name, cut(d.Value))
				}
			}
		case DenyMachine:
			if strings.EqualFold(w.Machine, d.Value) && d.Value != "" {
				return "machine " + d.Value + " is denied"
			}
		case DenyRoot:
			if w.Root.String() == d.Value && !w.Root.IsZero() {
				return "root " + d.Value + " is denied"
			}
		case DenyGeneration:
			if w.Generation != "" && strings.EqualFold(string(w.Platform)+"/"+w.Generation, d.Value) {
				return "generation " + d.Value + " is denied"
			}
		case DenyBelow:
			l, err := parseLeast(d.Value)
			if err != nil {
				return "a denial of " + cut(d.Value) + ", which this version does not understand"
			}
			if got := l.missed(w); got != "" {
				return got
			}
		default: // written by another version: it denied something
			return "a denial of " + cut(string(d.What)) + ", which this version does not know"
		}
	}
	return ""
}

const denies, deniedFix = "nothing that this broker's owner denies", "use another image or machine, or ask the owner"

// Allows is nil if the owner denies nothing of a room, nor its class, else the refusal. A
// broker asks it about rooms that it gave keys to before.
func (f Floor) Allows(w Where) error {
	if w.Class == agreement.Software && !f.InsecureAllowSoftware {
		return verdict.Refuse("agreement.class", "a protection class this broker accepts", "software, which it no longer allows", "start the broker with --insecure-allow-software, for data that is not secret only")
	}
	if got := f.denied(w); got != "" {
		return verdict.Refuse("evidence.floor", denies, got, deniedFix)
	}
	return nil
}

func (d *decision) checkFloor() {
	got := d.Floor.denied(WhereOf(d.Claims))
	ok := got == ""
	if ok {
		got = "nothing denied"
	}
	d.need(ok, "evidence.floor", denies, got, deniedFix)
}
