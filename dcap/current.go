package dcap

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/lineage"
)

// collateral checks that everything needed is there, and within its dates.
func (x *examination) collateral(info signedBySigner[*TCBInfo], identity signedBySigner[*Identity]) {
	var missing []string
	fmspc := fmt.Sprintf("%X", x.chain.info.FMSPC)
	tee := x.quote.Header.TEE
	if info.doc == nil {
		text := fmt.Sprintf("TCB information for %s, FMSPC %s", tee, fmspc)
		if others := x.fmspcs(tee); len(others) > 0 {
			text += list(" (there is some for ", others) + ")"
		}
		missing = append(missing, text)
	} else {
		x.used(info.version)
		x.window("TCB information", info.doc.dated, info.signer)
	}
	if identity.doc == nil {
		missing = append(missing, fmt.Sprintf("the identity of the quoting enclave for %s", tee))
	} else {
		x.used(identity.version)
		x.window("the identity of the quoting enclave", identity.doc.dated, identity.signer)
	}
	missing = append(missing, x.list("the CRL of "+nameRoot, x.rootCRLs)...)
	missing = append(missing, x.list("the CRL of "+x.chain.ca.cert.Subject.CommonName, x.chain.ca.crls)...)

	const expected = "TCB information, identity of the quoting enclave, and CRLs, all signed by Intel"
	if len(missing) > 0 {
		got := "missing: " + strings.Join(missing, "; ")
		if len(x.rejected) > 0 {
			got += "; not used: " + strings.Join(x.rejected, "; ")
		}
		x.fail("collateral", expected, got, fmt.Sprintf("fetch Intel's collateral for FMSPC %s (strongroom endorsements fetch), or give it with --endorsements", fmspc))
	} else {
		x.pass("collateral", expected, "all there")
	}
	const dates = "collateral within its dates"
	if len(x.dates) > 0 {
		x.fail("collateral_dates", dates, strings.Join(x.dates, "; "), "fetch current collateral")
	} else if len(missing) == 0 {
		x.pass("collateral_dates", dates, "next update of TCB information due by "+day(info.doc.NextUpdate))
	}
}

// used notes what the checks rely on.
func (x *examination) used(v lineage.Version) { x.r.Endorsements = append(x.r.Endorsements, v) }

// window notes a document that is outside its dates, or its signer's.
func (x *examination) window(what string, d dated, s *signer) {
	switch {
	case x.now.Before(d.Issued):
		x.dates = append(x.dates, fmt.Sprintf("%s was issued only on %s", what, day(d.Issued)))
	case x.now.After(d.NextUpdate):
		x.dates = append(x.dates, fmt.Sprintf("%s expired on %s, %s ago", what, day(d.NextUpdate), days(x.now.Sub(d.NextUpdate))))
	}
	if text := s.expired(x.now); text != "" && !slices.Contains(x.dates, text) {
		x.dates = append(x.dates, text)
	}
}

// list tells what is missing if there is no list at all; one outside its dates is noted.
func (x *examination) list(what string, lists []*crl) []string {
	if len(lists) == 0 {
		return []string{what}
	}
	best := current(lists, x.now)
	if best != nil {
		x.used(best.version)
	}
	switch {
	case best == nil:
		x.dates = append(x.dates, fmt.Sprintf("%s was issued only on %s", what, day(lists[0].list.ThisUpdate)))
	case best.list.NextUpdate.IsZero():
		x.dates = append(x.dates, what+" has no date of its next update")
	case x.now.After(best.list.NextUpdate):
		x.dates = append(x.dates, fmt.Sprintf("%s expired on %s, %s ago", what, day(best.list.NextUpdate), days(x.now.Sub(best.list.NextUpdate))))
	}
	return nil
}

// revocation looks every certificate up in its issuer's lists: the PCK's in the CA's, the
// CA's and the TCB signers' in the root's. Lists that are missing have failed a check before.
func (x *examination) revocation(signers ...*signer) {
	const expected = "no certificate revoked"
	var named []string
	look := func(lists []*crl, c *x509.Certificate) {
		if revoked(lists, c, x.now) {
			named = append(named, fmt.Sprintf("%q, serial %X", c.Subject.CommonName, c.SerialNumber))
		}
	}
	look(x.chain.ca.crls, x.chain.pck)
	look(x.rootCRLs, x.chain.ca.cert)
	done := map[*signer]bool{nil: true}
	for _, s := range signers {
		if done[s] {
			continue
		}
		done[s] = true
		for _, c := range s.certs {
			look(x.rootCRLs, c)
		}
	}
	switch {
	case len(named) > 0:
		x.fail("revocation", expected, "revoked: "+strings.Join(named, "; "), "use another machine: Intel no longer vouches for this one")
	case len(x.chain.ca.crls) == 0 || len(x.rootCRLs) == 0:
		x.fail("revocation", expected, "not known: a CRL is missing", "fetch the CRLs (strongroom endorsements fetch)")
	default:
		x.pass("revocation", expected, fmt.Sprintf("%d lists looked through", len(x.chain.ca.crls)+len(x.rootCRLs)))
	}
}

// evaluationFloor checks the tcbEvaluationDataNumber against the caller's floor, and
// against Intel's own list if there is one: numbers it no longer serves are too old.
func (x *examination) evaluationFloor(info *TCBInfo, id *Identity) {
	number := info.Evaluation
	if id != nil {
		number = min(number, id.Evaluation)
	}
	least, why := x.least, "the caller's floor"
	newest := 0
	if e := x.evaluation(x.quote.Header.TEE, x.now); e.doc != nil {
		x.used(e.version)
		served := e.doc.Numbers[0].Number
		for _, n := range e.doc.Numbers {
			served, newest = min(served, n.Number), max(newest, n.Number)
		}
		if served > least {
			least, why = served, "the lowest that Intel still serves"
		}
	}
	got := fmt.Sprintf("%d", number)
	if newest > number {
		got += fmt.Sprintf(", Intel's newest is %d", newest)
	}
	if newest > 0 {
		x.r.Claims["tcb_evaluation_newest"] = newest
	}
	switch expected := fmt.Sprintf("tcbEvaluationDataNumber %d or later (%s)", least, why); {
	case least == 0:
	case number < least:
		x.fail("tcb_evaluation", expected, got, "fetch collateral of a later TCB recovery")
	default:
		x.pass("tcb_evaluation", expected, got)
	}
}
