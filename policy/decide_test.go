package policy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func TestDecideGrants(t *testing.T) {
	w := newWorld(t)
	r := w.build()
	g, checks, err := policy.Decide(r)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, c := range checks {
		if !c.OK || c.ID == "" || c.Expected == "" || c.Got == "" || c.Fix != "" {
			t.Errorf("check of a grant: %+v", c)
		}
	}
	terms := g.Terms()
	if terms.Broker != "alpha-hospital" || terms.LeaseMS != 3000 || terms.RunID != w.run.RunID || terms.Agreement != r.Agreement.Digest() || terms.Run != r.Run.Digest() ||
		terms.Evidence != r.Claims.EvidenceDigest() || terms.Nonce != w.nonce || terms.ChallengeID != r.Challenge.ID || terms.Room != r.Room || terms.ReleaseID != r.ReleaseID ||
		terms.Request != r.Digest || terms.Class != agreement.Software || terms.Retry {
		t.Errorf("terms: %+v", terms)
	}
	if len(terms.Inputs) != 2 || terms.Inputs[0].Input != "alpha-rows" || terms.Inputs[1].Header != w.statements["alpha-more"].Header {
		t.Errorf("inputs: %+v", terms.Inputs)
	}
}

// One thing is broken at a time: its check must fail first, and no other check but those
// that can't hold without it.
func TestDecideRefuses(t *testing.T) {
	request := func(f func(*policy.Request)) func(*world) {
		return func(w *world) { w.change = f }
	}
	dataset := func(f func(*policy.Dataset)) func(*world) {
		return request(func(r *policy.Request) {
			d := r.Books.Datasets["patients"]
			f(&d)
			r.Books.Datasets["patients"] = d
		})
	}
	for name, test := range map[string]struct {
		mutate func(*world)
		check  string
		kind   verdict.Kind
		got    string // part of what was found
		also   []string
	}{
		"locked":                    {request(func(r *policy.Request) { r.Books.Unlocked, r.Books.LockedWhy = false, "log is behind" }), "broker.unlocked", verdict.Refused, "log is behind", nil},
		"locked without a reason":   {request(func(r *policy.Request) { r.Books.Unlocked = false }), "broker.unlocked", verdict.Refused, "locked", nil},
		"signature missing":         {func(w *world) { w.signers = []wire.ID{"alpha", "study"} }, "agreement.signatures", verdict.Refused, "0", nil},
		"descriptor missing":        {request(func(r *policy.Request) { r.Parties = slices.Delete(r.Parties, 1, 2) }), "agreement.signatures", verdict.Refused, "none", nil},
		"no descriptors":            {request(func(r *policy.Request) { r.Parties = []*agreement.SignedParty{nil} }), "agreement.signatures", verdict.Refused, "", []string{"run.signature", "run.permitted"}},
		"signature forged":          {request(func(r *policy.Request) { r.Agreement.Document.Signatures[1].Signature[0] ^= 1 }), "agreement.signatures", verdict.Invalid, "", nil},
		"body exchanged in memory":  {request(func(r *policy.Request) { r.Agreement.LeaseMS = 60_000 }), "agreement.signatures", verdict.Invalid, "", nil},
		"never activated":           {request(func(r *policy.Request) { r.Books.Activation = policy.Activation{} }), "agreement.activated", verdict.Refused, "not activated", nil},
		"superseded":                {request(func(r *policy.Request) { r.Books.Activation = policy.Activation{State: policy.Retired, By: 2} }), "agreement.activated", verdict.Refused, "retired by version 2", nil},
		"activation of a new kind":  {request(func(r *policy.Request) { r.Books.Activation = policy.Activation{State: "paused", Why: "x"} }), "agreement.activated", verdict.Refused, "x", nil},
		"not yet in force":          {func(w *world) { w.agreement.Valid.From = wire.At(now.Add(time.Second)) }, "agreement.validity", verdict.Refused, "", nil},
		"expired":                   {func(w *world) { w.agreement.Valid.Until = wire.At(now) }, "agreement.validity", verdict.Refused, "", nil},
		"software not allowed":      {request(func(r *policy.Request) { r.Floor.InsecureAllowSoftware = false }), "agreement.class", verdict.Refused, "software", nil},
		"confidential given dev":    {func(w *world) { w.agreement.Protection = agreement.Confidential }, "agreement.signatures", verdict.Refused, "", []string{"evidence.class"}},
		"no class":                  {func(w *world) { w.agreement.Protection = "" }, "agreement.signatures", verdict.Refused, "", []string{"agreement.class", "evidence.class"}},
		"party revoked":             {request(func(r *policy.Request) { r.Books.Revoked = []wire.Digest{r.Agreement.Parties[1].Descriptor} }), "parties.revoked", verdict.Refused, "beta", nil},
		"run signed by another":     {func(w *world) { w.runSigner = w.party["beta"] }, "run.signature", verdict.Refused, "", nil},
		"run unsigned":              {request(func(r *policy.Request) { r.Run.Document.Signatures = nil }), "run.signature", verdict.Refused, "", nil},
		"run exchanged in memory":   {request(func(r *policy.Request) { r.Run.Parameters = map[string]string{"least": "4"} }), "run.signature", verdict.Invalid, "", nil},
		"run by another party":      {func(w *world) { w.run.Requester, w.runSigner = "beta", w.party["beta"] }, "run.permitted", verdict.Refused, "beta", nil},
		"run of unknown work":       {func(w *world) { w.run.Work = "steal" }, "run.permitted", verdict.Refused, "steal", []string{"run.parameters", "run.query", "run.environment", "run.datasets", "inputs.complete"}},
		"run of another agreement":  {func(w *world) { w.run.Agreement = wire.DigestOf([]byte("x")) }, "run.permitted", verdict.Refused, "", []string{"run.parameters", "run.query", "run.environment", "run.datasets"}},
		"environment of a query":    {func(w *world) { w.run.Environment = map[string]string{"MODE": "fast"} }, "run.environment", verdict.Refused, "MODE", nil},
		"parameter out of bounds":   {func(w *world) { w.run.Parameters["least"] = "10" }, "run.parameters", verdict.Refused, "", nil},
		"parameter too many":        {func(w *world) { w.run.Parameters["most"] = "1" }, "run.parameters", verdict.Refused, "", nil},
		"parameter not canonical":   {func(w *world) { w.run.Parameters["least"] = "03" }, "run.parameters", verdict.Refused, "", nil},
		"dataset not named":         {func(w *world) { w.run.Datasets = w.run.Datasets[:2] }, "run.datasets", verdict.Refused, "", []string{"input.current"}},
		"datasets out of order":     {func(w *world) { d := w.run.Datasets; d[0], d[1] = d[1], d[0] }, "run.datasets", verdict.Refused, "", nil},
		"run expired":               {func(w *world) { w.run.Expires = wire.At(now) }, "run.unexpired", verdict.Refused, "", nil},
		"run expires in two days":   {func(w *world) { w.run.Expires = wire.At(now.Add(48 * time.Hour)) }, "run.unexpired", verdict.Refused, "", nil},
		"challenge unknown":         {request(func(r *policy.Request) { r.Challenge.Recognised = false }), "challenge.known", verdict.Invalid, "", nil},
		"challenge without id":      {request(func(r *policy.Request) { r.Challenge.ID = "" }), "challenge.known", verdict.Invalid, "", nil},
		"no challenge":              {request(func(r *policy.Request) { r.Challenge = policy.Challenge{} }), "challenge.known", verdict.Invalid, "", []string{"challenge.purpose", "challenge.fresh", "evidence.binding"}},
		"challenge for ingress":     {request(func(r *policy.Request) { r.Challenge.Purpose = attest.ForIngress }), "challenge.purpose", verdict.Invalid, "ingress", nil},
		"challenge other agreement": {request(func(r *policy.Request) { r.Challenge.Agreement = wire.DigestOf(nil) }), "challenge.purpose", verdict.Invalid, "", nil},
		"challenge expired":         {request(func(r *policy.Request) { r.Challenge.Expires = now }), "challenge.fresh", verdict.Refused, "expired", nil},
		"challenge used twice":      {request(func(r *policy.Request) { r.Books.RedeemedBy = "00000000000000000000000000000000" }), "challenge.fresh", verdict.Refused, "redeemed by", nil},
		"challenge used by this id": {request(func(r *policy.Request) { r.Books.RedeemedBy = r.ReleaseID }), "challenge.fresh", verdict.Refused, "redeemed by", nil},
		"no claims":                 {request(func(r *policy.Request) { r.Claims = attest.Claims{} }), "evidence.genuine", verdict.Invalid, "none", []string{"evidence.binding", "evidence.platform", "evidence.class", "evidence.root", "evidence.image", "evidence.machine"}},
		"evidence not genuine":      {request(func(r *policy.Request) { r.Claims, r.EvidenceError = attest.Claims{}, errors.New("bad chain") }), "evidence.genuine", verdict.Invalid, "bad chain", []string{"evidence.binding", "evidence.platform", "evidence.class", "evidence.root", "evidence.image", "evidence.machine"}},
		"evidence forged": {request(func(r *policy.Request) {
			r.Claims, r.EvidenceError = attest.Claims{}, verdict.NotGenuine("evidence.dev.signature", "a signature", "a forged one", "")
		}), "evidence.dev.signature", verdict.Invalid, "forged", []string{"evidence.binding", "evidence.platform", "evidence.class", "evidence.root", "evidence.image", "evidence.machine"}},
		"evidence forged, by the platform": {request(func(r *policy.Request) {
			r.Claims, r.EvidenceError = attest.Claims{}, verdict.NotGenuine("dev.signature", "a signature", "a forged one", "")
		}), "dev.signature", verdict.Invalid, "forged", []string{"evidence.binding", "evidence.platform", "evidence.class", "evidence.root", "evidence.image", "evidence.machine"}},
		"evidence forged, by a stranger's word": {request(func(r *policy.Request) {
			r.Claims, r.EvidenceError = attest.Claims{}, verdict.NotGenuine("run.once", "a signature", "a forged one", "")
		}), "evidence.genuine", verdict.Invalid, "forged", []string{"evidence.binding", "evidence.platform", "evidence.class", "evidence.root", "evidence.image", "evidence.machine"}},
		"evidence for ingress":     {func(w *world) { w.purpose = attest.ForIngress }, "evidence.binding", verdict.Invalid, "purpose ingress", nil},
		"evidence replayed":        {func(w *world) { w.nonce = attest.NonceOf([]byte("new token")) }, "evidence.binding", verdict.Invalid, "another challenge", nil},
		"room HPKE key swapped":    {request(func(r *policy.Request) { k, _ := keys.GenerateHPKEKey(); r.Room.HPKE = k.Public() }), "evidence.binding", verdict.Invalid, "room keys", nil},
		"room signing key swapped": {request(func(r *policy.Request) { r.Room.Signing = r.Parties[0].Keys[0].Public }), "evidence.binding", verdict.Invalid, "room keys", nil},
		"evidence other agreement": {func(w *world) { w.body = []byte(`{"other":"agreement"}`) }, "evidence.binding", verdict.Invalid, "another agreement", nil},
		"agent altered":            {func(w *world) { w.measurement.Agent[0] ^= 1 }, "evidence.image", verdict.Refused, "agent is", nil},
		"helper missing":           {func(w *world) { w.measurement.Helpers = nil }, "evidence.image", verdict.Refused, "helper/strongroom-sql was not measured", nil},
		"helper too many":          {func(w *world) { w.measurement.Helpers["evil"] = wire.DigestOf(nil) }, "evidence.image", verdict.Refused, "helper/evil", nil},
		"another development root": {func(w *world) { w.root = signingKey(w.t) }, "evidence.root", verdict.Refused, "", nil},
		"root not pinned":          {func(w *world) { w.agreement.Platforms[0].Root = nil }, "agreement.signatures", verdict.Refused, "", []string{"evidence.root"}},
		"platform not agreed":      {func(w *world) { w.agreement.Platforms[0].Kind = "snp" }, "agreement.signatures", verdict.Refused, "", []string{"evidence.platform", "evidence.root", "evidence.image", "evidence.machine"}},
		"machine not listed":       {func(w *world) { w.agreement.Platforms[0].Machines = []string{"chip-1"} }, "evidence.machine", verdict.Refused, "", nil},
		"image denied by owner": {request(func(r *policy.Request) {
			r.Floor.Denied = []policy.Denial{{What: policy.DenyImage, Value: r.Claims.Measurements()["agent"]}}
		}), "evidence.floor", verdict.Refused, "agent", nil},
		"root denied by owner": {request(func(r *policy.Request) {
			r.Floor.Denied = []policy.Denial{{What: policy.DenyRoot, Value: r.Claims.Root().String()}}
		}), "evidence.floor", verdict.Refused, "root", nil},
		"input left out":      {request(func(r *policy.Request) { r.Inputs = r.Inputs[:1] }), "inputs.complete", verdict.Refused, "alpha-rows", nil},
		"no inputs":           {request(func(r *policy.Request) { r.Inputs = nil }), "inputs.complete", verdict.Refused, "none", []string{"budget.runs"}},
		"input twice":         {request(func(r *policy.Request) { r.Inputs = append(r.Inputs, r.Inputs[0]) }), "inputs.complete", verdict.Refused, "", nil},
		"inputs out of order": {request(func(r *policy.Request) { slices.Reverse(r.Inputs) }), "inputs.complete", verdict.Refused, "", nil},
		"inputs swapped": {request(func(r *policy.Request) { r.Inputs[0].Name, r.Inputs[1].Name = r.Inputs[1].Name, r.Inputs[0].Name }), "inputs.complete", verdict.Refused, "",
			[]string{"input.owner", "input.catalogued", "input.current"}},
		"headers swapped": {request(func(r *policy.Request) {
			r.Inputs[0].Header, r.Inputs[1].Header = r.Inputs[1].Header, r.Inputs[0].Header
		}), "input.catalogued", verdict.Refused, "",
			[]string{"input.header"}},
		"not this broker's party":   {request(func(r *policy.Request) { r.Broker.Descriptors = []wire.Digest{wire.DigestOf(nil)} }), "inputs.complete", verdict.Refused, "", []string{"input.owner", "peers.checkpoints"}},
		"another owner's statement": {request(func(r *policy.Request) { r.Broker.Name = "gamma-hospital" }), "input.owner", verdict.Refused, "alpha-hospital", nil},
		"header not published":      {request(func(r *policy.Request) { clear(r.Books.Headers) }), "input.catalogued", verdict.Refused, "under no dataset", nil},
		"header of other dataset":   {request(func(r *policy.Request) { r.Books.Headers[r.Inputs[0].Header.Hash] = "more" }), "input.catalogued", verdict.Refused, "under dataset more", nil},
		"older version":             {dataset(func(d *policy.Dataset) { d.Current = wire.DigestOf([]byte("newer")) }), "input.current", verdict.Refused, "version 1", nil},
		"nothing current":           {dataset(func(d *policy.Dataset) { d.Current = wire.Digest{} }), "input.current", verdict.Refused, "", nil},
		"pinned version is another": {func(w *world) { d := wire.DigestOf(nil); w.agreement.Inputs[0].Statement = &d }, "run.datasets", verdict.Refused, "", []string{"input.current"}},
		"dataset unknown":           {request(func(r *policy.Request) { delete(r.Books.Datasets, "patients") }), "input.current", verdict.Refused, "", []string{"input.admitted", "budget.runs"}},
		"not admitted":              {dataset(func(d *policy.Dataset) { d.AdmitsActivated = false }), "input.admitted", verdict.Refused, "", nil},
		"admits another agreement":  {dataset(func(d *policy.Dataset) { d.AdmitsActivated, d.Admits = false, []wire.Digest{d.Current} }), "input.admitted", verdict.Refused, "", nil},
		"one stanza too many":       {request(func(r *policy.Request) { r.Inputs[0].Header.Stanzas++ }), "input.header", verdict.Refused, "2 recipients", nil},
		"passphrase stanza":         {request(func(r *policy.Request) { r.Inputs[0].Header.Sound, r.Inputs[0].Header.Why = false, "passphrase" }), "input.header", verdict.Refused, "passphrase", nil},
		"another header": {request(func(r *policy.Request) {
			h := wire.HashOf([]byte("x"))
			r.Books.Headers[h] = "patients"
			r.Inputs[0].Header.Hash = h
		}), "input.header", verdict.Refused, "", nil},
		"run replayed": {request(func(r *policy.Request) {
			r.Books.Earlier = &policy.Earlier{ReleaseID: "1", Request: wire.DigestOf(nil), Run: r.Run.Digest()}
		}), "run.once", verdict.Refused, "released before as 1", nil},
		"two rooms race": {request(func(r *policy.Request) {
			r.Books.Earlier = &policy.Earlier{ReleaseID: r.ReleaseID, Request: wire.DigestOf(nil), Run: r.Run.Digest()}
		}), "run.once", verdict.Refused, "release id", nil},
		"retry of another run": {request(func(r *policy.Request) {
			r.Books.Earlier = &policy.Earlier{ReleaseID: r.ReleaseID, Request: r.Digest, Run: wire.DigestOf(nil)}
		}), "run.once", verdict.Refused, "", nil},
		"budget spent":            {dataset(func(d *policy.Dataset) { d.Runs = 3 }), "budget.runs", verdict.Refused, "3", nil},
		"budget negative":         {dataset(func(d *policy.Dataset) { d.Runs = -1 }), "budget.runs", verdict.Refused, "-1", nil},
		"no word of the peer":     {request(func(r *policy.Request) { r.Peers = nil }), "peers.checkpoints", verdict.Refused, "beta: no checkpoint", nil},
		"peer rolled back":        {request(func(r *policy.Request) { r.Peers[0] = policy.Peer{Party: "beta", Why: "two views"} }), "peers.checkpoints", verdict.Refused, "two views", nil},
		"a stranger's split view": {request(func(r *policy.Request) { r.Peers = append(r.Peers, policy.Peer{Party: "study"}) }), "peers.checkpoints", verdict.Refused, "study: not accepted", nil},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			w := newWorld(t)
			test.mutate(w)
			g, checks, err := policy.Decide(w.build())
			var e *verdict.Error
			if !errors.As(err, &e) {
				t.Fatalf("granted, or no verdict: %v", err)
			}
			if g.Granted() {
				t.Error("a grant beside a refusal")
			}
			if e.Check != test.check || e.Kind != test.kind || !strings.Contains(e.Got, test.got) || e.Fix == "" || e.Expected == "" {
				t.Errorf("got %v (%v), fix %q; want %s (%v): %s", e, e.Kind, e.Fix, test.check, test.kind, test.got)
			}
			want, failed := append([]string{test.check}, test.also...), map[string]bool{}
			for _, c := range checks {
				if !c.OK && !slices.Contains(want, c.ID) {
					t.Errorf("%s failed too: expected %s, got %s", c.ID, c.Expected, c.Got)
				}
				failed[c.ID] = failed[c.ID] || !c.OK
			}
			for _, id := range want {
				if !failed[id] {
					t.Errorf("%s did not fail", id)
				}
			}
			if len(checks) < 25 || !slices.Equal(checks, e.Checks) {
				t.Errorf("%d checks reported, %d in the error", len(checks), len(e.Checks))
			}
		})
	}
}

