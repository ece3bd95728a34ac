package nvidia

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
)

const ocspService = "http://ocsp.ndis.nvidia.com"

// issue is a certificate whose status must be known, with its issuer.
type issue struct{ cert, by *x509.Certificate }

func (i issue) String() string {
	return fmt.Sprintf("%s (serial %X)", common(i.cert), i.cert.SerialNumber)
}

// version gives the version that a response is of what its issuer says of the certificate.
func (i issue) version(s single, response []byte) lineage.Version {
	return endorse.NewVersion(endorse.OCSPResponse, "the OCSP response about "+i.String(), endorse.Dates{Issued: s.thisUpdate}, response,
		i.by.RawSubject, i.by.RawSubjectPublicKeyInfo, i.cert.SerialNumber.Bytes())
}

// issues gives all certificates whose status must be known, each once: of a device from the
// boot ROM's up, since the device makes the leaf itself; of a RIM from its signer's up.
func (x *examination) issues() []issue {
	seen := make(map[[sha256.Size]byte]bool)
	var all []issue
	add := func(chain []*x509.Certificate) {
		for i := range len(chain) - 1 {
			if id := sha256.Sum256(chain[i].Raw); !seen[id] {
				seen[id] = true
				all = append(all, issue{chain[i], chain[i+1]})
			}
		}
	}
	for _, d := range x.devices {
		add(d.chain[1:])
		for _, r := range d.rims() {
			add(r.chain)
		}
	}
	return all
}

// word is what one genuine response or list says of a certificate.
type word struct {
	status
	hold       bool
	from, till time.Time
	since      time.Time
	version    lineage.Version
}

// current says why a word does not count at a time; "" if it does.
func (w word) current(now time.Time) string {
	switch {
	case now.Before(w.from):
		return "not valid before " + date(w.from)
	case !now.Before(w.till):
		return fmt.Sprintf("expired %s, %s ago", date(w.till), span(now.Sub(w.till)))
	}
	return ""
}

// words gives what genuine responses and CRLs say of a certificate, and how many in the
// issuer's name are not genuine.
func (x *examination) words(i issue) (all []word, forged int) {
	for _, r := range x.responses {
		for _, s := range r.singles {
			if !s.about(i.cert, i.by) {
				continue
			}
			signer, err := r.signer(x.links, i.by)
			if err != nil {
				forged++
				continue
			}
			w := word{status: s.status, hold: s.reason == reasonHold, from: s.thisUpdate, till: s.nextUpdate, since: s.since, version: i.version(s, r.raw)}
			if signer.NotAfter.Before(w.till) { // who speaks for an issuer does so only while allowed to
				w.till = signer.NotAfter
			}
			if signer.NotBefore.After(w.from) {
				w.from = signer.NotBefore
			}
			all = append(all, w)
		}
	}
	for _, l := range x.crls {
		if !bytes.Equal(l.RawIssuer, i.by.RawSubject) {
			continue
		}
		if !x.usable(l, i.by) {
			forged++
			continue
		}
		all = append(all, listed(l, i.cert))
	}
	return all, forged
}

// usable reports whether a list is the issuer's, complete, and speaks for its issuer only: no
// critical extension, such as a delta's or an indirect list's, is known here.
func (x *examination) usable(l *x509.RevocationList, by *x509.Certificate) bool {
	for _, e := range l.Extensions {
		if e.Critical || e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 27}) || e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 28}) {
			return false
		}
	}
	return !l.NextUpdate.IsZero() && l.SignatureAlgorithm == x509.ECDSAWithSHA384 && by.KeyUsage&x509.KeyUsageCRLSign != 0 &&
		x.links.verified(l.Raw, by.Raw, func() bool { return l.CheckSignatureFrom(by) == nil })
}

func listed(l *x509.RevocationList, c *x509.Certificate) word {
	w := word{status: good, from: l.ThisUpdate, till: l.NextUpdate, version: endorse.VersionOfCRL(l)}
	for _, e := range l.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(c.SerialNumber) == 0 {
			w.status, w.hold, w.since = revoked, e.ReasonCode == reasonHold, e.RevocationTime
		}
	}
	return w
}

