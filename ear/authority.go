package ear

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"strongroom.dev/verdict"
)

// Authority is the service's own certificate authority for the keys of one shape (spec/ear.md,
// section 2.1): the clients that know the shape take no key without a chain of certificates and
// the lists of what each CA revoked. It says that a key is in the key set, and nothing else: who
// believes the key set needs no certificate. An Authority never changes; [Authority.Advance]
// gives the next one. The zero Authority certifies nothing.
type Authority struct {
	issuer string  // the shape's issuer, below which the lists lie
	chains []chain // by time
}

// chain is a root, the CA below it, and the keys that this one certified.
type chain struct {
	root, signing ca
	leaves        []leaf
}

// ca is a certificate authority with its list.
type ca struct {
	certificate *x509.Certificate
	private     crypto.Signer
	list        *x509.RevocationList
}

// leaf is the certificate of the key with an id.
type leaf struct {
	id          string
	certificate *x509.Certificate
}

// The names by which clients tell the certificates of a chain apart: they look for "Root CA" and
// "Signing CA".
const (
	rootName    = "Strongroom token Root CA"
	signingName = "Strongroom token Signing CA"
	leafName    = "Strongroom token key"
)

// Advance gives the authority as it should be at a time for the keys of a ring, and whether it
// differs: with a certificate for every key, with lists that are good for days, without what has
// expired. base is the service's address, which certificates name for good: under another, all
// are made anew.
func (a Authority) Advance(r Ring, base string, now time.Time) (Authority, bool, error) {
	if !r.shape.Certified {
		return a, false, verdict.Misuse("token.certificates", "a shape whose keys are certified", r.shape.Name, "a defect in the issuer: report it")
	}
	if err := CheckBase(base); err != nil {
		return a, false, err
	}
	now = now.UTC().Truncate(time.Second)
	next := Authority{issuer: r.shape.Issuer(base)}
	changed := next.keep(a, now)
	for _, k := range r.keys {
		if _, found := next.chainOf(k.id); found {
			continue
		}
		if err := next.certify(k, now); err != nil {
			return a, false, err
		}
		changed = true
	}
	for i := range next.chains {
		for _, of := range []*ca{&next.chains[i].root, &next.chains[i].signing} {
			if age := now.Sub(of.list.ThisUpdate); age >= 0 && age < listEvery {
				continue
			}
			if err := of.renew(now); err != nil {
				return a, false, err
			}
			changed = true
		}
	}
	return next, changed, nil
}

// keep takes over what is still good, and reports whether anything was left behind. Keys that are
// in no ring any more keep theirs until they expire: other instances may know another ring.
func (a *Authority) keep(old Authority, now time.Time) (less bool) {
	if old.issuer != a.issuer {
		return len(old.chains) > 0
	}
	for i, c := range old.chains {
		leaves := slices.DeleteFunc(slices.Clone(c.leaves), func(l leaf) bool { return !now.Before(l.certificate.NotAfter) })
		less = less || len(leaves) != len(c.leaves)
		if newest := i == len(old.chains)-1; len(leaves) == 0 && (!newest || !now.Before(c.signing.certificate.NotAfter)) {
			less = true
			continue
		}
		a.chains = append(a.chains, chain{c.root, c.signing, leaves})
	}
	return less
}

func (a Authority) chainOf(id string) (chain, bool) {
	for _, c := range a.chains {
		for _, l := range c.leaves {
			if l.id == id {
				return c, true
			}
		}
	}
	return chain{}, false
}

