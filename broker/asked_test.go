package broker_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// unaudited makes the agreements from here on those of inputs whose answers are not remembered.
func (w *world) unaudited() { w.differences(agreement.Unaudited) }

func (w *world) differences(rule wire.ID) {
	for _, in := range w.agreement.Inputs {
		in.Rules.Differences = rule
	}
}

// sealShown puts into a live request what the room's answer shows of alpha's rows.
func (r *room) sealShown(asked *release.LiveRequest) {
	work, _ := r.agreement.WorkByName(r.run.Work)
	if len(r.agreement.AuditedOf(work, "alpha")) == 0 {
		return
	}
	key := must1(release.ShownKey(r.w.keys.Secret(), r.releaseID)).Public()
	must(r.w.t, release.SealShown(key, asked, must1(release.PadShown(r.shows, r.agreement.RowsOf(work)))))
}

// history asks alpha's broker what was asked before.
func (r *room) history(b *broker.Broker) (release.History, error) {
	asked := release.AskedRequest{Version: release.Version, Broker: "alpha-org", Agreement: r.agreement.Digest(), Run: r.run.Digest(), RunID: r.run.RunID,
		ReleaseID: r.releaseID, Nonce: wire.HashOf([]byte(randomID()))}
	data := must1(release.NewAskedRequest(r.signing, asked))
	answer, err := b.Asked(ctx, data)
	if err != nil {
		return release.History{}, err
	}
	a, err := release.VerifyAskedAnswer(answer, r.w.descriptors["alpha"].Broker.ReleaseKey, asked, []wire.ID{"alpha-rows"})
	if err != nil {
		return release.History{}, err
	}
	return release.OpenHistory(r.hpke, asked, r.w.statements["alpha"].Digest(), a.Histories[0])
}

// asks is a room that was given keys to ask for patients with at least so large a radius.
func (h *house) asks(least int, groups ...byte) *room {
	h.w.t.Helper()
	r := h.w.newRoom(h.agreement, h.w.runWith(h.agreement, fmt.Sprint(least)))
	r.shows = nil
	for _, g := range groups {
		r.shows = append(r.shows, bytes.Repeat([]byte{g}, release.GroupSize)...)
	}
	r.granted(h.broker)
	return r
}

// runWith has the researcher sign a run with a parameter.
func (w *world) runWith(a *agreement.SignedAgreement, least string) *agreement.SignedRun {
	r := w.newRun(a).Run
	r.Parameters = map[string]string{"least": least}
	run := must1(agreement.NewRun(r))
	must(w.t, run.Document.Sign(w.signing["study"]))
	return run
}

// anyRun has the researcher sign a run with any parameter.
func (w *world) anyRun(a *agreement.SignedAgreement) *agreement.SignedRun {
	if a.Work[0].Container != nil {
		return w.newRun(a)
	}
	return w.runWith(a, fmt.Sprint(rand.IntN(10)))
}

// checkHistory demands that the broker remembers every question whose answer it let out, and
// each once.
func (w *world) checkHistory(t *testing.T, h *house, b *broker.Broker, all []*errand) {
	t.Helper()
	w.agreement.Version, w.agreement.Supersedes = 2, digestOf(all[0].agreement) // whose questions are others
	h.broker, h.agreement = b, w.agree()
	must1(b.Activate(ctx, w.activation(h.agreement)))
	known := leasts(must1(h.asks(1, 1).history(b)))
	answered := 0
	for _, e := range all {
		if e.receipt == nil {
			continue
		}
		answered++
		if strings.Count(known, e.run.Parameters["least"]) != 1 {
			t.Errorf("the answer for %s was let out, and %q is remembered", e.run.Parameters["least"], known)
		}
	}
	t.Logf("%d answers, of %d questions", answered, len(known))
}

// leasts gives the parameters of the questions in a history.
func leasts(h release.History) (text string) {
	for _, q := range h.Questions {
		text += q.Question.Parameters[0].Value
	}
	return text
}

func newAudited(t *testing.T) (*world, *house) {
	w := newWorld(t)
	w.agreement.Inputs[0].RunsPerDay = 1000
	h := w.newHouse()
	h.ready()
	return w, h
}

