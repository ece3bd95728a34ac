package verifier

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Request asks for evidence to be judged, and with an audience, for a token (spec/attestation.md,
// section 3). Exactly one of Challenge, Nonce and ReportData says why the evidence is fresh.
type Request struct {
	// Evidence is of any kind and form that the service knows.
	Evidence wire.Bytes `json:"evidence"`
	// Challenge is one of this service.
	Challenge wire.Bytes `json:"challenge,omitempty"`
	// Nonce is the relying party's own, 16 to 64 bytes, used in the challenge's place.
	Nonce wire.Bytes `json:"nonce,omitempty"`
	// ReportData is what the evidence's report data must be; no token comes of that.
	ReportData wire.Bytes `json:"report_data,omitempty"`
	// Room or Key is what else the evidence binds; one of the two is needed for a token.
	Room *Room           `json:"room,omitempty"`
	Key  json.RawMessage `json:"key,omitempty"`
	// HPKE is beside Key what bearer tokens are sealed to; a room has its own.
	HPKE *keys.HPKEPublicKey `json:"hpke,omitempty"`
	// Policy is the id of the policy that judges; "" takes the service's own choice.
	Policy wire.ID `json:"policy,omitempty"`
	// Audience is whom the token is for; without one there is none.
	Audience string `json:"audience,omitempty"`
	// Shape is ear or federation; "" is ear.
	Shape string `json:"shape,omitempty"`
	// Endorsements are files as vendors serve them. Whatever is in them is verified.
	Endorsements []wire.Bytes `json:"endorsements,omitempty"`
}

// Room is what a room's evidence binds besides the challenge (spec/evidence.md, section 2).
type Room struct {
	Purpose attest.Purpose     `json:"purpose"`
	Signing keys.PublicKey     `json:"signing"`
	HPKE    keys.HPKEPublicKey `json:"hpke"`
	// Agreement is the canonical bytes of the agreement: the init data is a hash of them, and the
	// report data holds their digest, so that both can be held against each other (R10).
	Agreement wire.Bytes  `json:"agreement"`
	Run       wire.Digest `json:"run"`
}

func (r Room) binding(nonce wire.Hash) attest.Binding {
	return attest.Binding{Purpose: r.Purpose, Nonce: nonce, Signing: r.Signing, HPKE: r.HPKE, Agreement: wire.SHA384(agreement.AgreementType, r.Agreement), Run: r.Run}
}

// Answer is what comes of a request. Token or Sealed is there if a token was asked for.
type Answer struct {
	Result   appraise.Result `json:"result"`
	Vector   ear.Vector      `json:"vector"`
	Evidence wire.Digest     `json:"evidence"`
	Token    string          `json:"token,omitempty"`
	Sealed   *ear.Sealed     `json:"sealed,omitempty"`
	Expires  *wire.Time      `json:"expires,omitempty"`
}

// asking is a request as it is worked on: what the evidence must bind, and what comes of it.
type asking struct {
	shape     ear.Shape
	audience  string
	policy    *appraise.Policy
	key       ear.Confirmation
	hpke      keys.HPKEPublicKey
	challenge recognised // zero if freshness comes from elsewhere
	freshness ear.Freshness
	nonce     []byte // for the token
	now       time.Time
	// binding gives what the report data must be, for a field of so many bytes; nil if nonce alone
	// is to be there.
	binding func(size int) ([]byte, error)
	fresh   appraise.Freshness
	mend    string // what mends it if the evidence is not fresh
	// initData is what the init data must be, for a field of so many bytes; nil if anything may.
	initData func(size int) ([]byte, error)
	extra    map[string]any
}

// Attest judges evidence and makes a token of the result. Without an audience the answer is the
// result, whatever it says; with one, a result that is not to be trusted is an error.
func (s *Service) Attest(ctx context.Context, r Request) (Answer, error) {
	a, err := s.asked(ctx, r)
	if err != nil {
		return Answer{}, err
	}
	finding, digest, err := s.examine(r, a.now)
	if err != nil {
		return Answer{}, s.refused(ctx, a, finding.Facts.Platform, err)
	}
	return s.answer(ctx, a, finding, digest)
}

// examine examines with the service's endorsements, and those that came with the request.
func (s *Service) examine(r Request, now time.Time) (attest.Finding, wire.Digest, error) {
	if len(r.Endorsements) > 0 {
		select {
		case s.endorsed <- struct{}{}:
			defer func() { <-s.endorsed }()
		default:
			return attest.Finding{}, wire.Digest{}, &verdict.Error{Kind: verdict.Refused, Check: "attestation.busy", Expected: "a moment of quiet", Got: fmt.Sprintf("%d requests with endorsements of their own already", endorsedAtOnce),
				Fix: "ask again in a second, or have the service's officers add the endorsements", Err: ErrBusy}
		}
	}
	examiners, err := s.examiners(r.Endorsements)
	if err != nil {
		return attest.Finding{}, wire.Digest{}, err
	}
	return examine(examiners, r.Evidence, now)
}

// examine finds out what the evidence says. An error's finding holds the platform at most.
func examine(examiners []attest.Examiner, evidence []byte, now time.Time) (attest.Finding, wire.Digest, error) {
	x, inner, err := attest.Recognise(examiners, evidence)
	if err != nil {
		return attest.Finding{}, wire.Digest{}, mendedError(err)
	}
	f, err := x.Examine(inner, now)
	if err != nil {
		return attest.Finding{Facts: attest.Facts{Platform: x.Name}}, wire.Digest{}, genuine(err)
	}
	return f, attest.Evidence{Platform: x.Name, Evidence: inner}.Digest(), nil
}

// genuine makes sure that what a platform refuses is invalid evidence, whatever it says.
func genuine(err error) error {
	e := *verdict.As(mendedError(err))
	e.Kind = verdict.Invalid
	return &e
}

// answer judges a finding, and makes a token of a good result if one was asked for.
func (s *Service) answer(ctx context.Context, a asking, f attest.Finding, digest wire.Digest) (Answer, error) {
	d := decision{platform: f.Facts.Platform}
	answer, err := s.decide(ctx, a, f, digest, &d)
	if err == nil && a.audience != "" {
		d.token = a.shape.Name
	}
	s.note(ctx, a, d, err)
	return answer, err
}

// decide does that, and says in d what it decided.
func (s *Service) decide(ctx context.Context, a asking, f attest.Finding, digest wire.Digest, d *decision) (Answer, error) {
	if a.binding != nil {
		want, err := a.binding(len(f.Facts.ReportData))
		if err != nil {
			return Answer{}, err
		}
		a.fresh.ReportData = want
	}
	if err := a.checkInitData(f.Facts.InitData); err != nil {
		return Answer{}, err
	}
	references, err := s.references(ctx, a.policy)
	if err != nil {
		return Answer{}, err
	}
	seen, err := s.endorsementsSeen(ctx, f.Endorsements)
	if err != nil {
		return Answer{}, err
	}
	result := appraise.Demand{Policy: a.policy, Freshness: a.fresh, InsecureAllowSoftware: s.cfg.InsecureAllowSoftware, References: references, Seen: seen, Now: a.now}.Judge(f)
	result.Checks = mended(result.Checks, a.mend)
	d.verdict = string(result.Verdict)
	if failed := result.Failed(); len(failed) > 0 {
		d.failed = failed[0].ID
	}
	if err := s.saw(ctx, result.Reference); err != nil {
		return Answer{}, err
	}
	if err := s.sawEndorsements(ctx, result.Endorsements); err != nil {
		return Answer{}, err
	}
	answer := Answer{Result: result, Vector: ear.VectorOf(result), Evidence: digest}
	if a.audience == "" {
		return answer, s.redeem(ctx, a.challenge)
	}
	if err := result.Err(); err != nil {
		return Answer{}, err
	}
	if a.shape.Name != ear.EAR().Name {
		if err := gated(a.shape, f.Facts, a.policy); err != nil {
			return Answer{}, err
		}
	}
	if err := s.redeem(ctx, a.challenge); err != nil {
		return Answer{}, err
	}
	return s.token(a, f, answer)
}

// checkInitData holds the init data against what was asked for. It is part of what the evidence
// is about, not of how good it is.
func (a asking) checkInitData(got []byte) error {
	if a.initData == nil {
		return nil
	}
	want, err := a.initData(len(got))
	if err != nil {
		return err
	}
	if len(got) == 0 || !bytes.Equal(got, want) {
		return verdict.NotGenuine("evidence.init-data", "init data "+whole(want), whole(got), "start it with what the request names, or name what it was started with")
	}
	return nil
}

// whole shows bytes in hex: two values that differ only at the end must not look alike.
func whole(b []byte) string {
	if len(b) == 0 {
		return "of no bytes"
	}
	return hex.EncodeToString(b)
}

// gated refuses evidence without init data to audiences that look at nothing but the token
// (R16). In its place a policy that names what must run will do where the platform has no such
// field, and in shapes whose tokens are bound to a key: enclaves seldom have any, and their
// measurement covers all they are.
func gated(shape ear.Shape, f attest.Facts, p *appraise.Policy) error {
	if len(bytes.Trim(f.InitData, "\x00")) > 0 {
		return nil
	}
	got := "init data of zeros"
	if len(f.InitData) == 0 || !shape.Bearer {
		if r := p.Platforms[string(f.Platform)]; len(r.Measurements) > 0 || r.Reference != nil {
			return nil
		}
		got = "none, and a policy that names no measurement of this platform"
	}
	return verdict.Refuse("attestation.init-data", "evidence that says at launch what it is for (init data)", got, "start it with init data; this audience is given nothing without")
}

func (s *Service) token(a asking, f attest.Finding, answer Answer) (Answer, error) {
	ring, err := s.ring(a.shape)
	if err != nil {
		return Answer{}, err
	}
	statement := ear.Statement{
		Results: []appraise.Result{answer.Result}, Evidence: answer.Evidence, InitData: f.Facts.InitData, ReportData: f.Facts.ReportData,
		Freshness: a.freshness, Nonce: a.nonce, Audience: a.audience, Confirmation: a.key, Verifier: s.cfg.Build, Extra: a.extra,
	}
	expires := wire.At(a.now.Add(ear.Lifetime))
	answer.Expires = &expires
	if a.shape.Bearer {
		var sealed ear.Sealed
		sealed, err = ring.Seal(s.cfg.Base, statement, a.hpke, a.now)
		answer.Sealed = &sealed
	} else {
		answer.Token, err = ring.Sign(s.cfg.Base, statement, a.now)
	}
	if err != nil {
		return Answer{}, err
	}
	s.stats.token(a.shape.Name)
	return answer, nil
}

// asked checks everything of a request that can be checked before the evidence is looked at.
func (s *Service) asked(ctx context.Context, r Request) (asking, error) {
	a := asking{audience: r.Audience, now: s.cfg.Now()}
	if err := checkAudience(r.Audience); err != nil {
		return a, err
	}
	switch r.Shape {
	case "", ear.EAR().Name:
		a.shape = ear.EAR()
	case ear.Federation().Name:
		a.shape = ear.Federation()
	default:
		return a, verdict.Misuse("attestation.shape", "ear or federation", verdict.Short(r.Shape), "other shapes have endpoints of their own")
	}
	if err := s.choosePolicy(ctx, &a, r); err != nil {
		return a, err
	}
	if err := a.keys(r); err != nil {
		return a, err
	}
	return a, s.freshness(&a, r)
}

// choosePolicy finds who judges: for gated audiences the gate's policy and no other.
func (s *Service) choosePolicy(ctx context.Context, a *asking, r Request) error {
	id := r.Policy
	if id == "" {
		id = s.cfg.Policy
	}
	if a.shape.Bearer {
		if r.Audience == "" {
			return verdict.Misuse("attestation.audience", "an audience for a "+a.shape.Name+" token", "none", "name the vault or cloud that the token is for")
		}
		g, err := s.gate(a.shape, r.Audience)
		if err != nil {
			return err
		}
		if r.Policy != "" && r.Policy != g.Policy {
			return verdict.Refuse("attestation.policy", "policy "+string(g.Policy)+", which judges for this audience", verdict.Short(string(r.Policy)), "leave the policy away")
		}
		id = g.Policy
	}
	if id == "" {
		return nil
	}
	var err error
	a.policy, err = s.policy(ctx, id)
	return err
}

// keys reads which keys the evidence binds.
func (a *asking) keys(r Request) (err error) {
	switch {
	case r.Room != nil && (r.Key != nil || r.HPKE != nil):
		return verdict.Misuse("attestation.key", "a room, or a key", "both", "a room's keys are in its own member")
	case r.Room != nil:
		if !r.Room.Purpose.Valid() || len(r.Room.Agreement) == 0 || r.Room.HPKE.IsZero() {
			return verdict.Misuse("attestation.room", "purpose, keys and agreement of a room", "something missing", "send all that its evidence binds")
		}
		a.hpke = r.Room.HPKE
		if a.key, err = ear.ConfirmRoom(r.Room.Signing); err != nil {
			return err
		}
		body := r.Room.Agreement
		a.initData = func(size int) ([]byte, error) {
			long, short := attest.InitData(body), attest.ShortInitData(body)
			if size == len(short) {
				return short[:], nil
			}
			return long[:], nil
		}
		a.extra = map[string]any{"strongroom_purpose": string(r.Room.Purpose), "strongroom_agreement": wire.SHA384(agreement.AgreementType, body).String()}
		if !r.Room.Run.IsZero() {
			a.extra["strongroom_run"] = r.Room.Run.String()
		}
	case r.Key != nil:
		if r.HPKE != nil {
			a.hpke = *r.HPKE
		}
		a.key, err = ear.ConfirmJWK(r.Key)
	case r.HPKE != nil:
		return verdict.Misuse("attestation.key", "a key beside the HPKE key", "none", "send both, and bind both")
	case r.Audience != "":
		return verdict.Misuse("attestation.key", "the key that the token is to be bound to: a room's, or another's", "none", "make one inside, have the evidence bind it, and send it; or leave the audience away, and get the result without a token")
	}
	return err
}

// freshness reads why the evidence is fresh, and works out what it must bind.
func (s *Service) freshness(a *asking, r Request) error {
	given := 0
	for _, b := range []wire.Bytes{r.Challenge, r.Nonce, r.ReportData} {
		if len(b) > 0 {
			given++
		}
	}
	switch {
	case given != 1:
		return verdict.Misuse("attestation.freshness", "one of challenge, nonce and report_data", fmt.Sprintf("%d of them", given), "ask for a challenge, have the evidence answer it, and send it along")
	case len(r.ReportData) > 0:
		if r.Audience != "" || a.hasKey() {
			return verdict.Misuse("attestation.freshness", "a challenge or a nonce, and the key in the evidence", "report data alone", "what is in the report data is then for you to know, and no token says it")
		}
		a.fresh.ReportData, a.mend = r.ReportData, mendReportData
		return nil
	case len(r.Nonce) > 0:
		if len(r.Nonce) < leastNonce || len(r.Nonce) > mostNonce {
			return verdict.Misuse("attestation.nonce", fmt.Sprintf("%d to %d bytes that nobody can guess", leastNonce, mostNonce), fmt.Sprintf("%d bytes", len(r.Nonce)), "draw 32 random bytes")
		}
		a.freshness, a.nonce, a.mend = ear.ByRelyingParty, r.Nonce, mendNonce
		return a.bind(r, attest.NonceOf(r.Nonce))
	}
	purpose := ForToken
	if r.Room != nil {
		purpose = r.Room.Purpose
	}
	var err error
	if a.challenge, err = s.recognise(r.Challenge, r.Audience, purpose); err != nil {
		return err
	}
	a.freshness, a.nonce, a.mend = ear.ByService, a.challenge.nonce[:], mendChallenge
	return a.bind(r, a.challenge.nonce)
}

func (a *asking) hasKey() bool { return !a.key.IsZero() }

// bind works out what the evidence must hold for a nonce and the keys given. Without a key it is
// the nonce alone.
func (a *asking) bind(r Request, nonce wire.Hash) error {
	switch {
	case r.Room != nil:
		b := r.Room.binding(nonce)
		long, short := b.ReportData(), b.ShortReportData()
		a.binding = sized(long, short)
	case a.hasKey():
		b := ear.Binding{Nonce: nonce, Key: a.key, HPKE: a.hpke}
		long, err := b.ReportData()
		if err != nil {
			return err
		}
		short, err := b.ShortReportData()
		if err != nil {
			return err
		}
		a.binding = sized(long, short)
	default:
		a.fresh.Nonce = nonce[:]
	}
	return nil
}

// sized chooses the form that fits a platform's field. Nothing is truncated or padded.
func sized(long [64]byte, short [32]byte) func(int) ([]byte, error) {
	return func(size int) ([]byte, error) {
		if size == len(short) {
			return short[:], nil
		}
		return long[:], nil
	}
}

// examiners gives the service's table, or one over what came with a request as well.
func (s *Service) examiners(more []wire.Bytes) ([]attest.Examiner, error) {
	t := s.table.Load()
	if len(more) == 0 {
		return t.examiners, nil
	}
	bad := func(got string) error {
		return verdict.Misuse("attestation.endorsements", fmt.Sprintf("at most %d files of %d bytes in all: certificates, CRLs, TCB information, RIMs", maxEndorsements, maxEndorsementBytes), got, "send what vendors sign, as they serve it")
	}
	total := 0
	for _, data := range more {
		total += len(data)
	}
	if len(more) > maxEndorsements || total > maxEndorsementBytes {
		return nil, bad(fmt.Sprintf("%d of %d bytes", len(more), total))
	}
	items := t.set.Items()
	for i, data := range more {
		found := endorse.Parse(fmt.Sprintf("request-%d", i+1), data)
		if len(found) == 0 {
			return nil, bad(fmt.Sprintf("number %d, which is nothing that is known", i+1))
		}
		found, refused := fromAttester(found)
		if refused != "" {
			return nil, bad(fmt.Sprintf("number %d, which holds %s", i+1, refused))
		}
		items = append(items, found...)
	}
	set, err := endorse.NewSet(items...)
	if err != nil {
		return nil, bad(verdict.Short(err.Error()))
	}
	return s.cfg.Table(set), nil
}
