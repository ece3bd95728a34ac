package sevsnp_test

import (
	"crypto/x509"
	"testing"

	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/sevsnp"
)

// TestEndorsements: the CRL that counts is told, and no forged one.
func TestEndorsements(t *testing.T) {
	w := newWorld(t)
	report, p := w.report(3, 0x19, 1, nil), sevsnp.Milan
	last, next := w.now.AddDate(0, -1, 0), w.now.AddDate(1, 0, 0)
	older, newer := w.crl(p, 4, last, next, w.keys.ark), w.crl(p, 5, last, next, w.keys.ark)
	for name, c := range map[string]struct {
		lists []*x509.RevocationList
		want  []lineage.Version
	}{
		"the newest":    {[]*x509.RevocationList{older, newer}, []lineage.Version{endorse.VersionOfCRL(newer)}},
		"one":           {[]*x509.RevocationList{older}, []lineage.Version{endorse.VersionOfCRL(older)}},
		"a forged one":  {[]*x509.RevocationList{w.crl(p, 9, last, next, w.keys.other), older}, []lineage.Version{endorse.VersionOfCRL(older)}},
		"of the future": {[]*x509.RevocationList{w.crl(p, 9, w.now.AddDate(0, 0, 1), next, w.keys.ark), older}, []lineage.Version{endorse.VersionOfCRL(older)}},
		"none":          {nil, nil},
	} {
		col := sevsnp.Collateral{Certificates: []*x509.Certificate{w.ask(p, sevsnp.VCEK), w.vek(w.chip(p))}, CRLs: c.lists}
		r, err := w.verifier(col).Examine(report, w.now)
		if err != nil || len(r.Endorsements) != len(c.want) || len(c.want) > 0 && r.Endorsements[0] != c.want[0] {
			t.Errorf("%s: %v, %v", name, r.Endorsements, err)
		}
	}
}
