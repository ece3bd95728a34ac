package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"strongroom.dev/attest"
	"strongroom.dev/client"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/watch"
	"strongroom.dev/wire"
)

// Who refuses.
const (
	byService = "attestation service"
	byDoor    = "relying party"
)

// attacks tries everything; none may succeed. Those on reference values come last: they leave
// the service with others than it had.
func (g *gate) attacks(ctx context.Context) error {
	g.chapter("Now everyone cheats. Each attack is tried for real, one after the other")
	x := &forger{gate: g}
	if err := x.prepare(ctx); err != nil {
		return fmt.Errorf("preparing the attacks: %w", err)
	}
	var all []attempt
	all = append(all, x.onEvidence()...)
	all = append(all, x.onTokens()...)
	all = append(all, x.onPolicies()...)
	all = append(all, x.onReferences()...)
	if err := g.attack(ctx, g.report, all); err != nil {
		return err
	}
	return g.report.Err()
}

// forger is what the attacks work with: what it saw of honest exchanges, and the development
// root that any host of dev holds.
type forger struct {
	*gate
	seen  verifier.Request // an honest request, answered
	other *attester        // with a key of the forger's own
}

// prepare makes the forger's keys and watches one honest exchange.
func (x *forger) prepare(ctx context.Context) error {
	_, err := x.quiet(ctx, "keygen", "--purpose", "signing", "-o", x.path("mallory.key"))
	if err != nil {
		return err
	}
	if x.other, err = newAttester(x.root, x.measured); err != nil {
		return err
	}
	answer, err := x.attest(ctx, func(how *asked) error {
		how.spoil = func(r *verifier.Request) error { x.seen = *r; return nil }
		return nil
	})
	if err == nil && answer.Token == "" {
		err = broken("demo.token", "a token for honest evidence", "none")
	}
	return err
}

// onEvidence are attacks on what the service is shown.
func (x *forger) onEvidence() []attempt {
	return []attempt{
		x.sent("evidence replayed for a new challenge", func(r *verifier.Request) error { r.Evidence = x.seen.Evidence; return nil }, "freshness"),
		{"challenge used twice", x.useTwice, []string{"challenge.used"}},
		x.sent("challenge given a longer life", func(r *verifier.Request) error {
			r.Challenge = bytes.Clone(r.Challenge)
			r.Challenge[32+16+3] ^= 1 // in its expiry
			return nil
		}, "challenge.known"),
		x.sent("challenge of another audience", func(r *verifier.Request) error { r.Audience = otherAudience; return nil }, "challenge.known"),
		x.sent("one byte of the evidence altered", x.alterEvidence, "evidence.dev.signature"),
		x.sent("another's key sent with genuine evidence", func(r *verifier.Request) error { r.Key = x.other.public.JWK(); return nil }, "freshness"),
		x.asked("agent altered by one byte", x.runAltered, "policy.reference.group"),
		{"agent altered in a room of the fleet", x.alterFleet, []string{"watch.standing"}},
		x.asked("evidence of another root", func(how *asked) error {
			root, err := keys.GenerateSigningKey(keys.Ed25519)
			how.root = root
			return err
		}, "policy.root"),
		x.sent("software evidence where the policy does not name it", func(r *verifier.Request) error { r.Policy = "hardware"; return nil }, "class"),
		x.sent("attester brings a key to trust", func(r *verifier.Request) error {
			pem, err := publicPEM()
			r.Endorsements = []wire.Bytes{pem}
			return err
		}, "attestation.endorsements"),
	}
}

// asked is an attack by an attester that answers otherwise than it should.
func (x *forger) asked(name string, change func(*asked) error, wants ...string) attempt {
	return attempt{name, func(ctx context.Context) (string, error, error) {
		var failed error // to prepare it
		_, refusal := x.attest(ctx, func(how *asked) error {
			failed = change(how)
			return failed
		})
		return byService, refusal, failed
	}, wants}
}

// sent is an attack that changes a request after its evidence was made.
func (x *forger) sent(name string, spoil func(*verifier.Request) error, wants ...string) attempt {
	return attempt{name, func(ctx context.Context) (string, error, error) {
		var failed error
		_, refusal := x.attest(ctx, func(how *asked) error {
			how.spoil = func(r *verifier.Request) error { failed = spoil(r); return failed }
			return nil
		})
		return byService, refusal, failed
	}, wants}
}

