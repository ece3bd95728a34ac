package endorse

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// removeFromCRL is the reason with which a delta list takes an entry back (RFC 5280, section 5.3.1).
const removeFromCRL = 8

// Revocation is what one issuer's lists at hand say: only lists that it signed. In which order
// they were given makes no difference. The zero Revocation knows of no list.
type Revocation struct {
	lists []*x509.RevocationList // signed by the issuer, whole or not
	named int                    // all in its name, forged ones too
	wrong error                  // why one in its name is not by it
}

// RevocationBy looks through lists for those of an issuer: its name as DER, and a check that a
// list is signed by it, such as [SignedCRL].
func RevocationBy(issuer []byte, lists []*x509.RevocationList, signed func(*x509.RevocationList) error) Revocation {
	var r Revocation
	for _, l := range lists {
		if !bytes.Equal(l.RawIssuer, issuer) {
			continue
		}
		r.named++
		if err := signed(l); err != nil {
			r.wrong = err
			continue
		}
		r.lists = append(r.lists, l)
	}
	return r
}

// Published reports whether there is any list in the issuer's name, be it forged.
func (r Revocation) Published() bool { return r.named > 0 }

// Revoked reports whether any of the lists names a serial number, and since when. Old lists
// count, and those that are not whole: what an issuer revoked once stays so. (X.509, section 7.3,
// takes what a list with unknown critical extensions names to be revoked, and no more from it.)
func (r Revocation) Revoked(serial *big.Int) (since time.Time, revoked bool) {
	for _, l := range r.lists {
		for _, e := range l.RevokedCertificateEntries {
			if e.ReasonCode != removeFromCRL && e.SerialNumber.Cmp(serial) == 0 {
				return e.RevocationTime, true
			}
		}
	}
	return time.Time{}, false
}

// Current gives the issuer's newest whole list that has begun by a time. It is an error if there
// is none, or if it has ended: an older one that would last longer was replaced.
func (r Revocation) Current(now time.Time) (*x509.RevocationList, error) {
	var best *x509.RevocationList
	why := r.wrong
	for _, l := range r.lists {
		if err := WholeCRL(l); err != nil {
			why = err
		} else if now.Before(l.ThisUpdate) {
			why = fmt.Errorf("the one at hand begins %s", l.ThisUpdate.UTC().Format(time.RFC3339))
		} else if best == nil || newer(l, best) {
			best = l
		}
	}
	switch {
	case best == nil && why == nil:
		return nil, errors.New("none at hand")
	case best == nil:
		return nil, why
	case best.NextUpdate.IsZero():
		return nil, errors.New("the one at hand does not say until when it counts")
	case now.After(best.NextUpdate):
		return nil, fmt.Errorf("the one at hand ended %s", best.NextUpdate.UTC().Format(time.RFC3339))
	}
	return best, nil
}

// newer puts all lists in one order: by time of issue, number, end.
func newer(l, other *x509.RevocationList) bool {
	number := func(l *x509.RevocationList) *big.Int {
		if l.Number == nil {
			return big.NewInt(-1)
		}
		return l.Number
	}
	if c := l.ThisUpdate.Compare(other.ThisUpdate); c != 0 {
		return c > 0
	}
	if c := number(l).Cmp(number(other)); c != 0 {
		return c > 0
	}
	return l.NextUpdate.After(other.NextUpdate)
}

// WholeCRL says why a list may not be its issuer's whole list, about its own certificates only:
// it is a delta to another (RFC 5280, section 5.2.4), is or may be for some certificates or for
// other issuers' (5.2.5), or has another critical extension, of which none is known here.
func WholeCRL(l *x509.RevocationList) error {
	for _, e := range l.Extensions {
		switch {
		case e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 27}):
			return errors.New("the one at hand is a delta, not the whole list")
		case e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 28}):
			return errors.New("the one at hand may be a part of the list: it has an issuing distribution point")
		case e.Critical:
			return fmt.Errorf("the one at hand has the unknown critical extension %v", e.Id)
		}
	}
	for _, entry := range l.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Critical {
				return fmt.Errorf("the one at hand has an entry with the unknown critical extension %v", e.Id)
			}
		}
	}
	return nil
}

// SignedCRL gives the check that a list is signed by a certificate's key, which must be there for
// lists too (KeyUsage cRLSign, RFC 5280, section 4.2.1.3).
func SignedCRL(by *x509.Certificate) func(*x509.RevocationList) error {
	return func(l *x509.RevocationList) error {
		if by.KeyUsage&x509.KeyUsageCRLSign == 0 {
			return errors.New("the one at hand is by a key that may not sign lists")
		}
		if by.CheckSignature(l.SignatureAlgorithm, l.RawTBSRevocationList, l.Signature) != nil {
			return errors.New("the one at hand is not signed by it")
		}
		return nil
	}
}
