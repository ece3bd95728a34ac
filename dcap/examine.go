package dcap

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"strings"
	"time"

	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Result is what a genuine quote shows. Checks may have failed.
type Result struct {
	Quote *Quote
	PCK   PCK
	// Root is the SHA-256 of the root's SubjectPublicKeyInfo.
	Root wire.Hash
	// EventLog is the log that came with the quote, as it came: whoever uses it must replay it.
	EventLog []byte
	// Status is Intel's judgement of platform, module and quoting enclave together; "" if
	// collateral for it is missing.
	Status Status
	// TCB is what the collateral makes of the TCB, for whoever demands more than a status:
	// "date" and "module-date", the dates of the platform's and the TDX module's level as
	// YYYYMMDD; "evaluation", the TCB information's tcbEvaluationDataNumber; "up-to-date", 1 if
	// Status is UpToDate, else 0. What is not known is left out.
	TCB map[string]int64
	// Checks are all that were made, in order; ids start with "tdx." or "sgx.".
	Checks []verdict.Check
	// Warnings are ids of passed checks of a status that needs software or configuration to
	// make up for something.
	Warnings []string
	// Claims are all fields of quote and PCK certificate, and what the collateral says of them.
	Claims map[string]any
	// Endorsements are the collateral that the checks relied on, whatever its dates.
	Endorsements []lineage.Version
}

// examination is one examination under way.
type examination struct {
	*Verifier
	now   time.Time
	quote *Quote
	chain *chain
	r     *Result
	id    string // start of check ids
	dates []string
}

// Examine checks evidence in any form that [Open] reads. It gives an error, of kind Invalid,
// for what is not a genuine quote for this TEE: unreadable, or with a signature, chain or
// binding that is wrong. All else is a failed check in the result.
func (v *Verifier) Examine(evidence []byte, tee TEE, now time.Time) (*Result, error) {
	if v == nil {
		return New(Collateral{}).Examine(evidence, tee, now)
	}
	envelope, quote, err := read(evidence, tee)
	if err != nil {
		return nil, err
	}
	x := &examination{Verifier: v, now: now, quote: quote, id: tee.prefix(), r: &Result{Quote: quote, Root: v.root.fingerprint(), EventLog: envelope.EventLog}}
	if err := x.genuine(); err != nil {
		return nil, err
	}
	if err := x.held(envelope); err != nil {
		return nil, err
	}
	x.r.PCK = x.chain.info
	x.certificates()
	x.debug()
	x.claims()
	if err := x.judge(); err != nil {
		return nil, err
	}
	return x.r, nil
}

func read(evidence []byte, tee TEE) (Envelope, *Quote, error) {
	const fix = "send the quote exactly as the platform gives it"
	expected := "a quote for " + tee.String() + " by Intel's quoting enclave"
	envelope, err := Open(evidence)
	if err != nil {
		return envelope, nil, verdict.NotGenuine(tee.prefix()+"quote", expected, verdict.Short(err.Error()), fix)
	}
	quote, err := ParseQuote(envelope.Quote)
	var own *verdict.Error
	switch {
	case errors.As(err, &own):
		return envelope, nil, own
	case err != nil:
		return envelope, nil, verdict.NotGenuine(tee.prefix()+"quote", expected, verdict.Short(err.Error()), fix)
	case quote.Header.TEE != tee:
		return envelope, nil, verdict.NotGenuine(tee.prefix()+"quote", expected, "a quote for "+quote.Header.TEE.String(), "name the platform that made the evidence")
	}
	return envelope, quote, nil
}

// pass and fail note a check; fail with a reason in got and what mends it.
func (x *examination) pass(id, expected, got string) {
	x.r.Checks = append(x.r.Checks, verdict.Check{ID: x.id + id, OK: true, Expected: expected, Got: got})
}

func (x *examination) fail(id, expected, got, fix string) {
	x.r.Checks = append(x.r.Checks, verdict.Check{ID: x.id + id, Expected: expected, Got: verdict.Printable(got), Fix: fix})
}