func TestDecideRefusesParts(t *testing.T) {
	if g, checks, err := policy.Decide(policy.Request{}); err == nil || g.Granted() || len(checks) != 1 {
		t.Errorf("the zero request: %v %v", checks, err)
	}
	for name, change := range map[string]func(*policy.Request){
		"no time":         func(r *policy.Request) { r.Now = time.Time{} },
		"books unread":    func(r *policy.Request) { r.Books.Read = false },
		"no broker":       func(r *policy.Request) { r.Broker = policy.Broker{} },
		"no descriptor":   func(r *policy.Request) { r.Broker.Descriptors = nil },
		"no agreement":    func(r *policy.Request) { r.Agreement = nil },
		"agreement empty": func(r *policy.Request) { r.Agreement = &agreement.SignedAgreement{} },
		"no run":          func(r *policy.Request) { r.Run = nil },
		"run empty":       func(r *policy.Request) { r.Run = &agreement.SignedRun{} },
		"no release id":   func(r *policy.Request) { r.ReleaseID = "" },
		"no digest":       func(r *policy.Request) { r.Digest = wire.Digest{} },
		"no room":         func(r *policy.Request) { r.Room = policy.Room{} },
		"no statement":    func(r *policy.Request) { r.Inputs[0].Statement = nil },
	} {
		w := newWorld(t)
		w.change = change
		if g, checks, err := policy.Decide(w.build()); verdict.As(err).Check != "request" || g.Granted() || len(checks) == 0 || checks[0].OK {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The very same request again is granted again and spends nothing: an answer got lost, or
// the broker died after it had recorded the grant.
func TestDecideRetry(t *testing.T) {
	w := newWorld(t)
	w.change = func(r *policy.Request) {
		r.Books.RedeemedBy = r.ReleaseID
		r.Books.Earlier = &policy.Earlier{ReleaseID: r.ReleaseID, Request: r.Digest, Run: r.Run.Digest()}
	}
	g, _, err := policy.Decide(w.build())
	if err != nil || !g.Terms().Retry {
		t.Errorf("%v, retry %v", err, g.Terms().Retry)
	}
	// Retired in between: the retry is refused.
	r := w.build()
	r.Books.Activation = policy.Activation{State: policy.Retired}
	if _, _, err := policy.Decide(r); verdict.As(err).Check != "agreement.activated" {
		t.Error(err)
	}
}

// A party without data of its own in the run has nothing to release.
func TestDecideForeignBroker(t *testing.T) {
	w := newWorld(t)
	w.change = func(r *policy.Request) {
		r.Broker = policy.Broker{Name: "study-hospital", Descriptors: []wire.Digest{w.descriptors["study"].Digest()}}
		r.Inputs = nil
	}
	if _, _, err := policy.Decide(w.build()); verdict.As(err).Check != "inputs.complete" {
		t.Error(err)
	}
}

func TestLeaseEndsWithTheAgreement(t *testing.T) {
	w := newWorld(t)
	w.agreement.Valid.Until = wire.At(now.Add(2 * time.Second))
	g, _, err := policy.Decide(w.build())
	if err != nil || g.Terms().LeaseMS != 2000 {
		t.Errorf("%v, lease %d", err, g.Terms().LeaseMS)
	}
}

func TestGrantRedeemsOnce(t *testing.T) {
	var zero policy.Grant
	if _, err := zero.Redeem(); err == nil || zero.Granted() || zero.Terms().Broker != "" {
		t.Error("the zero grant allows something")
	}
	var none policy.Redeemed
	if _, ok := none.Terms(); ok {
		t.Error("the zero redemption allows something")
	}
	g, _, err := policy.Decide(newWorld(t).build())
	if err != nil {
		t.Fatal(err)
	}
	again := g
	r, err := g.Redeem()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Redeem(); err == nil {
		t.Error("a copy redeems again")
	}
	terms, ok := r.Terms()
	if !ok || terms.Broker != "alpha-hospital" {
		t.Errorf("%+v", terms)
	}
	terms.Inputs[0].Input = "stolen"
	if again, _ := r.Terms(); again.Inputs[0].Input != "alpha-rows" {
		t.Error("terms can be changed")
	}
}

func TestAcceptedImage(t *testing.T) {
	none := policy.References{}
	w := newWorld(t)
	r := w.build()
	if c, _ := policy.AcceptedImage(w.agreement, none, r.Claims); !c.OK || c.ID != "evidence.image" || c.Got != "room" {
		t.Errorf("%+v", c)
	}
	if c, _ := policy.AcceptedImage(w.agreement, none, attest.Claims{}); c.OK || c.ID != "evidence.platform" {
		t.Errorf("zero claims: %+v", c)
	}
	if c, _ := policy.AcceptedImage(agreement.Agreement{}, none, r.Claims); c.OK {
		t.Errorf("zero agreement: %+v", c)
	}
	// Two entries of one kind: neither may lend the other its root or its image.
	a := w.agreement
	first, second := a.Platforms[0], a.Platforms[0]
	other := wire.HashOf([]byte("other root"))
	second.Root = &other
	first.Images = []agreement.Image{{Name: "other", Measurements: map[string]string{"agent": "00"}}}
	a.Platforms = []agreement.Platform{first, second}
	if c, _ := policy.AcceptedImage(a, none, r.Claims); c.OK {
		t.Errorf("image of one entry under the root of another: %+v", c)
	}
	a.Platforms = []agreement.Platform{first, second, w.agreement.Platforms[0]}
	if c, _ := policy.AcceptedImage(a, none, r.Claims); !c.OK {
		t.Errorf("%+v", c)
	}
}
