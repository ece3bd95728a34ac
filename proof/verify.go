package proof

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Trust is what the verifier brings: nothing in it may come from the bundle.
type Trust struct {
	// Parties maps the digests of descriptors the verifier has pinned to its own labels.
	Parties map[wire.Digest]string
	// Agreements are digests of agreements the verifier itself has signed or chosen to rely
	// on. Their roots of evidence and ledgers count as the verifier's own.
	Agreements []wire.Digest
	// Platforms verify evidence, each to its vendor's root.
	Platforms []attest.Platform
	// Roots are software roots of evidence the verifier relies on, by fingerprint.
	Roots []wire.Hash
	// Ledgers are shared ledgers the verifier relies on.
	Ledgers []ledger.Witness
	// References are sets of reference values, as files: where the agreement names release lines,
	// those by which the owners' brokers accepted the room. They prove themselves; nothing in
	// them is believed because it is here.
	References [][]byte
}

// Proven is what a bundle proved. Only [Verify] makes one; the zero Proven proves nothing.
type Proven struct {
	Agreement *agreement.SignedAgreement
	Run       *agreement.SignedRun
	Result    Result
	// Logs is what was proven instead of a result: only [VerifyLogs] sets it.
	Logs  *Logs
	Class agreement.Class
	// Evidence is the class's and platform's story, as the platform itself tells it.
	Platform         wire.ID
	Excludes, Trusts []string
	Time             time.Time // the latest broker time in the bundle
	Checks           []verdict.Check
	// References are the sets of reference values by which the owners' brokers accepted the room,
	// each once; none if the agreement pins its image.
	References []policy.Listed
	// Checkpoints are those in the bundle, verified: two of each owner's log, and one of each
	// shared ledger that the verifier relies on.
	Checkpoints []Checkpoint
}

// Checkpoint is a checkpoint of a log with its signatures.
type Checkpoint struct{ LogKey, Note string }

// verifier carries one verification from step to step; each step adds its checks.
type verifier struct {
	trust   Trust
	bundle  *Bundle
	now     time.Time
	at      time.Time // when the run ended, by the brokers' clocks
	parties []*agreement.SignedParty
	out     Proven
	own     bool // the agreement is one the verifier relies on
	// datasets are the statements, in the order of the request's datasets.
	datasets []*agreement.SignedDataset
	granted  []granted
}

// granted is what checkReleases found of an owner's grant, for checkLives.
type granted struct {
	releaseID  string
	checkpoint ledger.Checkpoint
}

// Verify checks a bundle with the verifier's own trust. The error is a [verdict.Error] that
// names the first check that failed and lists those before it: kind Invalid where something
// is not genuine, Refused where it is but the verifier does not rely on it.
func Verify(b *Bundle, trust Trust, now time.Time) (*Proven, error) {
	v := &verifier{trust: trust, bundle: b, now: now}
	return v.verify(v.readAgreement, v.readLives, v.checkAgreement, v.checkTrust, v.checkRun, v.checkStatements,
		v.checkReleases, v.checkLives, v.checkResult, v.checkRecords)
}

func (v *verifier) verify(steps ...func() error) (*Proven, error) {
	for _, step := range steps {
		if err := step(); err != nil {
			e := verdict.As(err)
			e.Checks = append(v.out.Checks, verdict.Check{ID: e.Check, Expected: e.Expected, Got: e.Got, Fix: e.Fix})
			return nil, e
		}
	}
	return &v.out, nil
}

// CheckFile compares the sealed file with the proven result.
func (p *Proven) CheckFile(hash wire.Hash, size int64) error {
	file, bytes, err := p.fileOf()
	if err != nil {
		return err
	}
	if hash != file || size != bytes {
		return verdict.NotGenuine("result.file", fmt.Sprintf("%s, %d bytes, as the room stated", file, bytes),
			fmt.Sprintf("%s, %d bytes", hash, size), "this is not the file the proof is about: ask the host for the two together")
	}
	return nil
}

func (v *verifier) pass(id, expected string, got any) {
	v.out.Checks = append(v.out.Checks, verdict.Check{ID: id, OK: true, Expected: expected, Got: verdict.Short(fmt.Sprint(got))})
}

func invalid(check, expected string, got error) error {
	return &verdict.Error{Kind: verdict.Invalid, Check: check, Expected: expected, Got: verdict.Short(got.Error()),
		Fix: "do not use this result; ask its sender for an untouched proof", Err: got}
}

