package release_test

import (
	"bytes"
	"crypto/hpke"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectors = "../spec/vectors/release"

// vector is one case of spec/release.md. Expect is "pass" or the check that fails.
type vector struct {
	What   string `json:"what"`
	Kind   string `json:"kind"` // token, message, key, commitment, ticket
	Expect string `json:"expect"`

	Token      *tokenVector      `json:"token,omitempty"`
	Message    *messageVector    `json:"message,omitempty"`
	Key        *keyVector        `json:"key,omitempty"`
	Commitment *commitmentVector `json:"commitment,omitempty"`
	Ticket     *ticketVector     `json:"ticket,omitempty"`
}

// tokenVector is a challenge token, the secret it is judged with, and what it says.
type tokenVector struct {
	Secret    string      `json:"secret"` // hex
	Issuer    wire.ID     `json:"issuer"`
	Token     wire.Bytes  `json:"token"`
	ID        string      `json:"id,omitempty"`
	Nonce     *wire.Hash  `json:"nonce,omitempty"`
	Purpose   string      `json:"purpose,omitempty"`
	Agreement wire.Digest `json:"agreement,omitzero"`
	ExpiresMS int64       `json:"expires_ms,omitempty"`
}

// messageVector is a signed message and whose it must be. Type says which.
type messageVector struct {
	Type   string         `json:"type"`
	Key    keys.PublicKey `json:"key"`
	Text   string         `json:"text"`
	Digest *wire.Digest   `json:"digest,omitempty"`
}

// keyVector is a sealed key, the seed of the HPKE key it is sealed to, and its address.
type keyVector struct {
	Seed      string      `json:"seed"` // hex, of the X-Wing private key
	Broker    wire.ID     `json:"broker"`
	Nonce     wire.Hash   `json:"nonce"`
	Evidence  wire.Digest `json:"evidence"`
	Agreement wire.Digest `json:"agreement"`
	Run       wire.Digest `json:"run"`
	Input     wire.ID     `json:"input,omitempty"` // absent: the run secret alone
	Header    wire.Hash   `json:"header"`
	ReleaseID string      `json:"release_id"`
	LeaseMS   int64       `json:"lease_ms"`
	Info      string      `json:"info"` // hex
	Sealed    wire.Bytes  `json:"sealed"`
	Plaintext string      `json:"plaintext,omitempty"` // hex
}

// commitmentVector is what a run's seed and a commitment are made of.
type commitmentVector struct {
	Run        wire.Digest `json:"run"`
	Owners     []wire.ID   `json:"owners"`
	Secrets    []string    `json:"secrets"` // hex, of each owner
	Seed       string      `json:"seed"`    // hex
	Output     wire.ID     `json:"output"`
	Plaintext  string      `json:"plaintext"`
	Commitment wire.Digest `json:"commitment"`
}

func fixedKey(t *testing.T, seed byte) *keys.SigningKey {
	t.Helper()
	k, err := keys.ParseSigningKey("STRONGROOM-SIGNING-KEY-1:ed25519:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func fixedHPKE(t *testing.T, seed []byte) (hpke.PrivateKey, keys.HPKEPublicKey) {
	t.Helper()
	private, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	var public keys.HPKEPublicKey
	if err := public.UnmarshalText([]byte("x-wing:" + base64.StdEncoding.EncodeToString(private.PublicKey().Bytes()))); err != nil {
		t.Fatal(err)
	}
	return private, public
}

func (k keyVector) address() release.Address {
	return release.Address{Broker: k.Broker, Nonce: k.Nonce, Evidence: k.Evidence, Agreement: k.Agreement, Run: k.Run, Input: k.Input, Header: k.Header, ReleaseID: k.ReleaseID, LeaseMS: k.LeaseMS}
}

// run judges a vector and gives the check that failed, "pass" if none did.
func (v vector) run(t *testing.T) string {
	t.Helper()
	switch v.Kind {
	case "token":
		return v.Token.run(t)
	case "message":
		return v.Message.run(t)
	case "key":
		return v.Key.run(t)
	case "ticket":
		return v.Ticket.run(t)
	}
	return v.Commitment.run(t)
}

func outcome(err error) string {
	if err == nil {
		return "pass"
	}
	return verdict.As(err).Check
}

func (k *tokenVector) run(t *testing.T) string {
	t.Helper()
	raw, err := hex.DecodeString(k.Secret)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keys.NewSecret(raw)
	if err != nil {
		t.Fatal(err)
	}
	c, err := release.RecogniseChallenge(secret, k.Issuer, k.Token)
	if err == nil && (c.ID != k.ID || c.Nonce != *k.Nonce || string(c.Purpose) != k.Purpose || c.Agreement != k.Agreement || c.Expires.UnixMilli() != k.ExpiresMS) {
		t.Errorf("the token says %+v", c)
	}
	return outcome(err)
}

func (m *messageVector) run(t *testing.T) string {
	t.Helper()
	data := []byte(m.Text)
	var digest wire.Digest
	var err error
	switch m.Type {
	case release.RequestType:
		var r *release.SignedRequest
		if r, err = release.ParseRequest(data); err == nil {
			digest = r.Digest()
		}
	case release.LiveRequestType:
		var r *release.SignedLiveRequest
		if r, err = release.ParseLiveRequest(data); err == nil {
			digest, err = r.Document.Digest(), r.SignedBy(m.Key)
		}
	case release.VolumeRequestType:
		var r *release.SignedVolumeRequest
		if r, err = release.ParseVolumeRequest(data); err == nil {
			digest, err = r.Document.Digest(), r.SignedBy(m.Key)
		}
	case release.AskedRequestType:
		var r *release.SignedAskedRequest
		if r, err = release.ParseAskedRequest(data); err == nil {
			digest, err = r.Document.Digest(), r.SignedBy(m.Key)
		}
	case release.AskedAnswerType:
		_, err = release.VerifyAskedAnswer(data, m.Key, askedRequest(), []wire.ID{})
	case release.CertifyRequestType:
		var r *release.SignedCertifyRequest
		if r, err = release.ParseCertifyRequest(data); err == nil {
			digest, err = r.Document.Digest(), r.SignedBy(m.Key)
		}
	case release.VolumeAnswerType:
		_, err = release.VerifyVolumeAnswer(data, m.Key, volumeRequest(release.VolumeOpen))
	case release.ChallengeType:
		_, err = release.VerifyChallenge(data, m.Key, "alpha", asked())
	case release.LiveType:
		_, err = release.VerifyLive(data, m.Key, live(), 3000)
	default:
		t.Fatalf("type %s", m.Type)
	}
	if err == nil && m.Digest != nil && *m.Digest != digest {
		t.Errorf("digest %s", digest)
	}
	return outcome(err)
}

func (k *keyVector) run(t *testing.T) string {
	t.Helper()
	info := k.address().Info()
	if hex.EncodeToString(info) != k.Info {
		t.Errorf("info is %x", info)
	}
	seed, err := hex.DecodeString(k.Seed)
	if err != nil {
		t.Fatal(err)
	}
	private, _ := fixedHPKE(t, seed)
	plain, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), info, k.Sealed)
	if err != nil {
		return "grant.key"
	}
	if hex.EncodeToString(plain) != k.Plaintext {
		t.Errorf("opened to %x", plain)
	}
	return "pass"
}

