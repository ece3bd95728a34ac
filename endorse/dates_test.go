package endorse_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"strongroom.dev/endorse"
)

func TestDates(t *testing.T) {
	issued, until := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: issued, NotAfter: until, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	cert, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: issued, NextUpdate: until}, ca, key)
	if err != nil {
		t.Fatal(err)
	}
	const intel = `{"issueDate":"2026-01-01T00:00:00Z","nextUpdate":"2026-02-01T00:00:00Z","tcbEvaluationDataNumber":17}`
	for _, c := range []struct {
		name   string
		item   endorse.Item
		number int64 // -1: none
		dated  bool
	}{
		{"certificate", endorse.Item{Kind: endorse.X509Certificate, Data: cert}, -1, true},
		{"CRL", endorse.Item{Kind: endorse.X509CRL, Data: crl}, 7, true},
		{"TCB information", endorse.Item{Kind: endorse.IntelTCBInfo, Data: []byte(`{"tcbInfo":` + intel + `,"signature":"00"}`)}, 17, true},
		{"identity", endorse.Item{Kind: endorse.IntelQEIdentity, Data: []byte(`{"enclaveIdentity":` + intel + `}`)}, 17, true},
		{"RIM", endorse.Item{Kind: endorse.NVIDIARIM, Data: []byte("<x/>")}, -1, false},
		{"junk", endorse.Item{Kind: endorse.X509CRL, Data: []byte("junk")}, -1, false},
		{"no JSON", endorse.Item{Kind: endorse.IntelTCBInfo, Data: []byte(`{"tcbInfo":3}`)}, -1, false},
		{"no OCSP", endorse.Item{Kind: endorse.OCSPResponse, Data: []byte{0x30, 0}}, -1, false},
	} {
		d := c.item.Dates()
		if d.Issued.IsZero() == c.dated || c.dated && (!d.Issued.Equal(issued) || !d.Until.Equal(until)) {
			t.Errorf("%s: %v", c.name, d)
		}
		if (d.Number == nil) != (c.number < 0) || d.Number != nil && d.Number.Int64() != c.number {
			t.Errorf("%s: number %v", c.name, d.Number)
		}
		if c.dated && (d.Current(issued.Add(-1)) || !d.Current(issued) || !d.Current(until) || d.Current(until.Add(1))) {
			t.Errorf("%s: current outside its dates", c.name)
		}
	}
}

func TestBehind(t *testing.T) {
	at := func(day, number int64) endorse.Dates {
		d := endorse.Dates{Issued: time.Date(2026, 1, int(day), 0, 0, 0, 0, time.UTC)}
		if number > 0 {
			d.Number = big.NewInt(number)
		}
		return d
	}
	for _, c := range []struct {
		a, b endorse.Dates
		want bool
	}{
		{at(1, 0), at(2, 0), true}, {at(2, 0), at(1, 0), false}, {at(1, 0), at(1, 0), false},
		{at(2, 5), at(1, 6), true}, {at(1, 6), at(2, 5), false}, {at(1, 5), at(2, 5), true}, {at(1, 5), at(2, 0), true},
	} {
		if got := c.a.Behind(c.b); got != c.want {
			t.Errorf("%v behind %v: %v", c.a, c.b, got)
		}
	}
}
