package ear

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// KeySet are the public keys of one issuer. The zero KeySet verifies nothing.
type KeySet struct {
	keys map[string]jose.JSONWebKey
}

// ParseKeySet reads a JWKS document, fetched from the issuer over a connection that the caller
// trusts. Keys without an id, an algorithm of ours, or the use "sig" are refused, and so are two
// with one id.
func ParseKeySet(data []byte) (KeySet, error) {
	bad := func(got string) error {
		return verdict.NotGenuine("token.keys", fmt.Sprintf("a JWKS document of 1 to %d keys as spec/ear.md shows it", MaxKeys), verdict.Short(got), "fetch it again from the issuer's jwks_uri")
	}
	if len(data) > maxKeySet {
		return KeySet{}, bad(fmt.Sprintf("%d bytes", len(data)))
	}
	if _, err := wire.Canonical(data); err != nil { // members that stand twice
		return KeySet{}, bad(err.Error())
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(data, &set); err != nil {
		return KeySet{}, bad(err.Error())
	}
	if len(set.Keys) == 0 || len(set.Keys) > MaxKeys {
		return KeySet{}, bad(fmt.Sprintf("%d keys", len(set.Keys)))
	}
	s := KeySet{make(map[string]jose.JSONWebKey, len(set.Keys))}
	for _, k := range set.Keys {
		_, twice := s.keys[k.KeyID]
		if k.KeyID == "" || twice || k.Use != "sig" || !k.IsPublic() || !k.Valid() || !fits(Algorithm(k.Algorithm), k.Key) {
			return KeySet{}, bad("a key that is not one for signatures, with an id and an algorithm of its own")
		}
		s.keys[k.KeyID] = k
	}
	return s, nil
}

// Expect is what a relying party demands of a token. The zero Expect refuses.
type Expect struct {
	Shape Shape
	// Base is the service's address; the issuer is the shape's path below it.
	Base     string
	Audience string
	Keys     KeySet
	Now      time.Time
	// Nonce, if it has any bytes, must be the one in the token. Without one, only tokens for a
	// challenge of the service itself are taken.
	Nonce []byte
	// InsecureAnyNonce takes tokens for whatever nonce: the evidence may be old. Those of shape maa
	// have theirs in the runtime data, where the relying party then has to look for it.
	InsecureAnyNonce bool
	// AcceptWarning takes tokens with the verdict warning too.
	AcceptWarning bool
	// InsecureAcceptSoftware takes tokens about software platforms, which protect nothing.
	InsecureAcceptSoftware bool
}

// Token is what a verified token says.
type Token struct {
	Issuer, Subject, Audience string
	Issued, Expires           time.Time
	Verdict                   attest.Standing
	Platform                  string
	Class                     agreement.Class
	// Policy is the name of the policy that judged; "" if there was none.
	Policy        string
	PolicyVersion int64
	Nonce         []byte
	// Confirmation is the key that whoever shows the token must hold. Proof of that is for the
	// relying party to ask for; without it a token proves that some room is good, not which.
	Confirmation Confirmation
	// Claims are all claims, as canonical JSON.
	Claims []byte
}

// Verify checks a token of this service, and gives what it says. It takes the key from the
// relying party's own key set and nothing from the token's header but the key's name: headers
// with a key or the address of one are refused, as is any algorithm but the key's own.
func Verify(token string, want Expect) (Token, error) {
	if err := want.complete(); err != nil {
		return Token{}, err
	}
	key, err := want.key(token)
	if err != nil {
		return Token{}, err
	}
	object, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{Algorithm(key.Algorithm)})
	if err != nil {
		return Token{}, notToken(err.Error())
	}
	payload, err := object.Verify(key)
	if err != nil {
		return Token{}, verdict.NotGenuine("token.signature", "a signature by key "+verdict.Short(key.KeyID), "none that verifies", "ask for a new token")
	}
	return want.judge(payload)
}

