package verifier_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/store/attestation"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// lister is a vendor that issues revocation lists.
type lister struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	from time.Time
}

func newLister(now time.Time) lister {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Vendor"}, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	return lister{key, must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)))), now.AddDate(0, 0, -9)}
}

// list gives the vendor's list with a number, which is also the day it was issued on.
func (l lister) list(number int) endorse.Item {
	template := &x509.RevocationList{Number: big.NewInt(int64(number)), ThisUpdate: l.from.AddDate(0, 0, number), NextUpdate: l.from.AddDate(1, 0, 0)}
	return endorse.Item{Kind: endorse.X509CRL, Name: fmt.Sprint(number), Data: must(x509.CreateRevocationList(rand.Reader, template, l.cert, l.key))}
}

// relying is a platform that relies on the newest list it is given.
func relying(set endorse.Set) []attest.Examiner {
	x := told("snp")
	return []attest.Examiner{{Name: x.Name, Detect: x.Detect, Examine: func(evidence []byte, now time.Time) (attest.Finding, error) {
		f, err := x.Examine(evidence, now)
		var all []lineage.Version
		for _, l := range set.CRLs() {
			all = append(all, endorse.VersionOfCRL(l))
		}
		f.Endorsements = lineage.Newest(all)
		return f, err
	}}}
}

func newRelying(t *testing.T, store func(verifier.Store) verifier.Store) (*world, lister) {
	w := newWorld(t, func(c *verifier.Config) {
		c.Table = relying
		if store != nil {
			c.Store = store(c.Store)
		}
	})
	w.inForce(rooms)
	return w, newLister(w.now)
}

// judged has the service judge, and demands the check that fails; "" for a token.
func judged(t *testing.T, what string, s *verifier.Service, w *world, check string, more ...endorse.Item) {
	t.Helper()
	r, _ := good(w)
	for _, it := range more {
		r.Endorsements = append(r.Endorsements, it.Data)
	}
	answer, err := s.Attest(context.Background(), r)
	if check != "" {
		fails(t, what, err, verdict.Refused, check)
	} else if err != nil || answer.Token == "" {
		t.Errorf("%s: %v", what, err)
	}
}

const rollback = "endorsements.rollback"