func (v *verifier) readAgreement() error {
	a, err := agreement.ParseAgreement(v.bundle.Agreement)
	if err != nil {
		return invalid("proof.agreement", "a well-formed agreement", err)
	}
	v.out.Agreement = a
	for _, raw := range v.bundle.Parties {
		p, err := agreement.ParseParty(raw)
		if err != nil {
			return invalid("proof.parties", "well-formed party descriptors", err)
		}
		v.parties = append(v.parties, p)
	}
	v.own = slices.Contains(v.trust.Agreements, a.Digest())
	return nil
}

// readLives finds when the run ended by the brokers' clocks. What the lives say counts only
// once checkLives has checked their signatures; until then the time merely selects the
// moment at which validity is judged, and a wrong one makes a later step fail.
func (v *verifier) readLives() error {
	for _, raw := range v.bundle.Lives {
		var live release.Live
		if _, err := keys.ParseDocument(raw, release.LiveType, &live); err != nil {
			return invalid("proof.lives", "well-formed words of the owners' brokers", err)
		}
		if at := time.UnixMilli(live.TimeMS).UTC(); at.After(v.at) {
			v.at = at
		}
	}
	if v.at.IsZero() || v.at.After(v.now.Add(maxSkew)) {
		return invalid("proof.time", "an end of the run in the past", fmt.Errorf("%s", v.at.Format(time.RFC3339)))
	}
	v.out.Time = v.at
	return nil
}

// maxSkew is between brokers' and verifiers' clocks, which are kept by NTP at best.
const maxSkew = 10 * time.Minute

func (v *verifier) checkAgreement() error {
	if err := v.out.Agreement.Verify(v.parties, v.at); err != nil {
		return err
	}
	v.pass("proof.agreement", "signed by every party, valid when the run ended", v.out.Agreement.Digest())
	return nil
}

// checkTrust demands that every party, and for software the root, is one the verifier
// knows by itself.
func (v *verifier) checkTrust() error {
	var strangers []string
	for _, p := range v.out.Agreement.Parties {
		if _, pinned := v.trust.Parties[p.Descriptor]; !pinned {
			strangers = append(strangers, fmt.Sprintf("party %s, descriptor %s", p.ID, p.Descriptor.Short()))
		}
	}
	if len(strangers) > 0 {
		return verdict.Refuse("proof.parties", "only parties in your address book", strings.Join(strangers, "; "),
			"check that descriptor's digest with the party itself, then: strongroom party add")
	}
	v.pass("proof.parties", "only parties in your address book", fmt.Sprintf("%d parties", len(v.parties)))
	return nil
}

func (v *verifier) party(id wire.ID) *agreement.SignedParty {
	for _, p := range v.out.Agreement.Parties {
		if p.ID != id {
			continue
		}
		for _, signed := range v.parties {
			if signed.Digest() == p.Descriptor {
				return signed
			}
		}
	}
	return nil
}

func (v *verifier) checkRun() error {
	run, err := agreement.ParseRun(v.bundle.Run)
	if err != nil {
		return invalid("proof.run", "a well-formed run request", err)
	}
	requester := v.party(run.Requester)
	if requester == nil {
		return invalid("proof.run", "a request by a party of the agreement", fmt.Errorf("requester %s", run.Requester))
	}
	// A request is judged at the moment it was granted: it may well have expired since.
	at := v.at
	if run.Expires.Time().Before(at) {
		at = run.Expires.Time().Add(-time.Second)
	}
	if err := run.Verify(v.out.Agreement, requester, at); err != nil {
		return err
	}
	v.out.Run = run
	v.pass("proof.run", "signed by a party that may run the work", fmt.Sprintf("%s asked for %s", run.Requester, run.Work))
	return nil
}

func (v *verifier) checkStatements() error {
	if len(v.bundle.Statements) != len(v.out.Run.Datasets) {
		return invalid("proof.datasets", fmt.Sprintf("%d dataset statements", len(v.out.Run.Datasets)), fmt.Errorf("%d", len(v.bundle.Statements)))
	}
	for i, want := range v.out.Run.Datasets {
		d, err := agreement.ParseDataset(v.bundle.Statements[i])
		if err != nil {
			return invalid("proof.datasets", "a well-formed dataset statement", err)
		}
		input, found := v.out.Agreement.InputByName(want.Input)
		if !found || d.Digest() != want.Statement {
			return invalid("proof.datasets", "the statement the request names: "+want.Statement.Short(), fmt.Errorf("%s", d.Digest().Short()))
		}
		owner := v.party(input.Owner)
		if owner == nil {
			return invalid("proof.datasets", "an owner in the agreement", fmt.Errorf("%s", input.Owner))
		}
		if err := d.Verify(owner, v.at); err != nil {
			return err
		}
		v.datasets = append(v.datasets, d)
	}
	v.pass("proof.datasets", "each dataset version signed by its owner", fmt.Sprintf("%d datasets", len(v.bundle.Statements)))
	return nil
}