func (c *commitmentVector) run(t *testing.T) string {
	t.Helper()
	var parts []release.Contribution
	for i, owner := range c.Owners {
		raw, err := hex.DecodeString(c.Secrets[i])
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, release.Contribution{Owner: owner, Secret: [32]byte(raw)})
	}
	seed, err := release.RunSeed(c.Run, parts)
	if err != nil {
		return outcome(err)
	}
	if hex.EncodeToString(seed.MarshalSecret()) != c.Seed || release.Commitment(seed, c.Run, c.Output, []byte(c.Plaintext)) != c.Commitment {
		t.Errorf("seed %x, commitment %s", seed.MarshalSecret(), release.Commitment(seed, c.Run, c.Output, []byte(c.Plaintext)))
	}
	return "pass"
}

func tokenCases(t *testing.T, add func(string, vector)) {
	secret := bytes.Repeat([]byte{5}, 32)
	s, err := keys.NewSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	id := [16]byte(bytes.Repeat([]byte{0xab}, 16))
	token := release.MakeToken(s, id, now.UnixMilli(), "alpha", wire.DigestOf([]byte("a")), attest.ForRelease)
	nonce := attest.NonceOf(token)
	good := tokenVector{Secret: hex.EncodeToString(secret), Issuer: "alpha", Token: token, ID: hex.EncodeToString(id[:]), Nonce: &nonce, Purpose: "release", Agreement: wire.DigestOf([]byte("a")), ExpiresMS: now.UnixMilli()}
	add("token-good", vector{What: "a token the broker issued", Expect: "pass", Token: &good})
	bad := func(name, what string, change func(*tokenVector)) {
		v := tokenVector{Secret: good.Secret, Issuer: good.Issuer, Token: bytes.Clone(token)}
		change(&v)
		add("token-"+name, vector{What: what, Expect: "challenge.known", Token: &v})
	}
	bad("mac", "the MAC was changed", func(v *tokenVector) { v.Token[0] ^= 1 })
	bad("expiry", "the expiry was moved", func(v *tokenVector) { v.Token[50] ^= 1 })
	bad("issuer", "another broker issued it", func(v *tokenVector) { v.Issuer = "beta" })
	bad("secret", "another secret issued it", func(v *tokenVector) { v.Secret = strings.Repeat("06", 32) })
	bad("cut", "a byte is missing", func(v *tokenVector) { v.Token = v.Token[:len(v.Token)-1] })
	bad("longer", "a byte more", func(v *tokenVector) { v.Token = append(v.Token, 0) })
	bad("empty", "no token", func(v *tokenVector) { v.Token = nil })
}