// TestEndorsementsOfServiceNeverGoBack: what the service's own were is remembered, over restarts too.
func TestEndorsementsOfServiceNeverGoBack(t *testing.T) {
	w, vendor := newRelying(t, nil)
	two, three, four, five := vendor.list(2), vendor.list(3), vendor.list(4), vendor.list(5)
	hold := func(items ...endorse.Item) { t.Helper(); w.renew(must(endorse.NewSet(items...)), nil) }
	judged(t, "no list", w.Service, w, "")
	hold(three)
	judged(t, "the first list", w.Service, w, "")
	hold(two)
	judged(t, "an older one", w.Service, w, rollback)
	r, _ := good(w)
	tried := must(w.Try(context.Background(), "rooms", verifier.Trial{Version: 1, Evidence: []verifier.Recorded{{Evidence: r.Evidence}}}))
	if verdicts(tried) != "affirming/affirming" {
		t.Errorf("recorded evidence is judged by what is at hand: %s", verdicts(tried))
	}
	judged(t, "an older one, and the asker brings the newer one", w.Service, w, "", three)
	hold(two, three)
	judged(t, "both", w.Service, w, "")

	judged(t, "the asker brings a newer one", w.Service, w, "", four)
	judged(t, "which takes nothing from the service's own", w.Service, w, "")
	hold()
	judged(t, "the asker brings an older one, and there is no other", w.Service, w, rollback, two)
	hold(five)
	judged(t, "a newer one", w.Service, w, "")
	hold(four)
	judged(t, "the one before", w.Service, w, rollback)

	w.cfg.Endorsements = must(endorse.NewSet(four))
	openAgain(t, w)
	judged(t, "after a restart", w.Service, w, rollback)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	store, err := attestation.Open(w.path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	w.store, w.cfg.Store = store, store
	openAgain(t, w)
	judged(t, "and from the disk", w.Service, w, rollback)
	w.cfg.Endorsements = must(endorse.NewSet(five))
	openAgain(t, w)
	judged(t, "until the newest is back", w.Service, w, "")
}

// TestEndorsementsOfInstances: an instance goes on with what it has when another is ahead, and does
// not start anew with it.
func TestEndorsementsOfInstances(t *testing.T) {
	w, vendor := newRelying(t, nil)
	ctx := context.Background()
	w.cfg.Endorsements = must(endorse.NewSet(vendor.list(1)))
	ahead, behind := must(verifier.Open(ctx, w.cfg)), must(verifier.Open(ctx, w.cfg))
	judged(t, "one", ahead, w, "")
	judged(t, "the other", behind, w, "")
	if err := ahead.Renew(ctx, must(endorse.NewSet(vendor.list(2))), nil, nil); err != nil {
		t.Fatal(err)
	}
	judged(t, "one renewed", ahead, w, "")
	judged(t, "the other not yet", behind, w, "")
	openAgain(t, w)
	judged(t, "one that starts with the old one", w.Service, w, rollback)
}

// bundleOf is a bundle of a signer's, of a day.
func bundleOf(w *world, signer string, day int) lineage.Version {
	b := endorse.Bundle{Created: wire.At(w.now.AddDate(0, 0, day-30))}
	return b.Version(wire.HashOf([]byte(signer)))
}

// TestBundlesOfServiceNeverGoBack: bundles are compared before they are used, all or none.
func TestBundlesOfServiceNeverGoBack(t *testing.T) {
	w, vendor := newRelying(t, nil)
	ctx := context.Background()
	one, two := must(endorse.NewSet(vendor.list(1))), must(endorse.NewSet(vendor.list(2)))
	for i, c := range []struct {
		bundles []lineage.Version
		ok      bool
	}{
		{nil, true},
		{[]lineage.Version{bundleOf(w, "a", 5)}, true},
		{[]lineage.Version{bundleOf(w, "a", 5)}, true},
		{[]lineage.Version{bundleOf(w, "a", 4)}, false},
		{[]lineage.Version{bundleOf(w, "b", 9), bundleOf(w, "a", 4)}, false},
		{[]lineage.Version{bundleOf(w, "b", 3)}, true}, // b's of day 9 was never used
		{[]lineage.Version{bundleOf(w, "b", 2), bundleOf(w, "a", 9)}, false},
		{[]lineage.Version{bundleOf(w, "a", 5)}, true}, // nor a's
		{[]lineage.Version{bundleOf(w, "a", 6), bundleOf(w, "b", 3)}, true},
		{[]lineage.Version{bundleOf(w, "a", 5), bundleOf(w, "b", 3)}, false},
	} {
		err := w.Renew(ctx, one, c.bundles, nil)
		if c.ok && err != nil {
			t.Errorf("%d: %v", i, err)
		} else if !c.ok {
			fails(t, fmt.Sprint(i), err, verdict.Refused, rollback)
		}
	}
	judged(t, "what was taken", w.Service, w, "")
	fails(t, "an older bundle", w.Renew(ctx, two, []lineage.Version{bundleOf(w, "a", 1)}, nil), verdict.Refused, rollback)
	judged(t, "all is as it was", w.Service, w, "")
	w.renew(one, nil)
	judged(t, "the list in it was not used", w.Service, w, "")

	for _, s := range []*attestation.Store{w.store, nil} {
		if s == nil {
			if err := w.store.Close(); err != nil {
				t.Fatal(err)
			}
			s = must(attestation.Open(w.path, time.Second))
			t.Cleanup(func() { s.Close() })
			w.cfg.Store = s
		}
		w.cfg.Bundles = []lineage.Version{bundleOf(w, "a", 5)}
		_, err := verifier.Open(ctx, w.cfg)
		fails(t, "starting with an older bundle", err, verdict.Refused, rollback)
		w.cfg.Bundles = []lineage.Version{bundleOf(w, "a", 6), bundleOf(w, "b", 4)}
		openAgain(t, w)
	}
}

// failing is a store in which a change of what is remembered of endorsements fails, once it is told
// to: before it was made, or after.
type failing struct {
	verifier.Store
	fails, persists, blind bool
}

var errPower = errors.New("no power") // constant: the failure of every test

func (f *failing) Get(ctx context.Context, t verifier.Table, key string) ([]byte, error) {
	if t == verifier.TableEndorsed && f.blind {
		return nil, errPower
	}
	return f.Store.Get(ctx, t, key)
}

func (f *failing) Swap(ctx context.Context, t verifier.Table, key string, old, value []byte) error {
	if t != verifier.TableEndorsed || !f.fails {
		return f.Store.Swap(ctx, t, key, old, value)
	}
	if f.persists {
		if err := f.Store.Swap(ctx, t, key, old, value); err != nil {
			return err
		}
	}
	return errPower
}

// TestEndorsementsMemoryFails: what can't be remembered, or looked up, is not used; whatever came of
// it in the store, the next try finds its way, and nothing goes back.
func TestEndorsementsMemoryFails(t *testing.T) {
	ctx := context.Background()
	for _, persists := range []bool{false, true} {
		var store *failing
		w, vendor := newRelying(t, func(s verifier.Store) verifier.Store { store = &failing{Store: s}; return store })
		one, two := must(endorse.NewSet(vendor.list(1))), must(endorse.NewSet(vendor.list(2)))
		broken := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, errPower) {
				t.Errorf("persists %v, %s: %v", persists, what, err)
			}
		}
		attested := func() error { r, _ := good(w); _, err := w.Attest(ctx, r); return err }
		first, second := []lineage.Version{bundleOf(w, "a", 1)}, []lineage.Version{bundleOf(w, "a", 2)}
		if err := w.Renew(ctx, one, first, nil); err != nil {
			t.Fatal(err)
		}
		judged(t, "the first list", w.Service, w, "")

		store.fails, store.persists = true, persists
		broken("a newer bundle", w.Renew(ctx, two, second, nil))
		judged(t, "all is as it was", w.Service, w, "")
		store.fails = false
		err := w.Renew(ctx, one, first, nil) // of another instance, or after a restart
		if persists {
			fails(t, "the older bundle", err, verdict.Refused, rollback)
		} else if err != nil {
			t.Errorf("the bundle that is in use: %v", err)
		}
		if err := w.Renew(ctx, two, second, nil); err != nil {
			t.Errorf("persists %v, the newer bundle again: %v", persists, err)
		}

		store.fails = true
		broken("a newer list", attested())
		store.fails = false
		other := must(verifier.Open(ctx, func() verifier.Config { c := w.cfg; c.Endorsements = one; return c }()))
		if persists {
			judged(t, "the older list elsewhere", other, w, rollback)
		} else {
			judged(t, "the older list elsewhere", other, w, "")
		}
		judged(t, "the newer list again", w.Service, w, "")
		judged(t, "and elsewhere, to which it is newer", must(verifier.Open(ctx, func() verifier.Config { c := w.cfg; c.Endorsements = two; return c }())), w, "")

		store.blind = true
		judged(t, "what is known needs no store", w.Service, w, "")
		if _, err := verifier.Open(ctx, func() verifier.Config { c := w.cfg; c.Bundles = second; return c }()); !errors.Is(err, errPower) {
			t.Errorf("starting blind: %v", err)
		}
		blind := must(verifier.Open(ctx, func() verifier.Config { c := w.cfg; c.Endorsements = two; return c }()))
		r, _ := good(w)
		_, err = blind.Attest(ctx, r)
		broken("a list of which nothing is known", err)
	}
}