// certify makes a certificate for a key, by the newest chain that lasts as long as it.
func (a *Authority) certify(k ringKey, now time.Time) error {
	until := k.until.Add(Lifetime + 2*Skew)
	if n := len(a.chains); n == 0 || a.chains[n-1].signing.certificate.NotAfter.Before(until) {
		c, err := a.newChain(now)
		if err != nil {
			return err
		}
		a.chains = append(a.chains, c)
	}
	c := &a.chains[len(a.chains)-1]
	t, err := a.template(leafName, now, until)
	if err != nil {
		return err
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	certificate, err := a.sign(t, k.private.Public(), c.signing)
	if err != nil {
		return err
	}
	c.leaves = append(slices.Clone(c.leaves), leaf{k.id, certificate})
	return nil
}

func (a *Authority) newChain(now time.Time) (c chain, err error) {
	until := now.Add(chainLifetime)
	if c.root, err = a.newCA(rootName, nil, now, until); err != nil {
		return c, err
	}
	c.signing, err = a.newCA(signingName, &c.root, now, until)
	return c, err
}

// newCA makes a CA, below another or as a root. Clients take RSA only.
func (a *Authority) newCA(name string, above *ca, now, until time.Time) (ca, error) {
	private, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		return ca{}, err
	}
	t, err := a.template(name, now, until)
	if err != nil {
		return ca{}, err
	}
	t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	t.MaxPathLen, t.MaxPathLenZero = 0, true
	made := ca{private: private}
	if above == nil {
		t.MaxPathLen, t.MaxPathLenZero = 1, false
		above = &ca{certificate: t, private: private}
	}
	if made.certificate, err = a.sign(t, private.Public(), *above); err != nil {
		return ca{}, err
	}
	return made, made.renew(now)
}

// template is a certificate that says whose it is, by the issuer's URL.
func (a *Authority) template(name string, now, until time.Time) (*x509.Certificate, error) {
	issuer, err := url.Parse(a.issuer)
	if err != nil {
		return nil, err
	}
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	serial[0] = serial[0]&0x3f | 0x40
	return &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-backdated), NotAfter: until,
		BasicConstraintsValid: true, SignatureAlgorithm: x509.SHA384WithRSA, URIs: []*url.URL{issuer}}, nil
}

// sign makes the certificate, which names its issuer's list unless it is a root.
func (a *Authority) sign(t *x509.Certificate, public crypto.PublicKey, by ca) (*x509.Certificate, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(der)
	t.SubjectKeyId = id[:20]
	if by.certificate != t {
		t.CRLDistributionPoints = []string{a.issuer + "/crl/" + by.id()}
	}
	if der, err = x509.CreateCertificate(rand.Reader, t, by.certificate, public, by.private); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// id names a CA's list: its key identifier, in hex.
func (c ca) id() string { return hex.EncodeToString(c.certificate.SubjectKeyId) }

// renew makes the next list. It is empty: a key that is withdrawn leaves the key set, which
// clients ask for as often as for the list.
func (c *ca) renew(now time.Time) error {
	number := big.NewInt(1)
	if c.list != nil {
		number.Add(number, c.list.Number)
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: number, ThisUpdate: now.Add(-backdated), NextUpdate: now.Add(listLifetime),
		SignatureAlgorithm: x509.SHA384WithRSA}, c.certificate, c.private)
	if err != nil {
		return err
	}
	c.list, err = x509.ParseRevocationList(der)
	return err
}

// KeySet gives the public keys of a ring as [Ring.KeySet] does, each with its chain (x5c, RFC
// 7517, section 4.7): its own certificate, the CA's, the root's.
func (a Authority) KeySet(r Ring) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range r.keys {
		c, found := a.chainOf(k.id)
		if !found {
			return nil, &verdict.Error{Kind: verdict.Broken, Check: "token.certificates", Expected: "a certificate for every key", Got: "none for one", Fix: "let the service renew its certificates"}
		}
		i := slices.IndexFunc(c.leaves, func(l leaf) bool { return l.id == k.id })
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: string(k.algorithm), Use: "sig",
			Certificates: []*x509.Certificate{c.leaves[i].certificate, c.signing.certificate, c.root.certificate}})
	}
	return json.Marshal(set)
}

// List gives the revocation list of a CA by the last element of its address (DER, RFC 5280,
// section 5); nil if there is none.
func (a Authority) List(id string) []byte {
	for _, c := range a.chains {
		for _, of := range []ca{c.root, c.signing} {
			if of.id() == id {
				return bytes.Clone(of.list.Raw)
			}
		}
	}
	return nil
}

// Format redacts the keys under every verb.
func (a Authority) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%d chains of certificates for %s (keys redacted)", len(a.chains), a.issuer)
}

// thumbprint is a key's id (RFC 7638, SHA-256).
func thumbprint(public crypto.PublicKey) (string, error) {
	print, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(print), err
}
