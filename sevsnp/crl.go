package sevsnp

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	"strongroom.dev/endorse"
)

// revocations are what AMD's CRLs say of one product's intermediates. VCEKs and VLEKs have
// serial number 0, so that no CRL can name one: AMD retires them with their TCB.
type revocations struct {
	lists  []*x509.RevocationList // genuine ones
	forged int                    // lists in the root's name that it did not sign
}

// revoked collects the lists that AMD's roots signed.
func (c *chains) revoked(lists []*x509.RevocationList) map[Product]revocations {
	all := make(map[Product]revocations)
	for _, l := range lists {
		r, ok := c.rootOf(l.RawIssuer)
		if !ok {
			continue
		}
		known := all[r.product]
		if usable(l) && l.CheckSignatureFrom(r.cert) == nil {
			known.lists = append(known.lists, l)
		} else {
			known.forged++
		}
		all[r.product] = known
	}
	return all
}

// and gives the lists of both.
func (r revocations) and(other revocations) revocations {
	return revocations{append(r.lists[:len(r.lists):len(r.lists)], other.lists...), r.forged + other.forged}
}

// usable reports whether a list is complete and speaks for its issuer only, in AMD's form.
func usable(l *x509.RevocationList) bool {
	if endorse.WholeCRL(l) != nil {
		return false
	}
	return l.SignatureAlgorithm == x509.SHA384WithRSAPSS && !l.NextUpdate.IsZero() && l.Number != nil
}

// current gives the newest list by number that has begun to be valid, nil if there is none.
func (r revocations) current(now time.Time) *x509.RevocationList {
	var best *x509.RevocationList
	for _, l := range r.lists {
		if !now.Before(l.ThisUpdate) && (best == nil || l.Number.Cmp(best.Number) > 0 || l.Number.Cmp(best.Number) == 0 && l.NextUpdate.After(best.NextUpdate)) {
			best = l
		}
	}
	return best
}

// names reports whether any list revokes a serial number, and since when. Old lists count:
// what was revoked once stays so.
func (r revocations) names(serial *big.Int) (time.Time, bool) {
	for _, l := range r.lists {
		for _, e := range l.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(serial) == 0 {
				return e.RevocationTime, true
			}
		}
	}
	return time.Time{}, false
}

// collateral checks that revocation can be judged at all: a list that is there and current.
func (x *examination) collateral() {
	r := x.lists
	expected := "a current CRL of " + x.link.root.cert.Subject.CommonName
	fix := "fetch https://kdsintf.amd.com/vcek/v1/" + string(x.link.root.product) + "/crl and give it as an endorsement"
	l := r.current(x.now)
	if l != nil {
		x.r.Endorsements = append(x.r.Endorsements, endorse.VersionOfCRL(l))
	}
	switch {
	case l == nil && r.forged > 0:
		x.fail("collateral", expected, fmt.Sprintf("none that AMD's root signed, and %d in its name that it did not sign", r.forged), fix)
	case l == nil && len(r.lists) > 0:
		x.fail("collateral", expected, "one not valid before "+date(r.lists[0].ThisUpdate), fix)
	case l == nil:
		x.fail("collateral", expected, "none", fix)
	case !x.now.Before(l.NextUpdate):
		x.fail("collateral", expected, fmt.Sprintf("number %d, which expired %s, %s ago", l.Number, date(l.NextUpdate), span(x.now.Sub(l.NextUpdate))), fix)
	default:
		x.pass("collateral", expected, fmt.Sprintf("number %d of %s, until %s", l.Number, date(l.ThisUpdate), date(l.NextUpdate)))
		x.claim("crl_number", l.Number.String())
		x.claim("crl_next_update", date(l.NextUpdate))
	}
}

// revocation checks that none of the lists at hand, current or not, revokes the chain. It is
// silent if there are none: then collateral has failed already.
func (x *examination) revocation() {
	if len(x.lists.lists) == 0 {
		return
	}
	const expected = "intermediate and root not revoked by AMD"
	for _, c := range []*x509.Certificate{x.link.issuer, x.link.root.cert} {
		if since, revoked := x.lists.names(c.SerialNumber); revoked {
			x.fail("revocation", expected, fmt.Sprintf("%s, serial %X, revoked since %s", c.Subject.CommonName, c.SerialNumber, date(since)),
				"take the chip's certificate and its chain anew from AMD's key server")
			return
		}
	}
	x.pass("revocation", expected, fmt.Sprintf("%s, serial %X, not on the list", x.link.issuer.Subject.CommonName, x.link.issuer.SerialNumber))
}

// dates checks that the whole chain is valid at the time.
func (x *examination) dates() {
	var late, early string
	first, last := x.link.root.cert.NotBefore, x.link.root.cert.NotAfter
	for _, c := range []*x509.Certificate{x.link.root.cert, x.link.issuer, x.link.cert} {
		if x.now.After(c.NotAfter) {
			late = fmt.Sprintf("%s ended %s, %s ago", c.Subject.CommonName, date(c.NotAfter), span(x.now.Sub(c.NotAfter)))
		}
		if x.now.Before(c.NotBefore) {
			early = fmt.Sprintf("%s begins %s, in %s", c.Subject.CommonName, date(c.NotBefore), span(c.NotBefore.Sub(x.now)))
		}
		if c.NotBefore.After(first) {
			first = c.NotBefore
		}
		if c.NotAfter.Before(last) {
			last = c.NotAfter
		}
	}
	expected := "certificates valid at " + date(x.now)
	switch {
	case late != "":
		x.fail("dates", expected, late, "take the chip's certificate anew from AMD's key server; for a VLEK, ask the cloud")
	case early != "":
		x.fail("dates", expected, early, "check the clock; the certificate is of a later time")
	default:
		x.pass("dates", expected, "valid from "+date(first)+" to "+date(last))
	}
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span shows a length of time as people say it.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.Round(time.Second).String()
}
