package broker_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/ledger"
	"strongroom.dev/seal"
	"strongroom.dev/wire"
)

func TestActivateRefused(t *testing.T) {
	for _, c := range []struct {
		name, check string
		change      func(*world) broker.Activation
	}{
		{"not signed by the owner", "agreement.signatures", func(w *world) broker.Activation { return w.activation(w.agree("beta", "study")) }},
		{"a descriptor missing", "agreement.parties", func(w *world) broker.Activation {
			act := w.activation(w.agree())
			act.Parties = act.Parties[:2]
			return act
		}},
		{"an agreement of others", "agreement.parties", func(w *world) broker.Activation {
			other := *w.descriptors["alpha"]
			other.Title = "Another organisation"
			w.agreement.Parties[0].Descriptor = reSigned(w, other.Descriptor)
			return w.activation(w.agree())
		}},
		{"no agreement", "agreement.form", func(w *world) broker.Activation { return broker.Activation{Agreement: json.RawMessage(`{}`)} }},
		{"a revoked party", "agreement.revoked", func(w *world) broker.Activation { return w.activation(w.agree()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			h := w.newHouse()
			b := h.open()
			if c.check == "agreement.revoked" {
				must1(b.Revoke(ctx, w.descriptors["study"].Digest()))
			}
			size := h.log.Size()
			_, err := b.Activate(ctx, c.change(w))
			refusedBy(t, err, c.check)
			if s := must1(b.Status(ctx)); len(s.Agreements) != 0 || h.log.Size() != size {
				t.Error("a refused activation changed something")
			}
		})
	}
}

// reSigned makes a changed descriptor of alpha's part of the world.
func reSigned(w *world, d agreement.Descriptor) wire.Digest {
	p := must1(agreement.NewParty(d))
	must(w.t, p.Document.Sign(w.signing["alpha"]))
	w.descriptors["alpha"] = p
	return p.Digest()
}

func TestVersions(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	b, v1 := h.ready()
	first := v1.Digest()
	again := must1(b.Activate(ctx, w.activation(v1)))
	if again.Number != -1 {
		t.Error("activating twice made two entries")
	}

	w.agreement.Version, w.agreement.Title = 2, "no history"
	other := wire.DigestOf([]byte("other"))
	w.agreement.Supersedes = &other
	_, err := b.Activate(ctx, w.activation(w.agree()))
	refusedBy(t, err, "agreement.supersedes")

	w.agreement.Supersedes = &first
	v2 := w.agree()
	ev := must1(b.Activate(ctx, w.activation(v2)))
	if len(ev.Notes) != 1 {
		t.Errorf("notes %q", ev.Notes)
	}
	_, err = b.Activate(ctx, w.activation(v1))
	refusedBy(t, err, "agreement.activated")
	w.agreement.Title = "the same version again"
	_, err = b.Activate(ctx, w.activation(w.agree()))
	refusedBy(t, err, "agreement.superseded")
	r := w.newRoom(v1, w.newRun(v1))
	refusedBy(t, r.getChallenge(b), "agreement.activated")
	w.newRoom(v2, w.newRun(v2)).granted(b)

	must1(b.Retire(ctx, v2.Digest()))
	if ev := must1(b.Retire(ctx, v2.Digest())); ev.Number != -1 {
		t.Error("retiring twice made two entries")
	}
	_, err = b.Activate(ctx, w.activation(v2))
	refusedBy(t, err, "agreement.activated")
	_, err = b.Retire(ctx, other)
	refusedBy(t, err, "agreement.activated")
	kinds := []string{}
	for i := range h.log.Size() {
		kinds = append(kinds, string(must1(ledger.ParseEntry(must1(h.log.Entry(i)))).Kind))
	}
	if want := "publish activate activate refusal grant retire"; joined(kinds) != want {
		t.Errorf("the log holds %q, expected %q", joined(kinds), want)
	}
}

func joined(words []string) string {
	var b bytes.Buffer
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	return b.String()
}

func TestActivateBeforeOthersSign(t *testing.T) {
	w := newWorld(t)
	b := w.newHouse().open()
	must1(b.Publish(ctx, w.publication()))
	early := w.agree("alpha")
	ev := must1(b.Activate(ctx, w.activation(early)))
	if len(ev.Notes) != 1 {
		t.Errorf("notes %q", ev.Notes)
	}
	_, err := w.newRoom(early, w.newRun(early)).ask(b)
	refusedBy(t, err, "agreement.signatures")
	whole := w.agree()
	w.newRoom(whole, w.newRun(whole)).granted(b)
}

// sealAgain seals a new version of alpha's data.
func (w *world) sealAgain() []byte {
	recipient := must1(seal.ParseRecipient(w.descriptors["alpha"].Broker.Data[0]))
	var sealed bytes.Buffer
	must1(seal.Seal(&sealed, bytes.NewReader([]byte("patient,radius\n")), []seal.Recipient{recipient}, seal.Options{}))
	return must1(seal.ReadHeader(&sealed))
}

func TestPublish(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	b, a := h.ready()
	v1, header1 := w.statements["alpha"], w.header
	digest1 := v1.Digest()
	if ev := must1(b.Publish(ctx, w.publication())); ev.Number != -1 {
		t.Error("publishing twice made two entries")
	}
	header2 := w.sealAgain()
	for _, c := range []struct {
		name, check string
		pub         broker.Publication
	}{
		{"another header", "dataset.header", broker.Publication{Statement: encoded(t, v1.Document), Header: header2, Admit: broker.Admission{Activated: true}}},
		{"version left out", "dataset.version", w.publish("patients", 3, &digest1, header2)},
		{"another history", "dataset.supersedes", w.publish("patients", 2, ptr(wire.DigestOf([]byte("x"))), header2)},
		{"the same file again", "dataset.header", w.publish("patients", 2, &digest1, header1)},
		{"the same file as another dataset", "dataset.header", w.publish("others", 1, nil, header1)},
		{"a new dataset from version 2", "dataset.version", w.publish("others", 2, &digest1, header2)},
		{"another owner's", "dataset.owner", broker.Publication{Statement: encoded(t, w.statements["beta"].Document), Header: []byte("a header of beta's"), Admit: broker.Admission{Activated: true}}},
	} {
		_, err := b.Publish(ctx, c.pub)
		refusedBy(t, err, c.check)
	}
	must1(b.Publish(ctx, w.publish("patients", 2, &digest1, header2)))
	t.Run("the older version is not released", func(t *testing.T) {
		_, err := w.newRoom(a, w.newRun(a)).ask(b)
		refusedBy(t, err, "input.current")
	})
	w.header, w.statements["alpha"] = header2, w.state("alpha", "patients", 2, &digest1, header2)
	w.fileKey = must1(must1(w.keys.Unwrap(header2)).MarshalSecret())
	t.Run("the current one is", func(t *testing.T) { w.newRoom(a, w.newRun(a)).granted(b) })
	t.Run("unless its owner admits other agreements only", func(t *testing.T) {
		pub := w.publication()
		pub.Admit = broker.Admission{Agreements: []wire.Digest{wire.DigestOf([]byte("other"))}}
		must1(b.Publish(ctx, pub))
		_, err := w.newRoom(a, w.newRun(a)).ask(b)
		refusedBy(t, err, "input.admitted")
		pub.Admit = broker.Admission{Agreements: []wire.Digest{a.Digest()}}
		must1(b.Publish(ctx, pub))
		w.newRoom(a, w.newRun(a)).granted(b)
		for _, neither := range []broker.Admission{{}, {Activated: true, Agreements: []wire.Digest{a.Digest()}}} {
			pub.Admit = neither
			_, err = b.Publish(ctx, pub)
			refusedBy(t, err, "dataset.admit")
		}
	})
	t.Run("not sealed to this broker", func(t *testing.T) {
		stranger := must1(seal.GenerateIdentity(seal.Data))
		var sealed bytes.Buffer
		must1(seal.Seal(&sealed, bytes.NewReader([]byte("x")), []seal.Recipient{stranger.Recipient()}, seal.Options{}))
		_, err := b.Publish(ctx, w.publish("others", 1, nil, must1(seal.ReadHeader(&sealed))))
		refusedBy(t, err, "sealed.recipient")
	})
}

func ptr[T any](v T) *T { return &v }

func (w *world) publish(dataset wire.ID, version int64, supersedes *wire.Digest, header []byte) broker.Publication {
	return broker.Publication{Statement: encoded(w.t, w.state("alpha", dataset, version, supersedes, header).Document), Header: header, Admit: broker.Admission{Activated: true}}
}
