package broker_test

import (
	"cmp"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// TestVectors plays the histories in spec/vectors/broker (spec/broker.md, section 12).
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("../spec/vectors/broker/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d histories, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			must(t, err)
			play(t, string(data))
		})
	}
}

// history is a broker and what has happened around it.
type history struct {
	*world
	t          *testing.T
	house      *house
	broker     *broker.Broker
	agreements map[string]*agreement.SignedAgreement
	datasets   map[int64]*agreement.SignedDataset
	headers    map[int64][]byte
	rooms      map[string]*room
	saved      string
	makers     *makers
	sets       map[string]broker.ReferenceAct
	// given are the generations that rooms were given, by name.
	given map[string]int64
	// least is the parameter of the run that is asked for.
	least string
}

func play(t *testing.T, text string) {
	w := newWorld(t)
	w.unaudited()
	h := &history{world: w, t: t, house: w.newHouse(), agreements: map[string]*agreement.SignedAgreement{}, rooms: map[string]*room{},
		datasets: map[int64]*agreement.SignedDataset{1: w.statements["alpha"]}, headers: map[int64][]byte{1: w.header}}
	h.broker = h.house.open()
	must1(h.broker.Publish(ctx, w.publication()))
	for i, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if words[0] == "log" {
			if got := joined(h.kinds()); got != strings.Join(words[1:], " ") {
				t.Errorf("line %d: the log holds %s", i+1, got)
			}
			continue
		}
		last := len(words) - 1
		if got := h.step(words[:last]); got != words[last] {
			t.Fatalf("line %d: %s: got %s", i+1, line, got)
		}
	}
}

// step does what a line says, and gives ok, again, the check that refused, or how the
// broker stands after a start.
func (h *history) step(words []string) string {
	h.pass(time.Millisecond)
	verb, args := words[0], append(words[1:], "", "", "")
	switch verb {
	case "activate":
		return event(h.broker.Activate(ctx, h.activation(h.version(args[0], words[1:]))))
	case "retire":
		return event(h.broker.Retire(ctx, h.version(args[0], nil).Digest()))
	case "revoke":
		return event(h.broker.Revoke(ctx, h.descriptors[wire.ID(args[0])].Digest()))
	case "confirm":
		return event(confirm(h.broker))
	case "publish":
		return h.publishVersion(args[0], words[1:])
	case "run":
		h.least = cmp.Or(args[2], "3")
		return outcome(h.ask(args[0], h.version(args[1], nil)))
	case "audited":
		h.differences(agreement.Audited)
		return "ok"
	case "history":
		return h.earlier(args[0], args[1])
	case "output":
		_, err := h.rooms[args[0]].live(h.broker, commitment(args[1]))
		return outcome(err)
	case "live":
		_, err := h.rooms[args[0]].live(h.broker, nil)
		return outcome(err)
	case "deny":
		return event(h.broker.Deny(ctx, h.denialOf(args[0])))
	case "lift":
		return event(h.broker.Lift(ctx, h.denialOf(args[0])))
	case "line":
		h.makers = newMakers(h.world)
		return "ok"
	case "accept":
		return event(h.broker.AddReference(ctx, h.set(args[0], args[1])))
	case "service":
		h.serve()
		return "ok"
	case "open", "mounted", "close":
		return outcome(h.volume(args[0], release.VolumeStep(verb)))
	case "certify":
		data, _ := h.rooms[args[0]].certifyRequest(release.ForNames, nil)
		_, err := h.broker.Certify(ctx, data)
		return outcome(err)
	case "private", "budget", "refill":
		return h.budget(verb, args)
	case "hold":
		data, _ := h.rooms[args[0]].liveRequest(nil)
		h.rooms[args[0]].held = append(h.rooms[args[0]].held, data)
		return "ok"
	case "send":
		r := h.rooms[args[0]]
		_, err := h.broker.Live(ctx, r.held[0])
		r.held = r.held[1:]
		return outcome(err)
	case "replay":
		_, err := h.broker.Live(ctx, h.rooms[args[0]].lastLive)
		return outcome(err)
	case "pass":
		d, err := time.ParseDuration(args[0])
		must(h.t, err)
		h.pass(d)
		return "ok"
	}
	return h.disaster(verb, args[0])
}

// earlier holds what a room is told of earlier questions against their parameters.
func (h *history) earlier(name, want string) string {
	got, err := h.rooms[name].history(h.broker)
	if err == nil && leasts(got) != want {
		return leasts(got)
	}
	return outcome(err)
}

// volume has a room take a step with its volume; what it was before stands in the answer,
// which a volume's disk must be.
func (h *history) volume(name string, step release.VolumeStep) error {
	generation := h.given[name]
	if step == release.VolumeOpen {
		generation = 0
	}
	answer, err := h.rooms[name].volume(h.broker, step, generation)
	if err == nil {
		if h.given == nil {
			h.given = map[string]int64{}
		}
		h.given[name] = answer.Generation
	}
	return err
}

// set gives a version of the makers' set; each is made once.
func (h *history) set(number, what string) broker.ReferenceAct {
	n, err := strconv.ParseInt(number, 10, 64)
	must(h.t, err)
	v := h.makers.values(n)
	if what == "other" {
		v = h.makers.without(n)
	}
	if h.sets == nil {
		h.sets = map[string]broker.ReferenceAct{}
	}
	if _, made := h.sets[number+what]; !made {
		h.sets[number+what] = h.makers.publish(v)
	}
	return h.sets[number+what]
}

