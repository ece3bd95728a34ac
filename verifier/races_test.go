package verifier_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
)

// meddled lets a test act just before a change to the store.
type meddled struct {
	verifier.Store
	before func(verifier.Table)
}

func (s *meddled) Swap(ctx context.Context, t verifier.Table, key string, old, value []byte) error {
	if s.before != nil {
		s.before(t)
	}
	return s.Store.Swap(ctx, t, key, old, value)
}

// TestRefusedPolicyChangesNothing: of two officers who add one version with two texts, the one who
// is refused changes nothing of what the other then puts in force, whoever is first at what.
func TestRefusedPolicyChangesNothing(t *testing.T) {
	ctx := context.Background()
	strict, lax := version(1, "{machines: {only: [beef]}}"), version(1, "{}")
	w := newWorld(t, nil)
	stores := [2]*meddled{{Store: w.store}, {Store: w.store}}
	var officers [2]*verifier.Service
	for i, s := range stores {
		cfg := w.cfg
		cfg.Store = s
		officers[i] = must(verifier.Open(ctx, cfg))
	}
	reached, goOn, second := make(chan bool), make(chan bool), make(chan error)
	stores[1].before = func(table verifier.Table) {
		if table == verifier.TablePolicy {
			stores[1].before = nil
			reached <- true
			<-goOn
		}
	}
	stores[0].before = func(table verifier.Table) {
		if table == verifier.TableHead {
			stores[0].before = nil
			go func() { _, err := officers[1].AddPolicy(ctx, "rooms", []byte(lax)); second <- err }()
			<-reached
		}
	}
	added := must(officers[0].AddPolicy(ctx, "rooms", []byte(strict)))
	must(officers[0].Activate(ctx, "rooms", 1))
	goOn <- true
	fails(t, "the second text of a version", <-second, verdict.Refused, "appraisal.version")
	for i, s := range append(officers[:], must(verifier.Open(ctx, w.cfg))) {
		v, all := must(s.Policy(ctx, "rooms", 1)), must(s.Versions(ctx, "rooms"))
		if v.Digest != added.Digest || v.Text != strict || !v.Active || len(all) != 1 || all[0].Digest != added.Digest {
			t.Errorf("instance %d: in force is %s, added was %s; %d versions", i, v.Digest.Short(), added.Digest.Short(), len(all))
		}
		r, _ := good(w)
		_, err := s.Attest(ctx, r)
		fails(t, "judged by the text that was added", err, verdict.Refused, "policy.machine")
	}
}

// TestRefusedVersionNeverWas: a version that was overtaken while it was added can't be activated.
func TestRefusedVersionNeverWas(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	store := &meddled{Store: w.store}
	cfg := w.cfg
	cfg.Store = store
	slow := must(verifier.Open(ctx, cfg))
	store.before = func(table verifier.Table) {
		if table == verifier.TableHead {
			store.before = nil
			must(w.AddPolicy(ctx, "rooms", []byte(version(6, "{}"))))
		}
	}
	_, err := slow.AddPolicy(ctx, "rooms", []byte(version(5, "{}")))
	fails(t, "overtaken", err, verdict.Refused, "appraisal.version")
	_, err = slow.Activate(ctx, "rooms", 5)
	fails(t, "activating what was refused", err, verdict.Refused, "appraisal.version")
	if all := must(w.Versions(ctx, "rooms")); len(all) != 1 || all[0].Version != 6 {
		t.Errorf("%+v", all)
	}
}

// TestTextInStoreAltered: a text that is not the one that its head names judges nothing.
func TestTextInStoreAltered(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	w.inForce(version(1, "{machines: {only: [beef]}}"))
	entries := must(w.store.List(ctx, verifier.TablePolicy, ""))
	if len(entries) != 1 {
		t.Fatalf("%d texts", len(entries))
	}
	lax := strings.Replace(string(entries[0].Value), "{machines: {only: [beef]}}", "{}", 1)
	if err := w.store.Swap(ctx, verifier.TablePolicy, entries[0].Key, entries[0].Value, []byte(lax)); err != nil || lax == string(entries[0].Value) {
		t.Fatal(err)
	}
	openAgain(t, w)
	r, _ := good(w)
	_, err := w.Attest(ctx, r)
	fails(t, "an altered text", err, verdict.Broken, "attestation.state")
	if _, err := w.Versions(ctx, "rooms"); !errors.As(err, new(*verdict.Error)) {
		t.Errorf("listed: %v", err)
	}
}

// TestRedeemedOnceBesideOtherClocks: an instance whose clock is ahead forgets no challenge that is
// still good where the clock is behind.
func TestRedeemedOnceBesideOtherClocks(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, func(c *verifier.Config) { c.SingleUse = true })
	w.inForce(rooms)
	for _, skew := range []time.Duration{0, 10 * time.Second, verifier.ChallengeLifetime} {
		cfg := w.cfg
		cfg.Now = func() time.Time { return w.now.Add(skew) }
		ahead := must(verifier.Open(ctx, cfg))
		r, _ := good(w)
		w.now = w.now.Add(verifier.ChallengeLifetime - time.Second)
		must(w.Attest(ctx, r))
		if err := ahead.Upkeep(ctx); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*verifier.Service{w.Service, must(verifier.Open(ctx, w.cfg))} {
			_, err := s.Attest(ctx, r)
			fails(t, "again, beside a clock "+skew.String()+" ahead", err, verdict.Refused, "challenge.used")
		}
	}
}

// headless is a store that dies before a head is written.
type headless struct{ verifier.Store }

func (s headless) Swap(ctx context.Context, t verifier.Table, key string, old, value []byte) error {
	if t == verifier.TableHead {
		return errors.New("no power")
	}
	return s.Store.Swap(ctx, t, key, old, value)
}

// TestTextWithoutHead: a text whose addition never ended is no version, and in nobody's way.
func TestTextWithoutHead(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, nil)
	cfg := w.cfg
	cfg.Store = headless{w.store}
	dying := must(verifier.Open(ctx, cfg))
	if _, err := dying.AddPolicy(ctx, "rooms", []byte(version(1, "{}"))); err == nil {
		t.Fatal("added without a head")
	}
	_, err := w.Activate(ctx, "rooms", 1)
	fails(t, "activating it", err, verdict.Refused, "appraisal.version")
	strict := version(1, "{machines: {only: [beef]}}")
	w.inForce(strict)
	if all := must(w.Versions(ctx, "rooms")); len(all) != 1 || all[0].Text != strict || !all[0].Active {
		t.Errorf("%+v", all)
	}
	r, _ := good(w)
	_, err = w.Attest(ctx, r)
	fails(t, "judged by the text that was added", err, verdict.Refused, "policy.machine")
}
