package policy

import "strongroom.dev/verdict"

// judge collects checks in the order of their weight, and what kind of stop each would be.
type judge struct {
	checks []verdict.Check
	kinds  []verdict.Kind
}

// need records a check; got stands there passed or not, fix only if not.
func (j *judge) need(ok bool, id, expected, got, fix string) {
	j.needKind(verdict.Refused, ok, id, expected, got, fix)
}

func (j *judge) needKind(kind verdict.Kind, ok bool, id, expected, got, fix string) {
	if ok {
		fix = ""
	}
	j.checks = append(j.checks, verdict.Check{ID: id, OK: ok, Expected: expected, Got: verdict.Printable(got), Fix: fix})
	j.kinds = append(j.kinds, kind)
}

// needNil records a check whose enforcing code explains itself: its expectation, finding
// and fix are kept under our id. What that code calls malformed is a refusal here: the room
// asked, and a rule says no; errors without a verdict count as evidence that is not genuine.
func (j *judge) needNil(err error, id, expected, passed, fix string) {
	if err == nil {
		j.need(true, id, expected, passed, "")
		return
	}
	kind, e := verdict.Invalid, verdict.As(err)
	if e.Kind == verdict.Refused || e.Kind == verdict.Usage {
		kind = verdict.Refused
	}
	got := e.Got
	if e.Where != "" {
		got = e.Where + ": " + got
	}
	if e.Expected != "" {
		expected = e.Expected
	}
	if e.Fix != "" {
		fix = e.Fix
	}
	j.needKind(kind, false, id, expected, got, fix)
}

// add records checks made elsewhere.
func (j *judge) add(kind verdict.Kind, checks ...verdict.Check) {
	for _, c := range checks {
		j.needKind(kind, c.OK, c.ID, c.Expected, c.Got, c.Fix)
	}
}

// refusal gives the first failed check as an Error with all of them, nil if none failed. No
// check at all is a refusal too.
func (j *judge) refusal() error {
	if len(j.checks) == 0 {
		return verdict.Refuse("request", "a request to decide on", "none", "")
	}
	for i, c := range j.checks {
		if !c.OK {
			return verdict.FromCheck(j.kinds[i], c, j.checks)
		}
	}
	return nil
}