func TestHistory(t *testing.T) {
	w, h := newAudited(t)
	first := h.asks(1, 1, 3)
	if got := must1(first.history(h.broker)); len(got.Questions) != 0 {
		t.Errorf("before anything was asked: %+v", got)
	}
	must1(first.live(h.broker, nil))
	must1(first.live(h.broker, commitment("one")))
	must1(first.live(h.broker, commitment("one"))) // the same word again
	second := h.asks(2, 3)
	got := must1(second.history(h.broker))
	if leasts(got) != "1" || !bytes.Equal(release.TrimShown(got.Questions[0].Shown), first.shows) || len(got.Questions[0].Shown) != 100*release.GroupSize {
		t.Errorf("after one question: %+v", got)
	}
	q := got.Questions[0].Question
	if q.Agreement != h.agreement.Digest() || q.Query != h.agreement.Work[0].Query || len(q.Tables) != 1 || q.Tables[0].Name != "patients" ||
		len(q.Tables[0].Inputs) != 2 || q.Tables[0].Inputs[0].Statement != w.statements["alpha"].Digest() || q.Tables[0].Inputs[1].Statement != w.statements["beta"].Digest() {
		t.Errorf("the question is %+v", q)
	}
	must1(second.live(h.broker, commitment("two")))
	third := h.asks(3)
	if got := must1(third.history(h.broker)); leasts(got) != "12" {
		t.Errorf("the third sees %q", leasts(got))
	}
	must1(third.live(h.broker, commitment("three")))
	if got := must1(third.history(h.broker)); leasts(got) != "12" {
		t.Errorf("asked again, the third sees %q", leasts(got))
	}
	// The same question has the same answer, and is remembered once.
	again := h.asks(2, 3)
	if got := must1(again.history(h.broker)); leasts(got) != "1" {
		t.Errorf("the second again sees %q", leasts(got))
	}
	must1(again.live(h.broker, commitment("two again")))
	// But where nothing was shown, nothing binds.
	empty := h.asks(3)
	if got := must1(empty.history(h.broker)); leasts(got) != "123" {
		t.Errorf("the third again sees %q", leasts(got))
	}
}

// TestOvertaken has two rooms answer at once: one of the answers was not held against the other.
func TestOvertaken(t *testing.T) {
	_, h := newAudited(t)
	slow, quick, same := h.asks(1, 1), h.asks(2, 2), h.asks(2, 2)
	more := h.asks(2, 2, 4)
	must1(quick.live(h.broker, commitment("quick")))
	_, err := slow.live(h.broker, commitment("slow"))
	refusedBy(t, err, "differences.overtaken")
	must1(slow.live(h.broker, nil)) // nothing of the refusal stands
	must1(same.live(h.broker, commitment("same")))
	_, err = more.live(h.broker, commitment("more")) // shows what the quick one did not
	refusedBy(t, err, "differences.overtaken")
	if got := must1(h.asks(9).history(h.broker)); leasts(got) != "2" {
		t.Errorf("remembered %q", leasts(got))
	}
}

func TestShownRefused(t *testing.T) {
	_, h := newAudited(t)
	for name, change := range map[string]func(*room, *release.LiveRequest){
		"none":         func(_ *room, asked *release.LiveRequest) { asked.Shown = nil },
		"of another":   func(r *room, asked *release.LiveRequest) { asked.Shown = h.asks(5, 1).shownFor("else") },
		"another size": func(r *room, asked *release.LiveRequest) { r.sealTo(asked, make([]byte, 80)) },
		"not to it": func(r *room, asked *release.LiveRequest) {
			must(t, release.SealShown(r.hpke.Public(), asked, make([]byte, 800)))
		},
		"another word's": func(r *room, asked *release.LiveRequest) { asked.Shown = r.shownFor("else") },
	} {
		t.Run(name, func(t *testing.T) {
			r := h.asks(1, 1)
			r.counter++
			asked := release.LiveRequest{Version: release.Version, Broker: "alpha-org", Agreement: r.agreement.Digest(), Run: r.run.Digest(), RunID: r.run.RunID,
				ReleaseID: r.releaseID, Counter: r.counter, AfterMS: r.heardMS, Nonce: wire.HashOf([]byte(randomID())), Commitment: commitment("answer")}
			change(r, &asked)
			_, err := h.broker.Live(ctx, must1(release.NewLiveRequest(r.signing, asked)))
			refusedBy(t, err, "live.shown")
		})
	}
	t.Run("where nothing is remembered", func(t *testing.T) {
		w := newWorld(t)
		w.unaudited()
		h := w.newHouse()
		h.ready()
		r := h.asks(1)
		r.counter++
		asked := release.LiveRequest{Version: release.Version, Broker: "alpha-org", Agreement: r.agreement.Digest(), Run: r.run.Digest(), RunID: r.run.RunID,
			ReleaseID: r.releaseID, Counter: r.counter, AfterMS: r.heardMS, Nonce: wire.HashOf([]byte(randomID())), Commitment: commitment("answer")}
		r.sealTo(&asked, make([]byte, 800))
		_, err := h.broker.Live(ctx, must1(release.NewLiveRequest(r.signing, asked)))
		refusedBy(t, err, "live.shown")
		_, err = r.history(h.broker)
		refusedBy(t, err, "asked.inputs")
	})
}

