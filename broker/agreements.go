package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Event is what an officer's act did: the entry it made in the broker's log.
type Event struct {
	Kind   wire.ID `json:"kind"`
	Number int64   `json:"number"` // of its entry
	TimeMS int64   `json:"time_ms"`
	// Done says in one line what holds now; Notes are what the officer should know besides.
	Done  string   `json:"done"`
	Notes []string `json:"notes"`
}

// Activation is what an officer activates: a signed agreement and the descriptors it names.
type Activation struct {
	Agreement json.RawMessage   `json:"agreement"`
	Parties   []json.RawMessage `json:"parties"`
}

// activateFacts, retireFacts and revokeFacts are the public parts of entries of those kinds.
type activateFacts struct {
	ID      wire.ID `json:"id"`
	Version int64   `json:"version"`
}

type retireFacts struct {
	ID      wire.ID `json:"id"`
	Version int64   `json:"version"`
}

type revokeFacts struct {
	Descriptor wire.Digest `json:"descriptor"`
}

// Activate gives an agreement authority over this broker's keys (R3): the owner must be one
// of its parties and have signed it. Every lower version of it is retired for good, and none
// can come back. Activating what is active already changes nothing.
func (b *Broker) Activate(ctx context.Context, act Activation) (Event, error) {
	if err := b.serving(); err != nil {
		return Event{}, err
	}
	parsed, err := b.readActivation(act)
	if err != nil {
		return Event{}, err
	}
	a, digest := parsed.agreement, parsed.agreement.Digest()
	facts, err := json.Marshal(activateFacts{a.ID, a.Version})
	if err != nil {
		return Event{}, err
	}
	ev := Event{Kind: "activate", TimeMS: b.now().UnixMilli(), Done: fmt.Sprintf("agreement %s version %d (%s) is activated", a.ID, a.Version, digest.Short()), Notes: []string{}}
	if missing := a.MissingSignatures(parsed.parties); len(missing) > 0 {
		ev.Notes = append(ev.Notes, "not signed yet by "+ids(missing)+": nothing is released until every party has signed")
	}
	err = b.cfg.State.Update(func(tx Tx) error {
		ev.Notes = ev.Notes[:min(len(ev.Notes), 1)] // a store may call this twice
		same, err := b.activate(tx, a, act, ev.TimeMS, &ev.Notes)
		if err != nil {
			return err
		}
		lacks, err := lacking(tx, a.Agreement)
		if err != nil {
			return err
		}
		ev.Notes = append(ev.Notes, lacks...)
		if same {
			ev.Number = -1
			return nil
		}
		e := ledger.Entry{Kind: ev.Kind, TimeMS: ev.TimeMS, Agreement: &digest, Public: facts}
		p, err := record(tx, e, Decision{Subject: ev.Done, Agreement: digest.String()}, digest.String())
		ev.Number = p.Number
		return err
	})
	return b.eventDone(ctx, ev, err)
}

// eventDone brings the event's entry into the log before the officer is told. It took effect
// together with its record; anything decided under it gets a later number, and so reaches
// the log later.
func (b *Broker) eventDone(ctx context.Context, ev Event, err error) (Event, error) {
	if err != nil {
		return Event{}, err
	}
	return ev, b.drain(ctx)
}

func (b *Broker) readActivation(act Activation) (*parsedAgreement, error) {
	if len(act.Parties) > agreement.MaxParties {
		return nil, verdict.Misuse("agreement.parties", fmt.Sprintf("at most %d descriptors", agreement.MaxParties), fmt.Sprint(len(act.Parties)), "give those the agreement names")
	}
	parsed, err := parseAgreement(act.Agreement, act.Parties)
	if err != nil {
		return nil, err
	}
	a := parsed.agreement
	for _, p := range a.Parties {
		if !slices.ContainsFunc(parsed.parties, func(s *agreement.SignedParty) bool { return s.Digest() == p.Descriptor }) {
			return nil, verdict.Refuse("agreement.parties", fmt.Sprintf("the descriptor of %s, %s", p.ID, p.Descriptor.Short()), "none with that digest",
				"add it to the address book with `strongroom party add`")
		}
	}
	me, err := b.meIn(a)
	if err != nil {
		return nil, err
	}
	if slices.Contains(a.MissingSignatures(parsed.parties), me.ID) {
		return nil, verdict.Refuse("agreement.signatures", "the signature of "+string(b.name), "none", "sign it first with `strongroom agreement sign`")
	}
	return parsed, nil
}

