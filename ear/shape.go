package ear

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"strongroom.dev/verdict"
)

// Algorithm is how tokens of a shape are signed, by its name in JOSE (RFC 7518).
type Algorithm = jose.SignatureAlgorithm

// The algorithms there are. The RSA ones are for clients that take no other; their keys have
// 3,072 bits.
const (
	ES256 Algorithm = jose.ES256
	ES384 Algorithm = jose.ES384
	PS384 Algorithm = jose.PS384
	RS256 Algorithm = jose.RS256
)

// Shape is a kind of token. The zero Shape signs and verifies nothing.
type Shape struct {
	// Name is also the path of the shape's issuer below the service's address.
	Name string
	// Type is the token's typ header, which no other shape has.
	Type string
	// Algorithms are those a key of this shape may have, the usual one first.
	Algorithms []Algorithm
	// Bearer says that whoever holds the token can use it, so that it leaves sealed only.
	Bearer bool
	// Certified says that the key set has certificates by an [Authority], without which the clients
	// that know the shape take no key.
	Certified bool
}

// EAR is the shape of attestation results, for relying parties that know them.
func EAR() Shape {
	return Shape{Name: "ear", Type: "eat+jwt", Algorithms: []Algorithm{ES256, ES384}}
}

// Federation is the shape that identity federation of clouds and JWT login of vaults take. They
// ask for no proof of a key, so it is a bearer credential.
func Federation() Shape {
	return Shape{Name: "federation", Type: "federation+jwt", Algorithms: []Algorithm{ES256, ES384, RS256}, Bearer: true}
}

// MAA is the shape with the claims of Microsoft Azure Attestation, for secure key release: the
// vault wraps what it releases to the key inside the token.
func MAA() Shape {
	return Shape{Name: "maa", Type: "maa+jwt", Algorithms: []Algorithm{RS256, ES256}}
}

// ITA is the shape with the claims of Intel Trust Authority.
func ITA() Shape {
	return Shape{Name: "ita", Type: "ita+jwt", Algorithms: []Algorithm{PS384, RS256}, Certified: true}
}

// Shapes lists every shape.
func Shapes() []Shape { return []Shape{EAR(), Federation(), MAA(), ITA()} }

// Issuer gives the issuer URL of the shape, below a service's own address.
func (s Shape) Issuer(base string) string { return strings.TrimSuffix(base, "/") + "/" + s.Name }

func (s Shape) known() error {
	for _, k := range Shapes() {
		if s.Name == k.Name && s.Type == k.Type && s.Bearer == k.Bearer && s.Certified == k.Certified && slices.Equal(s.Algorithms, k.Algorithms) {
			return nil
		}
	}
	return verdict.Misuse("token.shape", "one of the shapes of spec/ear.md", fmt.Sprintf("%q", s.Name), "use ear.EAR() or another of them")
}

// CheckBase refuses what can't be the address of a service: issuers are compared letter by
// letter, so it has to be written in one way only. Clouds take https only; http is for tests.
func CheckBase(base string) error {
	u, err := url.Parse(base)
	ok := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" &&
		u.String() == base && !strings.HasSuffix(base, "/") && strings.ToLower(u.Host) == u.Host
	if !ok {
		return verdict.Misuse("issuer", "an address such as https://attest.example.org, lower case, without / at its end, query or fragment", orNone(base), "write it as clients will see it")
	}
	return nil
}