func (r *room) sealTo(asked *release.LiveRequest, shown []byte) {
	must(r.w.t, release.SealShown(must1(release.ShownKey(r.w.keys.Secret(), r.releaseID)).Public(), asked, shown))
}

// shownFor gives what the room would seal with another commitment.
func (r *room) shownFor(output string) []byte {
	asked := release.LiveRequest{Broker: "alpha-org", Agreement: r.agreement.Digest(), Run: r.run.Digest(), ReleaseID: r.releaseID, Commitment: commitment(output)}
	r.sealTo(&asked, make([]byte, 800))
	return asked.Shown
}

func TestAskedRefused(t *testing.T) {
	w, h := newAudited(t)
	r := h.asks(1, 1)
	other := *r
	other.signing = signingKey(t)
	_, err := other.history(h.broker)
	refusedBy(t, err, "message.signature")
	other = *r
	other.releaseID = randomID()
	_, err = other.history(h.broker)
	refusedBy(t, err, "live.run")
	must1(h.broker.Retire(ctx, h.agreement.Digest()))
	_, err = r.history(h.broker)
	refusedBy(t, err, "agreement.activated")
	_ = w
}

// TestHistoryIsBounded asks until no more is remembered.
func TestHistoryIsBounded(t *testing.T) {
	w, h := newAudited(t)
	w.agreement.Work[0].Parameters[0].Max = "999"
	w.agreement.Version, w.agreement.Supersedes = 2, digestOf(h.agreement)
	h.agreement = w.agree()
	must1(h.broker.Activate(ctx, w.activation(h.agreement)))
	for i := range agreement.MaxQuestions {
		r := h.asks(i, 1)
		must1(r.live(h.broker, commitment("answer")))
	}
	_, err := w.newRoom(h.agreement, w.runWith(h.agreement, "900")).ask(h.broker)
	if e := refusedBy(t, err, "differences.known"); !strings.Contains(e.Got, "64 questions") || !strings.Contains(e.Fix, "new version") {
		t.Error(e)
	}
	if got := must1(h.asks(7, 1).history(h.broker)); len(got.Questions) != 7 { // what was asked may be asked again
		t.Errorf("%d questions", len(got.Questions))
	}
}

func digestOf(a *agreement.SignedAgreement) *wire.Digest {
	d := a.Digest()
	return &d
}

// TestHistoryBesideOtherRows: without a join it is all the same whose rows are beside.
func TestHistoryBesideOtherRows(t *testing.T) {
	w, h := newAudited(t)
	must1(h.asks(1, 1).live(h.broker, commitment("one")))
	before := w.statements["beta"].Digest()
	w.statements["beta"] = w.state("beta", "patients", 2, &before, []byte("another header of beta's"))
	if got := must1(h.asks(1, 1).history(h.broker)); leasts(got) != "1" {
		t.Errorf("a history of %q", leasts(got))
	}
}

// TestHistoryOfOtherRows asks about rows joined with some that a later run does not have.
func TestHistoryOfOtherRows(t *testing.T) {
	w, h := newAudited(t)
	w.agreement.Work[0].Query = "SELECT avg(p.radius) AS m FROM patients p JOIN patients q USING (patient) WHERE q.radius > $least"
	w.agreement.Version, w.agreement.Supersedes = 2, digestOf(h.agreement)
	h.agreement = w.agree()
	must1(h.broker.Activate(ctx, w.activation(h.agreement)))
	must1(h.asks(1, 1).live(h.broker, commitment("one")))
	before := w.statements["beta"].Digest()
	w.statements["beta"] = w.state("beta", "patients", 2, &before, []byte("another header of beta's"))
	_, err := w.newRoom(h.agreement, w.newRun(h.agreement)).ask(h.broker)
	if e := refusedBy(t, err, "differences.known"); !strings.Contains(e.Got, before.Short()) {
		t.Error(e)
	}
	h.publishes(2)
	if got := must1(h.asks(1, 1).history(h.broker)); len(got.Questions) != 0 {
		t.Errorf("a new version has a history of %q", leasts(got))
	}
}

