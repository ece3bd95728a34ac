package ingress

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// token is a JSON Web Token (RFC 7519) in compact form, nothing of it checked but its form.
type token struct {
	algorithm string
	input     []byte // what is signed
	signature []byte
	issuer    string
	subject   string
	audience  []string
	expires   *time.Time
	notBefore *time.Time
}

// parseToken takes a token apart. Members are told apart by case, and none may stand twice:
// an issuer may let its users choose names of some.
func parseToken(text string) (token, error) {
	var t token
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return t, fmt.Errorf("%d parts, expected three", len(parts))
	}
	var raw [3][]byte
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(p); err != nil || strings.ContainsAny(p, "\r\n") {
			return t, fmt.Errorf("part %d is not base64url", i+1)
		}
	}
	t.input, t.signature = []byte(parts[0]+"."+parts[1]), raw[2]
	header, err := members(raw[0])
	if err != nil {
		return t, fmt.Errorf("header: %w", err)
	}
	if _, critical := header["crit"]; critical {
		return t, fmt.Errorf("extensions that must be understood (crit)")
	}
	claims, err := members(raw[1])
	if err != nil {
		return t, fmt.Errorf("claims: %w", err)
	}
	return t, t.read(header, claims)
}

func (t *token) read(header, claims map[string]json.RawMessage) (err error) {
	text := func(from map[string]json.RawMessage, name string, into *string) {
		if value, there := from[name]; there && err == nil {
			if err = json.Unmarshal(value, into); err != nil {
				err = fmt.Errorf("%s is no text", name)
			}
		}
	}
	text(header, "alg", &t.algorithm)
	text(claims, "iss", &t.issuer)
	text(claims, "sub", &t.subject)
	if err != nil {
		return err
	}
	if value, there := claims["aud"]; there {
		var one string
		if json.Unmarshal(value, &one) == nil {
			t.audience = []string{one}
		} else if err := json.Unmarshal(value, &t.audience); err != nil {
			return fmt.Errorf("aud is neither a text nor a list of them")
		}
	}
	if t.expires, err = date(claims, "exp"); err != nil {
		return err
	}
	t.notBefore, err = date(claims, "nbf")
	return err
}

// date reads a NumericDate (RFC 7519, section 2), which may have a fraction.
func date(claims map[string]json.RawMessage, name string) (*time.Time, error) {
	value, there := claims[name]
	if !there {
		return nil, nil
	}
	var seconds float64
	if err := json.Unmarshal(value, &seconds); err != nil || seconds < 0 || seconds > float64(wire.MaxInteger) || math.IsNaN(seconds) {
		return nil, fmt.Errorf("%s is no date", name)
	}
	at := time.Unix(int64(seconds), 0)
	return &at, nil
}

// members reads an object's members.
func members(data []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, fmt.Errorf("no object")
	}
	all := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := name.(string)
		if _, twice := all[key]; !ok || twice {
			return nil, fmt.Errorf("member %.40q stands twice", key)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		all[key] = value
	}
	if _, err := d.Token(); err != nil || d.InputOffset() != int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return nil, fmt.Errorf("something behind the object")
	}
	return all, nil
}

// check takes a token of an issuer: signed by one of its keys, for this audience, of a
// subject that may connect, and in its time by the room's clock.
func (t token) check(by agreement.Issuer, now time.Time) error {
	invalid := func(expected, got string) error {
		return verdict.NotGenuine("ingress.token", expected, verdict.Short(got), "get a new token from the issuer")
	}
	refused := func(expected, got string) error {
		return verdict.Refuse("ingress.token", expected, verdict.Short(got), "get a token for this audience, in its time")
	}
	signed := false
	for _, text := range by.Keys {
		key, err := keys.ParsePublicKey(text)
		if err == nil && key.VerifyJWS(t.algorithm, t.input, t.signature) == nil {
			signed = true
		}
	}
	switch {
	case !signed:
		return invalid("a signature by a key of the issuer, EdDSA or ES256", "none that verifies, alg "+t.algorithm)
	case by.Audience == "" || !slices.Contains(t.audience, by.Audience):
		return refused("the audience "+by.Audience, fmt.Sprintf("%q", t.audience))
	case t.expires == nil:
		return refused("a token that expires", "one that does not")
	case !now.Before(*t.expires):
		return refused("a token that has not expired", "one that did at "+wire.At(*t.expires).String())
	case t.notBefore != nil && now.Before(*t.notBefore):
		return refused("a token that counts already", "one from "+wire.At(*t.notBefore).String()+" on")
	case len(by.Subjects) > 0 && !slices.Contains(by.Subjects, t.subject):
		return refused("a subject that the agreement names", "another")
	}
	return nil
}