func messageCases(t *testing.T, add func(string, vector)) {
	room, broker := fixedKey(t, 1), fixedKey(t, 2)
	_, public := fixedHPKE(t, bytes.Repeat([]byte{3}, 32))
	_, second := fixedHPKE(t, bytes.Repeat([]byte{4}, 32))
	data, sent, err := release.NewRequest(room, request(room, public))
	if err != nil {
		t.Fatal(err)
	}
	if len(sent.Inputs) != 2 {
		t.Fatalf("%d inputs", len(sent.Inputs))
	}
	message := func(name, what, expect, docType string, key *keys.SigningKey, data []byte) {
		v := messageVector{Type: docType, Key: key.Public(), Text: string(data)}
		if docType == release.RequestType && expect == "pass" {
			sent, err := release.ParseRequest(data)
			if err != nil {
				t.Fatal(err)
			}
			digest := sent.Digest()
			v.Digest = &digest
		}
		add(name, vector{What: what, Expect: expect, Message: &v})
	}
	replaced := func(data []byte, old, new string) []byte {
		out := bytes.Replace(data, []byte(old), []byte(new), 1)
		if bytes.Equal(out, data) {
			t.Fatalf("%s does not stand in the message", old)
		}
		return out
	}
	message("request-good", "a release request signed by the room key in it", "pass", release.RequestType, room, data)
	message("request-release-id-exchanged", "another release id under the same signature", "message.signature", release.RequestType, room, replaced(data, releaseID, runID))
	message("request-room-key-exchanged", "another room key under the same signature", "message.signature", release.RequestType, room, replaced(data, room.Public().String(), broker.Public().String()))
	resigned := func(change func(*release.Request)) []byte {
		r := request(room, public)
		r.Version = release.Version
		change(&r)
		return sign(t, room, r)
	}
	message("request-version", "a request of another version", "message.version", release.RequestType, room, resigned(func(r *release.Request) { r.Version = "strongroom/release/v2" }))
	message("request-no-inputs", "a request of a keeper's, for no keys", "pass", release.RequestType, room, resigned(func(r *release.Request) { r.Inputs = []release.InputRequest{} }))
	message("request-input-twice", "one input asked for twice", "message.form", release.RequestType, room, resigned(func(r *release.Request) { r.Inputs[1].Input = r.Inputs[0].Input }))
	message("request-challenge-513", "a challenge of 513 bytes", "message.form", release.RequestType, room, resigned(func(r *release.Request) { r.Challenge = make([]byte, 513) }))
	message("request-release-id-upper", "a release id with upper-case digits", "message.form", release.RequestType, room, resigned(func(r *release.Request) { r.ReleaseID = strings.ToUpper(releaseID) }))
	message("request-member-unknown", "a member this version does not have", "message.form", release.RequestType, room, replaced(data, `"broker":"alpha"`, `"broker":"alpha","bypass":true`))
	message("request-member-twice", "a member that stands twice", "message.form", release.RequestType, room, replaced(data, `"broker":"alpha"`, `"broker":"alpha","broker":"alpha"`))

	c := release.Challenge{Broker: "alpha", Token: []byte("token"), TimeMS: now.UnixMilli(), Checkpoint: "alpha.example/log\n1\nAAAA\n", Seen: []release.SeenLog{}}
	answer, err := release.NewChallenge(broker, asked(), c)
	if err != nil {
		t.Fatal(err)
	}
	message("challenge-good", "the answer of broker alpha to the request of section 2", "pass", release.ChallengeType, broker, answer)
	message("challenge-of-another", "signed by another key", "message.signature", release.ChallengeType, room, answer)
	old := asked()
	old.Nonce = wire.HashOf([]byte("older"))
	if answer, err = release.NewChallenge(broker, old, c); err != nil {
		t.Fatal(err)
	}
	message("challenge-replayed", "an answer to an older request", "challenge.answer", release.ChallengeType, broker, answer)

	if data, err = release.NewLiveRequest(room, live()); err != nil {
		t.Fatal(err)
	}
	message("live-request-good", "a live request while the run goes on", "pass", release.LiveRequestType, room, data)
	message("live-request-no-counter", "a live request without a counter", "message.form", release.LiveRequestType, room, replaced(data, `"counter":1`, `"counter":0`))
	if data, err = release.NewAskedRequest(room, askedRequest()); err != nil {
		t.Fatal(err)
	}
	message("asked-request-good", "a question for earlier questions", "pass", release.AskedRequestType, room, data)
	message("asked-request-of-another", "one of another room", "message.signature", release.AskedRequestType, broker, data)
	message("asked-request-no-nonce", "one without a nonce", "message.form", release.AskedRequestType, room, replaced(data, askedRequest().Nonce.String(), wire.Hash{}.String()))
	if data, err = release.NewAskedAnswer(broker, askedRequest(), release.AskedAnswer{Key: public}); err != nil {
		t.Fatal(err)
	}
	message("asked-good", "an answer about no inputs to asked-request-good.json", "pass", release.AskedAnswerType, broker, data)
	message("asked-altered", "the key was exchanged", "message.signature", release.AskedAnswerType, broker, replaced(data, public.String(), second.String()))
	if data, err = release.NewLiveRequest(room, live()); err != nil {
		t.Fatal(err)
	}
	message("live-request-of-another", "a live request of another room", "message.signature", release.LiveRequestType, broker, data)
	if data, err = release.NewLive(broker, live(), release.Live{TimeMS: now.UnixMilli(), LeaseEndMS: now.UnixMilli() + 3000}); err != nil {
		t.Fatal(err)
	}
	message("live-good", "the run may go on for 3 seconds", "pass", release.LiveType, broker, data)
	message("live-altered", "the lease was made longer", "message.signature", release.LiveType, broker, replaced(data, "000003000", "000004000"))
	if data, err = release.NewLive(broker, live(), release.Live{TimeMS: now.UnixMilli(), LeaseEndMS: now.UnixMilli() + 3001}); err != nil {
		t.Fatal(err)
	}
	message("live-lease", "a lease longer than the 3,000 ms agreed", "live.lease", release.LiveType, broker, data)
}

