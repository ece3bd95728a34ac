package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Decide judges a request: every clause is looked at and reported, the most fundamental
// first, also after one has failed. The error is the first failed one, a [*verdict.Error]
// with all the checks; then the Grant is the zero one. Nothing it looks at depends on the
// plaintext of a header.
func Decide(r Request) (Grant, []verdict.Check, error) {
	if err := r.whole(); err != nil {
		return Grant{}, []verdict.Check{{ID: err.Check, Expected: err.Expected, Got: err.Got, Fix: err.Fix}}, err
	}
	d := decision{Request: r}
	d.work, _ = r.Agreement.WorkByName(r.Run.Work)
	d.retry = r.Books.Earlier != nil && r.Books.Earlier.Request == r.Digest && r.Books.Earlier.Run == r.Run.Digest() && r.Books.Earlier.ReleaseID == r.ReleaseID
	d.checkBroker()
	d.checkAgreement()
	d.checkRun()
	d.checkChallenge()
	d.checkEvidence()
	d.checkInputs()
	d.checkSpending()
	d.checkDifferences()
	d.checkPeers()
	if err := d.refusal(); err != nil {
		return Grant{}, d.checks, err
	}
	return Grant{&grant{terms: d.terms()}}, d.checks, nil
}

// whole refuses requests on which no clause could be judged.
func (r Request) whole() *verdict.Error {
	missing := ""
	switch {
	case r.Now.IsZero():
		missing = "no time"
	case !r.Books.Read:
		missing = "books that nobody opened"
	case !r.Broker.Name.Valid() || len(r.Broker.Descriptors) == 0:
		missing = "no broker"
	case r.Agreement == nil || r.Agreement.Document == nil:
		missing = "no agreement"
	case r.Run == nil || r.Run.Document == nil:
		missing = "no run request"
	case r.ReleaseID == "" || r.Digest.IsZero():
		missing = "no release id or request digest"
	case r.Room.Signing.IsZero() || r.Room.HPKE.IsZero():
		missing = "no room keys"
	}
	for _, in := range r.Inputs {
		if in.Statement == nil || in.Statement.Document == nil {
			missing = "input " + string(in.Name) + " without a statement"
		}
	}
	if missing == "" {
		return nil
	}
	return verdict.Misuse("request", "a whole request", verdict.Short(missing), "a defect in the broker or the room: report it")
}

// decision is a request being judged.
type decision struct {
	Request
	judge
	work  agreement.Work
	retry bool
	// listed is the set that lists the room's image, nil if the agreement pins it.
	listed *Listed
	// spendings are what the run spends of inputs under differential privacy.
	spendings []Spending
}

func (d *decision) checkBroker() {
	why := "unlocked"
	if !d.Books.Unlocked {
		why = d.Books.LockedWhy
		if why == "" {
			why = "locked"
		}
	}
	d.need(d.Books.Unlocked, "broker.unlocked", "a broker whose log is known to be complete", why, "have the party's officers run `strongroom broker confirm`")
}

func (d *decision) checkAgreement() {
	a, digest := d.Agreement, d.Agreement.Digest()
	// Signatures are judged as of the nearest moment of the validity, which has its own clause.
	d.needNil(a.Verify(d.Parties, within(a.Valid, d.Now)), "agreement.signatures", "the signatures of all parties named", "all there and genuine", "have every party sign, and send every descriptor the agreement names")

	state := d.Books.Activation
	got, fix := "not activated in this broker", "have the owner run `strongroom agreement activate`"
	switch state.State {
	case Active:
		got = "activated"
	case Retired:
		got, fix = "retired", "use the version in force"
		if state.By > 0 {
			got = fmt.Sprintf("retired by version %d", state.By)
		}
	}
	if state.Why != "" {
		got += ": " + state.Why
	}
	d.need(state.State == Active, "agreement.activated", fmt.Sprintf("agreement %s version %d (%s) activated by this broker's owner", a.ID, a.Version, digest.Short()), got, fix)

	now := wire.At(d.Now)
	d.need(!d.Now.Before(a.Valid.From.Time()) && d.Now.Before(a.Valid.Until.Time()), "agreement.validity",
		fmt.Sprintf("a time from %s and before %s", a.Valid.From, a.Valid.Until), now.String(), "sign and activate a new version of the agreement")
	d.checkClass()

	revoked := "none revoked"
	for _, p := range a.Parties {
		if slices.Contains(d.Books.Revoked, p.Descriptor) {
			revoked = fmt.Sprintf("the descriptor of %s, %s, is revoked", p.ID, p.Descriptor.Short())
		}
	}
	d.need(revoked == "none revoked", "parties.revoked", "parties whose descriptors stand", revoked, "make a new version of the agreement with the party's new descriptor")
}