// publishes has alpha publish the next version of its data.
func (h *house) publishes(version int64) {
	w := h.w
	w.t.Helper()
	before := w.statements["alpha"].Digest()
	header := w.sealAgain()
	s := w.state("alpha", "patients", version, &before, header)
	must1(h.broker.Publish(ctx, broker.Publication{Statement: encoded(w.t, s.Document), Header: header, Admit: broker.Admission{Activated: true}}))
	w.statements["alpha"], w.header = s, header
	w.fileKey = must1(must1(w.keys.Unwrap(header)).MarshalSecret())
}

// TestHistoryLost puts an older state back: what was asked since is not known, and the data is
// not asked about until there is a new version.
func TestHistoryLost(t *testing.T) {
	w, h := newAudited(t)
	copied, h := h.keep(t)
	h.broker = h.open()
	must1(h.asks(1, 1).live(h.broker, commitment("one")))
	h = h.setBack(t, copied, false, true)
	h.broker = h.open()
	_, err := w.newRoom(h.agreement, w.newRun(h.agreement)).ask(h.broker)
	refusedBy(t, err, "broker.locked")
	w.pass(1500 * 1e6)
	must1(confirm(h.broker))
	must1(h.broker.Activate(ctx, w.activation(h.agreement)))
	refuses := func() {
		t.Helper()
		_, err = w.newRoom(h.agreement, w.newRun(h.agreement)).ask(h.broker)
		if e := refusedBy(t, err, "differences.known"); !strings.Contains(e.Got, "lost") {
			t.Error(e)
		}
	}
	refuses()
	pub := w.publication() // the same version, for others
	pub.Admit = broker.Admission{Agreements: []wire.Digest{h.agreement.Digest()}}
	must1(h.broker.Publish(ctx, pub))
	refuses()
	h.publishes(2)
	must1(h.asks(1, 1).live(h.broker, commitment("two")))
}

// TestHistoryOfLostVersion publishes again, after a rollback, what was asked about in the part
// that was lost: the broker does not know it, but it is older than the rollback.
func TestHistoryOfLostVersion(t *testing.T) {
	w, h := newAudited(t)
	copied, h := h.keep(t)
	h.broker = h.open()
	before := w.statements["alpha"].Digest()
	header := w.sealAgain()
	s := w.state("alpha", "patients", 2, &before, header)
	again := broker.Publication{Statement: encoded(t, s.Document), Header: header, Admit: broker.Admission{Activated: true}}
	must1(h.broker.Publish(ctx, again))
	h.cfg.Peers = map[string]broker.Peer{"broker.example/beta": w.peer(h.log.Checkpoint())}
	h = h.setBack(t, copied, true, true)
	h.broker = h.open()
	w.pass(1500 * 1e6)
	h.cfg.Peers = nil
	must1(confirm(h.broker))
	must1(h.broker.Activate(ctx, w.activation(h.agreement)))
	must1(h.broker.Publish(ctx, again))
	w.statements["alpha"], w.header = s, header
	_, err := w.newRoom(h.agreement, w.newRun(h.agreement)).ask(h.broker)
	refusedBy(t, err, "differences.known")
}

// TestHistorySurvives restarts between what is asked.
func TestHistorySurvives(t *testing.T) {
	_, h := newAudited(t)
	r := h.asks(1, 1)
	must1(r.live(h.broker, commitment("one")))
	waiting := h.asks(2, 2)
	h.close()
	if data := must1(os.ReadFile(filepath.Join(h.w.dir, "state.db"))); len(data) == 0 {
		t.Fatal("no state")
	}
	next := h.w.newHouse()
	next.agreement = h.agreement
	next.broker = next.open()
	if got := must1(waiting.history(next.broker)); leasts(got) != "1" {
		t.Errorf("after a restart: %q", leasts(got))
	}
	must1(waiting.live(next.broker, commitment("two")))
}
