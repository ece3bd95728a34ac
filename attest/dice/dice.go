// Package dice verifies evidence of DICE devices, Caliptra above all: the chain of
// certificates in which each layer of a device's boot certifies the key of the next and
// states what it measured, in P-384 or ML-DSA-87.
//
// It promises that in a chain which passes every certificate was signed by the key above it,
// up to a key that the relying party pins: the device's own identity key (IDevID), as a bare
// key or as the request its maker certifies, or an authority's. Whether firmware is good is
// for the relying party to compare. Certificates show who a device is and what it booted, not
// that it is there now; only this program's own form of evidence answers a challenge.
package dice

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/tcbinfo"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Name is the platform's name in evidence.
const Name wire.ID = "dice"

// Verifier verifies chains with pinned keys. The zero Verifier has none, so that every finding
// has a failed check.
type Verifier struct {
	pins pins
	held []*layer // certificates that may stand between
	crls []*x509.RevocationList
}

// New makes a verifier. The set's public keys, and the keys of its requests whose own
// signatures verify, are pinned; its certificates may stand in chains; its CRLs are heeded.
func New(set endorse.Set) Verifier {
	v := Verifier{crls: set.CRLs()}
	for _, it := range set.Of(endorse.PublicKey) {
		if k, err := parseKey(it.Data); err == nil {
			v.pins = append(v.pins, k)
		}
	}
	for _, it := range set.Of(endorse.X509Request) {
		if l, err := requestLayer(it.Data); err == nil && l.key.verify(l.der) == nil {
			v.pins = append(v.pins, l.key)
		}
	}
	for _, c := range set.Certificates() {
		if l, err := certificateLayer(c.Raw); err == nil {
			v.held = append(v.held, l)
		}
	}
	return v
}

// Platform gives the platform for the table handed to [attest.Verify].
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: func(evidence []byte, now time.Time) (attest.Facts, error) {
		facts, err := attest.Strict(v.Examine)(evidence, now)
		if err == nil && len(facts.Measurements) == 0 {
			return attest.Facts{}, verdict.Refuse("dice.measurements", "certificates that state firmware", "none: they show who the device is, not what it runs", "send the certificates of the layers above its identity too")
		}
		return facts, err
	}}
}

// examination is one examination under way.
type examination struct {
	Verifier
	now      time.Time
	envelope *envelope
	checks   []verdict.Check
	warnings []string
	used     []lineage.Version
}

// Examine says everything there is to say about evidence at a time. It gives an error only for
// what is not a chain in which every signature verifies.
func (v Verifier) Examine(evidence []byte, now time.Time) (attest.Finding, error) {
	x := &examination{Verifier: v, now: now}
	const fix = "send the device's certificates, all of one family and no others"
	var leaf *layer
	var err error
	if x.envelope, err = open(evidence); err == nil {
		leaf, err = x.envelope.leaf()
	}
	if err != nil {
		return attest.Finding{}, x.invalid("form", "a chain of certificates of a DICE device", verdict.Short(err.Error()), fix)
	}
	p, err := x.chain(leaf, fix)
	if err != nil {
		return attest.Finding{}, err
	}
	if err := x.challenge(leaf); err != nil {
		return attest.Finding{}, err
	}
	if !x.root(p) { // nothing is known but that a key is missing
		facts := attest.Facts{Platform: Name, Class: agreement.IntegrityOnly, Debug: true}
		return attest.Finding{Facts: facts, Checks: x.checks}, nil
	}
	x.dates(p)
	x.revocation(p)
	x.flags(p)
	facts := x.facts(p)
	if len(facts.Measurements) == 0 {
		x.warn("measurements", "certificates that state firmware", "none: they show who the device is, not what it runs")
	}
	return attest.Finding{Facts: facts, Claims: x.claims(p), Checks: x.checks, Warnings: x.warnings, Endorsements: x.used}, nil
}