// useTwice sends a request that was answered once more.
func (x *forger) useTwice(ctx context.Context) (string, error, error) {
	_, refusal := client.NewAttestation(x.serviceURL, nil).Attest(ctx, x.seen)
	return byService, refusal, nil
}

// alterEvidence changes one digit of the agent's measurement, and nothing else.
func (x *forger) alterEvidence(r *verifier.Request) error {
	var e attest.Evidence
	if err := wire.Unmarshal(r.Evidence, &e); err != nil {
		return err
	}
	at := bytes.Index(e.Evidence, []byte(x.measured.Named()["agent"]))
	if at < 0 {
		return broken("demo.evidence", "evidence that says what the agent measures", "other evidence")
	}
	digit := &e.Evidence[at]
	*digit = map[bool]byte{true: '1', false: '0'}[*digit == '0']
	var err error
	r.Evidence, err = wire.Marshal(e)
	return err
}

// runAltered has the launcher measure an agent with one byte changed.
func (x *forger) runAltered(how *asked) error {
	altered, err := x.alteredAgent()
	if err != nil {
		return err
	}
	programs, err := x.loadPrograms(altered)
	if err != nil {
		return err
	}
	defer programs.Close()
	how.measured = programs.Measurement()
	return nil
}

// alterFleet has a room of the fleet answer the watcher with such an agent.
func (x *forger) alterFleet(ctx context.Context) (string, error, error) {
	var how asked
	if err := x.runAltered(&how); err != nil {
		return "", nil, err
	}
	x.attester.alter("room-b", how.measured)
	// What watch finds is no error of its own: it prints the fleet as ever, and exits 3.
	cmd, out, errs, err := x.call(ctx, x.watching("fleet.yaml"))
	var fleet watched
	if err == nil || cmd.ProcessState.ExitCode() != int(verdict.Refused) || json.Unmarshal(out, &fleet) != nil {
		return "", nil, broken("demo.watch", "exit 3 and the fleet", fmt.Sprintf("%v: %s", err, verdict.Short(string(errs))))
	}
	for _, t := range fleet.Targets {
		if (t.Standing == watch.Bad) != (t.Name == "room-b") {
			return "", nil, broken("demo.watch", "room-b bad, and no other", t.Name+" is "+string(t.Standing))
		}
		if t.Standing == watch.Bad {
			err = verdict.Refuse("watch.standing", t.Name+" passing", t.Says, "stop the room, and look at what it runs")
		}
	}
	return "strongroom attestation watch", err, nil
}

// onPolicies are attacks on what the relying party trusts besides.
func (x *forger) onPolicies() []attempt {
	return []attempt{
		{"policy changed to accept a failed signature", x.acceptForgery, []string{"appraisal.policy"}},
		{"endorsements bundle signed by a stranger", x.strangersBundle, []string{"endorsements.signature"}},
	}
}

// acceptForgery adds a policy that counts a signature that does not verify as a warning.
func (x *forger) acceptForgery(ctx context.Context) (string, error, error) {
	if err := x.edit("rooms.yaml", "rooms-2.yaml", "version: 1\n", "version: 2\n", "    reference:\n", "    insecure_accept: [evidence.dev.signature]\n    reference:\n"); err != nil {
		return "", nil, err
	}
	return x.byCommand(ctx, "strongroom attestation policy", "attestation", "policy", "add", x.path("rooms-2.yaml"), "--dir", x.path(serviceDir))
}

// strangersBundle packs endorsements under a key that the relying party never named.
func (x *forger) strangersBundle(ctx context.Context) (string, error, error) {
	if err := writeCertificate(x.path("root.pem")); err != nil {
		return "", nil, err
	}
	if _, err := x.quiet(ctx, "endorsements", "pack", x.path("root.pem"), "-o", x.path("mallory.bundle"), "--key", x.path("mallory.key")); err != nil {
		return "", nil, err
	}
	args := x.verifying("--endorsements", x.path("mallory.bundle"), "--endorsements-key", x.officers[0])
	return x.byCommand(ctx, "strongroom verify", args...)
}
