package ear

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Confirmation is the key of the attester that a token is bound to (cnf, RFC 7800): whoever
// shows the token has to prove that they hold it. The zero Confirmation binds nothing.
type Confirmation struct {
	// jwk is the public key as JSON; nil for keys that JOSE does not know (pairs).
	jwk json.RawMessage
	// id names the key: its RFC 7638 thumbprint (SHA-256, base64url), or a room key's own id.
	id string
	// room is the text of a room's signing key; "" for other keys.
	room string
}

// IsZero reports whether there is no key.
func (c Confirmation) IsZero() bool { return c.id == "" }

// ID names the key.
func (c Confirmation) ID() string { return c.id }

// JWK gives the public key as a JSON Web Key; nil for one that JOSE does not know.
func (c Confirmation) JWK() []byte { return bytes.Clone(c.jwk) }

// Thumbprint gives what evidence binds of a key that came as a JWK (spec/ear.md, section 4): its
// RFC 7638 thumbprint. Zero for room keys, which are bound as spec/evidence.md says.
func (c Confirmation) Thumbprint() wire.Hash {
	raw, err := base64.RawURLEncoding.DecodeString(c.id)
	if err != nil || len(raw) != len(wire.Hash{}) || c.room != "" {
		return wire.Hash{}
	}
	return wire.Hash(raw)
}

// Binds reports whether the token is bound to this room key.
func (c Confirmation) Binds(k keys.PublicKey) bool {
	return !k.IsZero() && c.room == k.String() && c.id == k.ID().String()
}

// MarshalJSON gives the cnf claim.
func (c Confirmation) MarshalJSON() ([]byte, error) {
	if c.IsZero() {
		return nil, fmt.Errorf("no key to bind a token to")
	}
	m := map[string]any{"kid": c.id}
	if c.jwk != nil {
		m["jwk"] = c.jwk
	}
	if c.room != "" {
		m["strongroom_key"] = c.room
	}
	return json.Marshal(m)
}

// ConfirmRoom binds a token to a room's signing key. Where that is a pair of keys, the token
// holds its text, and no JWK: half of a pair proves nothing.
func ConfirmRoom(k keys.PublicKey) (Confirmation, error) {
	if k.IsZero() {
		return Confirmation{}, unbound("none")
	}
	c := Confirmation{id: k.ID().String(), room: k.String()}
	_, encoded, _ := strings.Cut(c.room, ":")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Confirmation{}, unbound("a key without bytes")
	}
	var public any
	switch k.Algorithm() {
	case keys.Ed25519:
		public = ed25519.PublicKey(raw)
	case keys.ECDSAP256:
		if public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw); err != nil {
			return Confirmation{}, unbound("a key that is none")
		}
	default:
		return c, nil
	}
	c.jwk, err = json.Marshal(jose.JSONWebKey{Key: public})
	return c, err
}

// ConfirmJWK binds a token to a public key given as a JWK. Everything in it but the key itself
// is left out: it decides nothing.
func ConfirmJWK(data []byte) (Confirmation, error) {
	var k jose.JSONWebKey
	if len(data) > maxKeySet {
		return Confirmation{}, unbound(fmt.Sprintf("%d bytes", len(data)))
	}
	if err := json.Unmarshal(data, &k); err != nil {
		return Confirmation{}, unbound(err.Error())
	}
	if !k.Valid() || !k.IsPublic() {
		return Confirmation{}, unbound("a key that is not public")
	}
	return confirm(k.Key)
}

// ConfirmPEM binds a token to a public key in PEM, as enclaves hold it. Zeros behind it are
// passed over.
func ConfirmPEM(data []byte) (Confirmation, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.Trim(rest, "\x00\r\n")) != 0 {
		return Confirmation{}, unbound("no PEM block PUBLIC KEY, and nothing else")
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Confirmation{}, unbound(err.Error())
	}
	return confirm(k)
}

func confirm(public any) (Confirmation, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < leastRSA || n > maxRSA {
			return Confirmation{}, unbound(fmt.Sprintf("an RSA key of %d bits", n))
		}
	default:
		return Confirmation{}, unbound(fmt.Sprintf("a key of type %T", public))
	}
	bare := jose.JSONWebKey{Key: public}
	print, err := bare.Thumbprint(crypto.SHA256)
	if err != nil {
		return Confirmation{}, unbound(err.Error())
	}
	c := Confirmation{id: base64.RawURLEncoding.EncodeToString(print)}
	c.jwk, err = json.Marshal(bare)
	return c, err
}

func unbound(got string) error {
	return verdict.Misuse("token.key-binding", "a public key of the attester: EC, Ed25519, or RSA of 2,048 to 8,192 bits", verdict.Short(got), "make a key inside, and have the evidence bind it")
}
