package release_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func tpmKey() release.TPMKey {
	return release.TPMKey{EKCertificate: []byte("certificate"), Certificates: []wire.Bytes{[]byte("root")}, AKPublic: []byte("public")}
}

func activating() release.ActivatedRequest {
	return release.ActivatedRequest{Broker: "alpha", Agreement: wire.DigestOf([]byte("a")), Key: tpmKey(), Ticket: bytes.Repeat([]byte{1}, 56), Answer: bytes.Repeat([]byte{2}, 32)}
}

// TestActivationMessages takes what the other side wrote, and nothing with a part missing or
// over its limit, on either side.
func TestActivationMessages(t *testing.T) {
	const most = release.MaxTPMCertificate
	for name, change := range map[string]func(*release.ActivatedRequest){
		"":                         func(*release.ActivatedRequest) {},
		"no broker":                func(r *release.ActivatedRequest) { r.Broker = "" },
		"a broker of another form": func(r *release.ActivatedRequest) { r.Broker = "Alpha" },
		"no agreement":             func(r *release.ActivatedRequest) { r.Agreement = wire.Digest{} },
		"no certificate":           func(r *release.ActivatedRequest) { r.Key.EKCertificate = nil },
		"a long certificate":       func(r *release.ActivatedRequest) { r.Key.EKCertificate = make([]byte, most+1) },
		"an empty certificate":     func(r *release.ActivatedRequest) { r.Key.Certificates = []wire.Bytes{{}} },
		"a long one above it":      func(r *release.ActivatedRequest) { r.Key.Certificates = []wire.Bytes{make([]byte, most+1)} },
		"many certificates": func(r *release.ActivatedRequest) {
			for range release.MaxTPMCertificates {
				r.Key.Certificates = append(r.Key.Certificates, []byte("one"))
			}
		},
		"no key":        func(r *release.ActivatedRequest) { r.Key.AKPublic = nil },
		"a long key":    func(r *release.ActivatedRequest) { r.Key.AKPublic = make([]byte, release.MaxTPMPublic+1) },
		"no ticket":     func(r *release.ActivatedRequest) { r.Ticket = nil },
		"a long ticket": func(r *release.ActivatedRequest) { r.Ticket = make([]byte, release.MaxToken+1) },
		"no answer":     func(r *release.ActivatedRequest) { r.Answer = nil },
		"a long answer": func(r *release.ActivatedRequest) { r.Answer = make([]byte, release.MaxTPMAnswer+1) },
	} {
		r := activating()
		change(&r)
		data, err := release.NewActivatedRequest(r)
		forged, marshalErr := wire.Marshal(func() release.ActivatedRequest { r.Version = release.Version; return r }())
		if marshalErr != nil {
			t.Fatal(marshalErr)
		}
		_, readErr := release.ParseActivatedRequest(forged)
		if (err == nil) != (name == "") || (readErr == nil) != (name == "") || name == "" && !bytes.Equal(data, forged) {
			t.Errorf("%q: written %v, read %v", name, err, readErr)
		}
		if name != "" && verdict.As(readErr).Check != "message.form" {
			t.Errorf("%q: %v", name, readErr)
		}
		if strings.Contains(name, "ticket") || strings.Contains(name, "answer") {
			continue
		}
		data, err = release.NewActivateRequest(release.ActivateRequest{Broker: r.Broker, Agreement: r.Agreement, Key: r.Key})
		if err == nil {
			_, err = release.ParseActivateRequest(data)
		}
		if (err == nil) != (name == "") {
			t.Errorf("%q, as a question: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"another version": `{"agreement":"` + wire.DigestOf(nil).String() + `","broker":"alpha","key":{"ak_public":"AA==","certificates":[],"ek_certificate":"AA=="},"version":"strongroom/release/v2"}`,
		"a member more":   `{"agreement":"` + wire.DigestOf(nil).String() + `","broker":"alpha","key":{"ak_public":"AA==","certificates":[],"ek_certificate":"AA=="},"more":1,"version":"strongroom/release/v1"}`,
		"nothing":         "",
		"too much":        strings.Repeat(" ", release.MaxSmall+1),
	} {
		if _, err := release.ParseActivateRequest([]byte(text)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// TestActivationChallenge takes a challenge of the broker that was asked only, in its limits.
func TestActivationChallenge(t *testing.T) {
	good := release.Activate{Broker: "alpha", Credential: []byte("c"), Secret: []byte("s"), Ticket: []byte("t")}
	for name, change := range map[string]func(*release.Activate){
		"":               func(*release.Activate) {},
		"no broker":      func(a *release.Activate) { a.Broker = "" },
		"no credential":  func(a *release.Activate) { a.Credential = nil },
		"no secret":      func(a *release.Activate) { a.Secret = nil },
		"no ticket":      func(a *release.Activate) { a.Ticket = nil },
		"a long secret":  func(a *release.Activate) { a.Secret = make([]byte, release.MaxCredential+1) },
		"another broker": func(a *release.Activate) { a.Broker = "beta" },
	} {
		a := good
		change(&a)
		data, err := release.NewActivate(a)
		if err == nil {
			_, err = release.ParseActivate(data, "alpha")
		}
		if (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestActivatedWord takes a broker's word about a key if its release key signed it.
func TestActivatedWord(t *testing.T) {
	broker, other := fixedKey(t, 2), fixedKey(t, 3)
	word := func(docType string, by ...*keys.SigningKey) []byte {
		doc, err := keys.NewDocument(docType, map[string]string{"ak_name": "AAA="})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range by {
			if err := doc.Sign(k); err != nil {
				t.Fatal(err)
			}
		}
		data, err := doc.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if err := release.VerifyActivated(word(release.ActivatedType, broker), broker.Public()); err != nil {
		t.Error(err)
	}
	for name, data := range map[string][]byte{
		"another's": word(release.ActivatedType, other), "nobody's": word(release.ActivatedType), "of two": word(release.ActivatedType, broker, other),
		"another document": word(release.GrantType, broker), "altered": bytes.Replace(word(release.ActivatedType, broker), []byte("AAA="), []byte("AAE="), 1), "nothing": nil,
		"too much": append(word(release.ActivatedType, broker), bytes.Repeat([]byte("\n"), release.MaxSmall)...),
	} {
		if err := release.VerifyActivated(data, broker.Public()); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// ticketVector is a ticket, what it is judged with, and the answer behind it.
type ticketVector struct {
	Secret        string      `json:"secret"` // hex
	Issuer        wire.ID     `json:"issuer"`
	Agreement     wire.Digest `json:"agreement"`
	AKName        wire.Bytes  `json:"ak_name"`
	EKCertificate wire.Bytes  `json:"ek_certificate"`
	NowMS         int64       `json:"now_ms"`
	Ticket        wire.Bytes  `json:"ticket"`
	Answer        wire.Bytes  `json:"answer"`
}

func (v *ticketVector) run(t *testing.T) string {
	t.Helper()
	raw, err := hex.DecodeString(v.Secret)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keys.NewSecret(raw)
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := release.RecogniseTicket(secret, v.Issuer, v.Agreement, v.AKName, v.EKCertificate, v.Ticket, time.UnixMilli(v.NowMS))
	if err == nil && !bytes.Equal(ticket.Answer[:], v.Answer) {
		t.Errorf("answer %x", ticket.Answer)
	}
	if err != nil && ticket.Answer != [32]byte{} {
		t.Errorf("an answer beside %v", err)
	}
	return outcome(err)
}

func ticketCases(t *testing.T, add func(string, vector)) {
	raw := bytes.Repeat([]byte{5}, 32)
	secret, err := keys.NewSecret(raw)
	if err != nil {
		t.Fatal(err)
	}
	digest := wire.DigestOf([]byte("a"))
	name := append([]byte{0, 0x0b}, bytes.Repeat([]byte{7}, 32)...)
	made := release.MakeTicket(secret, [16]byte(bytes.Repeat([]byte{0xab}, 16)), now.UnixMilli(), "alpha", digest, name, []byte("certificate"))
	good := ticketVector{Secret: hex.EncodeToString(raw), Issuer: "alpha", Agreement: digest, AKName: name, EKCertificate: []byte("certificate"), NowMS: now.UnixMilli() - 1, Ticket: made.Bytes, Answer: made.Answer[:]}
	add("ticket-good", vector{What: "a ticket in its last millisecond", Expect: "pass", Ticket: &good})
	bad := func(name, what, expect string, change func(*ticketVector)) {
		v := good
		v.Ticket, v.AKName, v.EKCertificate, v.Answer = bytes.Clone(good.Ticket), bytes.Clone(good.AKName), bytes.Clone(good.EKCertificate), wire.Bytes{}
		change(&v)
		add("ticket-"+name, vector{What: what, Expect: expect, Ticket: &v})
	}
	const known = "activation.known"
	bad("expired", "a ticket that is over", "activation.fresh", func(v *ticketVector) { v.NowMS++ })
	bad("mac", "the MAC was changed", known, func(v *ticketVector) { v.Ticket[0] ^= 1 })
	bad("id", "the id was changed", known, func(v *ticketVector) { v.Ticket[32] ^= 1 })
	bad("expiry", "the expiry was moved", known, func(v *ticketVector) { v.Ticket[50] ^= 1 })
	bad("cut", "a byte is missing", known, func(v *ticketVector) { v.Ticket = v.Ticket[:len(v.Ticket)-1] })
	bad("longer", "a byte more", known, func(v *ticketVector) { v.Ticket = append(v.Ticket, 0) })
	bad("issuer", "another broker issued it", known, func(v *ticketVector) { v.Issuer = "beta" })
	bad("secret", "another secret issued it", known, func(v *ticketVector) { v.Secret = strings.Repeat("06", 32) })
	bad("agreement", "a ticket for another agreement", known, func(v *ticketVector) { v.Agreement = wire.DigestOf([]byte("b")) })
	bad("key", "a ticket for another attestation key", known, func(v *ticketVector) { v.AKName[5] ^= 1 })
	bad("certificate", "a ticket for another endorsement key", known, func(v *ticketVector) { v.EKCertificate[0] ^= 1 })
}

// TestTicket issues tickets that differ, each good for five minutes.
func TestTicket(t *testing.T) {
	secret, err := keys.NewSecret(bytes.Repeat([]byte{5}, 32))
	if err != nil {
		t.Fatal(err)
	}
	digest, name, certificate := wire.DigestOf([]byte("a")), []byte("name"), []byte("certificate")
	one := release.IssueTicket(secret, "alpha", digest, name, certificate, now)
	two := release.IssueTicket(secret, "alpha", digest, name, certificate, now)
	if one.Answer == two.Answer || bytes.Equal(one.Bytes, two.Bytes) {
		t.Error("the same secret twice")
	}
	for after, want := range map[time.Duration]string{0: "pass", 5*time.Minute - time.Millisecond: "pass", 5 * time.Minute: "activation.fresh"} {
		again, err := release.RecogniseTicket(secret, "alpha", digest, name, certificate, one.Bytes, now.Add(after))
		if outcome(err) != want || err == nil && again.Answer != one.Answer {
			t.Errorf("after %s: %v", after, err)
		}
	}
	// A name is not to run over into a certificate.
	if _, err := release.RecogniseTicket(secret, "alpha", digest, []byte("namec"), certificate[1:], one.Bytes, now); err == nil {
		t.Error("a name that took a byte of the certificate")
	}
}

func FuzzParseActivatedRequest(f *testing.F) {
	data, err := release.NewActivatedRequest(activating())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := release.ParseActivatedRequest(data)
		if err == nil && (len(r.Answer) == 0 || len(r.Ticket) == 0 || len(r.Key.AKPublic) == 0 || r.Agreement.IsZero()) {
			t.Errorf("%+v", r)
		}
		if q, err := release.ParseActivateRequest(data); err == nil && (len(q.Key.EKCertificate) == 0 || q.Agreement.IsZero()) {
			t.Errorf("%+v", q)
		}
		if a, err := release.ParseActivate(data, "alpha"); err == nil && (len(a.Credential) == 0 || a.Broker != "alpha") {
			t.Errorf("%+v", a)
		}
	})
}
