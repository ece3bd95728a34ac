package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/host"
	"strongroom.dev/keys"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
)

// onRequests are attacks on what was signed: the query, the parameters, the request.
func (e *enemy) onRequests() []attempt {
	signatures := []string{"agreement.signatures", "run.signatures"}
	return []attempt{
		e.inRoom("query changed after signing", signatures, func(job *host.Job, _ *host.Config) error {
			return replace(&job.Agreement, `mean_radius <`, `mean_radius >`)
		}),
		e.inRoom("parameter changed by the host", signatures, func(job *host.Job, _ *host.Config) error {
			return replace(&job.Run, `"threshold":"15.0"`, `"threshold":"25.0"`)
		}),
		e.inRoom("a party's signature missing", signatures, func(job *host.Job, _ *host.Config) error {
			return dropSignature(&job.Agreement)
		}),
		{"run request replayed", e.replayRequest, []string{"run.once"}},
		{"two rooms racing for one run", e.race, []string{"run.once"}},
	}
}

// replace changes a document and leaves its signatures as they are.
func replace(doc *json.RawMessage, old, with string) error {
	if !bytes.Contains(*doc, []byte(old)) {
		return fmt.Errorf("the document does not hold %s", old)
	}
	*doc = bytes.ReplaceAll(*doc, []byte(old), []byte(with))
	return nil
}

func dropSignature(doc *json.RawMessage) error {
	d, err := keys.ParseDocument(*doc, agreement.AgreementType, nil)
	if err != nil {
		return err
	}
	d.Signatures = d.Signatures[:len(d.Signatures)-1]
	*doc, err = d.Encode()
	return err
}

// replayRequest has a host serve a request a second time.
func (e *enemy) replayRequest(ctx context.Context) (string, error, error) {
	job, err := e.job(e.study1, e.seenRun, e.path(hostHome, "data"))
	if err != nil {
		return "", nil, err
	}
	refusal := e.room(ctx, job, e.config())
	return byRoom(refusal), refusal, nil
}

// race starts two genuine rooms for one request at once. At most one may come to a result;
// that none does would be no attack at all.
func (e *enemy) race(ctx context.Context) (string, error, error) {
	job, _, err := e.honestJob()
	if err != nil {
		return "", nil, err
	}
	var refusals [2]error
	var wait sync.WaitGroup
	for i := range refusals {
		wait.Go(func() { refusals[i] = e.room(ctx, job, e.config()) })
	}
	wait.Wait()
	switch {
	case refusals[0] == nil && refusals[1] == nil:
		return "nobody", nil, nil
	case refusals[0] != nil && refusals[1] != nil && !e.onceEach(refusals):
		return "", nil, fmt.Errorf("neither room came to a result: %w; %w", refusals[0], refusals[1])
	case refusals[0] != nil:
		return byRoom(refusals[0]), refusals[0], nil
	}
	return byRoom(refusals[1]), refusals[1], nil
}

// onceEach reports whether each room lost at one broker: each got one key and never the
// second, so that nobody got a result.
func (e *enemy) onceEach(refusals [2]error) bool {
	return verdict.As(refusals[0]).Check == "run.once" && verdict.As(refusals[1]).Check == "run.once"
}

// onEvidence are attacks on the evidence and the release.
func (e *enemy) onEvidence() []attempt {
	binding := []string{"evidence.binding"}
	return []attempt{
		{"agent executable altered by one byte", e.alterAgent, []string{"evidence.image"}},
		{"evidence replayed", func(ctx context.Context) (string, error, error) {
			return e.intrude(ctx, func(x *intruder) { x.evidence = &e.shownTo(alpha).Evidence })
		}, binding},
		{"challenge used twice", func(ctx context.Context) (string, error, error) {
			return e.intrude(ctx, func(x *intruder) { x.token = e.shownTo(alpha).Challenge })
		}, []string{"challenge.fresh"}},
		{"evidence made for another purpose", func(ctx context.Context) (string, error, error) {
			return e.intrude(ctx, func(x *intruder) { x.purpose = attest.ForIngress })
		}, binding},
		{"room key swapped inside genuine evidence", e.swapKey, binding},
		e.inRoom("releases for two inputs swapped", []string{"grant.request", "message.signature"}, swapGrants),
	}
}

