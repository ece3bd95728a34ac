package ingress_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ingress"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectors = "../spec/vectors/ingress"

// vector is one case of spec/ingress.md. Expect is "pass" or the check that fails.
type vector struct {
	What       string            `json:"what"`
	Expect     string            `json:"expect"`
	Connection *connectionVector `json:"connection,omitempty"`
	Message    *messageVector    `json:"message,omitempty"`
	Token      *tokenVector      `json:"token,omitempty"`
	Tunnel     *tunnelVector     `json:"tunnel,omitempty"`
}

// connectionVector is what a connection is made of and what comes of it: the transcript of an
// exchange, signed by the room and by a party.
type connectionVector struct {
	Nonce         wire.Hash       `json:"nonce"`
	Exporter      string          `json:"exporter"` // hex
	Key           wire.Hash       `json:"key"`
	Work          wire.ID         `json:"work"`
	Port          wire.ID         `json:"port"`
	Evidence      wire.Digest     `json:"evidence_digest"`
	EvidenceNonce wire.Hash       `json:"evidence_nonce"`
	Connection    wire.Digest     `json:"connection"`
	Room          keys.PublicKey  `json:"room"`
	Signature     keys.Signature  `json:"signature"`
	PartyKey      keys.PublicKey  `json:"party_key"`
	Party         json.RawMessage `json:"party"` // the document of an admission
}

// messageVector is a message's body.
type messageVector struct {
	Name string `json:"name"`
	Text string `json:"text"`
	Port string `json:"port,omitempty"` // of a hello: the stream's
}

// tokenVector is a token, its issuer and the room's time.
type tokenVector struct {
	Token  string           `json:"token"`
	Issuer agreement.Issuer `json:"issuer"`
	Now    wire.Time        `json:"now"`
}

// tunnelVector is a session's keys by what they come from, and messages sealed with them.
type tunnelVector struct {
	First    string              `json:"first"`  // hex: the secret for the tunnel's key
	Second   string              `json:"second"` // hex: the secret for the client's
	Request  wire.Bytes          `json:"request"`
	Answer   wire.Bytes          `json:"answer"`
	Nonce    wire.Hash           `json:"nonce"`
	Exporter string              `json:"exporter"` // hex
	Session  string              `json:"session"`  // hex
	Messages []tunnelMessageCase `json:"messages"`
}

type tunnelMessageCase struct {
	Direction string     `json:"direction"`
	Number    uint64     `json:"number"`
	Plain     wire.Bytes `json:"plain"`
	Message   wire.Bytes `json:"message"`
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	files, err := filepath.Glob(vectors + "/*.json")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			d := json.NewDecoder(bytes.NewReader(data))
			d.DisallowUnknownFields()
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			got := "pass"
			if err := v.run(t); err != nil {
				got = verdict.As(err).Check
			}
			if got != v.Expect {
				t.Errorf("%s: got %s, expected %s", v.What, got, v.Expect)
			}
		})
	}
}

func (v vector) run(t *testing.T) error {
	t.Helper()
	switch {
	case v.Connection != nil:
		return v.Connection.run(t)
	case v.Message != nil:
		if err := ingress.ReadMessage(v.Message.Name, []byte(v.Message.Text)); err != nil || v.Message.Name != "hello" {
			return err
		}
		return ingress.CheckHello([]byte(v.Message.Text), wire.ID(v.Message.Port))
	case v.Token != nil:
		return ingress.CheckToken(v.Token.Token, v.Token.Issuer, v.Token.Now.Time())
	case v.Tunnel != nil:
		v.Tunnel.run(t)
		return nil
	}
	t.Fatal("a vector of nothing")
	return nil
}

func (c *connectionVector) run(t *testing.T) error {
	nonce, connection := ingress.Derived(c.Nonce, [32]byte(must(hex.DecodeString(c.Exporter))), c.Key, c.Work, c.Port, c.Evidence)
	if nonce != c.EvidenceNonce || connection != c.Connection {
		t.Errorf("nonce %s, connection %s", nonce, connection)
	}
	if err := c.Room.Verify(ingress.ConnectionType, connection, c.Signature); err != nil {
		return verdict.NotGenuine("ingress.signature", "", "", "")
	}
	var body struct {
		Party      wire.ID     `json:"party"`
		Agreement  wire.Digest `json:"agreement"`
		Connection wire.Digest `json:"connection"`
	}
	doc, err := keys.ParseDocument(c.Party, ingress.PartyType, &body)
	if err != nil {
		return err
	}
	if n, err := doc.SignedBy([]keys.PublicKey{c.PartyKey}); n != 1 || err != nil || body.Connection != connection {
		return verdict.NotGenuine("ingress.party", "", "", "")
	}
	return nil
}