// containerCases are messages about volumes and certificates; a certificate itself is no
// vector, since a signature by ECDSA is never the same twice.
func containerCases(t *testing.T, add func(string, vector)) {
	room, broker := fixedKey(t, 1), fixedKey(t, 2)
	message := func(name, what, expect, docType string, key *keys.SigningKey, data []byte) {
		add(name, vector{What: what, Expect: expect, Message: &messageVector{Type: docType, Key: key.Public(), Text: string(data)}})
	}
	volume := func(step release.VolumeStep, change func(*release.VolumeRequest)) []byte {
		r := volumeRequest(step)
		change(&r)
		return signedAs(t, room, release.VolumeRequestType, r)
	}
	same := func(*release.VolumeRequest) {}
	for _, step := range []release.VolumeStep{release.VolumeOpen, release.VolumeMounted, release.VolumeClose} {
		message("volume-request-"+string(step), "a room's request to "+string(step)+" a volume", "pass", release.VolumeRequestType, room, volume(step, same))
	}
	message("volume-request-of-another", "signed by another room", "message.signature", release.VolumeRequestType, broker, volume(release.VolumeOpen, same))
	message("volume-request-open-generation", "a room that names its generation itself", "message.form", release.VolumeRequestType, room, volume(release.VolumeOpen, func(r *release.VolumeRequest) { r.Generation = 3 }))
	message("volume-request-close-no-root", "a volume that is closed without the root of its content", "message.form", release.VolumeRequestType, room, volume(release.VolumeClose, func(r *release.VolumeRequest) { r.Root = nil }))
	message("volume-request-step", "a step that does not exist", "message.form", release.VolumeRequestType, room, volume(release.VolumeOpen, func(r *release.VolumeRequest) { r.Step = "format" }))
	root := wire.HashOf([]byte("content"))
	answer := func(change func(*release.VolumeAnswer)) []byte {
		asked := volumeRequest(release.VolumeOpen)
		a := release.VolumeAnswer{Version: release.Version, Broker: asked.Broker, Run: asked.Run, Input: asked.Input, Step: asked.Step, Nonce: asked.Nonce,
			Generation: 9, Previous: &release.VolumeState{Generation: 7, Root: &root}}
		change(&a)
		return signedAs(t, broker, release.VolumeAnswerType, a)
	}
	message("volume-answer-clean", "generation 9, of a volume that was closed with generation 7", "pass", release.VolumeAnswerType, broker, answer(func(*release.VolumeAnswer) {}))
	message("volume-answer-unclean", "of one that was not closed", "pass", release.VolumeAnswerType, broker, answer(func(a *release.VolumeAnswer) { a.Previous.Root = nil }))
	message("volume-answer-new", "of one that no room has mounted", "pass", release.VolumeAnswerType, broker, answer(func(a *release.VolumeAnswer) { a.Previous = nil }))
	message("volume-answer-backwards", "a generation that is not above the one before", "message.form", release.VolumeAnswerType, broker, answer(func(a *release.VolumeAnswer) { a.Generation = 7 }))
	message("volume-answer-replayed", "an answer to an older request", "volume.answer", release.VolumeAnswerType, broker, answer(func(a *release.VolumeAnswer) { a.Nonce = wire.HashOf([]byte("older")) }))
	message("volume-answer-of-another", "signed by another key", "message.signature", release.VolumeAnswerType, room, answer(func(*release.VolumeAnswer) {}))
	certify := func(change func(*release.CertifyRequest)) []byte {
		r := certifyRequest([]byte{1, 2, 3})
		change(&r)
		return signedAs(t, room, release.CertifyRequestType, r)
	}
	message("certify-request-good", "a room's request for a certificate of its key", "pass", release.CertifyRequestType, room, certify(func(*release.CertifyRequest) {}))
	message("certify-request-csr", "with the request that an authority outside needs", "pass", release.CertifyRequestType, room, certify(func(r *release.CertifyRequest) { r.CSR = []byte{4, 5, 6} }))
	message("certify-request-csr-mesh", "such a request for the mesh, which no authority outside certifies", "message.form", release.CertifyRequestType, room, certify(func(r *release.CertifyRequest) { r.Use, r.CSR = release.ForMesh, []byte{4, 5, 6} }))
	message("certify-request-use", "a use that does not exist", "message.form", release.CertifyRequestType, room, certify(func(r *release.CertifyRequest) { r.Use = "everything" }))
	message("certify-request-of-another", "signed by another room", "message.signature", release.CertifyRequestType, broker, certify(func(*release.CertifyRequest) {}))
}

