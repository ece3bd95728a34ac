package agreement

import (
	"slices"
	"time"

	"strongroom.dev/verdict"
)

// RunFindings are the parts of [SignedRun.Verify], each looked at by itself, so that a
// decision can explain all of them. nil means in order. They explain; Verify decides.
type RunFindings struct {
	Signature  error // form, body and the requester's signatures
	Permission error // the agreement, the work, and who may run it
	Parameters error
	// Query is about the query and the spending that a request brings.
	Query error
	// Environment is about a container's variables that the request sets.
	Environment error
	Datasets    error
	Expiry      error
}

// Examine makes every check of [SignedRun.Verify], each with the code that Verify uses.
func (r *SignedRun) Examine(a *SignedAgreement, requester *SignedParty, now time.Time) RunFindings {
	var f RunFindings
	f.Signature = r.examineSignature(requester, now)
	f.Expiry = r.verifyTime(now)
	w, found := Work{}, false
	if a != nil && a.Document != nil && a.Digest() == r.Agreement {
		w, found = a.WorkByName(r.Work)
	}
	if !found {
		f.Permission = verdict.Refuse("run.work", "work of this agreement", quoted(string(r.Work))+" of agreement "+r.Agreement.Short(), "sign a new request for this agreement")
		f.Parameters, f.Query, f.Environment, f.Datasets = f.Permission, f.Permission, f.Permission, f.Permission
		return f
	}
	party, found := a.PartyByID(r.Requester)
	if !found || !slices.Contains(w.MayRun, r.Requester) || requester == nil || requester.Document == nil || requester.Digest() != party.Descriptor {
		f.Permission = verdict.Refuse("run.may-run", "one of: "+names(w.MayRun, self), quoted(string(r.Requester)),
			"only a party listed in may_run of "+string(w.Name)+" may ask for it")
	}
	f.Parameters = r.verifyParameters(w)
	f.Query = r.verifyQuery(a, w)
	f.Environment = r.verifyEnvironment(w)
	f.Datasets = r.verifyDatasets(a.InputsOf(w))
	return f
}

func (r *SignedRun) examineSignature(requester *SignedParty, now time.Time) error {
	const check = "run.signatures"
	if err := first(r.Validate(), same(r.Document, RunType, check, r.Run)); err != nil {
		return err
	}
	if requester == nil || requester.Document == nil {
		return verdict.Refuse(check, "the requester's descriptor", "none", "send the descriptors that the agreement names")
	}
	s := requester.signers(string(r.Requester))
	return first(requester.VerifyOwn(now), noStrangers(check, r.Document, s), s.signed(check, r.Document, now))
}