// denialOf gives a denial of the agent that every room runs, or of another one.
func (h *history) denialOf(what string) broker.DenialAct {
	digest := h.image.Agent
	if what != "agent" {
		digest = wire.DigestOf([]byte(what))
	}
	return broker.DenialAct{Denial: policy.Denial{What: policy.DenyImage, Value: hex.EncodeToString(digest[:])}}
}

// disaster does what happens to a broker's disk.
func (h *history) disaster(verb, what string) string {
	switch verb + " " + what {
	case "save ":
		h.saved, h.house = h.house.keep(h.t)
		h.broker = h.house.open()
		return "ok"
	case "restart ":
		h.house.close()
		h.house = h.newHouse()
	case "restore log", "restore state":
		h.house = h.house.setBack(h.t, h.saved, what == "log", what == "state")
	case "swap log":
		h.house.close()
		now, kept := filepath.Join(h.dir, "alpha"), filepath.Join(h.saved, "alpha")
		must(h.t, os.Rename(now, now+"-swapped"))
		must(h.t, os.Rename(kept, now))
		must(h.t, os.Rename(now+"-swapped", kept))
		h.house = h.newHouse()
	case "lose state":
		h.house.close()
		must(h.t, os.Remove(filepath.Join(h.dir, "state.db")))
		h.house = h.newHouse()
	default:
		h.t.Fatalf("no verb %s %s", verb, what)
	}
	h.broker = h.house.open()
	if s := must1(h.broker.Status(ctx)); s.Lock != nil {
		return string(s.Lock.Kind)
	}
	return "serving"
}

// version makes an agreement's version, or gives it if it was made before. how may say which
// version it follows, or that it is written again.
func (h *history) version(number string, how []string) *agreement.SignedAgreement {
	name, title := number, "Study"
	for _, word := range how {
		if word == "again-written" {
			name, title = number+" again", "Study, written again"
		}
	}
	if made := h.agreements[name]; made != nil && len(how) < 3 {
		return made
	}
	n, err := strconv.ParseInt(number, 10, 64)
	must(h.t, err)
	h.world.agreement.Version, h.world.agreement.Title, h.world.agreement.Supersedes = n, title, nil
	if n > 1 {
		before := wire.DigestOf([]byte("another history"))
		if len(how) == 3 && how[2] != "other" {
			before = h.agreements[how[2]].Digest()
		}
		h.world.agreement.Supersedes = &before
	}
	h.agreements[name] = h.agree()
	return h.agreements[name]
}

func (h *history) publishVersion(number string, how []string) string {
	n, err := strconv.ParseInt(number, 10, 64)
	must(h.t, err)
	s, header := h.datasets[n], h.headers[n]
	if len(how) == 3 {
		before := wire.DigestOf([]byte("another history"))
		if of, err := strconv.ParseInt(how[2], 10, 64); err == nil {
			before = h.datasets[of].Digest()
		}
		header = h.sealAgain()
		s = h.state("alpha", "patients", n, &before, header)
	}
	got := event(h.broker.Publish(ctx, broker.Publication{Statement: encoded(h.t, s.Document), Header: header, Admit: broker.Admission{Activated: true}}))
	if got == "ok" {
		h.datasets[n], h.headers[n] = s, header
		h.statements["alpha"], h.header = s, header
		h.fileKey = must1(must1(h.keys.Unwrap(header)).MarshalSecret())
	}
	return got
}

// ask has a new room ask for the keys of the run of that name.
func (h *history) ask(name string, a *agreement.SignedAgreement) error {
	run := h.newRun(a)
	if a.Work[0].Container == nil {
		run = h.runWith(a, h.least)
	}
	if before := h.rooms[name]; before != nil {
		run.RunID = before.run.RunID
		run = must1(agreement.NewRun(run.Run))
		must(h.t, run.Document.Sign(h.signing["study"]))
	}
	r := h.newRoom(a, run)
	if err := r.getChallenge(h.broker); err != nil {
		if h.broker.Public().Serving { // a challenge is refused early; the release must be, too
			r.challenge.Token = h.anyChallenge()
			if _, late := h.broker.Release(ctx, r.request()); outcome(late) != outcome(err) && outcome(late) != "parties.revoked" {
				h.t.Errorf("challenge refused by %s, release by %s", outcome(err), outcome(late))
			} else {
				return late
			}
		}
		return err
	}
	answer, err := h.broker.Release(ctx, r.request())
	if err == nil {
		h.rooms[name] = r
		_, err = r.open(answer)
	}
	return err
}

// anyChallenge is a token of the right form that no broker issued.
func (h *history) anyChallenge() []byte { return make([]byte, 150) }

func (h *history) kinds() (kinds []string) {
	for i := range h.house.log.Size() {
		kinds = append(kinds, string(must1(ledger.ParseEntry(must1(h.house.log.Entry(i)))).Kind))
	}
	return kinds
}

func event(ev broker.Event, err error) string {
	if err == nil && ev.Number < 0 {
		return "again"
	}
	return outcome(err)
}

func outcome(err error) string {
	var e *verdict.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		return e.Check
	}
	return err.Error()
}