// genuine checks the signatures: root to PCK, PCK to the quoting enclave's report, that
// report to the attestation key, that key to the quote.
func (x *examination) genuine() error {
	q := x.quote
	x.pass("quote", "a quote of version 3, 4 or 5", fmt.Sprintf("version %d, %s, %d bytes of padding", q.Header.Version, q.bodyName(), q.Padding))
	var err error
	expected := "a certificate chain from the " + nameRoot + " (key " + x.root.fingerprint().Short() + ")"
	if x.chain, err = x.Verifier.chain(q.Chain); err != nil {
		return verdict.NotGenuine(x.id+"chain", expected, verdict.Short(err.Error()), "take a new quote on a genuine Intel platform")
	}
	x.pass("chain", expected, fmt.Sprintf("%s, FMSPC %X", x.chain.ca.cert.Subject.CommonName, x.chain.info.FMSPC))

	const fix = "take a new quote; one that was altered on its way cannot be mended"
	expected = "the quoting enclave's report signed by the PCK"
	if !signedBy(x.chain.key, q.qeReport, q.qeSigned) {
		return verdict.NotGenuine(x.id+"qe_report", expected, "a signature that does not verify", fix)
	}
	x.pass("qe_report", expected, "it is")
	expected = "the attestation key vouched for by the quoting enclave's report"
	sum := sha256.Sum256(append(append(make([]byte, 0, 64+len(q.AuthData)), q.key...), q.AuthData...))
	if !bytes.Equal(q.QE.ReportData[:32], sum[:]) || !bytes.Equal(q.QE.ReportData[32:], make([]byte, 32)) {
		return verdict.NotGenuine(x.id+"qe_binding", expected, "a report about another key", fix)
	}
	x.pass("qe_binding", expected, "it is")
	expected = "the quote signed by the attestation key"
	key, err := rawKey(q.key)
	if err != nil || !signedBy(key, q.signed, q.signature) {
		return verdict.NotGenuine(x.id+"signature", expected, "a signature that does not verify", fix)
	}
	x.pass("signature", expected, "it is")
	return nil
}

func (q *Quote) bodyName() string {
	switch q.BodyType {
	case bodyEnclave:
		return "SGX enclave"
	case bodyTD10:
		return "TD 1.0"
	}
	return "TD 1.5"
}

// reportData gives what the quote's maker put into it.
func (q *Quote) reportData() [64]byte {
	if q.TD != nil {
		return q.TD.ReportData
	}
	return q.Enclave.ReportData
}

// held checks data that came beside the quote: the report data is its SHA-256 and zeros, or
// its SHA-512.
func (x *examination) held(e Envelope) error {
	if !e.Bound {
		return nil
	}
	const expected = "report data that is a hash of the data held beside the quote"
	got := x.quote.reportData()
	short, long := sha256.Sum256(e.Held), sha512.Sum512(e.Held)
	switch {
	case bytes.Equal(got[:32], short[:]) && bytes.Equal(got[32:], make([]byte, 32)):
		x.pass("held_data", expected, fmt.Sprintf("SHA-256 of %d bytes", len(e.Held)))
	case got == long:
		x.pass("held_data", expected, fmt.Sprintf("SHA-512 of %d bytes", len(e.Held)))
	default:
		return verdict.NotGenuine(x.id+"held_data", expected, "something else", "send the data that the enclave made its quote about")
	}
	return nil
}

// certificates checks the validity of what is in the quote.
func (x *examination) certificates() {
	const expected = "certificates in the quote that are valid at this time"
	for _, text := range []string{expired(x.chain.pck, x.now), expired(x.chain.ca.cert, x.now), x.rootExpired()} {
		if text != "" {
			x.fail("certificates", expected, text, "fetch a current PCK certificate for the machine, then take a new quote")
			return
		}
	}
	x.pass("certificates", expected, "PCK certificate valid to "+day(x.chain.pck.NotAfter))
}