func (x Expect) complete() error {
	if err := x.Shape.known(); err != nil {
		return err
	}
	if err := CheckBase(x.Base); err != nil {
		return err
	}
	const fix = "a defect in the relying party: report it"
	switch {
	case x.Audience == "":
		return verdict.Misuse("token.audience", "the audience that the relying party is", "none", fix)
	case len(x.Keys.keys) == 0:
		return verdict.Misuse("token.keys", "the issuer's key set", "none", fix)
	case x.Now.IsZero():
		return verdict.Misuse("token.time", "the time", "none", fix)
	}
	return nil
}

func notToken(got string) error {
	return verdict.NotGenuine("token.form", fmt.Sprintf("a signed token of at most %d bytes", MaxToken), verdict.Short(got), "pass the token on as it was issued")
}

// header is all that a token's header may hold.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// key reads the header and finds the key that it names.
func (x Expect) key(token string) (jose.JSONWebKey, error) {
	if len(token) > MaxToken || strings.Count(token, ".") != 2 {
		return jose.JSONWebKey{}, notToken(fmt.Sprintf("%d bytes in %d parts", len(token), strings.Count(token, ".")+1))
	}
	var raw []byte
	for i, part := range strings.Split(token, ".") {
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || strings.ContainsAny(part, "\r\n") {
			return jose.JSONWebKey{}, notToken("a part that is not base64url, written in the one way there is")
		}
		if i == 0 {
			raw = decoded
		}
	}
	canonical, err := wire.Canonical(raw)
	if err != nil {
		return jose.JSONWebKey{}, notToken(err.Error())
	}
	var h header
	if err := wire.Unmarshal(canonical, &h); err != nil {
		return jose.JSONWebKey{}, verdict.NotGenuine("token.header", "alg, kid and typ, and nothing else", verdict.Short(err.Error()), "a token that brings its own key, or the address of one, is worth nothing")
	}
	if h.Type != x.Shape.Type {
		return jose.JSONWebKey{}, verdict.NotGenuine("token.type", "typ "+x.Shape.Type, orNone(h.Type), "ask for a token of the shape "+x.Shape.Name)
	}
	k, found := x.Keys.keys[h.KeyID]
	if !found {
		return k, verdict.NotGenuine("token.keys", "a key of the issuer's key set", "key "+verdict.Short(h.KeyID), "fetch the key set again: keys change; if it still is not there, the token is forged")
	}
	if h.Algorithm != k.Algorithm || !slices.Contains(x.Shape.Algorithms, Algorithm(h.Algorithm)) {
		return k, verdict.NotGenuine("token.algorithm", k.Algorithm+", the key's own", orNone(h.Algorithm), "ask for a new token")
	}
	return k, nil
}

// payload is what a relying party needs of the claims.
type payload struct {
	Issuer    string          `json:"iss"`
	Audience  string          `json:"aud"`
	Subject   string          `json:"sub"`
	Issued    int64           `json:"iat"`
	NotBefore int64           `json:"nbf"`
	Expires   int64           `json:"exp"`
	Nonce     wire.Bytes      `json:"eat_nonce"`
	Fresh     Freshness       `json:"strongroom_freshness"`
	Profile   string          `json:"eat_profile"`
	Status    string          `json:"ear_status"`
	OldStatus string          `json:"ear.status"`
	Cnf       *cnf            `json:"cnf"`
	Verdict   attest.Standing `json:"strongroom_verdict"`
	Platform  string          `json:"strongroom_platform"`
	Class     agreement.Class `json:"strongroom_class"`
	Policy    string          `json:"strongroom_policy"`
	Version   int64           `json:"strongroom_policy_version"`
}

type cnf struct {
	KeyID string          `json:"kid"`
	JWK   json.RawMessage `json:"jwk"`
	Room  string          `json:"strongroom_key"`
}