// meIn finds the owner among the parties, by descriptor.
func (b *Broker) meIn(a *agreement.SignedAgreement) (agreement.Party, error) {
	for _, p := range a.Parties {
		if b.own[p.Descriptor] {
			return p, nil
		}
	}
	return agreement.Party{}, verdict.Refuse("agreement.parties", "an agreement that names "+string(b.name)+" by one of its descriptors", "one that does not", "is it meant for another party?")
}

// activate applies the rules of versions: see [Broker.Activate].
func (b *Broker) activate(tx Tx, a *agreement.SignedAgreement, act Activation, now int64, notes *[]string) (same bool, err error) {
	digest := a.Digest()
	known, err := load[agreementRecord](tx, tableAgreements, digest.String())
	if err != nil {
		return false, err
	}
	if known != nil && known.Standing == retired {
		return false, verdict.Refuse("agreement.activated", "an agreement that was never retired", fmt.Sprintf("%s version %d, retired %s", a.ID, a.Version, msText(known.TimeMS)),
			"retirement is for good: sign and activate a new version")
	}
	if revoked := revokedParty(tx, a.Agreement); revoked != "" {
		return false, revokedError(revoked)
	}
	highest, err := load[idRecord](tx, tableIDs, string(a.ID))
	if err != nil {
		return false, err
	}
	if highest != nil {
		if err := follows(a, digest, *highest); err != nil {
			return false, err
		}
		if highest.Digest != digest {
			if err := setStanding(tx, highest.Digest, retired, now); err != nil {
				return false, err
			}
			*notes = append(*notes, fmt.Sprintf("version %d (%s) is retired for good", highest.Version, highest.Digest.Short()))
		}
	}
	if known != nil && known.Standing == activated {
		return true, nil
	}
	if err := save(tx, tableIDs, string(a.ID), idRecord{a.Version, digest}); err != nil {
		return false, err
	}
	return false, save(tx, tableAgreements, digest.String(), agreementRecord{ID: a.ID, Version: a.Version, Standing: activated,
		TimeMS: now, Document: act.Agreement, Parties: act.Parties})
}

// follows checks that an agreement may come after the highest version known of its id.
func follows(a *agreement.SignedAgreement, digest wire.Digest, highest idRecord) error {
	switch {
	case digest == highest.Digest:
		return nil
	case a.Version <= highest.Version:
		return verdict.Refuse("agreement.superseded", fmt.Sprintf("a version of %s after %d", a.ID, highest.Version), fmt.Sprintf("version %d", a.Version),
			"a lower or second version never comes back: use version "+fmt.Sprint(highest.Version)+", "+highest.Digest.Short()+", or sign a new one")
	case a.Version == highest.Version+1 && (a.Supersedes == nil || *a.Supersedes != highest.Digest):
		return verdict.Refuse("agreement.supersedes", "one that supersedes version "+fmt.Sprint(highest.Version)+", "+highest.Digest.Short(), "another history of "+string(a.ID),
			"name the digest of the version before, or choose another agreement id")
	}
	return nil
}

func setStanding(tx Tx, digest wire.Digest, to standing, now int64) error {
	r, err := load[agreementRecord](tx, tableAgreements, digest.String())
	if err != nil || r == nil {
		return err
	}
	r.Standing, r.TimeMS = to, now
	return save(tx, tableAgreements, digest.String(), r)
}

// Retire ends an agreement for good (R3): from the moment this returns nothing is released
// under it, and rooms that ask whether they may go on are told to stop.
func (b *Broker) Retire(ctx context.Context, digest wire.Digest) (Event, error) {
	if err := b.serving(); err != nil {
		return Event{}, err
	}
	ev := Event{Kind: "retire", TimeMS: b.now().UnixMilli(), Notes: []string{}}
	err := b.cfg.State.Update(func(tx Tx) error {
		known, err := load[agreementRecord](tx, tableAgreements, digest.String())
		if err != nil {
			return err
		}
		if known == nil {
			return unknownAgreement(digest)
		}
		if known.Standing == retired {
			ev.Number, ev.Done = -1, fmt.Sprintf("agreement %s version %d (%s) was retired before", known.ID, known.Version, digest.Short())
			return nil
		}
		ev.Done = fmt.Sprintf("agreement %s version %d (%s) is retired for good", known.ID, known.Version, digest.Short())
		facts, err := json.Marshal(retireFacts{known.ID, known.Version})
		if err != nil {
			return err
		}
		if err := setStanding(tx, digest, retired, ev.TimeMS); err != nil {
			return err
		}
		e := ledger.Entry{Kind: ev.Kind, TimeMS: ev.TimeMS, Agreement: &digest, Public: facts}
		p, err := record(tx, e, Decision{Subject: ev.Done, Agreement: digest.String()}, digest.String())
		ev.Number = p.Number
		return err
	})
	return b.eventDone(ctx, ev, err)
}