// chain verifies every signature, requests' own included.
func (x *examination) chain(leaf *layer, fix string) (*path, error) {
	const expected = "certificates signed each by the key above it"
	for _, r := range x.envelope.requests {
		if err := r.key.verify(r.der); err != nil {
			return nil, x.invalid("request", "a request signed by its own key", verdict.Short(err.Error()), fix)
		}
	}
	p, err := x.build(leaf)
	if err == nil {
		err = p.constraints()
	}
	if err != nil {
		return nil, x.invalid("chain", expected, verdict.Short(err.Error()), fix)
	}
	x.pass("chain", expected, fmt.Sprintf("%d, %s", len(p.layers), leaf.key.family()))
	return p, nil
}

// challenge checks the leaf key's answer, where evidence has one.
func (x *examination) challenge(leaf *layer) error {
	if x.envelope.form != Type {
		return nil
	}
	const expected = "report data signed by the leaf's key"
	if err := leaf.key.verifyMessage(Message(x.envelope.reportData), x.envelope.signature); err != nil {
		return x.invalid("report_data", expected, verdict.Short(err.Error()), "have the device sign this challenge")
	}
	x.pass("report_data", expected, fmt.Sprintf("%d bytes, %s", len(x.envelope.reportData), leaf.key.family()))
	return nil
}

// root checks that the chain starts at a pinned key.
func (x *examination) root(p *path) bool {
	const expected = "a chain from a pinned key: the device's identity (IDevID) or an authority's"
	first := p.layers[0].cert
	switch {
	case p.pinned:
		x.pass("root", expected, "key "+wire.HashOf(p.top.spki).Short()+", "+p.top.family())
		return true
	case p.top != nil:
		x.fail("root", expected, fmt.Sprintf("one from key %s, which is not pinned", wire.HashOf(p.top.spki)), "pin that key with --endorsements if its device's maker vouches for it")
	default:
		x.fail("root", expected, fmt.Sprintf("no key at hand that signed %.80q; it is said to be %x", first.Subject.CommonName, first.AuthorityKeyId), "give the device's IDevID request, certificate or key with --endorsements")
	}
	return false
}

// flags checks that no layer states that anything is open, and that one says so of debugging.
func (x *examination) flags(p *path) {
	const expected = "no layer that is not configured, not secure, in recovery or debugged"
	said := false
	var open, odd []string
	debug := false
	for _, l := range p.layers {
		for _, info := range l.infos {
			said = said || info.Flags.Says(tcbinfo.Debug)
			for _, bit := range info.Flags.Bits() {
				what := fmt.Sprintf("%s: %s", l.describe(info), tcbinfo.FlagName(bit))
				debug = debug || bit == tcbinfo.Debug
				if bit <= tcbinfo.Debug || bit > tcbinfo.NotTCB {
					open = append(open, what)
				} else {
					odd = append(odd, what)
				}
			}
		}
	}
	got := strings.Join(append(open, odd...), ", ")
	switch {
	case debug:
		x.fail("debug", expected, verdict.Short(got), "lock the device's debugging, and restart it")
	case len(open) > 0:
		x.fail("flags", expected, verdict.Short(got), "use a device that is provisioned and closed")
	case !said:
		x.warn("flags", expected, "no layer speaks of it")
	case len(odd) > 0:
		x.warn("flags", expected, verdict.Short(got))
	default:
		x.pass("flags", expected, "none")
	}
}

// open reports whether any layer states that somebody may look inside, or change it.
func (p *path) open() bool {
	for _, l := range p.layers {
		for _, info := range l.infos {
			if slices.ContainsFunc(info.Flags.Bits(), func(bit int) bool { return bit <= tcbinfo.Debug || bit > tcbinfo.NotTCB }) {
				return true
			}
		}
	}
	return false
}

func (l *layer) describe(info tcbinfo.Info) string {
	if len(info.Type) > 0 {
		return verdict.Short(string(info.Type))
	}
	return verdict.Short(l.cert.Subject.CommonName)
}