// owners are the parties whose data the run's work reads; readRun has found the work.
func (v *verifier) owners() []wire.ID {
	work, _ := v.out.Agreement.WorkByName(v.out.Run.Work)
	return v.out.Agreement.OwnersOf(work)
}

func (v *verifier) checkReleases() error {
	owners := v.owners()
	if len(v.bundle.Releases) != len(owners) {
		return invalid("proof.releases", fmt.Sprintf("a release by each of %d owners", len(owners)), fmt.Errorf("%d", len(v.bundle.Releases)))
	}
	for i, id := range owners {
		if err := v.checkRelease(v.bundle.Releases[i], v.party(id), id); err != nil {
			return err
		}
	}
	v.pass("proof.evidence", "evidence of the agreed image for each owner's challenge", fmt.Sprintf("%s, class %s", v.out.Platform, v.out.Class))
	for _, l := range v.out.References {
		v.pass("proof.reference", "the reference values that the record of a grant names, signed for the agreement's release line", fmt.Sprintf("version %d of %s, group %s", l.Version, l.Product, l.Group))
	}
	v.pass("proof.releases", "each owner's grant, signed and in its own log", fmt.Sprintf("%d grants", len(owners)))
	return nil
}

func (v *verifier) checkRelease(r Release, owner *agreement.SignedParty, id wire.ID) error {
	if owner == nil || owner.Broker == nil || r.Broker != owner.Name {
		return invalid("proof.releases", "a release by an owner's broker", fmt.Errorf("broker %s", r.Broker))
	}
	claims, err := attest.Verify(r.Evidence, v.trust.Platforms, attest.Expectation{
		Binding: attest.Binding{Purpose: attest.ForRelease, Nonce: attest.NonceOf(r.Challenge), Signing: v.bundle.Room.Signing,
			HPKE: v.bundle.Room.HPKE, Agreement: v.out.Agreement.Digest(), Run: v.out.Run.Digest()},
		AgreementBody: v.out.Agreement.Canonical(), Now: v.decidedAt(r), Trust: attest.TrustOf(v.out.Agreement.Agreement, owner)})
	if err != nil {
		return err
	}
	listed, err := v.checkClaims(claims, r)
	if err != nil {
		return err
	}
	var grant release.Granted
	doc, err := keys.ParseDocument(r.Grant, release.GrantType, &grant)
	if err != nil {
		return invalid("proof.releases", "a well-formed grant", err)
	}
	if err := signedBy(doc, owner.Broker.ReleaseKey); err != nil {
		return invalid("proof.releases", "a grant signed by the broker of "+string(owner.Name), err)
	}
	return v.checkGrant(grant, owner, id, r.Evidence.Digest(), listed)
}

// decidedAt is when the owner's broker relied on the evidence, by the record of its grant: a
// word about a TPM's key holds no longer than a run may take. It selects a moment and proves
// nothing; checkGrant has yet to find the record in the broker's log.
func (v *verifier) decidedAt(r Release) time.Time {
	entry, err := grantEntry(r)
	if at := time.UnixMilli(entry.TimeMS).UTC(); err == nil && at.Before(v.at) {
		return at
	}
	return v.at
}

// grantEntry reads the record in a grant, before anything about it is checked.
func grantEntry(r Release) (ledger.Entry, error) {
	var grant release.Granted
	if _, err := keys.ParseDocument(r.Grant, release.GrantType, &grant); err != nil {
		return ledger.Entry{}, err
	}
	return ledger.ParseEntry(grant.Receipt.Entry)
}

