package ingress_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"testing"

	"strongroom.dev/ingress"
)

// jwsKey signs tokens, as an issuer does.
type jwsKey struct {
	algorithm string
	text      string // the public key, as agreements have it
	sign      func(header, claims string) string
}

func newJWSKey(t testing.TB, algorithm string) jwsKey {
	t.Helper()
	token := func(sign func([]byte) []byte) func(header, claims string) string {
		return func(header, claims string) string {
			input := header + "." + claims
			return input + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(input)))
		}
	}
	if algorithm == "EdDSA" {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return jwsKey{algorithm, "ed25519:" + base64.StdEncoding.EncodeToString(public), token(func(in []byte) []byte { return ed25519.Sign(private, in) })}
	}
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	point := must(private.PublicKey.Bytes())
	return jwsKey{algorithm, "ecdsa-p256:" + base64.StdEncoding.EncodeToString(point), token(func(in []byte) []byte {
		hashed := sha256.Sum256(in)
		r, s, err := ecdsa.Sign(rand.Reader, private, hashed[:])
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out
	})}
}

func FuzzToken(f *testing.F) {
	key := newJWSKey(f, "EdDSA")
	f.Add(issuer{key, "https://login.example"}.token(nil))
	f.Add("e30.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) { ingress.ParseToken(text) })
}

func FuzzHello(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Fuzz(func(t *testing.T, data []byte) { ingress.ReadAll(data) })
}