func (x *examination) facts(p *path) attest.Facts {
	return attest.Facts{
		Platform:     Name,
		Class:        agreement.IntegrityOnly,
		Root:         wire.HashOf(p.top.spki),
		Machine:      p.device(),
		ReportData:   x.envelope.reportData,
		Measurements: p.measurements(),
		Debug:        p.open(),
		Trusts:       []string{"the device's maker and its boot ROM", "whoever pinned its key", "everyone who runs software on the machine"},
	}
}

// purposes are what keys are for, by the last number of their identifiers (TCG, "DICE
// Certificate Profiles", tcg-dice-kp).
func purposes() map[string]string {
	return map[string]string{"6": "identity, initial", "7": "identity, local", "8": "attestation, initial", "9": "attestation, local", "10": "assertion, initial", "11": "assertion, local", "12": "certifies lower layers"}
}

func (l *layer) purpose(n int) bool {
	id := asn1.ObjectIdentifier{2, 23, 133, 5, 4, 100, n}
	return slices.ContainsFunc(l.cert.UnknownExtKeyUsage, func(other asn1.ObjectIdentifier) bool { return other.Equal(id) })
}

// device names the machine by the SHA-256 of its identity key: the first key in the chain that
// is said to be an initial identity, else the one that signed a local identity, else the first.
func (p *path) device() string {
	for i, l := range p.layers {
		switch {
		case l.purpose(6):
			return hexHash(l.key)
		case l.purpose(7) && i > 0:
			return hexHash(p.layers[i-1].key)
		case l.purpose(7):
			return hexHash(p.top)
		}
	}
	return hexHash(p.layers[0].key)
}

func hexHash(k *key) string {
	sum := wire.HashOf(k.spki)
	return hex.EncodeToString(sum[:])
}

// measurements gives every FWID that is not zero, from the root's end down, named by the type its
// layer states: "device-info", "fmc-info"; else "layer-N", or "tcb-info". A name that was
// there before gets a number behind it, so that no layer takes the name of one above it.
func (p *path) measurements() map[string]string {
	m := make(map[string]string)
	put := func(name string, digest []byte) {
		value := hex.EncodeToString(digest)
		if strings.Trim(value, "0") == "" {
			return
		}
		base := name
		for n := 2; m[name] != ""; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		if len(m) < attest.MaxMeasurements {
			m[name] = value
		}
	}
	for _, l := range p.layers {
		for _, info := range l.infos {
			for _, f := range info.FWIDs {
				put(label(info), f.Digest)
			}
			for _, r := range info.Registers {
				for _, f := range r.Digests {
					put(label(info)+"/"+registerLabel(r), f.Digest)
				}
			}
		}
	}
	return m
}

func label(info tcbinfo.Info) string {
	switch {
	case len(info.Type) > 0:
		return simple(string(info.Type))
	case info.Layer != nil:
		return fmt.Sprintf("layer-%d", *info.Layer)
	}
	return "tcb-info"
}

func registerLabel(r tcbinfo.Register) string {
	if r.Name != "" {
		return simple(r.Name)
	}
	return fmt.Sprintf("%d", *r.Number)
}

// simple makes a name of a-z, 0-9 and "-", at most 24 bytes.
func simple(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(text))
	return clean[:min(len(clean), 24)]
}

// Notes of checks.

func (x *examination) pass(id, expected, got string) {
	x.checks = append(x.checks, verdict.Check{ID: "dice." + id, OK: true, Expected: expected, Got: got})
}

func (x *examination) warn(id, expected, got string) {
	x.pass(id, expected, got)
	x.warnings = append(x.warnings, "dice."+id)
}

func (x *examination) fail(id, expected, got, fix string) {
	x.checks = append(x.checks, verdict.Check{ID: "dice." + id, Expected: expected, Got: got, Fix: fix})
}

// invalid is for what is not genuine.
func (x *examination) invalid(id, expected, got, fix string) error {
	return verdict.NotGenuine("dice."+id, expected, got, fix)
}
