package ear

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Rotation says how long keys sign. The zero Rotation is refused.
type Rotation struct {
	// Every is how long a key signs.
	Every time.Duration
	// Ahead is how long before that it is published, for relying parties that keep key sets.
	Ahead time.Duration
}

// Usual is a rotation for relying parties that read the key set at least daily.
func Usual() Rotation { return Rotation{Every: 30 * 24 * time.Hour, Ahead: 2 * 24 * time.Hour} }

func (r Rotation) check() error {
	if r.Ahead <= 0 || r.Every <= 2*r.Ahead {
		return verdict.Misuse("token.rotation", "keys that sign more than twice as long as they are published before", fmt.Sprintf("%v, %v before", r.Every, r.Ahead), "such as 30 days and 2 days")
	}
	return nil
}

// Ring holds the keys of one shape's issuer: the one that signs now, the next, and old ones
// until the last token they signed has expired. A Ring never changes; [Ring.Advance] gives the
// next one. The zero Ring signs nothing.
type Ring struct {
	shape Shape
	keys  []ringKey // by time
}

type ringKey struct {
	id          string // RFC 7638 thumbprint, SHA-256
	algorithm   Algorithm
	from, until time.Time
	private     crypto.Signer
	signer      jose.Signer
}

// Advance gives the ring as it should be at a time, and whether it differs: with a key that
// signs now, with the next one in good time, without those that nobody needs any more.
func (r Ring) Advance(shape Shape, a Algorithm, every Rotation, now time.Time) (Ring, bool, error) {
	if err := shape.known(); err != nil {
		return r, false, err
	}
	if err := every.check(); err != nil {
		return r, false, err
	}
	if !slices.Contains(shape.Algorithms, a) {
		return r, false, verdict.Misuse("token.algorithm", fmt.Sprintf("one of %v for shape %s", shape.Algorithms, shape.Name), string(a), "choose one of these")
	}
	next := Ring{shape: shape}
	for _, k := range r.keys {
		if now.Before(k.until.Add(Lifetime + 2*Skew)) {
			next.keys = append(next.keys, k)
		}
	}
	changed := len(next.keys) != len(r.keys)
	now = now.UTC().Truncate(time.Second)
	for {
		from := now
		if last := len(next.keys) - 1; last >= 0 && now.Before(next.keys[last].until) {
			from = next.keys[last].until
			if now.Before(from.Add(-every.Ahead)) {
				return next, changed, nil
			}
		}
		k, err := newRingKey(shape, a, from, from.Add(every.Every))
		if err != nil {
			return r, false, err
		}
		next.keys, changed = append(next.keys, k), true
	}
}

func newRingKey(shape Shape, a Algorithm, from, until time.Time) (ringKey, error) {
	var private crypto.Signer
	var err error
	switch a {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ES384:
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 3072)
	}
	if err != nil {
		return ringKey{}, err
	}
	return prepare(shape, ringKey{algorithm: a, from: from, until: until, private: private})
}

// prepare names the key and makes its signer, once for all tokens.
func prepare(shape Shape, k ringKey) (ringKey, error) {
	var err error
	if k.id, err = thumbprint(k.private.Public()); err != nil {
		return k, err
	}
	k.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: k.algorithm, Key: jose.JSONWebKey{Key: k.private, KeyID: k.id}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(shape.Type)))
	return k, err
}

// current gives the key that signs at a time.
func (r Ring) current(now time.Time) (ringKey, error) {
	for _, k := range r.keys {
		if !now.Before(k.from) && now.Before(k.until) {
			return k, nil
		}
	}
	return ringKey{}, &verdict.Error{Kind: verdict.Broken, Check: "token.key", Expected: "a key for " + r.shape.Name + " tokens now", Got: "none", Fix: "let the service renew its keys: is its clock right?"}
}

// Expiry gives when the newest key stops signing.
func (r Ring) Expiry() time.Time {
	if len(r.keys) == 0 {
		return time.Time{}
	}
	return r.keys[len(r.keys)-1].until
}

// KeySet gives the public keys as a JWKS document (RFC 7517), the oldest first.
func (r Ring) KeySet() ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range r.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: string(k.algorithm), Use: "sig"})
	}
	return json.Marshal(set)
}

// Format redacts the keys under every verb.
func (r Ring) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%d keys for %s tokens (redacted)", len(r.keys), r.shape.Name)
}

// ringFile is a ring as its store keeps it.
type ringFile struct {
	Type string        `json:"type"`
	Keys []ringFileKey `json:"keys"`
}

type ringFileKey struct {
	Algorithm string     `json:"algorithm"`
	From      wire.Time  `json:"from"`
	Until     wire.Time  `json:"until"`
	PKCS8     wire.Bytes `json:"pkcs8"`
}

const ringType = "strongroom/token-keys/v1"

// MarshalSecret gives the keys, private halves included, for the ring's own store.
func (r Ring) MarshalSecret() ([]byte, error) {
	f := ringFile{Type: ringType + "/" + r.shape.Name, Keys: []ringFileKey{}}
	for _, k := range r.keys {
		der, err := x509.MarshalPKCS8PrivateKey(k.private)
		if err != nil {
			return nil, err
		}
		f.Keys = append(f.Keys, ringFileKey{string(k.algorithm), wire.At(k.from), wire.At(k.until), der})
	}
	return wire.Marshal(f)
}

// ParseRing reads what [Ring.MarshalSecret] wrote. A ring of another shape is refused: no key
// signs two kinds of token. The error never quotes the text.
func ParseRing(shape Shape, data []byte) (Ring, error) {
	defect := func(what string) error {
		return &verdict.Error{Kind: verdict.Broken, Check: "token.keys", Expected: "the keys of " + shape.Name + " tokens as they were stored", Got: what, Fix: "restore the service's state"}
	}
	if err := shape.known(); err != nil {
		return Ring{}, err
	}
	var f ringFile
	if err := wire.Unmarshal(data, &f); err != nil {
		return Ring{}, defect("another document")
	}
	if f.Type != ringType+"/"+shape.Name || len(f.Keys) > MaxKeys {
		return Ring{}, defect("keys of " + verdict.Short(f.Type))
	}
	r := Ring{shape: shape}
	for _, k := range f.Keys {
		private, err := x509.ParsePKCS8PrivateKey(k.PKCS8)
		signer, ok := private.(crypto.Signer)
		a := Algorithm(k.Algorithm)
		if err != nil || !ok || !slices.Contains(shape.Algorithms, a) || !fits(a, signer.Public()) {
			return Ring{}, defect("a key that does not fit its algorithm")
		}
		key, err := prepare(shape, ringKey{algorithm: a, from: k.From.Time(), until: k.Until.Time(), private: signer})
		if err != nil {
			return Ring{}, defect("a key that can't sign")
		}
		r.keys = append(r.keys, key)
	}
	return r, nil
}

// fits reports whether a public key is of the kind and size that an algorithm needs.
func fits(a Algorithm, public any) bool {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return a == ES256 && k.Curve == elliptic.P256() || a == ES384 && k.Curve == elliptic.P384()
	case *rsa.PublicKey:
		return (a == PS384 || a == RS256) && k.N.BitLen() >= leastRSA && k.N.BitLen() <= maxRSA
	}
	return false
}