func (v *tunnelVector) run(t *testing.T) {
	secret := func(text string) *keys.Secret { return must(keys.NewSecret(must(hex.DecodeString(text)))) }
	s := ingress.NewSession(secret(v.First), secret(v.Second), v.Request, v.Answer)
	if got := s.Exporter(v.Nonce); hex.EncodeToString(got[:]) != v.Exporter {
		t.Errorf("exporter %x", got)
	}
	for _, m := range v.Messages {
		if got := s.Message(m.Direction, [16]byte(must(hex.DecodeString(v.Session))), m.Number, m.Plain); !bytes.Equal(got, m.Message) {
			t.Errorf("%s %d: %x", m.Direction, m.Number, got)
		}
	}
}

// signingKey gives the same key in every run.
func signingKey(name string) *keys.SigningKey {
	seed := wire.SHA256("strongroom/test/key", []byte(name))
	return must(keys.ParseSigningKey("STRONGROOM-SIGNING-KEY-1:ed25519:" + base64.StdEncoding.EncodeToString(seed[:])))
}

func writeVectors(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(vectors, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, v vector) {
		t.Helper()
		data := must(json.MarshalIndent(v, "", "  "))
		if err := os.WriteFile(filepath.Join(vectors, name+".json"), append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := connectionCase()
	write("connection", vector{"what a connection is made of, signed by the room and by a party", "pass", &c, nil, nil, nil})
	other := c
	other.Signature = must(signingKey("another").Sign(ingress.ConnectionType, c.Connection))
	write("connection-other-room", vector{"signed by another room's key", "ingress.signature", &other, nil, nil, nil})
	other = c
	other.Signature = must(signingKey("room").Sign(ingress.ConnectionType, wire.DigestOf([]byte("another connection"))))
	write("connection-replayed", vector{"the room's signature over another connection", "ingress.signature", &other, nil, nil, nil})
	other = c
	other.Party = partyDocument(wire.DigestOf([]byte("another connection")))
	write("connection-party-replayed", vector{"the party's signature over another connection", "ingress.party", &other, nil, nil, nil})

	message := func(name, what, expect, kind, text string) {
		t.Helper()
		m := &messageVector{Name: kind, Text: text}
		if kind == "hello" {
			m.Port = "web"
		}
		write(name, vector{what, expect, nil, m, nil, nil})
	}
	nonce := wire.HashOf([]byte("nonce")).String()
	message("hello", "the least there is", "pass", "hello", `{"activators":[],"nonce":"`+nonce+`","port":"web","version":1}`)
	message("hello-known", "with evidence that is known", "pass", "hello", `{"activators":["`+nonce+`"],"known":"`+wire.DigestOf(nil).String()+`","nonce":"`+nonce+`","port":"web","version":1}`)
	message("hello-version", "another version", "ingress.version", "hello", `{"activators":[],"nonce":"`+nonce+`","port":"web","version":2}`)
	message("hello-port", "another port than the stream's", "ingress.port", "hello", `{"activators":[],"nonce":"`+nonce+`","port":"admin","version":1}`)
	message("hello-zero", "a nonce of zeros", "ingress.hello", "hello", `{"activators":[],"nonce":"`+wire.Hash{}.String()+`","port":"web","version":1}`)
	message("hello-members", "an unknown member", "ingress.form", "hello", `{"activators":[],"nonce":"`+nonce+`","port":"web","proto":1,"version":1}`)
	message("hello-order", "members out of order", "ingress.form", "hello", `{"nonce":"`+nonce+`","activators":[],"port":"web","version":1}`)
	message("admission-nothing", "a client that says nothing of itself", "pass", "admission", `{}`)
	message("decision-ok", "let in", "pass", "decision", `{"ok":true}`)
	message("greeting-error", "a room that refuses", "pass", "greeting", `{"error":{"check":"ingress.port","expected":"","fix":"","got":"","kind":"refused"}}`)

	for _, token := range tokenCases(t) {
		write(token.name, vector{token.what, token.expect, nil, nil, &token.tokenVector, nil})
	}
	tunnel := tunnelCase()
	write("tunnel", vector{"a session's keys and messages", "pass", nil, nil, nil, &tunnel})
}

func partyDocument(connection wire.Digest) json.RawMessage {
	doc := must(keys.NewDocument(ingress.PartyType, map[string]any{"party": "alpha", "agreement": wire.DigestOf([]byte("agreement")), "connection": connection}))
	if err := doc.Sign(signingKey("alpha")); err != nil {
		panic(err)
	}
	return must(wire.Marshal(doc))
}

func connectionCase() connectionVector {
	exporter := wire.HashOf([]byte("exporter"))
	c := connectionVector{Nonce: wire.HashOf([]byte("nonce")), Exporter: hex.EncodeToString(exporter[:]), Key: wire.HashOf([]byte("key")), Work: "web", Port: "http",
		Evidence: wire.DigestOf([]byte("evidence")), Room: signingKey("room").Public(), PartyKey: signingKey("alpha").Public()}
	c.EvidenceNonce, c.Connection = ingress.Derived(c.Nonce, exporter, c.Key, c.Work, c.Port, c.Evidence)
	c.Signature = must(signingKey("room").Sign(ingress.ConnectionType, c.Connection))
	c.Party = partyDocument(c.Connection)
	return c
}

type tokenCase struct {
	name, what, expect string
	tokenVector
}

func tokenCases(t *testing.T) (list []tokenCase) {
	key := newJWSKey(t, "ES256")
	idp := issuer{key, "https://login.example"}
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	by := agreement.Issuer{Issuer: idp.name, Audience: "web", Keys: []string{key.text}, Subjects: []string{"ann"}}
	add := func(name, what, expect string, claims map[string]any) {
		all := map[string]any{"exp": now.Add(time.Minute).Unix()}
		for k, v := range claims {
			all[k] = v
		}
		list = append(list, tokenCase{"token-" + name, what, expect, tokenVector{idp.token(all), by, wire.At(now)}})
	}
	add("good", "a token that does", "pass", nil)
	add("expired", "one that ended this second", "ingress.token", map[string]any{"exp": now.Unix()})
	add("audience", "one for another audience", "ingress.token", map[string]any{"aud": "other"})
	add("subject", "another subject, and the right one by another case", "ingress.token", map[string]any{"sub": "bob", "Sub": "ann"})
	list = append(list, tokenCase{"token-none", "alg none", "ingress.token", tokenVector{unsigned(idp.token(map[string]any{"exp": now.Add(time.Minute).Unix()}), "none"), by, wire.At(now)}})
	twice := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://login.example","aud":"web","sub":"bob","exp":9999999999,"sub":"ann"}`))
	list = append(list, tokenCase{"token-twice", "a claim that stands twice", "ingress.token", tokenVector{key.sign(encode(map[string]any{"alg": "ES256"}), twice), by, wire.At(now)}})
	return list
}

func tunnelCase() tunnelVector {
	first, second, nonce := wire.HashOf([]byte("first")), wire.HashOf([]byte("second")), wire.HashOf([]byte("nonce"))
	v := tunnelVector{First: hex.EncodeToString(first[:]), Second: hex.EncodeToString(second[:]), Nonce: nonce, Session: "000102030405060708090a0b0c0d0e0f",
		Request: []byte{1, 2, 3}, Answer: []byte{1, 4, 5}}
	s := ingress.NewSession(must(keys.NewSecret(first[:])), must(keys.NewSecret(second[:])), v.Request, v.Answer)
	exporter := s.Exporter(nonce)
	v.Exporter = hex.EncodeToString(exporter[:])
	for i, direction := range []string{"send", "sent", "receive", "received", "close"} {
		m := tunnelMessageCase{Direction: direction, Number: uint64(i), Plain: wire.Bytes{}}
		if direction == "send" || direction == "received" {
			m.Plain = append([]byte{0}, "bytes of "+direction...)
		}
		m.Message = s.Message(direction, [16]byte(must(hex.DecodeString(v.Session))), m.Number, m.Plain)
		v.Messages = append(v.Messages, m)
	}
	return v
}
