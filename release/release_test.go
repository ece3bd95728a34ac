package release_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var now = time.UnixMilli(1_795_000_000_000)

const (
	releaseID = "ffeeddccbbaa99887766554433221100"
	runID     = "00112233445566778899aabbccddeeff"
)

func signingKey(t testing.TB) *keys.SigningKey {
	t.Helper()
	k, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func hpkeKey(t testing.TB) *keys.HPKEPrivateKey {
	t.Helper()
	k, err := keys.GenerateHPKEKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func refusedBy(t *testing.T, what string, err error, check string) {
	t.Helper()
	if err == nil || verdict.As(err).Check != check {
		t.Errorf("%s: got %v, want %s", what, err, check)
	}
}

func TestChallengeTokens(t *testing.T) {
	secret, agreement := keys.GenerateSecret(), wire.DigestOf([]byte("agreement"))
	token, err := release.IssueChallenge(secret, "alpha", agreement, attest.ForRelease, now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := release.RecogniseChallenge(secret, "alpha", token)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Recognised || len(c.ID) != 32 || c.Nonce != attest.NonceOf(token) || c.Purpose != attest.ForRelease || c.Agreement != agreement || !c.Expires.Equal(now.Add(5*time.Minute)) {
		t.Errorf("%+v", c)
	}
	again, _ := release.IssueChallenge(secret, "alpha", agreement, attest.ForRelease, now)
	if bytes.Equal(again, token) {
		t.Error("two challenges are the same")
	}

	for i := range token {
		bad := bytes.Clone(token)
		bad[i] ^= 1
		if _, err := release.RecogniseChallenge(secret, "alpha", bad); err == nil {
			t.Errorf("recognised with byte %d changed", i)
		}
	}
	for name, test := range map[string]struct {
		secret *keys.Secret
		issuer wire.ID
		token  []byte
	}{
		"another secret": {keys.GenerateSecret(), "alpha", token},
		"another issuer": {secret, "beta", token},
		"empty":          {secret, "alpha", nil},
		"cut":            {secret, "alpha", token[:len(token)-1]},
		"longer":         {secret, "alpha", append(bytes.Clone(token), 0)},
		"MAC only":       {secret, "alpha", token[:32]},
		"huge":           {secret, "alpha", make([]byte, release.MaxToken+1)},
	} {
		c, err := release.RecogniseChallenge(test.secret, test.issuer, test.token)
		refusedBy(t, name, err, "challenge.known")
		if c.Recognised || c.ID != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	for name, issue := range map[string]func() ([]byte, error){
		"no issuer": func() ([]byte, error) { return release.IssueChallenge(secret, "", agreement, attest.ForRelease, now) },
		"no agreement": func() ([]byte, error) {
			return release.IssueChallenge(secret, "a", wire.Digest{}, attest.ForRelease, now)
		},
		"no purpose": func() ([]byte, error) { return release.IssueChallenge(secret, "a", agreement, "", now) },
		"no time": func() ([]byte, error) {
			return release.IssueChallenge(secret, "a", agreement, attest.ForRelease, time.Time{})
		},
	} {
		if _, err := issue(); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
}

func asked() release.ChallengeRequest {
	return release.ChallengeRequest{Version: release.Version, Purpose: attest.ForRelease, Agreement: wire.DigestOf([]byte("a")), Nonce: wire.HashOf([]byte("n"))}
}

func TestChallengeMessages(t *testing.T) {
	data, err := release.NewChallengeRequest(asked())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := release.ParseChallengeRequest(data); err != nil || r != asked() {
		t.Errorf("%+v %v", r, err)
	}
	for name, change := range map[string]func(*release.ChallengeRequest){
		"purpose":   func(r *release.ChallengeRequest) { r.Purpose = "any" },
		"agreement": func(r *release.ChallengeRequest) { r.Agreement = wire.Digest{} },
		"nonce":     func(r *release.ChallengeRequest) { r.Nonce = wire.Hash{} },
		"version":   func(r *release.ChallengeRequest) { r.Version = "strongroom/release/v2" },
	} {
		r := asked()
		change(&r)
		bad, _ := wire.Marshal(r)
		if _, err := release.ParseChallengeRequest(bad); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
	for _, bad := range [][]byte{nil, []byte("{}"), append(data, ' '), bytes.Repeat([]byte(" "), release.MaxSmall+1)} {
		if _, err := release.ParseChallengeRequest(bad); err == nil {
			t.Errorf("parsed %.40q", bad)
		}
	}

	key := signingKey(t)
	c := release.Challenge{Broker: "alpha", Token: []byte("token"), TimeMS: now.UnixMilli(), Checkpoint: "a\n1\n", Seen: []release.SeenLog{{Origin: "b", Size: 3}}}
	answer, err := release.NewChallenge(key, asked(), c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := release.VerifyChallenge(answer, key.Public(), "alpha", asked())
	if err != nil || string(got.Token) != "token" || got.Seen[0].Size != 3 || got.Checkpoint != c.Checkpoint {
		t.Errorf("%+v %v", got, err)
	}
	_, err = release.VerifyChallenge(answer, signingKey(t).Public(), "alpha", asked())
	refusedBy(t, "another key", err, "message.signature")
	_, err = release.VerifyChallenge(answer, keys.PublicKey{}, "alpha", asked())
	refusedBy(t, "no key", err, "message.signature")
	_, err = release.VerifyChallenge(answer, key.Public(), "beta", asked())
	refusedBy(t, "another broker", err, "challenge.answer")
	for name, change := range map[string]func(*release.ChallengeRequest){
		"purpose":   func(r *release.ChallengeRequest) { r.Purpose = attest.ForJoin },
		"agreement": func(r *release.ChallengeRequest) { r.Agreement[0] ^= 1 },
		"nonce":     func(r *release.ChallengeRequest) { r.Nonce[0] ^= 1 },
	} {
		r := asked()
		change(&r)
		_, err := release.VerifyChallenge(answer, key.Public(), "alpha", r)
		refusedBy(t, "another "+name, err, "challenge.answer")
	}
	for name, change := range map[string]func(*release.Challenge){
		"token":      func(c *release.Challenge) { c.Token = nil },
		"long token": func(c *release.Challenge) { c.Token = make([]byte, release.MaxToken+1) },
		"time":       func(c *release.Challenge) { c.TimeMS = 0 },
		"checkpoint": func(c *release.Challenge) { c.Checkpoint = "" },
		"seen size":  func(c *release.Challenge) { c.Seen = []release.SeenLog{{Origin: "b", Size: -1}} },
		"many seen":  func(c *release.Challenge) { c.Seen = make([]release.SeenLog, release.MaxPeers+1) },
	} {
		bad := c
		change(&bad)
		if _, err := release.NewChallenge(key, asked(), bad); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// request is a well-formed request of a room with the given key; documents in it are not
// looked into by this package.
func request(room *keys.SigningKey, hpke keys.HPKEPublicKey) release.Request {
	return release.Request{
		Broker: "alpha", Challenge: []byte("token"), ReleaseID: releaseID, Evidence: attest.Evidence{Platform: "dev", Evidence: []byte("evidence")},
		Room: release.RoomKeys{Signing: room.Public(), HPKE: hpke}, Agreement: json.RawMessage(`{"a":1}`), Parties: []json.RawMessage{json.RawMessage(`{"p":1}`)},
		Run: json.RawMessage(`{"r":1}`),
		Inputs: []release.InputRequest{{Input: "rows", Statement: json.RawMessage(`{"s":1}`), Header: []byte("header 1")},
			{Input: "more", Statement: json.RawMessage(`{"s":2}`), Header: []byte("header 2")}},
		Peers: []release.PeerCheckpoint{{Checkpoint: "b\n2\n", From: 1, Proof: []wire.Hash{wire.HashOf(nil)}}},
	}
}

func TestRequest(t *testing.T) {
	room, hpke := signingKey(t), hpkeKey(t)
	data, sent, err := release.NewRequest(room, request(room, hpke.Public()))
	if err != nil {
		t.Fatal(err)
	}
	got, err := release.ParseRequest(data)
	if err != nil || got.Digest() != sent.Digest() || got.ReleaseID != releaseID || len(got.Inputs) != 2 || got.Room.HPKE != hpke.Public() {
		t.Errorf("%+v %v", got, err)
	}
	if _, _, err := release.NewRequest(signingKey(t), request(room, hpke.Public())); err == nil {
		t.Error("signed by a key that is not the room's")
	}
}

// sign signs any request, well-formed or not.
func sign(t *testing.T, key keys.Signer, r release.Request) []byte {
	t.Helper()
	doc, err := keys.NewDocument(release.RequestType, r)
	if err != nil {
		return nil // has no encoding at all
	}
	if err := doc.Sign(key); err != nil {
		t.Fatal(err)
	}
	data, err := doc.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRequestRefused(t *testing.T) {
	room, hpke := signingKey(t), hpkeKey(t).Public()
	many := func(n int) (list []release.InputRequest) {
		for i := range n {
			list = append(list, release.InputRequest{Input: wire.ID("i" + string(rune('a'+i/26)) + string(rune('a'+i%26))), Statement: json.RawMessage(`{"s":1}`), Header: []byte("h")})
		}
		return list
	}
	for name, change := range map[string]func(*release.Request){
		"broker":            func(r *release.Request) { r.Broker = "" },
		"no challenge":      func(r *release.Request) { r.Challenge = nil },
		"long challenge":    func(r *release.Request) { r.Challenge = make([]byte, release.MaxToken+1) },
		"release id short":  func(r *release.Request) { r.ReleaseID = r.ReleaseID[1:] },
		"release id upper":  func(r *release.Request) { r.ReleaseID = "F" + r.ReleaseID[1:] },
		"platform":          func(r *release.Request) { r.Evidence.Platform = "" },
		"no evidence":       func(r *release.Request) { r.Evidence.Evidence = nil },
		"much evidence":     func(r *release.Request) { r.Evidence.Evidence = make([]byte, attest.MaxEvidence+1) },
		"agreement text":    func(r *release.Request) { r.Agreement = json.RawMessage(`"x"`) },
		"run number":        func(r *release.Request) { r.Run = json.RawMessage(`1`) },
		"no parties":        func(r *release.Request) { r.Parties = []json.RawMessage{} },
		"many parties":      func(r *release.Request) { r.Parties = slicesOf(json.RawMessage(`{}`), 33) },
		"party a list":      func(r *release.Request) { r.Parties = []json.RawMessage{json.RawMessage(`[1]`)} },
		"65 inputs":         func(r *release.Request) { r.Inputs = make([]release.InputRequest, 65) },
		"many inputs":       func(r *release.Request) { r.Inputs = many(65) },
		"input twice":       func(r *release.Request) { r.Inputs[1].Input = r.Inputs[0].Input },
		"input name":        func(r *release.Request) { r.Inputs[0].Input = "../x" },
		"no header":         func(r *release.Request) { r.Inputs[0].Header = nil },
		"long header":       func(r *release.Request) { r.Inputs[0].Header = make([]byte, release.MaxHeader+1) },
		"statement a list":  func(r *release.Request) { r.Inputs[0].Statement = json.RawMessage(`[]`) },
		"peer empty":        func(r *release.Request) { r.Peers[0].Checkpoint = "" },
		"peer from":         func(r *release.Request) { r.Peers[0].From = -1 },
		"peer's long proof": func(r *release.Request) { r.Peers[0].Proof = make([]wire.Hash, release.MaxProof+1) },
		"many peers":        func(r *release.Request) { r.Peers = slicesOf(r.Peers[0], release.MaxPeers+1) },
	} {
		r := request(room, hpke)
		r.Version = release.Version
		change(&r)
		_, err := release.ParseRequest(sign(t, room, r))
		refusedBy(t, name, err, "message.form")
		if verdict.Exit(err) != 2 {
			t.Errorf("%s: exit code %d", name, verdict.Exit(err))
		}
		if _, _, err := release.NewRequest(room, r); err == nil {
			t.Errorf("%s: NewRequest made it", name)
		}
	}

	r := request(room, hpke)
	r.Version = release.Version
	_, err := release.ParseRequest(sign(t, signingKey(t), r))
	refusedBy(t, "another signer", err, "message.signature")
	good := sign(t, room, r)
	_, err = release.ParseRequest(bytes.Replace(good, []byte(releaseID), []byte(runID), 1))
	refusedBy(t, "release id exchanged", err, "message.signature")
	_, err = release.ParseRequest(bytes.Replace(good, []byte(release.RequestType), []byte(release.LiveRequestType), 1))
	refusedBy(t, "another type", err, "message.form")
	twice, err := keys.ParseDocument(good, release.RequestType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := twice.Sign(signingKey(t)); err != nil {
		t.Fatal(err)
	}
	both, _ := twice.Encode()
	_, err = release.ParseRequest(both)
	refusedBy(t, "two signatures", err, "message.form")
	r.Version = "strongroom/release/v2"
	_, err = release.ParseRequest(sign(t, room, r))
	refusedBy(t, "another version", err, "message.version")
	_, err = release.ParseRequest(make([]byte, release.MaxRequest+1))
	refusedBy(t, "too long", err, "message.form")
}

func slicesOf[T any](v T, n int) (list []T) {
	for range n {
		list = append(list, v)
	}
	return list
}

func receipt() ledger.Receipt {
	return ledger.Receipt{Entry: []byte("entry"), Proof: []wire.Hash{}, Checkpoint: "alpha\n1\n"}
}

func live() release.LiveRequest {
	return release.LiveRequest{Version: release.Version, Broker: "alpha", Agreement: wire.DigestOf([]byte("a")), Run: wire.DigestOf([]byte("r")), RunID: runID, ReleaseID: releaseID, Counter: 1, AfterMS: now.UnixMilli() - 1000, Nonce: wire.HashOf([]byte("n"))}
}

func TestLive(t *testing.T) {
	room, broker := signingKey(t), signingKey(t)
	commitment := wire.DigestOf([]byte("plaintext"))
	for _, c := range []*wire.Digest{nil, &commitment} {
		r := live()
		r.Commitment = c
		data, err := release.NewLiveRequest(room, r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := release.ParseLiveRequest(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.SignedBy(room.Public()); err != nil {
			t.Error(err)
		}
		refusedBy(t, "another room", got.SignedBy(broker.Public()), "message.signature")
		l := release.Live{TimeMS: now.UnixMilli(), LeaseEndMS: now.UnixMilli() + 3000}
		if c != nil {
			rec := receipt()
			l.Receipt = &rec
		}
		answer, err := release.NewLive(broker, got.LiveRequest, l)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := release.VerifyLive(answer, broker.Public(), r, 3000); err != nil || v.LeaseEndMS != l.LeaseEndMS {
			t.Errorf("%+v %v", v, err)
		}
		_, err = release.VerifyLive(answer, room.Public(), r, 3000)
		refusedBy(t, "another broker's key", err, "message.signature")
		_, err = release.VerifyLive(answer, broker.Public(), r, 2999)
		refusedBy(t, "a longer lease", err, "live.lease")
		for name, change := range map[string]func(*release.LiveRequest){
			"broker": func(r *release.LiveRequest) { r.Broker = "beta" },
			"run":    func(r *release.LiveRequest) { r.Run[0] ^= 1 },
			"nonce":  func(r *release.LiveRequest) { r.Nonce[0] ^= 1 },
			"commitment": func(r *release.LiveRequest) {
				d := wire.DigestOf([]byte("other"))
				r.Commitment = &d
			},
		} {
			other := r
			change(&other)
			_, err := release.VerifyLive(answer, broker.Public(), other, 3000)
			refusedBy(t, "another "+name, err, "live.answer")
		}
		if c != nil {
			other := r
			other.Commitment = nil
			_, err := release.VerifyLive(answer, broker.Public(), other, 3000)
			refusedBy(t, "a commitment nobody asked about", err, "live.answer")
		}
	}
	// The zero nonce never matches: a room that forgot to draw one learns nothing.
	answer, err := release.NewLive(broker, release.LiveRequest{Broker: "alpha"}, release.Live{TimeMS: 1, LeaseEndMS: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, err = release.VerifyLive(answer, broker.Public(), release.LiveRequest{Broker: "alpha"}, 3000)
	refusedBy(t, "zero nonce", err, "live.answer")
}

func TestLiveRefused(t *testing.T) {
	room, broker := signingKey(t), signingKey(t)
	for name, change := range map[string]func(*release.LiveRequest){
		"broker":     func(r *release.LiveRequest) { r.Broker = "" },
		"agreement":  func(r *release.LiveRequest) { r.Agreement = wire.Digest{} },
		"run":        func(r *release.LiveRequest) { r.Run = wire.Digest{} },
		"nonce":      func(r *release.LiveRequest) { r.Nonce = wire.Hash{} },
		"run id":     func(r *release.LiveRequest) { r.RunID = "x" },
		"release id": func(r *release.LiveRequest) { r.ReleaseID = "" },
		"no after":   func(r *release.LiveRequest) { r.AfterMS = 0 },
		"after":      func(r *release.LiveRequest) { r.AfterMS = wire.MaxInteger + 1 },
		"no counter": func(r *release.LiveRequest) { r.Counter = 0 },
		"counter":    func(r *release.LiveRequest) { r.Counter = wire.MaxInteger + 1 },
		"commitment": func(r *release.LiveRequest) { r.Commitment = &wire.Digest{} },
	} {
		r := live()
		change(&r)
		if _, err := release.NewLiveRequest(room, r); err == nil {
			t.Errorf("%s: signed", name)
		}
		doc, err := keys.NewDocument(release.LiveRequestType, r)
		if err != nil {
			continue
		}
		if err := doc.Sign(room); err != nil {
			t.Fatal(err)
		}
		data, _ := doc.Encode()
		_, err = release.ParseLiveRequest(data)
		refusedBy(t, name, err, "message.form")
	}
	rec := receipt()
	for name, l := range map[string]release.Live{
		"no time":              {LeaseEndMS: 5},
		"lease ended":          {TimeMS: 5, LeaseEndMS: 5},
		"receipt of nothing":   {TimeMS: 5, LeaseEndMS: 6, Receipt: &rec},
		"lease ends before it": {TimeMS: 5, LeaseEndMS: 4},
	} {
		if _, err := release.NewLive(broker, live(), l); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	withCommitment := live()
	d := wire.DigestOf(nil)
	withCommitment.Commitment = &d
	if _, err := release.NewLive(broker, withCommitment, release.Live{TimeMS: 5, LeaseEndMS: 6}); err == nil {
		t.Error("an output without a receipt")
	}
}

func TestSecrets(t *testing.T) {
	broker, a, run := keys.GenerateSecret(), wire.DigestOf([]byte("a")), wire.DigestOf([]byte("r"))
	secret := release.RunSecret(broker, a, run)
	if secret != release.RunSecret(broker, a, run) {
		t.Error("a run has two secrets")
	}
	if secret == release.RunSecret(broker, run, a) || secret == release.RunSecret(keys.GenerateSecret(), a, run) {
		t.Error("two runs or brokers share a secret")
	}
	parts := func() []release.Contribution {
		return []release.Contribution{{Owner: "alpha", Secret: secret}, {Owner: "beta", Secret: [32]byte{2}}}
	}
	seed := func(run wire.Digest, parts []release.Contribution) *keys.Secret {
		t.Helper()
		s, err := release.RunSeed(run, parts)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	plain := []byte("answer\n1\n")
	want := release.Commitment(seed(run, parts()), run, "out", plain)
	if want != release.Commitment(seed(run, parts()), run, "out", plain) {
		t.Error("a run and plaintext have two commitments")
	}
	other := parts()
	other[1].Secret[0] ^= 1
	for name, got := range map[string]wire.Digest{
		"plaintext": release.Commitment(seed(run, parts()), run, "out", []byte("answer\n2\n")),
		"output":    release.Commitment(seed(run, parts()), run, "other", plain),
		"run":       release.Commitment(seed(a, parts()), a, "out", plain),
		"secret":    release.Commitment(seed(run, other), run, "out", plain),
		"owners":    release.Commitment(seed(run, parts()[:1]), run, "out", plain),
	} {
		if got == want {
			t.Errorf("the commitment does not depend on the %s", name)
		}
	}
	for name, bad := range map[string][]release.Contribution{
		"none":  nil,
		"twice": {{Owner: "alpha", Secret: secret}, {Owner: "alpha", Secret: [32]byte{2}}},
		"zero":  {{Owner: "alpha"}},
		"name":  {{Secret: secret}},
	} {
		if _, err := release.RunSeed(run, bad); err == nil {
			t.Errorf("%s: a seed", name)
		}
	}
	if _, err := release.RunSeed(wire.Digest{}, parts()); err == nil {
		t.Error("a seed of no run")
	}
}

func FuzzParseRequest(f *testing.F) {
	room, hpke := signingKey(f), hpkeKey(f)
	data, _, err := release.NewRequest(room, request(room, hpke.Public()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"body":{"broker":"a"},"signatures":[],"type":"strongroom/release-request/v1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := release.ParseRequest(data)
		if err != nil {
			if e := verdict.As(err); e.Kind == verdict.Broken || e.Fix == "" {
				t.Errorf("a request is never our fault: %v", err)
			}
			return
		}
		if r.Room.Signing.IsZero() || len(r.Challenge) == 0 {
			t.Errorf("a request with a part missing: %+v", r.Request)
		}
	})
}

func FuzzRecogniseChallenge(f *testing.F) {
	secret, err := keys.NewSecret(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	token, err := release.IssueChallenge(secret, "alpha", wire.DigestOf(nil), attest.ForRelease, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := release.RecogniseChallenge(secret, "alpha", data)
		if (err == nil) != c.Recognised {
			t.Fatalf("%x: %+v %v", data, c, err)
		}
		if err != nil {
			return
		}
		for i := range data {
			bad := bytes.Clone(data)
			bad[i] ^= 0x80
			if _, err := release.RecogniseChallenge(secret, "alpha", bad); err == nil {
				t.Errorf("%x: recognised with byte %d changed", data, i)
			}
		}
	})
}

func FuzzParseLiveRequest(f *testing.F) {
	data, err := release.NewLiveRequest(signingKey(f), live())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := release.ParseLiveRequest(data); err == nil && (r.Run.IsZero() || r.Nonce.IsZero() || len(r.Document.Signatures) != 1) {
			t.Errorf("%+v", r.LiveRequest)
		}
	})
}
