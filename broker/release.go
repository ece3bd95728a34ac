package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/release"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Release answers a room's request for keys (R8 to R15): the signed grant, or the refusal.
//
// In this order: everything is verified and the policy decides; one transaction spends the
// challenge, the run and the counts and queues the record; the log has it durably; the
// agreement's witnesses have signed; the headers are unwrapped and the keys sealed to the
// room; the answer is kept; it leaves. A request that stops half-way stays recorded and
// spent, and the same request again goes on from there. A request that was answered gets the
// same bytes again and counts once.
func (b *Broker) Release(ctx context.Context, data []byte) ([]byte, error) {
	asked, err := oneOf(b.reading, func() (*release.SignedRequest, error) { return release.ParseRequest(data) })
	if err != nil {
		b.counters.malformed.Add(1)
		return nil, err
	}
	if err := b.serving(); err != nil {
		return nil, err
	}
	if asked.Broker != b.name {
		return nil, verdict.Refuse("request.broker", "a request to "+string(b.name), "one to "+string(asked.Broker), "ask the broker of the input's owner")
	}
	answer, answeredErr := b.answered(asked)
	if answer != nil {
		return answer, nil
	}
	r, err := oneOf(b.reading, func() (*request, error) { return readRequest(asked) })
	if err != nil {
		b.counters.malformed.Add(1)
		return nil, err
	}
	if answeredErr != nil {
		b.refused(ctx, r.refusal(), answeredErr)
		return nil, answeredErr
	}
	grant, place, err := b.decide(ctx, r)
	if err != nil {
		b.refused(ctx, r.refusal(), err)
		return nil, err
	}
	if err := b.drain(ctx); err != nil {
		return nil, err
	}
	receipt, err := b.witnessed(ctx, place, r.agreement.Ledgers)
	if err != nil {
		return nil, err
	}
	answer, err = b.answer(r, grant, receipt)
	if err == nil {
		b.tell(Told{Kind: "grant", Agreement: r.agreement.Digest().String(), RunID: r.run.RunID, ReleaseID: r.ReleaseID})
	}
	return answer, err
}

// oneOf does something while it has one of the places.
func oneOf[T any](places chan struct{}, do func() (T, error)) (T, error) {
	places <- struct{}{}
	defer func() { <-places }()
	return do()
}

// request is a parsed release request. What is in it is not believed yet.
type request struct {
	*release.SignedRequest
	*parsedAgreement
	run    *agreement.SignedRun
	inputs []policy.Input
}

func (r *request) refusal() refusal {
	run := r.run.Digest()
	return refusal{agreement: r.agreement.Digest(), run: &run, runID: r.run.RunID, releaseID: r.ReleaseID,
		subject: fmt.Sprintf("keys for run %s, work %s, asked for by %s", r.run.RunID, r.run.Work, r.run.Requester)}
}

// readRequest reads the documents in a request: form and limits only.
func readRequest(asked *release.SignedRequest) (*request, error) {
	parsed, err := parseAgreement(asked.Agreement, asked.Parties)
	if err != nil {
		return nil, err
	}
	run, err := agreement.ParseRun(asked.Run)
	if err != nil {
		return nil, err
	}
	r := &request{SignedRequest: asked, parsedAgreement: parsed, run: run}
	for _, in := range asked.Inputs {
		statement, err := agreement.ParseDataset(in.Statement)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", in.Input, err)
		}
		header := policy.Header{Sound: true, Hash: wire.HashOf(in.Header)}
		if stanzas, err := seal.CountStanzas(in.Header); err != nil {
			header.Sound, header.Why = false, err.Error()
		} else {
			header.Stanzas = int64(stanzas)
		}
		r.inputs = append(r.inputs, policy.Input{Name: in.Input, Statement: statement, Header: header})
	}
	return r, nil
}

