package demo

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"strongroom.dev/ear"
)

// onTokens are attacks on what the relying party is shown.
func (x *forger) onTokens() []attempt {
	return []attempt{
		{"token for another audience", x.otherToken, []string{"token.audience"}},
		x.shown("token with a changed claim", x.changeClaim, "token.signature"),
		x.shown("token signed with a key in its own header", x.bringKey, "token.header"),
		x.shown("token signed with another key under the issuer's key name", x.takeName, "token.signature"),
		{"token shown after it expired", x.showLate, []string{"token.expired"}},
		{"token shown by somebody else", x.steal, []string{"door.holder"}},
	}
}

// shown is an attack with a token made of the honest one.
func (x *forger) shown(name string, forge func(token string) (string, error), wants ...string) attempt {
	return attempt{name, func(ctx context.Context) (string, error, error) {
		forged, err := forge(x.token)
		if err != nil {
			return "", nil, err
		}
		_, refusal := x.attester.enter(ctx, x.doorURL, forged)
		return byDoor, refusal, nil
	}, wants}
}

// otherToken shows a genuine token that is for somebody else.
func (x *forger) otherToken(ctx context.Context) (string, error, error) {
	answer, err := x.attest(ctx, func(how *asked) error { how.audience = otherAudience; return nil })
	if err != nil {
		return "", nil, err
	}
	_, refusal := x.attester.enter(ctx, x.doorURL, answer.Token)
	return byDoor, refusal, nil
}

// steal shows the attester's token with a key of one's own.
func (x *forger) steal(ctx context.Context) (string, error, error) {
	_, refusal := x.other.enter(ctx, x.doorURL, x.token)
	return byDoor, refusal, nil
}

// showLate has a token checked an hour from now: the call is told the time, so that nobody waits.
func (x *forger) showLate(ctx context.Context) (string, error, error) {
	return x.byCommand(ctx, "strongroom attestation token", "attestation", "token", x.path("token.jwt"), "--issuer", x.issuer, "--audience", audience,
		"--accept-warning", "--insecure-allow-software", "--at", time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// claimed gives the claims of a token with the platform called a confidential one.
func claimed(token string) ([]string, []byte, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil, broken("demo.token", "a token of three parts", "another")
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, nil, err
	}
	better := bytes.Replace(claims, []byte(`"strongroom_class":"software"`), []byte(`"strongroom_class":"confidential"`), 1)
	if bytes.Equal(better, claims) {
		return nil, nil, broken("demo.token", "a token that says software", string(claims))
	}
	return parts, better, nil
}

// changeClaim calls the platform confidential and leaves the signature as it was.
func (x *forger) changeClaim(token string) (string, error) {
	parts, claims, err := claimed(token)
	if err != nil {
		return "", err
	}
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString(claims) + "." + parts[2], nil
}

// bringKey signs such claims anew, with the key to check them in the header.
func (x *forger) bringKey(token string) (string, error) {
	return resign(token, func(key *ecdsa.PrivateKey, _ string) (jose.SigningKey, bool) {
		return jose.SigningKey{Algorithm: jose.ES256, Key: key}, true
	})
}

// takeName signs such claims anew, under the name of the issuer's key.
func (x *forger) takeName(token string) (string, error) {
	return resign(token, func(key *ecdsa.PrivateKey, name string) (jose.SigningKey, bool) {
		return jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: name}}, false
	})
}

func resign(token string, with func(key *ecdsa.PrivateKey, name string) (jose.SigningKey, bool)) (string, error) {
	_, claims, err := claimed(token)
	if err != nil {
		return "", err
	}
	honest, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{ear.ES256})
	if err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	signing, embed := with(key, honest.Signatures[0].Header.KeyID)
	signer, err := jose.NewSigner(signing, (&jose.SignerOptions{EmbedJWK: embed}).WithType(jose.ContentType(ear.EAR().Type)))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// publicPEM is a key of the attester's own, that the service shall trust.
func publicPEM() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

// writeCertificate makes a root of one's own.
func writeCertificate(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Mallory's root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
