package verifier

import (
	"context"
	"fmt"
	"time"

	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Trial asks what a policy would say of recorded evidence. Nothing comes of it but the answer.
type Trial struct {
	// Version is the one to try, or Text a policy that has not been added; one of the two.
	Version  int64      `json:"version,omitempty"`
	Text     string     `json:"text,omitempty"`
	Evidence []Recorded `json:"evidence"`
}

// Recorded is evidence with the time at which it is to be judged; the service's endorsements of
// today serve for all times. It is as fresh as Nonce or ReportData say, and is taken to be fresh
// if neither is given.
type Recorded struct {
	Evidence   wire.Bytes `json:"evidence"`
	At         *wire.Time `json:"at,omitempty"`
	Nonce      wire.Bytes `json:"nonce,omitempty"`
	ReportData wire.Bytes `json:"report_data,omitempty"`
}

// Tried says how the policy that is tried judges, beside the one in force.
type Tried struct {
	Policy appraise.PolicyName `json:"policy"`
	// Active is the policy in force; nil if none is.
	Active  *appraise.PolicyName `json:"active,omitempty"`
	Results []TriedOne           `json:"results"`
	// Refused counts evidence that passes today and would not pass, Admitted the contrary.
	Refused  int64 `json:"refused"`
	Admitted int64 `json:"admitted"`
}

// TriedOne is the outcome for one piece of evidence.
type TriedOne struct {
	Platform string `json:"platform"`
	// Verdict is what the policy says, Today what the one in force says: affirming, warning,
	// contraindicated, or invalid. "" where there is none in force.
	Verdict string `json:"verdict"`
	Today   string `json:"today,omitempty"`
	// Failed are the checks that fail, and Mended those that fail today and would not.
	Failed []verdict.Check `json:"failed"`
	Mended []string        `json:"mended"`
}

// Try judges recorded evidence by a version of a policy, or by a draft that was never added.
func (s *Service) Try(ctx context.Context, id wire.ID, t Trial) (Tried, error) {
	if len(t.Evidence) == 0 || len(t.Evidence) > maxTried {
		return Tried{}, verdict.Misuse("appraisal.trial", fmt.Sprintf("1 to %d pieces of evidence", maxTried), fmt.Sprint(len(t.Evidence)), "send some at a time")
	}
	draft, err := s.draft(ctx, id, t)
	if err != nil {
		return Tried{}, err
	}
	h, err := s.head(ctx, id)
	if err != nil {
		return Tried{}, err
	}
	out := Tried{Policy: appraise.PolicyName{ID: draft.ID, Version: draft.Version, Digest: draft.Digest()}, Results: []TriedOne{}}
	var active *appraise.Policy
	if h.Active != 0 {
		if active, _, err = s.version(ctx, id, h.Active); err != nil {
			return Tried{}, err
		}
		out.Active = &appraise.PolicyName{ID: active.ID, Version: active.Version, Digest: active.Digest()}
	}
	for _, r := range t.Evidence {
		if err := ctx.Err(); err != nil {
			return Tried{}, err
		}
		one := s.tryOne(draft, active, r)
		out.Results = append(out.Results, one)
		if active != nil && good(one.Today) && !good(one.Verdict) {
			out.Refused++
		}
		if active != nil && !good(one.Today) && good(one.Verdict) {
			out.Admitted++
		}
	}
	return out, nil
}

func good(v string) bool { return v == string(attest.Affirming) || v == string(attest.Warning) }

func (s *Service) draft(ctx context.Context, id wire.ID, t Trial) (*appraise.Policy, error) {
	if (t.Version == 0) == (t.Text == "") {
		return nil, verdict.Misuse("appraisal.trial", "a version, or the text of a draft", "both or neither", "name what is to be tried")
	}
	if t.Text == "" {
		p, _, err := s.version(ctx, id, t.Version)
		return p, err
	}
	p, err := parsePolicy([]byte(t.Text))
	if err == nil && p.ID != id {
		err = verdict.Misuse("appraisal.policy", "a draft of policy "+string(id), verdict.Short(string(p.ID)), "send it where its id says")
	}
	return p, err
}

func (s *Service) tryOne(draft, active *appraise.Policy, r Recorded) TriedOne {
	now := s.cfg.Now()
	if r.At != nil {
		now = r.At.Time()
	}
	f, _, err := examine(s.table.Load().examiners, r.Evidence, now)
	if err != nil {
		res := appraise.Invalid(string(f.Facts.Platform), err, wire.At(now))
		one := TriedOne{Platform: res.Platform, Verdict: invalid, Failed: res.Failed(), Mended: []string{}}
		if active != nil {
			one.Today = invalid
		}
		return one
	}
	res := s.judgeRecorded(draft, f, r, now)
	one := TriedOne{Platform: res.Platform, Verdict: string(res.Verdict), Failed: res.Failed(), Mended: []string{}}
	if one.Failed == nil {
		one.Failed = []verdict.Check{}
	}
	if active != nil {
		today := s.judgeRecorded(active, f, r, now)
		one.Today, one.Mended = string(today.Verdict), noLonger(today.Failed(), one.Failed)
	}
	return one
}

// judgeRecorded leaves freshness out where the caller says nothing of it: the evidence then
// answers for itself. What reference values were used since says nothing about that time.
func (s *Service) judgeRecorded(p *appraise.Policy, f attest.Finding, r Recorded, now time.Time) appraise.Result {
	fresh := appraise.Freshness{Nonce: r.Nonce, ReportData: r.ReportData}
	if len(r.Nonce) == 0 && len(r.ReportData) == 0 {
		fresh.ReportData = f.Facts.ReportData
	}
	references := appraise.References{Sets: s.table.Load().references, Seen: map[wire.ID]reference.Name{}}
	result := appraise.Demand{Policy: p, Freshness: fresh, References: references, Now: now}.Judge(f)
	result.Checks = mended(result.Checks, mendTrial)
	return result
}

// noLonger lists what fails in one list and not in the other.
func noLonger(before, after []verdict.Check) []string {
	still := map[string]bool{}
	for _, c := range after {
		still[c.ID] = true
	}
	ids := []string{}
	for _, c := range before {
		if !still[c.ID] {
			ids = append(ids, c.ID)
		}
	}
	return ids
}
