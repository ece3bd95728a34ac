package agreement

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// SignedAgreement is an agreement with the document it stands in.
type SignedAgreement struct {
	Agreement
	Document *keys.Document
}

// NewAgreement makes an unsigned document of an agreement.
func NewAgreement(a Agreement) (*SignedAgreement, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	doc, err := create(AgreementType, "agreement.form", a)
	if err != nil {
		return nil, err
	}
	return &SignedAgreement{a, doc}, nil
}

// ParseAgreement reads an agreement document, signed or not, and validates it; see
// [SignedAgreement.Verify] for its signatures.
func ParseAgreement(data []byte) (*SignedAgreement, error) {
	a := new(SignedAgreement)
	var err error
	if a.Document, err = parse(data, AgreementType, "agreement.form", &a.Agreement); err != nil {
		return nil, err
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	return a, nil
}

// Digest names the agreement: what is signed, bound into evidence, and activated.
func (a *SignedAgreement) Digest() wire.Digest { return a.Document.Digest() }

// Canonical gives the agreement's canonical bytes: what is hashed into init data (R10).
func (a *SignedAgreement) Canonical() []byte { return bytes.Clone(a.Document.Body) }

// Verify checks that the agreement binds at now: it is valid in form; a descriptor is there
// for every party it names, with the digest it names and signed by that party; every
// party's threshold of keys valid at now has signed the agreement and nobody else has; and
// now lies in its window. Descriptors of others in parties are passed over. Whether the
// agreement is activated or superseded is for the brokers to know (R3).
func (a *SignedAgreement) Verify(parties []*SignedParty, now time.Time) error {
	var named []*SignedParty
	return inOrder(
		a.Validate,
		func() error { return same(a.Document, AgreementType, "agreement.signatures", a.Agreement) },
		func() (err error) { named, err = a.match(parties); return err },
		func() error { return a.verifyParties(named, now) },
		func() error { return a.verifySignatures(named, now) },
		func() error { return a.verifyWindow(now) },
	)
}

// match finds the descriptor of every party, in the agreement's order.
func (a *SignedAgreement) match(parties []*SignedParty) ([]*SignedParty, error) {
	byDigest := make(map[wire.Digest]*SignedParty, len(parties))
	for _, p := range parties {
		if p != nil && p.Document != nil {
			byDigest[p.Digest()] = p
		}
	}
	named := make([]*SignedParty, 0, len(a.Parties))
	for _, party := range a.Parties {
		p := byDigest[party.Descriptor]
		if p == nil {
			return nil, refused("agreement.parties", fmt.Sprintf("the descriptor %s of party %q", party.Descriptor.Short(), party.ID),
				"none with that digest", "get the descriptor from the party and add it with `strongroom party add`")
		}
		named = append(named, p)
	}
	return named, nil
}

func (a *SignedAgreement) verifyParties(named []*SignedParty, now time.Time) error {
	for i, p := range named {
		id := a.Parties[i].ID
		if err := p.VerifyOwn(now); err != nil {
			return fmt.Errorf("party %s: %w", id, err)
		}
		if why := a.needsBroker(id); p.Broker == nil && why != "" {
			return refused("agreement.parties", fmt.Sprintf("a broker in the descriptor of %q, who %s", id, why), "none",
				"have the party make a descriptor with a broker, and name that one")
		}
		if len(p.Results) == 0 && a.receives(id) {
			return refused("agreement.parties", fmt.Sprintf("a result recipient in the descriptor of %q, who receives results or logs", id), "none",
				"have the party make a descriptor with a result recipient, and name that one")
		}
	}
	return a.verifySeparation(named)
}

// needsBroker says what a party needs a broker for, "" if it needs none.
func (a *SignedAgreement) needsBroker(id wire.ID) string {
	switch {
	case a.owns(id):
		return "brings data"
	case a.keeps(id):
		return "admits runs"
	case a.certifies(id):
		return "certifies names"
	}
	return ""
}

func (a *SignedAgreement) owns(id wire.ID) bool {
	_, found := find(a.Inputs, func(in Input) bool { return in.Owner == id })
	return found
}

func (a *SignedAgreement) keeps(id wire.ID) bool {
	return slices.ContainsFunc(a.Work, func(w Work) bool { return slices.Contains(w.Keepers, id) })
}

func (a *SignedAgreement) certifies(id wire.ID) bool {
	return slices.ContainsFunc(a.Work, func(w Work) bool { return w.Container != nil && w.Container.CertifiedBy == id })
}

func (a *SignedAgreement) receives(id wire.ID) bool {
	return slices.ContainsFunc(a.Outputs, func(o Output) bool { return slices.Contains(o.Receivers, id) }) || a.receivesLogs(id)
}

func (a *SignedAgreement) receivesLogs(id wire.ID) bool {
	return slices.ContainsFunc(a.Work, func(w Work) bool { return w.Container != nil && slices.Contains(w.Container.Logs.Receivers, id) })
}

// verifySeparation refuses two parties with one name or one key: one hand would sign for
// two, or answer for two.
func (a *SignedAgreement) verifySeparation(named []*SignedParty) error {
	holder := make(map[string]wire.ID)
	for i, p := range named {
		held := []string{"the name " + string(p.Name)}
		for _, k := range p.Keys {
			held = append(held, "the key "+k.Public.ID().Short())
		}
		if p.Broker != nil {
			held = append(held, "the key "+p.Broker.ReleaseKey.ID().Short(), "the log "+p.Broker.LogKey)
		}
		for _, thing := range held {
			if other, found := holder[thing]; found {
				return refused("agreement.parties", "parties with names and keys of their own",
					fmt.Sprintf("%q and %q with %s in common", other, a.Parties[i].ID, thing), "have one of them make a new descriptor")
			}
			holder[thing] = a.Parties[i].ID
		}
	}
	for _, w := range a.Ledgers.Witnesses {
		if other, found := holder["the log "+w.Key]; found {
			return refused("agreement.parties", "witnesses that are nobody's own log", fmt.Sprintf("%q, which is the log of %q", w.Name, other), "name another ledger")
		}
	}
	return nil
}

func (a *SignedAgreement) verifySignatures(named []*SignedParty, now time.Time) error {
	all := make([]signers, len(named))
	for i, p := range named {
		all[i] = p.signers(string(a.Parties[i].ID))
	}
	if err := noStrangers("agreement.signatures", a.Document, all...); err != nil {
		return err
	}
	for _, s := range all {
		if err := s.signed("agreement.signatures", a.Document, now); err != nil {
			return err
		}
	}
	return nil
}

func (a *SignedAgreement) verifyWindow(now time.Time) error {
	if now.Before(a.Valid.From.Time()) {
		return refused("agreement.validity", "a time from "+a.Valid.From.String(), wire.At(now).String(), "wait until it is in force")
	}
	if !now.Before(a.Valid.Until.Time()) {
		return refused("agreement.validity", "a time before "+a.Valid.Until.String(), wire.At(now).String(), "the agreement has expired: sign and activate a new version")
	}
	return nil
}

// MissingSignatures gives the parties whose threshold of keys has not signed yet, in the
// agreement's order; a party whose descriptor is not among parties is missing. It says who
// must still be asked, and proves nothing: see [SignedAgreement.Verify].
func (a *SignedAgreement) MissingSignatures(parties []*SignedParty) []wire.ID {
	var missing []wire.ID
	for _, party := range a.Parties {
		p, found := find(parties, func(p *SignedParty) bool { return p != nil && p.Document != nil && p.Digest() == party.Descriptor })
		if !found {
			missing = append(missing, party.ID)
			continue
		}
		public := make([]keys.PublicKey, len(p.Keys))
		for i, k := range p.Keys {
			public[i] = k.Public
		}
		if n, err := a.Document.SignedBy(public); err != nil || int64(n) < p.Threshold {
			missing = append(missing, party.ID)
		}
	}
	return missing
}

// UncheckedSignatures counts the signatures by keys of none of the descriptors given, and
// gives the parties without one, in the agreement's order: each of those signatures may be one
// of theirs, and nobody can tell before their descriptors are there. It proves nothing.
func (a *SignedAgreement) UncheckedSignatures(parties []*SignedParty) (count int, of []wire.ID) {
	known := make(map[keys.KeyID]bool)
	for _, party := range a.Parties {
		p, found := find(parties, func(p *SignedParty) bool { return p != nil && p.Document != nil && p.Digest() == party.Descriptor })
		if !found {
			of = append(of, party.ID)
			continue
		}
		for _, k := range p.Keys {
			known[k.Public.ID()] = true
		}
	}
	for _, s := range a.Document.Signatures {
		if !known[s.Key] {
			count++
		}
	}
	return count, of
}