// alterAgent runs an agent with one changed byte, in a text that it never prints.
func (e *enemy) alterAgent(ctx context.Context) (string, error, error) {
	altered, err := e.alteredAgent()
	if err != nil {
		return "", nil, err
	}
	programs, err := e.loadPrograms(altered)
	if err != nil {
		return "", nil, err
	}
	defer programs.Close()
	job, _, err := e.honestJob()
	if err != nil {
		return "", nil, err
	}
	c := e.config()
	c.Programs = programs
	refusal := e.room(ctx, job, c)
	return byRoom(refusal), refusal, nil
}

// intrude asks Alpha's broker with a program of the host that is no room.
func (e *enemy) intrude(ctx context.Context, change func(*intruder)) (string, error, error) {
	run, err := e.request(e.study1, questions[1], nil)
	if err != nil {
		return "", nil, err
	}
	x, err := newIntruder(e.root, e.measured, e.study1, e.parties, run)
	if err != nil {
		return "", nil, err
	}
	change(x)
	input, err := e.currentInput(alpha)
	if err != nil {
		return "", nil, err
	}
	return e.ask(ctx, x, alpha, input)
}

// ask brings the other broker's checkpoint, as a room would, and asks.
func (e *enemy) ask(ctx context.Context, x *intruder, folder string, inputs ...release.InputRequest) (string, error, error) {
	broker := e.party(folder)
	by := "broker of " + string(broker.Name)
	if err := e.bringPeers(ctx, x, folder); err != nil {
		if verdict.As(err).Kind == verdict.Refused { // no challenge under this agreement
			return by, err, nil
		}
		return "", nil, err
	}
	return by, x.ask(ctx, broker, inputs), nil
}

// swapKey has the host put keys of its own into a genuine room's request, evidence and all.
func (e *enemy) swapKey(ctx context.Context) (string, error, error) {
	job, run, err := e.honestJob()
	if err != nil {
		return "", nil, err
	}
	x, err := newIntruder(e.root, e.measured, e.study1, e.parties, run)
	if err != nil {
		return "", nil, err
	}
	var refusal error
	asked := false
	c := e.config()
	c.Relay = func(ctx context.Context, stream, path string, body []byte, next host.Next) (int, []byte) {
		if path != release.PathRelease {
			return next(body)
		}
		r, err := release.ParseRequest(body)
		if err != nil {
			return 502, verdict.Encode(err)
		}
		mine := r.Request
		mine.Room = release.RoomKeys{Signing: x.signing.Public(), HPKE: x.hpke.Public()}
		message, _, err := release.NewRequest(x.signing, mine)
		if err != nil {
			return 502, verdict.Encode(err)
		}
		status, answer := next(message)
		if status != 200 && !asked {
			refusal = verdict.Decode(answer)
		}
		asked = true
		return status, answer
	}
	e.room(ctx, job, c)
	if !asked {
		return "", nil, fmt.Errorf("the room never asked for a release")
	}
	return "broker, which the host asked with the swapped key", refusal, nil
}

// swapGrants has the host give each broker's answer for the other's.
func swapGrants(_ *host.Job, c *host.Config) error {
	var first []byte
	c.Relay = func(_ context.Context, _, path string, body []byte, next host.Next) (int, []byte) {
		status, answer := next(body)
		if path != release.PathRelease || status != 200 {
			return status, answer
		}
		if first == nil {
			first = answer
			return status, answer
		}
		return status, first
	}
	return nil
}

// shownTo gives what the watched room showed a hospital's broker.
func (e *enemy) shownTo(folder string) *room.Shown {
	for i, s := range e.seen.Shown {
		if s.Broker == e.party(folder).Name {
			return &e.seen.Shown[i]
		}
	}
	return new(room.Shown) // prepare has looked that there are two
}

// alteredAgent writes an agent with one byte of a text changed, which still runs.
func (w *world) alteredAgent() (string, error) {
	program, err := os.ReadFile(w.bin("strongroom-agent"))
	if err != nil {
		return "", err
	}
	text := []byte("a defect in the agent: report it")
	at := bytes.Index(program, text)
	if at < 0 {
		return "", fmt.Errorf("the agent does not hold the text %q", text)
	}
	program[at] ^= 0x20
	altered := w.path("strongroom-agent-altered")
	return altered, os.WriteFile(altered, program, 0o700)
}