// checkClaims applies what the agreement says about machines, with the same code the
// brokers use, and demands that a software root is one the verifier relies on.
func (v *verifier) checkClaims(c attest.Claims, r Release) (*policy.Listed, error) {
	references, err := v.references(r)
	if err != nil {
		return nil, err
	}
	check, listed := policy.AcceptedImage(v.out.Agreement.Agreement, references, c)
	if !check.OK {
		return nil, verdict.FromCheck(verdict.Invalid, check, nil)
	}
	if c.Class() != v.out.Agreement.Protection {
		return nil, invalid("proof.class", string(v.out.Agreement.Protection), fmt.Errorf("%s", c.Class()))
	}
	if c.Class() == agreement.Software && !v.own && !slices.Contains(v.trust.Roots, c.Root()) {
		return nil, verdict.Refuse("proof.root", "a software root you rely on", c.Root().String(),
			"INSECURE platform: name the root with --root if you rely on whoever holds it")
	}
	facts := c.Facts()
	v.out.Class, v.out.Platform, v.out.Excludes, v.out.Trusts = c.Class(), c.Platform(), facts.Excludes, facts.Trusts
	return listed, nil
}

func (v *verifier) checkGrant(g release.Granted, owner *agreement.SignedParty, id wire.ID, evidence wire.Digest, listed *policy.Listed) error {
	entry, checkpoint, err := g.Receipt.Verify(owner.Broker.LogKey, v.witnesses(), v.quorum())
	if err != nil {
		return invalid("proof.releases", "a receipt of the grant in the log of "+string(owner.Name), err)
	}
	runDigest := v.out.Run.Digest()
	if entry.Kind != "grant" || entry.Run == nil || *entry.Run != runDigest || entry.RunID != v.out.Run.RunID {
		return invalid("proof.releases", "an entry that grants this run", fmt.Errorf("a %s entry of run %s", entry.Kind, entry.RunID))
	}
	facts, err := release.ParseGrantFacts(entry.Public)
	if err != nil {
		return invalid("proof.releases", "the facts of a grant", err)
	}
	if g.Broker != owner.Name || g.ReleaseID != facts.ReleaseID || g.Request != facts.Request {
		return invalid("proof.releases", "an entry about the same release as the grant", fmt.Errorf("broker %s, releases %s and %s", g.Broker, g.ReleaseID, facts.ReleaseID))
	}
	if err := v.checkGrantFacts(facts, id, evidence); err != nil {
		return err
	}
	if err := sameSet(facts.Reference, listed); err != nil {
		return err
	}
	if listed != nil && !slices.Contains(v.out.References, *listed) {
		v.out.References = append(v.out.References, *listed)
	}
	v.granted = append(v.granted, granted{g.ReleaseID, checkpoint})
	v.out.Checkpoints = append(v.out.Checkpoints, Checkpoint{owner.Broker.LogKey, g.Receipt.Checkpoint})
	return nil
}

// checkGrantFacts ties the logged grant to this room, whose evidence is named in the entry,
// and to the owner's dataset versions that the request names.
func (v *verifier) checkGrantFacts(facts release.GrantFacts, id wire.ID, evidence wire.Digest) error {
	if facts.Evidence != evidence || facts.Room != v.bundle.Room.Signing.ID() {
		return invalid("proof.releases", "a grant to this room and evidence", fmt.Errorf("a grant to room key %s", facts.Room.Short()))
	}
	want := map[release.GrantedInput]bool{}
	for i, d := range v.out.Run.Datasets {
		if in, _ := v.out.Agreement.InputByName(d.Input); in.Owner == id {
			want[release.GrantedInput{Input: d.Input, Dataset: v.datasets[i].Dataset.Dataset, Statement: d.Statement, Header: v.datasets[i].Header}] = true
		}
	}
	n := len(want)
	for _, got := range facts.Inputs {
		if !want[got] {
			return invalid("proof.releases", "a grant of the dataset versions in the request, each once", fmt.Errorf("input %s, dataset %s, statement %s", got.Input, got.Dataset, got.Statement.Short()))
		}
		delete(want, got)
	}
	if len(want) > 0 {
		return invalid("proof.releases", fmt.Sprintf("a grant of %d dataset versions", n), fmt.Errorf("%d", len(facts.Inputs)))
	}
	costs, err := release.CostsOf(v.out.Agreement.Agreement, v.out.Run.Run, id)
	if err == nil && !slices.Equal(costs, facts.Costs) {
		err = fmt.Errorf("%d costs, or others", len(facts.Costs))
	}
	if err != nil {
		return invalid("proof.releases", "a grant that spends of budgets what agreement and request say", err)
	}
	return nil
}