// answered gives the answer of a release that was answered before: to the very same request
// only, and only while its agreement has authority. nil means that there is none.
func (b *Broker) answered(asked *release.SignedRequest) (answer []byte, err error) {
	err = b.cfg.State.View(func(tx Tx) error {
		done, err := load[releaseRecord](tx, tableReleases, asked.ReleaseID)
		if err != nil || done == nil {
			return err
		}
		if done.Request != asked.Digest() {
			return verdict.Refuse("release.id", "a fresh release id, or the same request again", "release id "+asked.ReleaseID+" of another request", "draw a new release id")
		}
		if answer = tx.Get(tableGrants, asked.ReleaseID); answer == nil {
			return nil
		}
		run, err := load[runRecord](tx, tableRuns, done.RunID)
		if err != nil {
			return err
		}
		if run == nil {
			return fmt.Errorf("release %s has no run", asked.ReleaseID)
		}
		known, err := b.activated(tx, run.Agreement)
		if err != nil {
			return err
		}
		if err := b.allowed(tx, run); err != nil {
			return err
		}
		if err := b.stillListed(tx, run, known.agreement.Agreement); err != nil {
			return err
		}
		return isValid(known.agreement.Valid, b.now())
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// errMoved says that another owner's log moved on while a decision was made.
var errMoved = errors.New("broker: a peer's checkpoint moved on")

// decide has the policy decide, and if it grants, spends and records in one transaction. A
// decision rests on the books as they were read; if they have changed by the time of the
// transaction, the decision is made again inside it.
func (b *Broker) decide(ctx context.Context, r *request) (policy.Grant, placed, error) {
	claims, challenge, evidenceErr := b.verifyEvidence(r)
	for attempt := 0; ; attempt++ {
		grant, place, err := b.tryDecide(ctx, r, func(p *policy.Request) {
			p.Claims, p.Challenge, p.EvidenceError = claims, challenge, evidenceErr
		})
		if errors.Is(err, errMoved) && attempt < decideAttempts {
			continue
		}
		if errors.Is(err, errMoved) {
			err = verdict.Refuse("peers.checkpoints", "the other owners' logs to stand still for a moment", "they moved on", "ask again")
		}
		return grant, place, err
	}
}

func (b *Broker) tryDecide(ctx context.Context, r *request, fill func(*policy.Request)) (grant policy.Grant, place placed, err error) {
	now := b.now()
	var p policy.Request
	var seen map[string]seenRecord
	err = b.cfg.State.View(func(tx Tx) (err error) {
		p, seen, err = b.books(tx, r, now)
		return err
	})
	if err != nil {
		return grant, place, err
	}
	fill(&p)
	peers, advances := b.judgePeers(ctx, r, p.Books.Earlier, seen, false)
	p.Peers = peers
	grant, checks, err := policy.Decide(p)
	if err != nil && verdict.As(err).Check == "peers.checkpoints" {
		// Everything else holds, so this is no stranger: now it is worth asking the peers.
		p.Peers, advances = b.judgePeers(ctx, r, p.Books.Earlier, seen, true)
		peers = p.Peers
		grant, checks, err = policy.Decide(p)
	}
	if err != nil {
		return grant, place, err
	}
	err = b.cfg.State.Update(func(tx Tx) error {
		again, seenNow, err := b.books(tx, r, now)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(seen, seenNow) {
			return errMoved
		}
		if !reflect.DeepEqual(again.Books, p.Books) || !reflect.DeepEqual(again.Floor, p.Floor) {
			fill(&again)
			again.Peers = peers
			if grant, checks, err = policy.Decide(again); err != nil {
				return err
			}
		}
		if err := b.serving(); err != nil {
			return err
		}
		place, err = spend(tx, r, grant.Terms(), checks, advances, now)
		return err
	})
	return grant, place, err
}

// verifyEvidence turns a request's challenge and evidence into claims. What is wrong with
// them is for the policy to report.
func (b *Broker) verifyEvidence(r *request) (attest.Claims, policy.Challenge, error) {
	challenge, err := release.RecogniseChallenge(b.cfg.Keys.Secret(), b.name, r.Challenge)
	if err != nil {
		return attest.Claims{}, policy.Challenge{}, err
	}
	claims, err := attest.Verify(r.Evidence, b.cfg.Platforms, attest.Expectation{
		Binding: attest.Binding{Purpose: attest.ForRelease, Nonce: challenge.Nonce, Signing: r.Room.Signing, HPKE: r.Room.HPKE,
			Agreement: r.agreement.Digest(), Run: r.run.Digest()},
		AgreementBody: r.agreement.Canonical(),
		Now:           b.now(),
		Trust:         attest.TrustOf(r.agreement.Agreement, b.current),
	})
	return claims, challenge, err
}

// spend records a grant and spends what it costs. A retry of a recorded release spends
// nothing and is found where it was recorded.
func spend(tx Tx, r *request, t policy.Terms, checks []verdict.Check, advances []seenAdvance, now time.Time) (placed, error) {
	if t.Retry {
		done, err := load[releaseRecord](tx, tableReleases, t.ReleaseID)
		if err != nil || done == nil {
			return placed{}, broken("to find the record of release "+t.ReleaseID, err)
		}
		return done.Place, nil
	}
	place, err := recordGrant(tx, r, t, checks, now)
	if err != nil {
		return placed{}, err
	}
	// The unique constraints are what decides between two rooms; the policy explains.
	if err := tx.Insert(tableChallenges, t.ChallengeID, []byte(t.ReleaseID)); err != nil {
		return placed{}, spentAlready(err, "challenge.fresh", "a challenge not redeemed before")
	}
	if err := insert(tx, tableReleases, t.ReleaseID, releaseRecord{t.Request, t.RunID, place}); err != nil {
		return placed{}, spentAlready(err, "release.id", "a fresh release id")
	}
	run := runRecord{Agreement: t.Agreement, Run: t.Run, ReleaseID: t.ReleaseID, Room: &t.Room.Signing, Where: &t.Where, Listed: t.Listed, LeaseMS: t.LeaseMS, Audit: auditOf(r, t), Spendings: t.Spendings}
	if w, _ := r.agreement.WorkByName(r.run.Work); w.Container != nil {
		run.Work, run.Inputs = w.Name, grantedInputs(t)
	}
	if err := insert(tx, tableRuns, t.RunID, run); err != nil {
		return placed{}, spentAlready(err, "run.once", "the first release for run "+t.RunID)
	}
	for _, in := range t.Inputs {
		if err := tx.Put(tableCounts, countKey(in.Dataset, now.UnixMilli(), t.RunID), []byte("1")); err != nil {
			return placed{}, err
		}
	}
	if err := spendBudgets(tx, r, t, now); err != nil {
		return placed{}, err
	}
	for _, s := range advances {
		if err := save(tx, tableSeen, s.key, s.seenRecord); err != nil {
			return placed{}, err
		}
	}
	return place, nil
}

func spentAlready(err error, check, expected string) error {
	if errors.Is(err, ErrExists) {
		return verdict.Refuse(check, expected, "another was first", "start again with a new run request and a new challenge")
	}
	return err
}

// recordGrant queues the grant's entry, which says publicly what the receipt will prove.
func recordGrant(tx Tx, r *request, t policy.Terms, checks []verdict.Check, now time.Time) (placed, error) {
	facts := release.GrantFacts{ReleaseID: t.ReleaseID, Request: t.Request, Evidence: t.Evidence, Room: t.Room.Signing.ID(),
		Class: t.Class, LeaseMS: t.LeaseMS, Inputs: grantedInputs(t), Costs: costs(t), Reference: t.Listed}
	public, err := json.Marshal(facts)
	if err != nil {
		return placed{}, err
	}
	e := ledger.Entry{Kind: "grant", TimeMS: now.UnixMilli(), Agreement: &t.Agreement, Run: &t.Run, RunID: t.RunID, Public: public}
	d := Decision{Subject: r.refusal().subject, Agreement: t.Agreement.String(), RunID: t.RunID, ReleaseID: t.ReleaseID, Checks: checks}
	return record(tx, e, d, t.RunID, t.ReleaseID)
}

func grantedInputs(t policy.Terms) []release.GrantedInput {
	list := []release.GrantedInput{}
	for _, in := range t.Inputs {
		list = append(list, release.GrantedInput{Input: in.Input, Dataset: in.Dataset, Statement: in.Statement, Header: in.Header})
	}
	return list
}

// answer unwraps the headers, seals the keys to the room, keeps the signed grant and gives
// it. It is the only place where a file key is in memory, and it is reached only when the
// grant's record is durable in the log.
func (b *Broker) answer(r *request, grant policy.Grant, receipt ledger.Receipt) ([]byte, error) {
	if err := b.serving(); err != nil {
		return nil, err
	}
	redeemed, err := grant.Redeem()
	if err != nil {
		return nil, err
	}
	t := grant.Terms()
	// Witnesses may have taken their time: the lease begins now, or as much earlier as it takes
	// not to outlive the agreement. What it was decided with is sealed to.
	begins := min(b.now().UnixMilli(), r.agreement.Valid.Until.Time().UnixMilli()-t.LeaseMS)
	g := release.Granted{Broker: b.name, ReleaseID: t.ReleaseID, Request: t.Request, TimeMS: begins, LeaseMS: t.LeaseMS, Receipt: receipt}
	for _, in := range r.Inputs {
		sealed, err := b.sealKey(redeemed, t, in)
		if err != nil {
			return nil, err
		}
		g.Releases = append(g.Releases, sealed)
	}
	if len(r.Inputs) == 0 { // a keeper's
		if g.Secret, err = release.SealSecret(redeemed, release.RunSecret(b.cfg.Keys.Secret(), t.Agreement, t.Run)); err != nil {
			return nil, err
		}
	}
	if g.Spending, err = b.sealSpendings(redeemed, t.RunID); err != nil {
		return nil, err
	}
	data, err := release.NewGrant(b.cfg.Keys.ReleaseKey(), g)
	if err != nil {
		return nil, err
	}
	return b.keepAnswer(t, data, begins+t.LeaseMS)
}

func (b *Broker) sealKey(redeemed policy.Redeemed, t policy.Terms, in release.InputRequest) (release.SealedKey, error) {
	key, err := b.cfg.Keys.Unwrap(in.Header)
	if err != nil {
		return release.SealedKey{}, err
	}
	defer key.Wipe()
	secret, err := key.MarshalSecret()
	if err != nil {
		return release.SealedKey{}, err
	}
	defer clear(secret)
	material := release.NewKeyMaterial([16]byte(secret), release.RunSecret(b.cfg.Keys.Secret(), t.Agreement, t.Run))
	defer material.Wipe()
	return release.SealKey(redeemed, in.Input, material)
}

// keepAnswer keeps the grant's bytes and starts the lease, if nobody was first; it gives the
// bytes that are kept. An agreement that lost its authority or ended meanwhile stops it here, and
// so does what the owner denied.
func (b *Broker) keepAnswer(t policy.Terms, data []byte, leaseEndMS int64) (kept []byte, err error) {
	err = b.cfg.State.Update(func(tx Tx) error {
		known, err := b.activated(tx, t.Agreement)
		if err == nil {
			err = isValid(known.agreement.Valid, b.now())
		}
		if err != nil {
			return err
		}
		run, err := load[runRecord](tx, tableRuns, t.RunID)
		if err != nil || run == nil {
			return broken("to find the record of run "+t.RunID, err)
		}
		if err := b.allowed(tx, run); err != nil {
			return err
		}
		if err := b.stillListed(tx, run, known.agreement.Agreement); err != nil {
			return err
		}
		kept = data
		err = tx.Insert(tableGrants, t.ReleaseID, data)
		if errors.Is(err, ErrExists) {
			kept = tx.Get(tableGrants, t.ReleaseID)
			return nil
		}
		if err != nil {
			return err
		}
		run.LeaseMS, run.LeaseEndMS = t.LeaseMS, leaseEndMS
		return save(tx, tableRuns, t.RunID, run)
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}