func keyCases(t *testing.T, add func(string, vector)) {
	seed, plain := bytes.Repeat([]byte{4}, 32), append(bytes.Repeat([]byte{7}, 16), bytes.Repeat([]byte{9}, 32)...)
	a := address()
	_, public := fixedHPKE(t, seed)
	sealed, err := public.Seal(a.Info(), plain)
	if err != nil {
		t.Fatal(err)
	}
	k := keyVector{Seed: hex.EncodeToString(seed), Broker: a.Broker, Nonce: a.Nonce, Evidence: a.Evidence, Agreement: a.Agreement, Run: a.Run, Input: a.Input, Header: a.Header,
		ReleaseID: a.ReleaseID, LeaseMS: a.LeaseMS, Info: hex.EncodeToString(a.Info()), Sealed: sealed, Plaintext: hex.EncodeToString(plain)}
	add("key-good", vector{What: "key material sealed to a room", Expect: "pass", Key: &k})
	other := k
	other.Input, other.Plaintext = "more", ""
	other.Info = hex.EncodeToString(other.address().Info())
	add("key-of-another-input", vector{What: "releases for two inputs swapped", Expect: "grant.key", Key: &other})
	alone := a
	alone.Input, alone.Header = "", wire.Hash{}
	plain = append(make([]byte, 16), bytes.Repeat([]byte{9}, 32)...)
	if sealed, err = public.Seal(alone.Info(), plain); err != nil {
		t.Fatal(err)
	}
	secret := k
	secret.Input, secret.Header, secret.Info, secret.Sealed, secret.Plaintext = "", wire.Hash{}, hex.EncodeToString(alone.Info()), sealed, hex.EncodeToString(plain)
	add("key-secret-alone", vector{What: "a keeper's run secret, sealed without a file key", Expect: "pass", Key: &secret})
	longer := k
	longer.LeaseMS, longer.Plaintext = 3_600_000, ""
	longer.Info = hex.EncodeToString(longer.address().Info())
	add("key-longer-lease", vector{What: "the lease was made longer", Expect: "grant.key", Key: &longer})
}

