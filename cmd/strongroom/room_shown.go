package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/internal/home"
	"strongroom.dev/policy"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// shownTo is the evidence that one broker was shown, checked.
type shownTo struct {
	Broker wire.ID `json:"broker"`
	// Class is whom the room's machine keeps out, "" where evidence is not genuine.
	Class  agreement.Class `json:"class,omitempty"`
	Checks []verdict.Check `json:"checks"`
	// Warnings are the ids of passed checks that a careful reader should look at.
	Warnings []string `json:"warnings"`
	// Boot tells what booted, where evidence proves it.
	Boot *bootStory `json:"boot,omitempty"`
}

func (s shownTo) text(w io.Writer) {
	fmt.Fprintf(w, "Shown to the broker of %s\n", verdict.Printable(string(s.Broker)))
	switch s.Class {
	case agreement.Software:
		fmt.Fprintln(w, "  INSECURE: whoever runs the room's machine can read its memory: class software keeps nobody out")
	case agreement.IntegrityOnly:
		fmt.Fprintln(w, "  WARNING: whoever runs the room's machine can read its memory: class integrity-only proves what runs and keeps nobody out")
	}
	for _, c := range s.Checks {
		mark := "ok  "
		switch {
		case !c.OK:
			mark = "FAIL"
		case slices.Contains(s.Warnings, c.ID):
			mark = "warn"
		}
		fmt.Fprintf(w, "  %s %-24s %s\n", mark, c.ID, verdict.Printable(said(c)))
	}
	s.Boot.text(w)
}

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
	out := shownTo{Broker: s.Broker, Checks: []verdict.Check{}, Warnings: []string{}}
	trust := attest.TrustOf(s.agreement.Agreement, s.broker)
	claims, err := attest.Verify(s.Evidence, table, attest.Expectation{
		Binding: attest.Binding{Purpose: attest.ForRelease, Nonce: attest.NonceOf(s.Challenge), Signing: s.Room.Signing, HPKE: s.Room.HPKE,
			Agreement: s.agreement.Digest(), Run: s.Run},
		AgreementBody: s.agreement.Canonical(), Now: s.now, Trust: trust})
	if err != nil {
		out.Checks = append(out.Checks, verdict.As(err).Checks...)
		return out, err
	}
	out.Class = claims.Facts().Class
	accepted, listed := policy.Accepted(s.agreement.Agreement, sets, claims)
	out.Checks = append(claims.Checks(), accepted...)
	found, err := s.endorsed.explain(s.Evidence, trust, s.now)
	if err != nil {
		return out, err
	}
	out.Warnings = append(out.Warnings, found.Warnings...)
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
			return out, verdict.FromCheck(verdict.Refused, c, out.Checks) // genuine, and not what was agreed on or asked for
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