func (x *examination) rootExpired() string {
	if x.chain.root == nil {
		return ""
	}
	return expired(x.chain.root, x.now)
}

// debug checks that nobody is meant to look inside, and for enclaves that they were
// initialised.
func (x *examination) debug() {
	const expected = "debugging off"
	switch q := x.quote; {
	case q.TD != nil && q.TD.Debug():
		x.fail("debug", expected, fmt.Sprintf("TD attributes %x: the host can read and change this trust domain", q.TD.Attributes), "start the trust domain without debugging")
	case q.Enclave != nil && q.Enclave.Debug():
		x.fail("debug", expected, fmt.Sprintf("enclave attributes %x: the host can read and change this enclave", q.Enclave.Attributes), "build and sign the enclave for production")
	case q.Enclave != nil && q.Enclave.Attributes[0]&enclaveInit == 0:
		x.fail("debug", expected, "an enclave that was never initialised", "take the quote from a running enclave")
	default:
		x.pass("debug", expected, "it is")
	}
}

// judge compares with the collateral.
func (x *examination) judge() error {
	info, identity := x.tcbInfo(x.quote.Header.TEE, x.chain.info, x.now), x.identity(x.quote.Header.TEE, x.now)
	x.collateral(info, identity)
	x.revocation(info.signer, identity.signer)
	qe, err := x.quotingEnclave(identity.doc)
	if err != nil {
		return err
	}
	if info.doc == nil {
		return nil
	}
	t := compare(info.doc, x.chain.info, x.quote.TD)
	x.evaluationFloor(info.doc, identity.doc)
	x.platformLevel(t)
	x.moduleLevel(t)
	if qe.Status != "" {
		x.r.Status = t.converged(x.quote.TD, qe.Status)
		x.status(x.r.Status)
	}
	x.tcbClaims(t, qe, identity.doc)
	return nil
}

// quotingEnclave compares the quoting enclave with its identity. One that is not Intel's is
// no failed check: its word, and so the whole quote, is worth nothing.
func (x *examination) quotingEnclave(id *Identity) (EnclaveLevel, error) {
	if id == nil {
		return EnclaveLevel{}, nil
	}
	expected := "Intel's quoting enclave (" + id.ID + ")"
	if text := id.mismatch(&x.quote.QE); text != "" {
		return EnclaveLevel{}, verdict.NotGenuine(x.id+"qe_identity", expected, text, "take the quote with Intel's quoting enclave")
	}
	x.pass("qe_identity", expected, fmt.Sprintf("it is, ISVSVN %d", x.quote.QE.ISVSVN))
	level, _ := match(id.Levels, int(x.quote.QE.ISVSVN))
	x.enclaveLevel("tcb.qe", "the quoting enclave", level, id.Levels, int(x.quote.QE.ISVSVN))
	return level, nil
}

// enclaveLevel judges the level of a module or quoting enclave.
func (x *examination) enclaveLevel(id, what string, level EnclaveLevel, levels []EnclaveLevel, svn int) {
	expected := what + " " + string(UpToDate)
	if level.Status.Good() {
		x.pass(id, expected, fmt.Sprintf("ISVSVN %d, level of %s", svn, day(level.Date)))
		return
	}
	needs := ""
	for _, l := range levels {
		if l.Status.Good() {
			needs = fmt.Sprintf("ISVSVN %d, needs %d (level of %s)", svn, l.ISVSVN, day(l.Date))
			break
		}
	}
	got := string(level.Status)
	switch {
	case level.Status == NotSupported:
		got = "no TCB level matches"
	case !level.Date.IsZero():
		got += ", level of " + day(level.Date)
	}
	x.fail(id, expected, join("; ", got+": "+needs, list("advisories ", level.Advisories)), "update "+what+" on the machine")
}