// standing sums up what is known of a certificate: why its status is not known, or why it
// must not be used. Revocation for good counts from any word, however old; all else from the
// newest.
func (x *examination) standing(i issue) (unsure, bad string, till time.Time) {
	all, forged := x.words(i)
	var newest *word
	for _, w := range all {
		if w.status == revoked && !w.hold {
			return "", fmt.Sprintf("%s revoked since %s", i, date(w.since)), w.till
		}
		if !w.from.After(x.now) && (newest == nil || w.from.After(newest.from)) {
			newest = &w
		}
	}
	if newest != nil {
		x.used = append(x.used, newest.version)
	}
	switch {
	case newest == nil && forged > 0:
		return fmt.Sprintf("%s: none genuine, %d in its issuer's name that are not", i, forged), "", till
	case newest == nil && len(all) > 0:
		return fmt.Sprintf("%s: %s", i, all[0].current(x.now)), "", till
	case newest == nil:
		return fmt.Sprintf("%s: none", i), "", till
	}
	switch late := newest.current(x.now); {
	case newest.status == revoked:
		return "", fmt.Sprintf("%s on hold (certificateHold) since %s", i, date(newest.since)), newest.till
	case newest.status == unknown:
		return "", fmt.Sprintf("%s unknown to the responder of %s", i, common(i.by)), newest.till
	case late != "":
		return fmt.Sprintf("%s: %s", i, late), "", newest.till
	}
	return "", "", newest.till
}

// collateral checks that everything is at hand to judge with: RIMs, and the status of every
// certificate; and that no certificate is revoked.
func (x *examination) collateral() {
	var unsure, bad []string
	lack := x.lack()
	var first time.Time
	issues := x.issues()
	for _, i := range issues {
		why, wrong, till := x.standing(i)
		switch {
		case wrong != "":
			bad = append(bad, wrong)
		case why != "":
			unsure = append(unsure, why)
		case first.IsZero() || till.Before(first):
			first = till
		}
	}
	x.report(lack, unsure, first)
	switch {
	case len(bad) > 0:
		x.fail("revocation", "no certificate revoked by NVIDIA", some(bad), "do not use the device; ask NVIDIA why its certificate is revoked")
	case len(unsure) < len(issues):
		x.pass("revocation", "no certificate revoked by NVIDIA", fmt.Sprintf("none of %d whose status is known", len(issues)-len(unsure)))
	}
}

// lack gives the RIMs that are missing, each once, with those that may have been meant.
func (x *examination) lack() (all []string) {
	for _, d := range x.devices {
		for _, m := range d.missing() {
			text := m.id
			for _, u := range x.meant(m.version) {
				text += " (not " + u + ")"
			}
			if !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return all
}

// report makes the check that names what is missing.
func (x *examination) report(lack, unsure []string, first time.Time) {
	const expected = "RIMs of every driver and VBIOS, and a current OCSP response or CRL about every certificate"
	if len(lack)+len(unsure) == 0 {
		x.pass("collateral", expected, "all there, until "+date(first))
		x.claims["collateral_until"] = date(first)
		return
	}
	var got []string
	fix := "give as endorsements:"
	if len(lack) > 0 {
		got = append(got, "missing RIM "+some(lack))
		id, _, _ := strings.Cut(lack[0], " ")
		fix += " RIMs, as from " + rimService + id + ";"
	}
	if len(unsure) > 0 {
		got = append(got, "status of certificates: "+some(unsure))
		fix += " OCSP responses, from " + ocspService + ";"
		if x.unreadable > 0 {
			got = append(got, fmt.Sprintf("%d OCSP responses that can't be read", x.unreadable))
		}
	}
	x.fail("collateral", expected, joined(got), fix[:len(fix)-1]+"; strongroom endorsements fetch gets them all")
}
