package dice_test

import (
	"crypto/x509"
	"testing"

	"strongroom.dev/attest/dice"
	"strongroom.dev/endorse"
)

// TestEndorsements: the newest genuine list is told, a forged one is not.
func TestEndorsements(t *testing.T) {
	d, other := newDevice(p384), newDevice(p384)
	from, to := today.AddDate(0, -1, 0), today.AddDate(0, 1, 0)
	newest := list("authority", d.keys[0], today.AddDate(0, 0, -1), to)
	items := pin(d.keys[0]).Items()
	for _, l := range [][]byte{list("authority", d.keys[0], from, to), newest, list("authority", other.keys[0], today, to)} {
		items = append(items, endorse.Item{Kind: endorse.X509CRL, Data: l})
	}
	f, err := dice.New(must(endorse.NewSet(items...))).Examine(d.chain(1), today)
	if err != nil || len(f.Endorsements) != 1 || f.Endorsements[0] != endorse.VersionOfCRL(must(x509.ParseRevocationList(newest))) {
		t.Errorf("%v, %v", f.Endorsements, err)
	}
}
