package endorse_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"strongroom.dev/endorse"
)

// jwk writes a key of an elliptic curve as JSON.
func jwk(key *ecdsa.PublicKey, more string) string {
	point := must(key.Bytes())
	size := (len(point) - 1) / 2
	b64 := base64.RawURLEncoding.EncodeToString
	return `{"kty":"EC","crv":"` + key.Curve.Params().Name + `","x":"` + b64(point[1:1+size]) + `","y":"` + b64(point[1+size:]) + `"` + more + `}`
}

// TestKeys reads keys in every form they have, and leaves out what is none.
func TestKeys(t *testing.T) {
	p256 := &must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).PublicKey
	p521 := &must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).PublicKey
	pq := must(mldsax509.MarshalPKIXPublicKey(must(mldsa.GenerateKey(mldsa.MLDSA87())).PublicKey()))
	in := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	device := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	request := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, device))
	good := jwk(p256, "")
	for name, c := range map[string]struct {
		text string
		want counts
	}{
		"JWK":                {good, counts{endorse.PublicKey: 1}},
		"JWK on P-521":       {jwk(p521, `,"kid":"1","use":"sig"`), counts{endorse.PublicKey: 1}},
		"JWK set":            {`{"keys":[` + good + `,` + jwk(p521, "") + `]}`, counts{endorse.PublicKey: 2}},
		"private JWK":        {jwk(p256, `,"d":"AAAA"`), counts{}},
		"JWK of RSA":         {strings.Replace(good, "EC", "RSA", 1), counts{}},
		"JWK, another curve": {strings.Replace(good, "P-256", "P-384", 1), counts{}},
		"JWK, unknown curve": {strings.Replace(good, "P-256", "secp256k1", 1), counts{}},
		"JWK off the curve":  {strings.NewReplacer(`"x"`, `"y"`, `"y"`, `"x"`).Replace(good), counts{}},
		"JWK without y":      {good[:strings.Index(good, `,"y"`)] + "}", counts{}},
		"JWK, padded":        {strings.Replace(good, `","y"`, `=","y"`, 1), counts{}},
		"ML-DSA-87 in PEM":   {in("PUBLIC KEY", pq), counts{endorse.PublicKey: 1}},
		"ML-DSA cut short":   {in("PUBLIC KEY", pq[:len(pq)-1]), counts{}},
		"request in PEM":     {in("CERTIFICATE REQUEST", request), counts{endorse.X509Request: 1}},
		"request in DER":     {string(request), counts{endorse.X509Request: 1}},
		"request cut short":  {string(request[:len(request)-1]), counts{}},
	} {
		items := endorse.Parse(name, []byte(c.text))
		if got := found(items); len(got) != len(c.want) || got[endorse.PublicKey] != c.want[endorse.PublicKey] || got[endorse.X509Request] != c.want[endorse.X509Request] {
			t.Errorf("%s: %v, expected %v", name, got, c.want)
		}
		if _, err := endorse.NewSet(items...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := endorse.Parse("", []byte(good))[0].Data; string(got) != string(must(x509.MarshalPKIXPublicKey(p256))) {
		t.Error("the key of a JWK is another")
	}
	for name, it := range map[string]endorse.Item{
		"broken request": {Kind: endorse.X509Request, Data: request[1:]},
		"broken ML-DSA":  {Kind: endorse.PublicKey, Data: pq[:100]},
	} {
		if _, err := endorse.NewSet(it); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