// platformLevel judges the platform's own level.
func (x *examination) platformLevel(t tcb) {
	expected := "the platform " + string(UpToDate) + ", or a status that software or configuration makes up for"
	if t.level == nil {
		got := "no TCB level matches"
		if l := len(t.info.Levels); l > 0 {
			got += "; of the lowest it lacks: " + strings.Join(t.info.Levels[l-1].shortfall(x.chain.info, x.quote.TD), ", ")
		}
		x.fail("tcb.platform", expected, got, "TCB level not supported: update the machine's firmware, or use TCB information made for it")
		return
	}
	got := fmt.Sprintf("%s, level of %s", t.level.Status, day(t.level.Date))
	switch s := t.level.Status; {
	case s.Good():
		x.pass("tcb.platform", expected, got)
	case s.Tolerable():
		x.pass("tcb.platform", expected, join("; ", got, list("advisories ", t.level.Advisories)))
		x.r.Warnings = append(x.r.Warnings, x.id+"tcb.platform")
	default:
		fix := "update the machine's BIOS and microcode, then fetch a new PCK certificate for it"
		if target := t.target(); target != nil {
			got += fmt.Sprintf(": %s (level of %s)", strings.Join(target.shortfall(x.chain.info, x.quote.TD), ", "), day(target.Date))
		}
		if s == Revoked {
			fix = "keys of this TCB are compromised: use another machine, or update this one and fetch a new PCK certificate"
		}
		x.fail("tcb.platform", expected, join("; ", got, list("advisories ", t.level.Advisories)), fix)
	}
}

// moduleLevel judges the TDX module: that it is Intel's, and its level.
func (x *examination) moduleLevel(t tcb) {
	td := x.quote.TD
	if td == nil {
		return
	}
	name := t.identity.ID
	if name == "" {
		name = "TDX module"
	}
	expected := "Intel's TDX module (" + name + ")"
	switch {
	case t.moduleStatus == NotSupported && t.identity.Levels == nil:
		x.fail("module", expected, fmt.Sprintf("no identity %s in the TCB information: module of major version %d", name, td.TEETCBSVN[1]), "update the TDX module, or the TCB information")
		return
	case td.MRSIGNERSEAM != t.identity.MRSIGNER:
		x.fail("module", expected, fmt.Sprintf("MRSIGNERSEAM %x", td.MRSIGNERSEAM), "load Intel's TDX module")
	case td.SEAMAttributes != t.identity.Attributes || td.SEAMAttributes != [8]byte{}:
		x.fail("module", expected, fmt.Sprintf("SEAMATTRIBUTES %x: a module for debugging", td.SEAMAttributes), "load Intel's production TDX module")
	default:
		x.pass("module", expected, "it is")
	}
	switch {
	case t.moduleStatus == NotSupported:
		x.enclaveLevel("tcb.module", "the TDX module", EnclaveLevel{Status: NotSupported}, t.identity.Levels, int(td.TEETCBSVN[0]))
	case t.module != nil:
		x.enclaveLevel("tcb.module", "the TDX module", *t.module, t.identity.Levels, int(td.TEETCBSVN[0]))
	}
}

// status judges all together.
func (x *examination) status(s Status) {
	expected := "platform, module and quoting enclave together " + string(UpToDate)
	if s.Good() || s.Tolerable() {
		x.pass("tcb", expected, string(s))
		if s.Tolerable() {
			x.r.Warnings = append(x.r.Warnings, x.id+"tcb")
		}
		return
	}
	fix := "see the failed checks of platform, module and quoting enclave"
	if s == RelaunchAdvised || s == RelaunchAdvisedConfigurationNeeded {
		fix = "launch the trust domain again: the TDX module was updated while it ran"
	}
	x.fail("tcb", expected, string(s), fix)
}

func join(separator string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, separator)
}

// list shows the first few of a long list.
func list(before string, items []string) string {
	const few = 6
	switch {
	case len(items) == 0:
		return ""
	case len(items) > few:
		return before + strings.Join(items[:few], ", ") + fmt.Sprintf(" and %d more", len(items)-few)
	}
	return before + strings.Join(items, ", ")
}
