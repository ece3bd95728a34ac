package arm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.Hash
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"strongroom.dev/arm"
	"strongroom.dev/verdict"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// raw is CBOR that is written as it is; pairs are the members of a map, key, value, key, value.
type (
	raw     []byte
	pairs   []any
	nothing struct{}
)

// set gives the pairs with one member's value changed, or added; a value of nothing{} leaves it
// out.
func (p pairs) set(key, value any) pairs {
	var out pairs
	found := false
	for i := 0; i < len(p); i += 2 {
		if p[i] != key {
			out = append(out, p[i], p[i+1])
			continue
		}
		found = true
		if value != any(nothing{}) {
			out = append(out, key, value)
		}
	}
	if !found {
		out = append(out, key, value)
	}
	return out
}

func head(major byte, n uint64) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 1<<8:
		return []byte{major<<5 | 24, byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
	}
	return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(n))
}

func cborOf(v any) []byte {
	switch v := v.(type) {
	case nil:
		return []byte{0xf6}
	case raw:
		return v
	case int:
		if v < 0 {
			return head(1, uint64(-1-v))
		}
		return head(0, uint64(v))
	case string:
		return append(head(3, uint64(len(v))), v...)
	case []byte:
		return append(head(2, uint64(len(v))), v...)
	case []any:
		out := head(4, uint64(len(v)))
		for _, x := range v {
			out = append(out, cborOf(x)...)
		}
		return out
	case pairs:
		out := head(5, uint64(len(v)/2))
		for _, x := range v {
			out = append(out, cborOf(x)...)
		}
		return out
	}
	panic(fmt.Sprintf("%T", v))
}

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
	payload := cborOf(claims)
	h := map[elliptic.Curve]crypto.Hash{elliptic.P256(): crypto.SHA256, elliptic.P384(): crypto.SHA384, elliptic.P521(): crypto.SHA512}[key.Curve].New()
	h.Write(cborOf([]any{"Signature1", []byte(header), []byte{}, payload}))
	r, s, err := ecdsa.Sign(rand.Reader, key, h.Sum(nil))
	if err != nil {
		panic(err)
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	signature := append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	return append([]byte{0xd2}, cborOf([]any{[]byte(header), pairs{}, payload, signature})...)
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
	return cborOf(pairs{1, 2, -1, 2, -2, point[1:49], -3, point[49:]})
}

func realmClaims(rak []byte) pairs {
	return pairs{265, "tag:arm.com,2023:realm#1.0.0", 10, fill(8, 64), 44235, append(fill(4, 48), make([]byte, 16)...), 44238, fill(3, 32),
		44239, []any{make([]byte, 32), fill(1, 32), make([]byte, 32), make([]byte, 32)}, 44236, "sha-256", 44237, rak, 44240, "sha-256"}
}

// collection is a CCA token of the older form.
func collection(platform, realm []byte) []byte {
	return append([]byte{0xd9, 0x01, 0x8f}, cborOf(pairs{44234, platform, 44241, realm})...)
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