// Revoke stops every agreement that names a party's descriptor, for good (R1).
func (b *Broker) Revoke(ctx context.Context, descriptor wire.Digest) (Event, error) {
	if err := b.serving(); err != nil {
		return Event{}, err
	}
	ev := Event{Kind: "revoke", TimeMS: b.now().UnixMilli(), Notes: []string{}, Done: "descriptor " + descriptor.Short() + " is revoked: every agreement that names it has stopped"}
	facts, err := json.Marshal(revokeFacts{descriptor})
	if err != nil {
		return Event{}, err
	}
	err = b.cfg.State.Update(func(tx Tx) error {
		err := insert(tx, tableRevoked, descriptor.String(), ev.TimeMS)
		if err == ErrExists {
			ev.Number, ev.Done = -1, "descriptor "+descriptor.Short()+" was revoked before"
			return nil
		}
		if err != nil {
			return err
		}
		p, err := record(tx, ledger.Entry{Kind: ev.Kind, TimeMS: ev.TimeMS, Public: facts}, Decision{Subject: ev.Done}, descriptor.String())
		ev.Number = p.Number
		return err
	})
	return b.eventDone(ctx, ev, err)
}

// activated gives an agreement that has authority here: activated, not retired since, and
// with no party revoked.
func (b *Broker) activated(tx Tx, digest wire.Digest) (*parsedAgreement, error) {
	known, err := load[agreementRecord](tx, tableAgreements, digest.String())
	if err != nil {
		return nil, err
	}
	if known == nil {
		return nil, unknownAgreement(digest)
	}
	if known.Standing != activated {
		fix := "ask " + string(b.name) + " which version is activated"
		if known.Standing == unconfirmed {
			fix = "its log was restored: its officers must activate the agreement again"
		}
		return nil, verdict.Refuse("agreement.activated", "an agreement that "+string(b.name)+" has activated", fmt.Sprintf("%s version %d, %s %s", known.ID, known.Version, known.Standing, msText(known.TimeMS)), fix)
	}
	parsed, err := b.parsed.get(digest, *known)
	if err != nil {
		return nil, err
	}
	if revoked := revokedParty(tx, parsed.agreement.Agreement); revoked != "" {
		return nil, revokedError(revoked)
	}
	return parsed, nil
}

func unknownAgreement(digest wire.Digest) error {
	return verdict.Refuse("agreement.activated", "an agreement that this broker's owner has activated", digest.Short()+", never activated here",
		"have the owner run `strongroom agreement activate`; a changed agreement has another digest")
}

// revokedParty names the first party whose descriptor was revoked, "" if none was.
func revokedParty(tx Tx, a agreement.Agreement) wire.ID {
	for _, p := range a.Parties {
		if tx.Get(tableRevoked, p.Descriptor.String()) != nil {
			return p.ID
		}
	}
	return ""
}

func revokedError(id wire.ID) error {
	return verdict.Refuse("agreement.revoked", "parties none of which is revoked", "the descriptor of "+string(id)+", which is", "make an agreement with a descriptor that stands")
}

// otherOwners gives the parties besides this broker's owner that bring data to an agreement,
// each once, in the order of its inputs.
func (b *Broker) otherOwners(p *parsedAgreement) []*agreement.SignedParty {
	var owners []*agreement.SignedParty
	for _, in := range p.agreement.Inputs {
		party, found := p.agreement.PartyByID(in.Owner)
		if !found || b.own[party.Descriptor] {
			continue
		}
		for _, s := range p.parties {
			if s.Digest() == party.Descriptor && s.Broker != nil && !slices.Contains(owners, s) {
				owners = append(owners, s)
			}
		}
	}
	return owners
}

func ids(list []wire.ID) string {
	words := make([]string, len(list))
	for i, id := range list {
		words[i] = string(id)
	}
	return strings.Join(words, ", ")
}
