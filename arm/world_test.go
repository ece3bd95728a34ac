package arm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.Hash
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"strongroom.dev/arm"
	"strongroom.dev/internal/cbortest"
	"strongroom.dev/verdict"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// raw, pairs and nothing are what CBOR is written from.
type (
	raw     = cbortest.Raw
	pairs   = cbortest.Map
	nothing = cbortest.Omit
)

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// device has a key of each kind, made once.
type device struct {
	iak, cpak, rak *ecdsa.PrivateKey
}

func newDevice() *device {
	return &device{must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))}
}

func spki(key *ecdsa.PrivateKey) []byte { return must(x509.MarshalPKIXPublicKey(key.Public())) }

// sign makes a tagged COSE_Sign1 with the algorithm of the key's curve.
func sign(claims any, key *ecdsa.PrivateKey) []byte {
	header := map[elliptic.Curve]raw{elliptic.P256(): {0xa1, 1, 0x26}, elliptic.P384(): {0xa1, 1, 0x38, 0x22}, elliptic.P521(): {0xa1, 1, 0x38, 0x23}}[key.Curve]
	return signWith(header, claims, key)
}

func signWith(header raw, claims any, key *ecdsa.PrivateKey) []byte {
	return append([]byte{0xd2}, cbortest.Sign1(header, pairs{}, cbortest.Encode(claims), key)...)
}

func instanceID(b byte) []byte { return append([]byte{1}, fill(b, 32)...) }

func components() []any {
	return []any{pairs{1, "BL", 2, fill(1, 32), 4, "1.0", 5, fill(2, 32)}, pairs{1, "M1", 2, fill(3, 48), 5, fill(2, 32), 6, "sha-384"}}
}

// psaClaims are a device's, in the profile of RFC 9783.
func psaClaims() pairs {
	return pairs{265, "tag:psacertified.org,2023:psa#tfm", 10, fill(9, 32), 256, instanceID(7), 2394, -3, 2395, 0x3001, 2396, fill(5, 32), 268, fill(6, 32),
		2398, "1234567890123-12345", 2399, components(), 2400, "https://verifier.example"}
}

func psa1Claims() pairs {
	return pairs{-75000, "PSA_IOT_PROFILE_1", -75001, 1, -75002, 0x3000, -75003, fill(5, 32), -75004, fill(6, 32), -75005, "1234567890123", -75006, components(), -75008, fill(9, 48), -75009, instanceID(7)}
}

// platformClaims are a CCA platform's, that vouch for a realm's key.
func platformClaims(rak []byte) pairs {
	sum := sha256.Sum256(rak)
	return pairs{265, "tag:arm.com,2023:cca_platform#1.0.0", 10, sum[:], 256, instanceID(7), 2395, 0x3000, 2396, fill(5, 32), 2399, components(), 2401, []byte{1, 2, 3}, 2402, "sha-256"}
}

// coseKey is a RAK as newer profiles write it.
func coseKey(key *ecdsa.PrivateKey) []byte {
	point := must(key.PublicKey.Bytes())
	return cbortest.Encode(pairs{1, 2, -1, 2, -2, point[1:49], -3, point[49:]})
}

func realmClaims(rak []byte) pairs {
	return pairs{265, "tag:arm.com,2023:realm#1.0.0", 10, fill(8, 64), 44235, append(fill(4, 48), make([]byte, 16)...), 44238, fill(3, 32),
		44239, []any{make([]byte, 32), fill(1, 32), make([]byte, 32), make([]byte, 32)}, 44236, "sha-256", 44237, rak, 44240, "sha-256"}
}

// collection is a CCA token of the older form.
func collection(platform, realm []byte) []byte {
	return append([]byte{0xd9, 0x01, 0x8f}, cbortest.Encode(pairs{44234, platform, 44241, realm})...)
}

// cca is a token of a genuine realm, after changes to its claims.
func (d *device) cca(platform, realm func(pairs) pairs) []byte {
	p, r := platformClaims(coseKey(d.rak)), realmClaims(coseKey(d.rak))
	if platform != nil {
		p = platform(p)
	}
	if realm != nil {
		r = realm(r)
	}
	return collection(sign(p, d.cpak), sign(r, d.rak))
}

// outcome sums up an examination: "genuine" or the failed checks, or the check that says why
// a token is not genuine.
func outcome(r *arm.Result, err error) string {
	var e *verdict.Error
	if errors.As(err, &e) {
		return e.Kind.String() + " " + e.Check
	}
	if err != nil {
		return err.Error()
	}
	var failed []string
	for _, c := range r.Checks {
		if !c.OK {
			failed = append(failed, c.ID)
		}
	}
	if failed == nil && r.Genuine {
		return "genuine"
	}
	return strings.Join(failed, " ")
}

func checkResult(t *testing.T, name string, r *arm.Result, err error) {
	t.Helper()
	switch {
	case err != nil && (r != nil || verdict.As(err).Fix == "" || verdict.As(err).Expected == ""):
		t.Errorf("%s: unexplained: %v", name, err)
	case err == nil && !r.Genuine && (len(r.Claims) > 0 || r.Measurements != nil || !r.Root.IsZero() || !r.Debug || r.Challenge != nil):
		t.Errorf("%s: something is said without a signature: %+v", name, r)
	}
}
