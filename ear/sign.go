package ear

import (
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Sign makes a token that carries the attester's key. It refuses shapes that are bearer
// credentials, for which there is [Ring.Seal], and results that are contraindicated. base is the
// service's address, without the shape's path.
func (r Ring) Sign(base string, s Statement, now time.Time) (string, error) {
	if r.shape.Bearer {
		return "", verdict.Misuse("token.shape", "a token that carries its holder's key", "a bearer token in clear", "bearer tokens leave sealed to the room's HPKE key only")
	}
	return r.sign(base, s, now)
}

// Sealed is a bearer token that only the room can read (R16).
type Sealed struct {
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	// Evidence is the digest of the evidence that the token was given for.
	Evidence wire.Digest `json:"evidence"`
	// Sealed is HPKE's output: encapsulated key, then ciphertext.
	Sealed wire.Bytes `json:"sealed"`
}

func (s Sealed) info() []byte {
	return wire.Tuple("strongroom/sealed-token/v1", []byte(s.Issuer), []byte(s.Audience), s.Evidence[:])
}

// Seal makes a bearer token and seals it to the room's HPKE key, which the evidence must have
// bound: that is for the caller to have checked.
func (r Ring) Seal(base string, s Statement, to keys.HPKEPublicKey, now time.Time) (Sealed, error) {
	if !r.shape.Bearer {
		return Sealed{}, verdict.Misuse("token.shape", "a bearer token", "one of shape "+r.shape.Name, "tokens with the holder's key are signed, not sealed")
	}
	if to.IsZero() {
		return Sealed{}, verdict.Refuse("token.sealing", "an HPKE key of the room", "none", "have the room make one, and the evidence bind it: bearer tokens leave in no other way")
	}
	token, err := r.sign(base, s, now)
	if err != nil {
		return Sealed{}, err
	}
	sealed := Sealed{Issuer: r.shape.Issuer(base), Audience: s.Audience, Evidence: s.Evidence}
	sealed.Sealed, err = to.Seal(sealed.info(), []byte(token))
	return sealed, err
}

// Open gives the token inside, in the room.
func (s Sealed) Open(key *keys.HPKEPrivateKey) (string, error) {
	token, err := key.Open(s.info(), s.Sealed)
	if err != nil {
		return "", verdict.NotGenuine("token.sealing", "a token sealed to this room, for this audience and evidence", "something else", "ask again; somebody on the way exchanged answers")
	}
	return string(token), nil
}

func (r Ring) sign(base string, s Statement, now time.Time) (string, error) {
	if err := CheckBase(base); err != nil {
		return "", err
	}
	if now.IsZero() {
		return "", verdict.Misuse("token.time", "the time", "none", "a defect in the issuer: report it")
	}
	if err := s.check(r.shape); err != nil {
		return "", err
	}
	k, err := r.current(now)
	if err != nil {
		return "", err
	}
	claims, err := s.claims(r.shape, base, now)
	if err != nil {
		return "", err
	}
	payload, err := wire.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("ear: %w", err)
	}
	token, err := compact(k.signer, payload)
	if err == nil && len(token) > MaxToken {
		return "", verdict.Refuse("token.size", fmt.Sprintf("a token of at most %d bytes", MaxToken), fmt.Sprintf("%d bytes", len(token)), "name fewer measurements in the policy")
	}
	return token, err
}

func compact(signer jose.Signer, payload []byte) (string, error) {
	object, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return object.CompactSerialize()
}