func (x Expect) judge(data []byte) (Token, error) {
	canonical, err := wire.Canonical(data)
	if err != nil || !bytes.Equal(canonical, data) {
		return Token{}, notToken("claims with more than one reading")
	}
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return Token{}, notToken(err.Error())
	}
	if err := x.judgeClaims(p); err != nil {
		return Token{}, err
	}
	t := Token{Issuer: p.Issuer, Subject: p.Subject, Audience: p.Audience, Issued: time.Unix(p.Issued, 0).UTC(), Expires: time.Unix(p.Expires, 0).UTC(),
		Verdict: p.Verdict, Platform: p.Platform, Class: p.Class, Policy: p.Policy, PolicyVersion: p.Version, Nonce: p.Nonce, Claims: data}
	if p.Cnf != nil {
		t.Confirmation = Confirmation{jwk: p.Cnf.JWK, id: p.Cnf.KeyID, room: p.Cnf.Room}
	}
	return t, nil
}

func (x Expect) judgeClaims(p payload) error {
	issued, before, expires := time.Unix(p.Issued, 0), time.Unix(p.NotBefore, 0), time.Unix(p.Expires, 0)
	switch {
	case p.Issuer != x.Shape.Issuer(x.Base):
		return verdict.NotGenuine("token.issuer", x.Shape.Issuer(x.Base), orNone(p.Issuer), "a token of another issuer says nothing here")
	case p.Audience != x.Audience:
		return verdict.NotGenuine("token.audience", verdict.Short(x.Audience), orNone(p.Audience), "ask for a token for this audience: one for another is refused")
	case p.Issued <= 0 || p.Expires <= 0 || expires.Sub(issued) > Lifetime || before.Before(issued):
		return verdict.NotGenuine("token.lifetime", fmt.Sprintf("times no more than %v apart", Lifetime), fmt.Sprintf("%v", expires.Sub(issued)), "ask for a new token")
	case x.Now.After(expires.Add(Skew)):
		return verdict.Refuse("token.expired", "a token that is still good", fmt.Sprintf("one that expired %v ago", x.Now.Sub(expires).Round(time.Second)), "attest again")
	case x.Now.Before(before.Add(-Skew)):
		return verdict.Refuse("token.expired", "a token that is good already", fmt.Sprintf("one that is not for another %v", before.Sub(x.Now).Round(time.Second)), "set the clock right")
	case len(x.Nonce) > 0 && !bytes.Equal(x.Nonce, p.Nonce):
		return verdict.NotGenuine("token.nonce", "the nonce asked for", "another", "ask for a token for this nonce")
	case len(x.Nonce) == 0 && p.Fresh != ByService && (p.Fresh != ByRelyingParty || !x.InsecureAnyNonce):
		return verdict.NotGenuine("token.nonce", "evidence for a challenge of the service, or for a nonce of the relying party's own", "a nonce that this relying party did not choose: the evidence may be old", "choose a nonce, and look for it in the token")
	case (p.Cnf == nil || p.Cnf.KeyID == "") && !x.Shape.Bearer:
		return verdict.NotGenuine("token.key-binding", "a token that names its holder's key (cnf)", "none", "ask for a new token")
	case x.Shape.Name == EAR().Name && (p.Profile != Profile || p.Status != string(p.Verdict) || p.OldStatus != p.Status):
		return verdict.NotGenuine("token.profile", "an attestation result of profile "+Profile, orNone(p.Profile), "ask a service of this version")
	case p.Verdict == attest.Warning && !x.AcceptWarning:
		return verdict.Refuse("token.verdict", string(attest.Affirming), string(attest.Warning), "mend what the result's checks name, or accept warnings")
	case p.Verdict != attest.Affirming && p.Verdict != attest.Warning:
		return verdict.Refuse("token.verdict", string(attest.Affirming), orNone(string(p.Verdict)), "mend what the result's checks name")
	case p.Class == agreement.Software && !x.InsecureAcceptSoftware:
		return verdict.Refuse("token.class", "a platform that keeps somebody out", "INSECURE: software platform", "use hardware; tokens about software are for development")
	case p.Class != agreement.Confidential && p.Class != agreement.IntegrityOnly && p.Class != agreement.Software:
		return verdict.NotGenuine("token.class", "a protection class", orNone(string(p.Class)), "ask for a new token")
	}
	return nil
}

// orNone shows what came, or that nothing did.
func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return verdict.Short(text)
}