// within gives the moment of a validity that is nearest to now.
func within(v agreement.Validity, now time.Time) time.Time {
	if now.Before(v.From.Time()) {
		return v.From.Time()
	}
	if last := v.Until.Time().Add(-time.Second); now.After(last) && !now.Before(v.Until.Time()) {
		return last
	}
	return now
}

func (d *decision) checkClass() {
	class := d.Agreement.Protection
	switch class {
	case agreement.Confidential, agreement.IntegrityOnly:
		d.need(true, "agreement.class", "a protection class this broker accepts", string(class), "")
	case agreement.Software:
		got := "software, which this broker allows (INSECURE: software platform)"
		if !d.Floor.InsecureAllowSoftware {
			got = "software, which protects data from nobody who runs the machine"
		}
		d.need(d.Floor.InsecureAllowSoftware, "agreement.class", "a protection class this broker accepts", got, "start the broker with --insecure-allow-software, for data that is not secret only")
	default:
		d.need(false, "agreement.class", "a protection class this broker accepts", fmt.Sprintf("%q", string(class)), "name one of confidential, integrity-only, software")
	}
}

func (d *decision) checkRun() {
	a, r := d.Agreement, d.Run
	requester := d.descriptorOf(r.Requester)
	f := r.Examine(a, requester, d.Now)
	// What decides is Verify; what Examine finds explains it. A refusal that Examine can't place
	// counts against the signature.
	if err := r.Verify(a, requester, d.Now); err != nil && f == (agreement.RunFindings{}) {
		f.Signature = err
	}
	d.needNil(f.Signature, "run.signature", "a run request signed by "+string(r.Requester), "signed", "sign a new run request")
	d.needNil(f.Permission, "run.permitted", "work of this agreement, asked for by a party that may run it", fmt.Sprintf("%s asked for by %s", r.Work, r.Requester), "sign a new run request")
	d.needNil(f.Parameters, "run.parameters", "the parameters of the work, typed and in bounds", fmt.Sprintf("%d in order", len(r.Parameters)), "sign a new run request")
	d.needNil(f.Query, "run.query", "a query of its own only where the work leaves it to the request", asked(r), "sign a new run request")
	d.needNil(f.Environment, "run.environment", "only variables that the agreement leaves to the requester, with values that match its patterns", chosen(r.Environment), "sign a new run request")
	d.needNil(f.Datasets, "run.datasets", "one dataset version for each input of the work, in order", fmt.Sprintf("%d in order", len(r.Datasets)), "sign a new run request")
	d.needNil(f.Expiry, "run.unexpired", "a run request that has not expired", "expires "+r.Expires.String(), "sign a new run request")
}

// asked shows what query a request brings.
func asked(r *agreement.SignedRun) string {
	if r.Query == "" {
		return "the one agreed"
	}
	return fmt.Sprintf("one of %d bytes", len(r.Query))
}

// chosen shows what the requester chose of a container's environment.
func chosen(environment map[string]string) string {
	if len(environment) == 0 {
		return "none"
	}
	list := make([]string, 0, len(environment))
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		list = append(list, fmt.Sprintf("%s=%q", name, environment[name]))
	}
	return verdict.Short(strings.Join(list, ", "))
}

// descriptorOf finds the descriptor sent for a party of the agreement; nil if there is none.
func (d *decision) descriptorOf(id wire.ID) *agreement.SignedParty {
	party, found := d.Agreement.PartyByID(id)
	if !found {
		return nil
	}
	for _, p := range d.Parties {
		if p != nil && p.Document != nil && p.Digest() == party.Descriptor {
			return p
		}
	}
	return nil
}

