package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// before gives a history of the alpha-rows of a request, made of the question that it asks.
func before(r *policy.Request, change ...func(*policy.Asked)) wire.Digest {
	statement := r.Inputs[0].Statement.Digest()
	var h policy.History
	for _, c := range change {
		q := r.Agreement.QuestionOf(r.Run.Run)
		q.Tables = []agreement.QuestionTable{{Name: "patients", Inputs: slices.Clone(q.Tables[0].Inputs)}}
		a := policy.Asked{Question: q, Size: 1000}
		c(&a)
		h.Questions = append(h.Questions, a)
	}
	r.Books.Histories[statement] = h
	return statement
}

func other(a *policy.Asked) { a.Question.Query = "SELECT count(*) AS n FROM patients" }
func joins(a *policy.Asked) {
	a.Question.Query = "SELECT count(*) AS n FROM patients p JOIN patients q USING (patient)"
}
func same(*policy.Asked) {}

func TestDifferences(t *testing.T) {
	stranger := wire.DigestOf([]byte("another version"))
	for _, c := range []struct {
		name    string
		change  func(*policy.Request)
		refused string // part of what was found
		before  int    // of alpha-rows
	}{
		{"nothing asked", func(r *policy.Request) { before(r) }, "", 0},
		{"two others", func(r *policy.Request) { before(r, other, other) }, "", 2},
		{"the same between others", func(r *policy.Request) { before(r, other, same, other) }, "", 1},
		{"the same, which showed nothing", func(r *policy.Request) { before(r, other, func(a *policy.Asked) { a.Nothing = true }, other) }, "", 3},
		{"the same under another agreement", func(r *policy.Request) { before(r, func(a *policy.Asked) { a.Question.Agreement = stranger }) }, "", 1},
		{"the same of other parameters", func(r *policy.Request) {
			before(r, func(a *policy.Asked) {
				a.Question.Parameters = []agreement.QuestionValue{{Name: "least", Type: "integer", Value: "4"}}
			})
		}, "", 1},
		{"no history", func(r *policy.Request) { delete(r.Books.Histories, r.Inputs[0].Statement.Digest()) }, "nothing known", 0},
		{"lost", func(r *policy.Request) { r.Books.Histories[before(r)] = policy.History{Lost: true} }, "lost", 0},
		{"rows that the run does not have", func(r *policy.Request) {
			before(r, other, func(a *policy.Asked) { joins(a); a.Question.Tables[0].Inputs[1].Statement = stranger })
		}, "question 2 before it reads dataset version " + stranger.Short(), 0},
		{"rows without other people", func(r *policy.Request) {
			before(r, func(a *policy.Asked) { other(a); a.Question.Tables[0].Inputs[0].Exclusions = &stranger })
		}, "question 1", 0},
		{"after the same, they do not count", func(r *policy.Request) {
			before(r, same, func(a *policy.Asked) { joins(a); a.Question.Tables[0].Inputs[1].Statement = stranger })
		}, "", 0},
		{"another table of the name", func(r *policy.Request) {
			before(r, func(a *policy.Asked) { joins(a); a.Question.Tables[0].Inputs = a.Question.Tables[0].Inputs[:2] })
		}, "another table patients", 0},
		{"other people's rows beside it", func(r *policy.Request) {
			before(r, func(a *policy.Asked) { other(a); a.Question.Tables[0].Inputs[1].Statement = stranger })
		}, "", 1},
		{"it alone, then", func(r *policy.Request) {
			before(r, func(a *policy.Asked) { other(a); a.Question.Tables[0].Inputs = a.Question.Tables[0].Inputs[:1] })
		}, "", 1},
		{"64 others", func(r *policy.Request) { before(r, slices.Repeat([]func(*policy.Asked){other}, 64)...) }, "64 questions", 0},
		{"64 others after the same", func(r *policy.Request) {
			before(r, append([]func(*policy.Asked){same}, slices.Repeat([]func(*policy.Asked){other}, 63)...)...)
		}, "", 0},
		{"too long", func(r *policy.Request) { before(r, func(a *policy.Asked) { other(a); a.Size = agreement.MaxHistory }) }, "bytes with this one", 0},
		{"long, after the same", func(r *policy.Request) {
			before(r, same, func(a *policy.Asked) { other(a); a.Size = agreement.MaxHistory })
		}, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.change = c.change
			g, checks, err := policy.Decide(w.build())
			n := 0
			for _, check := range checks {
				if check.ID == "differences.known" {
					n++
				}
			}
			if n != 2 { // of alpha's two inputs
				t.Errorf("%d clauses", n)
			}
			if c.refused != "" {
				e := verdict.As(err)
				if e.Check != "differences.known" || !strings.Contains(e.Got, c.refused) || e.Fix == "" || e.Kind != verdict.Refused {
					t.Fatalf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := []policy.AuditedInput{{Input: "alpha-rows", Statement: w.statements["alpha-rows"].Digest(), Before: c.before}, {Input: "alpha-more", Statement: w.statements["alpha-more"].Digest()}}
			if diff := cmp.Diff(want, g.Terms().Audited); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is not audited, or not read, has no clause.
func TestNoDifferences(t *testing.T) {
	w := newWorld(t)
	for _, in := range w.agreement.Inputs {
		in.Rules.Differences = agreement.Unaudited
	}
	w.change = func(r *policy.Request) { r.Books.Histories = nil }
	g, checks, err := policy.Decide(w.build())
	if err != nil || len(g.Terms().Audited) != 0 || slices.ContainsFunc(checks, func(c verdict.Check) bool { return c.ID == "differences.known" }) {
		t.Errorf("%v %v", g.Terms().Audited, err)
	}
}

// A recorded release goes on, whatever was asked since.
func TestDifferencesOfARetry(t *testing.T) {
	w := newWorld(t)
	w.change = func(r *policy.Request) {
		r.Books.Histories[before(r)] = policy.History{Lost: true}
		r.Books.Earlier = &policy.Earlier{ReleaseID: r.ReleaseID, Request: r.Digest, Run: r.Run.Digest()}
		r.Books.RedeemedBy = r.ReleaseID
	}
	if _, _, err := policy.Decide(w.build()); err != nil {
		t.Error(err)
	}
}