func (v *verifier) checkLives() error {
	owners := v.owners()
	if len(v.bundle.Lives) != len(owners) {
		return invalid("proof.lives", fmt.Sprintf("the last word of each of %d owners", len(owners)), fmt.Errorf("%d", len(v.bundle.Lives)))
	}
	if len(v.bundle.Consistency) != len(owners) {
		return invalid("proof.consistency", fmt.Sprintf("a proof about the log of each of %d owners", len(owners)), fmt.Errorf("%d", len(v.bundle.Consistency)))
	}
	for i, id := range owners {
		var live release.Live
		doc, err := keys.ParseDocument(v.bundle.Lives[i], release.LiveType, &live)
		if err != nil {
			return invalid("proof.lives", "a well-formed word of a broker", err)
		}
		owner := v.party(id)
		if err := signedBy(doc, owner.Broker.ReleaseKey); err != nil {
			return invalid("proof.lives", "the word of the broker of "+string(owner.Name), err)
		}
		if err := v.checkLive(live, owner, i); err != nil {
			return err
		}
	}
	v.pass("proof.lives", "each owner's broker let this result out", fmt.Sprintf("%d brokers", len(owners)))
	v.pass("proof.consistency", "each owner's log shows one history", fmt.Sprintf("%d logs", len(owners)))
	return nil
}

func (v *verifier) checkLive(live release.Live, owner *agreement.SignedParty, i int) error {
	if live.Broker != owner.Name || live.Run != v.out.Run.Digest() || live.Commitment == nil || live.Receipt == nil {
		return invalid("proof.lives", "a word about this run and its result", fmt.Errorf("broker %s, run %s", live.Broker, live.Run.Short()))
	}
	entry, checkpoint, err := live.Receipt.Verify(owner.Broker.LogKey, v.witnesses(), v.quorum())
	if err != nil {
		return invalid("proof.lives", "a receipt of the output in the log of "+string(owner.Name), err)
	}
	if entry.Kind != "output" || entry.Run == nil || *entry.Run != live.Run {
		return invalid("proof.lives", "an entry about this run's output", fmt.Errorf("a %s entry", entry.Kind))
	}
	facts, err := release.ParseOutputFacts(entry.Public)
	if err != nil || facts.Commitment != *live.Commitment {
		return invalid("proof.lives", "an entry with the same commitment", fmt.Errorf("another commitment"))
	}
	before := v.granted[i]
	if facts.ReleaseID != before.releaseID {
		return invalid("proof.lives", "an entry about release "+before.releaseID, fmt.Errorf("release %s", verdict.Short(facts.ReleaseID)))
	}
	if err := ledger.CheckConsistency(v.bundle.Consistency[i], before.checkpoint, checkpoint); err != nil {
		return invalid("proof.consistency", "one history of the log of "+string(owner.Name), err)
	}
	v.out.Checkpoints = append(v.out.Checkpoints, Checkpoint{owner.Broker.LogKey, live.Receipt.Checkpoint})
	return nil
}

func (v *verifier) checkResult() error {
	doc, err := keys.ParseDocument(v.bundle.Result, ResultType, &v.out.Result)
	if err != nil {
		return invalid("proof.result", "a well-formed result statement", err)
	}
	if err := signedBy(doc, v.bundle.Room.Signing); err != nil {
		return invalid("proof.result", "a statement signed by the room's key", err)
	}
	r := v.out.Result
	work, _ := v.out.Agreement.WorkByName(v.out.Run.Work)
	output, found := v.out.Agreement.OutputByName(r.Output)
	if r.Agreement != v.out.Agreement.Digest() || r.Run != v.out.Run.Digest() || r.RunID != v.out.Run.RunID {
		return invalid("proof.result", "a statement about this agreement and run", fmt.Errorf("run %s", r.RunID))
	}
	if !found || work.Output != r.Output || !slices.Contains(output.Receivers, r.Receiver) {
		return invalid("proof.result", "an output and receiver of the agreement", fmt.Errorf("%s for %s", r.Output, r.Receiver))
	}
	for _, raw := range v.bundle.Lives {
		var live release.Live
		if _, err := keys.ParseDocument(raw, release.LiveType, &live); err != nil || *live.Commitment != r.Commitment {
			return invalid("proof.result", "the plaintext every owner's broker let out", fmt.Errorf("another commitment"))
		}
	}
	v.pass("proof.result", "the room's own statement about this file", r.File)
	return nil
}

func signedBy(doc *keys.Document, key keys.PublicKey) error {
	n, err := doc.SignedBy([]keys.PublicKey{key})
	if err == nil && (n != 1 || len(doc.Signatures) != 1) {
		err = keys.ErrSignature
	}
	return err
}