// TestEndorsementsMemoryDamaged: what can't be read is no empty memory.
func TestEndorsementsMemoryDamaged(t *testing.T) {
	ctx := context.Background()
	w, vendor := newRelying(t, nil)
	b := bundleOf(w, "a", 1)
	if err := w.store.Swap(ctx, verifier.TableEndorsed, string(b.Of), nil, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := w.Renew(ctx, endorse.Set{}, []lineage.Version{b}, nil); err == nil {
		t.Error("took a bundle of which the memory is damaged")
	}
	list := vendor.list(1)
	line := endorse.VersionOfCRL(must(x509.ParseRevocationList(list.Data))).Of
	if err := w.store.Swap(ctx, verifier.TableEndorsed, string(line), nil, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	w.renew(must(endorse.NewSet(list)), nil)
	r, _ := good(w)
	if _, err := w.Attest(ctx, r); err == nil {
		t.Error("took a list of which the memory is damaged")
	}
}

// TestNewerBundleMeanwhile: another instance uses a newer bundle between look and change.
func TestNewerBundleMeanwhile(t *testing.T) {
	ctx := context.Background()
	store := &meddled{}
	w, _ := newRelying(t, func(s verifier.Store) verifier.Store { store.Store = s; return store })
	other := must(verifier.Open(ctx, func() verifier.Config { c := w.cfg; c.Store = store.Store; return c }()))
	store.before = func(table verifier.Table) {
		if table == verifier.TableEndorsed {
			store.before = nil
			if err := other.Renew(ctx, endorse.Set{}, []lineage.Version{bundleOf(w, "a", 3)}, nil); err != nil {
				t.Error(err)
			}
		}
	}
	fails(t, "overtaken", w.Renew(ctx, endorse.Set{}, []lineage.Version{bundleOf(w, "a", 2)}, nil), verdict.Refused, rollback)
	if err := w.Renew(ctx, endorse.Set{}, []lineage.Version{bundleOf(w, "a", 3)}, nil); err != nil {
		t.Error(err)
	}
}
