package main

import (
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/internal/home"
	"strongroom.dev/policy"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
)

// roomShown is evidence that a broker was shown, with what it is judged by.
type roomShown struct {
	room.Shown
	agreement *agreement.SignedAgreement
	broker    *agreement.SignedParty // nil: nobody's word counts
	endorsed  *endorsed
	image     *bootImage // nil: any that the agreement accepts
	now       time.Time
}

// verify checks one piece of evidence as the broker it was made for would. What booted is told
// too where evidence is genuine, though nothing else may be right.
func (s roomShown) verify(h *home.Home, table []attest.Platform, sets policy.References) (shownTo, error) {
	out := shownTo{Broker: s.Broker}
	trust := attest.TrustOf(s.agreement.Agreement, s.broker)
	claims, err := attest.Verify(s.Evidence, table, attest.Expectation{
		Binding: attest.Binding{Purpose: attest.ForRelease, Nonce: attest.NonceOf(s.Challenge), Signing: s.Room.Signing, HPKE: s.Room.HPKE,
			Agreement: s.agreement.Digest(), Run: s.Run},
		AgreementBody: s.agreement.Canonical(), Now: s.now, Trust: trust})
	if err != nil {
		return out, err
	}
	accepted, listed := policy.Accepted(s.agreement.Agreement, sets, claims)
	out.Checks = append(claims.Checks(), accepted...)
	found, err := s.endorsed.explain(s.Evidence, trust, s.now)
	if err != nil {
		return out, err
	}
	if c := readBoot(found.Claims); c != nil {
		ref := agreedReference(c, s.agreement, claims.Facts(), listed != nil)
		s.image.add(c, &ref)
		out.Boot = c.tell(ref)
	}
	if s.image != nil {
		out.Checks = append(out.Checks, s.image.check(out.Boot))
	}
	for _, c := range out.Checks {
		if !c.OK {
			return out, verdict.FromCheck(verdict.Invalid, c, out.Checks)
		}
	}
	if listed != nil {
		return out, h.SawReference(listed.Name)
	}
	return out, nil
}

// explain gives the claims of evidence that one of the machines verified; none for other platforms.
func (e *endorsed) explain(evidence attest.Evidence, trust attest.Trust, now time.Time) (attest.Finding, error) {
	table, err := e.held.Load().at(now)
	if err != nil {
		return attest.Finding{}, err
	}
	for _, m := range table.machines {
		if m.Name != evidence.Platform {
			continue
		}
		if m.under != nil {
			return m.under(trust)(evidence.Evidence, now)
		}
		return m.Examine(evidence.Evidence, now)
	}
	return attest.Finding{}, nil
}