func (d *decision) checkChallenge() {
	c := d.Challenge
	known := c.Recognised && c.ID != "" && !c.Nonce.IsZero()
	got := "one of its own"
	if !known {
		got = "a token it did not issue"
	}
	d.needKind(verdict.Invalid, known, "challenge.known", "a challenge of this broker", got, "ask this broker for a challenge")

	digest := d.Agreement.Digest()
	d.needKind(verdict.Invalid, c.Purpose == attest.ForRelease && c.Agreement == digest, "challenge.purpose",
		"a challenge for a release under agreement "+digest.Short(), fmt.Sprintf("one for %q under agreement %s", string(c.Purpose), c.Agreement.Short()), "ask for a challenge for this purpose and agreement")

	used := d.Books.RedeemedBy
	unused := used == "" || (d.retry && used == d.ReleaseID)
	switch got = "not redeemed before"; {
	case !d.Now.Before(c.Expires):
		got = "expired at " + wire.At(c.Expires).String()
	case !unused:
		got = "redeemed by release " + used
	case used != "":
		got = "redeemed by this very release before"
	}
	d.need(d.Now.Before(c.Expires) && unused, "challenge.fresh", "a challenge that has not expired and was not used", got, "ask for a new challenge and take fresh evidence")
}

func (d *decision) checkPeers() {
	others := 0
	got := ""
	for _, owner := range d.Agreement.OwnersOf(d.work) {
		if d.own(owner) {
			continue
		}
		others++
		if why := d.peer(owner); why != "" && got == "" {
			got = fmt.Sprintf("broker of %s: %s", owner, why)
		}
	}
	for _, p := range d.Peers {
		if !p.Accepted && got == "" {
			got = fmt.Sprintf("broker of %s: %s", p.Party, refusedWhy(p.Why))
		}
	}
	ok := got == ""
	if ok {
		got = fmt.Sprintf("%d accepted", others)
	}
	d.need(ok, "peers.checkpoints", "the log of every other owner's broker consistent with what was seen of it", got,
		"find out from that owner whether its log was rolled back, or whether somebody shows different logs to different parties")
}

// peer gives why another owner's checkpoint does not count, "" if it does.
func (d *decision) peer(owner wire.ID) string {
	why := "no checkpoint sent"
	for _, p := range d.Peers {
		if p.Party == owner {
			if !p.Accepted {
				return refusedWhy(p.Why)
			}
			why = ""
		}
	}
	return why
}

func refusedWhy(why string) string {
	if why == "" {
		return "not accepted"
	}
	return why
}

// own reports whether a party of the agreement is the one whose broker decides.
func (d *decision) own(id wire.ID) bool {
	party, found := d.Agreement.PartyByID(id)
	return found && slices.Contains(d.Broker.Descriptors, party.Descriptor)
}

// keeper reports whether the party whose broker decides admits the run without an input in it.
func (d *decision) keeper() bool {
	return slices.ContainsFunc(d.Agreement.OwnersOf(d.work), d.own) &&
		!slices.ContainsFunc(d.Agreement.InputsOf(d.work), func(in agreement.Input) bool { return d.own(in.Owner) })
}

// terms gives what is granted once every clause held.
func (d *decision) terms() Terms {
	t := Terms{
		Broker: d.Broker.Name, ReleaseID: d.ReleaseID, Request: d.Digest, ChallengeID: d.Challenge.ID, Nonce: d.Challenge.Nonce,
		Evidence: d.Claims.EvidenceDigest(), Class: d.Claims.Class(), Where: WhereOf(d.Claims), Listed: d.listed, Agreement: d.Agreement.Digest(), Run: d.Run.Digest(), RunID: d.Run.RunID,
		Room: d.Room, Retry: d.retry, Spendings: d.spendings,
		// A lease never outlives the agreement.
		LeaseMS: min(d.Agreement.LeaseMS, max(1, d.Agreement.Valid.Until.Time().Sub(d.Now).Milliseconds())),
	}
	for _, in := range d.Inputs {
		t.Inputs = append(t.Inputs, GrantedInput{Input: in.Name, Dataset: in.Statement.Dataset.Dataset, Statement: in.Statement.Digest(), Header: in.Header.Hash})
	}
	t.Audited = d.audited()
	return t
}