func commitmentCases(t *testing.T, add func(string, vector)) {
	run := wire.DigestOf([]byte("r"))
	c := commitmentVector{Run: run, Owners: []wire.ID{"alpha", "beta"}, Secrets: []string{strings.Repeat("01", 32), strings.Repeat("02", 32)}, Output: "answer", Plaintext: "a,b\n1,2\n"}
	seed, err := release.RunSeed(run, []release.Contribution{{Owner: "alpha", Secret: [32]byte(bytes.Repeat([]byte{1}, 32))}, {Owner: "beta", Secret: [32]byte(bytes.Repeat([]byte{2}, 32))}})
	if err != nil {
		t.Fatal(err)
	}
	c.Seed, c.Commitment = hex.EncodeToString(seed.MarshalSecret()), release.Commitment(seed, run, c.Output, []byte(c.Plaintext))
	add("commitment-good", vector{What: "the seed of a run of two owners and a commitment to its plaintext", Expect: "pass", Commitment: &c})
	twice := c
	twice.Owners, twice.Seed, twice.Commitment = []wire.ID{"alpha", "alpha"}, "", wire.Digest{}
	add("commitment-owner-twice", vector{What: "one owner contributes twice", Expect: "run.seed", Commitment: &twice})
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	files, err := filepath.Glob(vectors + "/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d vectors: run the test with -update (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			if err := json.Unmarshal(data, &v); err != nil {
				t.Fatal(err)
			}
			if got := v.run(t); got != v.Expect {
				t.Errorf("%s: got %s, want %s", v.What, got, v.Expect)
			}
		})
	}
}

func writeVectors(t *testing.T) {
	if err := os.MkdirAll(vectors, 0o755); err != nil {
		t.Fatal(err)
	}
	add := func(name string, v vector) {
		v.Kind, _, _ = strings.Cut(name, "-")
		if v.Message != nil {
			v.Kind = "message"
		}
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(vectors, name+".json"), append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tokenCases(t, add)
	messageCases(t, add)
	containerCases(t, add)
	commitmentCases(t, add)
	ticketCases(t, add)
	// Sealing draws randomness: the vectors that stand are kept.
	keyCases(t, func(name string, v vector) {
		if _, err := os.Stat(filepath.Join(vectors, name+".json")); err != nil {
			add(name, v)
		}
	})
}
