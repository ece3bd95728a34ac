package demo

import (
	"context"
	"encoding/hex"
	"net/http"
	"sync"

	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/client"
	"strongroom.dev/ear"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// attester is a room that has evidence made and a key of its own.
type attester struct {
	root     keys.Signer
	measured dev.Measurement
	key      *keys.SigningKey
	public   ear.Confirmation // of the key, as tokens are bound to it

	mu      sync.Mutex
	altered map[string]dev.Measurement // rooms of the fleet that run something else
}

func newAttester(root keys.Signer, m dev.Measurement) (*attester, error) {
	key, err := keys.GenerateSigningKey(keys.ECDSAP256)
	if err != nil {
		return nil, err
	}
	public, err := confirmed(key.Public())
	return &attester{root: root, measured: m, key: key, public: public, altered: map[string]dev.Measurement{}}, err
}

// confirmed is a key as tokens are bound to it.
func confirmed(key keys.PublicKey) (ear.Confirmation, error) {
	room, err := ear.ConfirmRoom(key)
	if err != nil {
		return room, err
	}
	return ear.ConfirmJWK(room.JWK())
}

// newNonce gives 32 random bytes.
func newNonce() []byte {
	a, b := keys.RandomID(), keys.RandomID()
	return append(a[:], b[:]...)
}

// quote has evidence made as the launcher of dev makes it.
func quote(root keys.Signer, m dev.Measurement, reportData [64]byte) ([]byte, error) {
	e, err := dev.Sign(root, m, attest.InitData([]byte("strongroom demo attestation")), reportData)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(e)
}

// answer makes evidence that carries a nonce and no key.
func (a *attester) answer(nonce []byte) ([]byte, error) {
	var data [64]byte
	copy(data[:], nonce)
	return quote(a.root, a.measured, data)
}

// handler answers watchers, one path for each room.
func (a *attester) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{room}", func(w http.ResponseWriter, r *http.Request) {
		nonce, err := hex.DecodeString(r.FormValue("nonce"))
		if err != nil || len(nonce) != 32 {
			refuse(w, verdict.Misuse("nonce", "64 hex digits", verdict.Short(r.FormValue("nonce")), "send a nonce"))
			return
		}
		var data [64]byte
		copy(data[:], nonce)
		a.mu.Lock()
		m, found := a.altered[r.PathValue("room")]
		a.mu.Unlock()
		if !found {
			m = a.measured
		}
		evidence, err := quote(a.root, m, data)
		if err != nil {
			refuse(w, err)
			return
		}
		w.Write(evidence)
	})
	return mux
}

// alter has a room of the fleet run something else from now on.
func (a *attester) alter(room string, m dev.Measurement) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.altered[room] = m
}

// asked is how an attester answers a challenge; attacks change it.
type asked struct {
	root     keys.Signer
	measured dev.Measurement
	audience string
	// spoil changes what is sent, after the evidence is made.
	spoil func(*verifier.Request) error
}

// attest asks for a challenge, has evidence made that binds it and the attester's key, and
// sends both.
func (a *attester) attest(ctx context.Context, url string, change func(*asked) error) (answer verifier.Answer, err error) {
	how := asked{root: a.root, measured: a.measured, audience: audience}
	if change != nil {
		if err := change(&how); err != nil {
			return answer, err
		}
	}
	service := client.NewAttestation(url, nil)
	c, err := service.Challenge(ctx, verifier.ChallengeRequest{Audience: how.audience})
	if err != nil {
		return answer, err
	}
	data, err := ear.Binding{Nonce: attest.NonceOf(c.Challenge), Key: a.public}.ReportData()
	if err != nil {
		return answer, err
	}
	r := verifier.Request{Challenge: c.Challenge, Key: a.public.JWK(), Audience: how.audience, Policy: "rooms"}
	if r.Evidence, err = quote(how.root, how.measured, data); err != nil {
		return answer, err
	}
	if how.spoil != nil {
		if err := how.spoil(&r); err != nil {
			return answer, err
		}
	}
	return service.Attest(ctx, r)
}

// enter shows a token at a door, and proves that the attester holds the key in it.
func (a *attester) enter(ctx context.Context, url, token string) (string, error) {
	challenge, err := exchange(ctx, http.MethodGet, url+"/challenge", nil)
	if err != nil {
		return "", err
	}
	signature, err := a.key.Sign(entryType, entryDigest(string(challenge), token))
	if err != nil {
		return "", err
	}
	body, err := wire.Marshal(entry{Token: token, Challenge: string(challenge), Key: a.key.Public(), Signature: signature})
	if err != nil {
		return "", err
	}
	welcome, err := exchange(ctx, http.MethodPost, url+"/enter", body)
	return string(welcome), err
}
