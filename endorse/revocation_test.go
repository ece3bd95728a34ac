package endorse_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/endorse"
)

// lister is an authority that signs lists.
type lister struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newLister(t *testing.T, usage x509.KeyUsage) lister {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, KeyUsage: usage, SubjectKeyId: []byte{1}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return lister{t, key, cert}
}

// noon is the time at which lists are judged; they are of a day before or after it.
func noon() time.Time { return time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC) }

// list makes a list from one day to another, after noon.
func (l lister) list(from, to int, change ...func(*x509.RevocationList)) *x509.RevocationList {
	l.t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: noon().AddDate(0, 0, from), NextUpdate: noon().AddDate(0, 0, to)}
	for _, f := range change {
		f(template)
	}
	by := *l.cert
	by.KeyUsage = x509.KeyUsageCRLSign // Go would not sign otherwise
	der, err := x509.CreateRevocationList(rand.Reader, template, &by, l.key)
	if err != nil {
		l.t.Fatal(err)
	}
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		l.t.Fatal(err)
	}
	return parsed
}

func names(serial int64, reason int, extensions ...pkix.Extension) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: noon(), ReasonCode: reason, ExtraExtensions: extensions})
	}
}

func extended(critical bool, id ...int) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: []byte{5, 0}})
	}
}

func numbered(n int64) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) { l.Number = big.NewInt(n) }
}

// TestRevocation is about which lists count for what: serial number 7 is looked up at noon.
func TestRevocation(t *testing.T) {
	ca, forger, other := newLister(t, x509.KeyUsageCRLSign), newLister(t, x509.KeyUsageCRLSign), newLister(t, x509.KeyUsageCertSign)
	odd := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}
	delta, shard := extended(true, 2, 5, 29, 27), extended(true, 2, 5, 29, 28)
	type lists = []*x509.RevocationList
	for name, c := range map[string]struct {
		by      lister
		lists   lists
		revoked bool
		wrong   string // why there is no current list
	}{
		"none":                         {ca, nil, false, "none at hand"},
		"forged":                       {ca, lists{forger.list(-1, 1, names(7, 0))}, false, "not signed"},
		"by a key that may not":        {other, lists{other.list(-1, 1, names(7, 0))}, false, "may not sign lists"},
		"delta":                        {ca, lists{ca.list(-1, 1, delta)}, false, "a delta"},
		"delta that is not critical":   {ca, lists{ca.list(-1, 1, extended(false, 2, 5, 29, 27))}, false, "a delta"},
		"part":                         {ca, lists{ca.list(-1, 1, shard)}, false, "issuing distribution point"},
		"part that is not critical":    {ca, lists{ca.list(-1, 1, extended(false, 2, 5, 29, 28))}, false, "issuing distribution point"},
		"unknown critical extension":   {ca, lists{ca.list(-1, 1, extended(true, 1, 2, 3))}, false, "1.2.3"},
		"entry of another issuer":      {ca, lists{ca.list(-1, 1, names(8, 0, odd))}, false, "2.5.29.29"},
		"expired":                      {ca, lists{ca.list(-2, -1)}, false, "ended"},
		"of the future":                {ca, lists{ca.list(1, 2)}, false, "begins"},
		"newest expired":               {ca, lists{ca.list(-3, 3), ca.list(-2, -1)}, false, "ended"},
		"newest by number expired":     {ca, lists{ca.list(-3, 3), ca.list(-3, -1, numbered(2))}, false, "ended"},
		"revoked":                      {ca, lists{ca.list(-1, 1, names(7, 1))}, true, ""},
		"revoked, on hold":             {ca, lists{ca.list(-1, 1, names(7, 6))}, true, ""},
		"revoked by the newest":        {ca, lists{ca.list(-2, 1), ca.list(-1, 1, names(7, 0))}, true, ""},
		"revoked by an older one":      {ca, lists{ca.list(-1, 1), ca.list(-2, 1, names(7, 0))}, true, ""},
		"revoked by an expired one":    {ca, lists{ca.list(-1, 1), ca.list(-3, -2, names(7, 0))}, true, ""},
		"revoked by a delta":           {ca, lists{ca.list(-2, 1), ca.list(-1, 1, delta, names(7, 0))}, true, ""},
		"taken back by a delta":        {ca, lists{ca.list(-2, 1), ca.list(-1, 1, delta, names(7, 8))}, false, ""},
		"empty":                        {ca, lists{ca.list(-1, 1)}, false, ""},
		"another's":                    {ca, lists{ca.list(-1, 1, names(8, 0))}, false, ""},
		"extension known to be benign": {ca, lists{ca.list(-1, 1, extended(false, 1, 2, 3))}, false, ""},
		"forged beside a genuine one":  {ca, lists{forger.list(-1, 1, names(7, 0)), ca.list(-1, 1)}, false, ""},
		"old beside a new one":         {ca, lists{ca.list(-3, -2), ca.list(-1, 1)}, false, ""},
		"one that lasts longer":        {ca, lists{ca.list(-2, -1), ca.list(-2, 1)}, false, ""},
	} {
		for range 2 { // in either order
			r := endorse.RevocationBy(c.by.cert.RawSubject, c.lists, endorse.SignedCRL(c.by.cert))
			if since, revoked := r.Revoked(big.NewInt(7)); revoked != c.revoked || revoked && !since.Equal(noon()) {
				t.Errorf("%s: revoked %v since %v", name, revoked, since)
			}
			l, err := r.Current(noon())
			if (err == nil) != (c.wrong == "") || (l == nil) != (err != nil) || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: %v, expected an error with %q", name, err, c.wrong)
			}
			if r.Published() != (len(c.lists) > 0) {
				t.Errorf("%s: published %v", name, r.Published())
			}
			slices.Reverse(c.lists)
		}
	}
	if r := endorse.RevocationBy([]byte("another"), lists{ca.list(-1, 1, names(7, 0))}, endorse.SignedCRL(ca.cert)); r.Published() {
		t.Error("a list of another issuer counts")
	}
}

// TestCurrentEnds is about the last moment of a list, and one that has none.
func TestCurrentEnds(t *testing.T) {
	ca := newLister(t, x509.KeyUsageCRLSign)
	l := ca.list(-1, 1)
	r := endorse.RevocationBy(ca.cert.RawSubject, []*x509.RevocationList{l}, endorse.SignedCRL(ca.cert))
	for at, want := range map[time.Time]bool{l.ThisUpdate: true, l.ThisUpdate.Add(-1): false, l.NextUpdate: true, l.NextUpdate.Add(1): false} {
		if _, err := r.Current(at); (err == nil) != want {
			t.Errorf("%v: %v", at, err)
		}
	}
	l.NextUpdate = time.Time{}
	if _, err := r.Current(noon()); err == nil || !strings.Contains(err.Error(), "until when") {
		t.Errorf("without an end: %v", err)
	}
}
