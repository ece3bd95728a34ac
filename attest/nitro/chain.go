package nitro

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
)

const fixDocument = "take a new document from the enclave, as its NSM gives it"

// chain verifies the certificates of a document, root to signer, each by the one before it,
// at the time the document says it was made. The bundle starts with the root, which must be
// the pinned one, to the byte.
func (x *examination) chain() error {
	const expected = "a chain of P-384 certificates from AWS's root aws.nitro-enclaves to the signer"
	d := x.document
	if x.root == nil || !bytes.Equal(d.bundle[0].Raw, x.root.Raw) {
		return x.invalid("root", "AWS's root aws.nitro-enclaves", fmt.Sprintf("%.80q with another key or certificate", d.bundle[0].Subject.CommonName), fixDocument)
	}
	chain := append(d.bundle[:len(d.bundle):len(d.bundle)], d.certificate)
	for i, c := range chain {
		if problem := x.link(chain, i); problem != "" {
			return x.invalid("chain", expected, fmt.Sprintf("%.80q %s", c.Subject.CommonName, problem), fixDocument)
		}
	}
	x.pass("chain", expected, fmt.Sprintf("%d certificates, every signature verifies", len(chain)))
	return nil
}

// link says what is wrong with one certificate of a chain that starts with the root.
func (x *examination) link(chain []*x509.Certificate, i int) string {
	c := chain[i]
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || key.Curve != elliptic.P384():
		return "has a key that is not one of P-384"
	case c.SignatureAlgorithm != x509.ECDSAWithSHA384:
		return "is not signed with ECDSA and SHA-384"
	case len(c.UnhandledCriticalExtensions) != 0:
		return "has critical extensions not known here"
	case x.document.time.Before(c.NotBefore) || x.document.time.After(c.NotAfter):
		return fmt.Sprintf("was valid from %s to %s, and the document is of %s", stamp(c.NotBefore), stamp(c.NotAfter), stamp(x.document.time))
	}
	last := i == len(chain)-1
	if last && (c.IsCA || !c.BasicConstraintsValid || c.KeyUsage&x509.KeyUsageDigitalSignature == 0) {
		return "may not sign documents"
	}
	if !last && (!c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0 || depth(c) < len(chain)-2-i) {
		return "may not stand where it does"
	}
	if i > 0 && (!bytes.Equal(c.RawIssuer, chain[i-1].RawSubject) || c.CheckSignatureFrom(chain[i-1]) != nil) {
		return fmt.Sprintf("is not signed by %.80q", chain[i-1].Subject.CommonName)
	}
	return ""
}

// depth gives how many certificates of authorities may follow one.
func depth(c *x509.Certificate) int {
	if c.MaxPathLen < 0 || c.MaxPathLen == 0 && !c.MaxPathLenZero {
		return maxCertificates
	}
	return c.MaxPathLen
}

// dates checks that the verifier's time is one at which all certificates are valid. The
// signer's live three hours, an instance's a day.
func (x *examination) dates() {
	var from, to time.Time
	for _, c := range append(x.document.bundle[:len(x.document.bundle):len(x.document.bundle)], x.document.certificate) {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if to.IsZero() || c.NotAfter.Before(to) {
			to = c.NotAfter
		}
	}
	expected := "a time when all certificates are valid, " + stamp(from) + " to " + stamp(to)
	switch {
	case x.now.Before(from.Add(-skew)):
		x.fail("dates", expected, fmt.Sprintf("%s, %s too early", stamp(x.now), from.Sub(x.now).Round(time.Second)), "set the clock right")
	case x.now.After(to):
		x.fail("dates", expected, fmt.Sprintf("%s, %s too late", stamp(x.now), x.now.Sub(to).Round(time.Second)), "ask the enclave for a new document; judge a recorded one as of its time with --at")
	default:
		x.pass("dates", expected, stamp(x.now))
	}
}

// timestamp checks that the document is not from the future. How old it may be is for the
// verifier's nonce to say, and for the signer's certificate, which lives three hours.
func (x *examination) timestamp() {
	expected := fmt.Sprintf("a document made before now, give or take %s", skew)
	age := x.now.Sub(x.document.time).Round(time.Second)
	if age < -skew {
		x.fail("timestamp", expected, fmt.Sprintf("one made at %s, %s after now", stamp(x.document.time), -age), "set the clock right")
		return
	}
	x.pass("timestamp", expected, fmt.Sprintf("one made at %s, %s ago", stamp(x.document.time), max(age, 0)))
}

// revocation looks at what CRLs the caller has. AWS names CRLs in the certificates of
// regions and zones, and tells verifiers to do without (user guide, "Verifying the root of
// trust", section 3.2): the certificates are replaced every few days or hours.
func (x *examination) revocation() {
	const expected = "no certificate of the chain revoked"
	chain := append(x.document.bundle[:len(x.document.bundle):len(x.document.bundle)], x.document.certificate)
	checked := 0
	for i, issuer := range chain[:len(chain)-1] {
		subject := chain[i+1]
		lists := endorse.RevocationBy(issuer.RawSubject, x.crls, endorse.SignedCRL(issuer))
		if since, revoked := lists.Revoked(subject.SerialNumber); revoked { // by an old list too
			x.fail("revocation", expected, fmt.Sprintf("%.80q, revoked %s", subject.Subject.CommonName, stamp(since)), "move the enclave to another instance, and ask AWS why")
			return
		}
		if current, err := lists.Current(x.now); err == nil {
			checked++
			x.used = append(x.used, endorse.VersionOfCRL(current))
		}
	}
	if checked == 0 {
		x.warn("revocation", expected, "no current list at hand; AWS advises to do without, since its certificates live hours to days")
		return
	}
	x.pass("revocation", expected, fmt.Sprintf("%d current lists name none of them", checked))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Notes of checks.

func (x *examination) pass(id, expected, got string) {
	x.checks = append(x.checks, verdict.Check{ID: string(Name) + "." + id, OK: true, Expected: expected, Got: got})
}

func (x *examination) warn(id, expected, got string) {
	x.pass(id, expected, got)
	x.warnings = append(x.warnings, string(Name)+"."+id)
}

func (x *examination) fail(id, expected, got, fix string) {
	x.checks = append(x.checks, verdict.Check{ID: string(Name) + "." + id, Expected: expected, Got: got, Fix: fix})
}

// invalid is for what is not genuine.
func (x *examination) invalid(id, expected, got, fix string) error {
	return verdict.NotGenuine(string(Name)+"."+id, expected, got, fix)
}
