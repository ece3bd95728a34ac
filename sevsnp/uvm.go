package sevsnp

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Whom Microsoft's statements about the firmware of container groups (utility VM, UVM) must
// be from: the issuer as did:x509, by the SHA-256 of Microsoft's root certificate
// "Microsoft Supply Chain RSA Root CA 2022" and the purpose its leaves are for, both as they
// stand in every statement published for Azure container instances and AKS.
const uvmIssuer = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2"

// uvmFeeds are the firmware lines that issuer speaks of.
func uvmFeeds() []string { return []string{"ContainerPlat-AMD-UVM", "ConfAKS-AMD-UVM"} }

// statement is one such statement, its signature and chain verified.
type statement struct {
	issuer, feed string
	svn          int64
	measurement  [48]byte
	signed       time.Time
	signerEnds   time.Time
}

// parseStatement reads a statement and verifies it: signature, chain, and that the chain is
// the issuer's. The chain is judged at the time of signing, which the statement itself says:
// signers' certificates live a year, statements longer.
func parseStatement(data []byte) (*statement, error) {
	b := &budget{}
	s, err := parseSign1(data, b)
	if err != nil {
		return nil, err
	}
	if !s.onlyCritical("") {
		return nil, fmt.Errorf("critical members in its header that are not known here")
	}
	chain, err := x5chain(s.header)
	if err != nil {
		return nil, err
	}
	st := &statement{issuer: s.header.get("iss").text, feed: s.header.get("feed").text, signerEnds: chain[0].NotAfter}
	if cwt := s.header.get("#15"); cwt.kind == aMap { // newer ones carry CWT claims (RFC 9597)
		st.issuer, st.feed = cwt.get("#1").text, cwt.get("#2").text
		st.signed = seconds(cwt.get("#6"))
	} else {
		st.signed = seconds(s.header.get("signingtime"))
	}
	when := st.signed
	if when.IsZero() { // it does not say; then the signer must still be valid, see endorsed
		when = chain[0].NotBefore
	}
	if err := verifyChain(chain, when); err != nil {
		return nil, err
	}
	if err := didX509(st.issuer, chain); err != nil {
		return nil, err
	}
	if err := s.Verify(chain[0].PublicKey); err != nil {
		return nil, err
	}
	return st, st.readPayload(s.Payload, s.header.get("#15").get("svn"), b)
}

func seconds(n node) time.Time {
	if n.kind != aNumber || n.number == 0 || n.number > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(n.number), 0).UTC()
}

// x5chain gives the certificates of the protected header (RFC 9360), leaf first; a
// thumbprint beside them (x5t) must be the leaf's.
func x5chain(header node) ([]*x509.Certificate, error) {
	n := header.get("#33")
	items := n.items
	if n.kind == aBytes {
		items = []node{n}
	}
	if len(items) < 2 || len(items) > 6 {
		return nil, fmt.Errorf("%d certificates in the header, expected 2 to 6", len(items))
	}
	var chain []*x509.Certificate
	for _, it := range items {
		c, err := x509.ParseCertificate(it.bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate in the header: %w", err)
		}
		chain = append(chain, c)
	}
	if x5t := header.get("#34"); x5t.kind != other {
		sum := sha256.Sum256(chain[0].Raw)
		if len(x5t.items) != 2 || x5t.items[0].kind != aNegative || x5t.items[0].number != 15 || !bytes.Equal(x5t.items[1].bytes, sum[:]) {
			return nil, fmt.Errorf("a thumbprint that is not the signer's")
		}
	}
	return chain, nil
}

// verifyChain checks every link of a chain that ends in a self-signed root, and every date
// at one time. Whether the root is to be trusted is for [didX509] and the pinned issuer.
func verifyChain(chain []*x509.Certificate, at time.Time) error {
	for i, c := range chain {
		issuer := chain[min(i+1, len(chain)-1)]
		if !bytes.Equal(c.RawIssuer, issuer.RawSubject) || c.CheckSignatureFrom(issuer) != nil {
			return fmt.Errorf("%.60q is not signed by %.60q", c.Subject.CommonName, issuer.Subject.CommonName)
		}
		if i > 0 && issuerDepth(c) < i-1 {
			return fmt.Errorf("%.60q may not stand so high", c.Subject.CommonName)
		}
		if at.Before(c.NotBefore) || at.After(c.NotAfter) {
			return fmt.Errorf("signed at %s, when %.60q was not valid", date(at), c.Subject.CommonName)
		}
		if len(c.UnhandledCriticalExtensions) != 0 {
			return fmt.Errorf("%.60q has critical extensions not known here", c.Subject.CommonName)
		}
	}
	if chain[0].IsCA || chain[0].KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("%.60q may not sign documents", chain[0].Subject.CommonName)
	}
	return nil
}

// issuerDepth gives how many intermediates may stand below a certificate.
func issuerDepth(c *x509.Certificate) int {
	if c.MaxPathLen < 0 || c.MaxPathLen == 0 && !c.MaxPathLenZero {
		return len(c.Raw) // no bound
	}
	return c.MaxPathLen
}

// didX509 checks that a chain is the one a did:x509 names (did:x509 method, section 3):
// the fingerprint of one of its authorities, then policies on the leaf. Only eku is known
// here; any other policy is refused.
func didX509(did string, chain []*x509.Certificate) error {
	parts := strings.Split(did, "::")
	fingerprint, ok := strings.CutPrefix(parts[0], "did:x509:0:sha256:")
	if !ok || len(parts) < 2 {
		return fmt.Errorf("issuer %.80q, expected a did:x509 with a policy", did)
	}
	match := func(c *x509.Certificate) bool {
		sum := sha256.Sum256(c.Raw)
		return base64.RawURLEncoding.EncodeToString(sum[:]) == fingerprint
	}
	if !slices.ContainsFunc(chain[1:], match) {
		return fmt.Errorf("a chain without the authority that issuer %.80q names", did)
	}
	for _, policy := range parts[1:] {
		oid, ok := strings.CutPrefix(policy, "eku:")
		if !ok || !slices.ContainsFunc(chain[0].UnknownExtKeyUsage, func(id asn1.ObjectIdentifier) bool { return id.String() == oid }) {
			return fmt.Errorf("a signer that does not meet the policy %.60q of its issuer", policy)
		}
	}
	return nil
}

// errForeign is a genuine statement that does not speak of a measurement as known here.
type errForeign string

func (e errForeign) Error() string { return string(e) }

// readPayload reads what the statement says: a measurement and its security version, which
// newer statements have among their claims.
func (st *statement) readPayload(payload []byte, claimed node, b *budget) error {
	n, err := readJSON(payload, b)
	if err != nil {
		return errForeign("a statement that is not JSON without duplicates: " + err.Error())
	}
	digest, err := hex.DecodeString(n.get("x-ms-sevsnpvm-launchmeasurement").text)
	if err != nil || len(digest) != len(st.measurement) {
		return errForeign("a statement without a launch measurement")
	}
	copy(st.measurement[:], digest)
	svn := n.get("x-ms-sevsnpvm-guestsvn")
	if svn.kind == aText {
		if number, err := strconv.ParseUint(svn.text, 10, 32); err == nil {
			svn = node{kind: aNumber, number: number}
		}
	} else if svn.kind == other {
		svn = claimed
	}
	if svn.kind != aNumber || svn.number > math.MaxUint32 {
		return errForeign("a statement without a security version")
	}
	st.svn = int64(svn.number)
	return nil
}

// firmware checks Microsoft's statements about the measured firmware. Each that came with the
// evidence must be genuine and about this measurement. Of those the caller holds, the ones
// about other measurements are of no concern here.
func (x *examination) firmware() error {
	const expected = "a statement by Microsoft about this very measurement"
	const fix = "take the UVM endorsement that Azure gives out for this firmware"
	var inside *statement
	for _, data := range x.envelope.Statements {
		st, err := parseStatement(data)
		var foreign errForeign
		if errors.As(err, &foreign) {
			x.fail("uvm", expected, err.Error(), fix)
			return nil
		}
		if err != nil {
			return x.invalid("uvm", expected, err.Error(), fix)
		}
		if st.measurement != x.report.Measurement {
			return x.invalid("uvm", expected, fmt.Sprintf("one about %x…, measured is %x…", st.measurement[:8], x.report.Measurement[:8]), fix)
		}
		inside = st
	}
	if inside != nil {
		x.endorsed(inside, expected, fix)
		return nil
	}
	var wrong error
	for _, held := range x.statements {
		if held.statement == nil {
			if bytes.Contains(held.data, []byte(hexText(x.report.Measurement[:]))) {
				wrong = held.err
			}
			continue
		}
		if held.statement.measurement == x.report.Measurement {
			x.endorsed(held.statement, expected, fix)
			return nil
		}
	}
	if wrong != nil {
		x.fail("uvm", expected, wrong.Error(), fix)
	}
	return nil
}

// endorsed notes what a genuine statement says. Its security version is not the report's
// GUEST_SVN, and the two are not compared.
func (x *examination) endorsed(st *statement, expected, fix string) {
	x.claim("uvm_issuer", st.issuer)
	x.claim("uvm_feed", st.feed)
	x.claim("uvm_svn", st.svn)
	x.claim("uvm_signed", date(st.signed))
	switch {
	case st.signed.IsZero() && x.now.After(st.signerEnds):
		x.fail("uvm", expected, fmt.Sprintf("one that does not say when it was signed, by a signer whose certificate ended %s", date(st.signerEnds)), fix)
	case st.issuer != uvmIssuer:
		x.fail("uvm", "a statement by "+uvmIssuer, verdict80(st.issuer), fix)
	case !slices.Contains(uvmFeeds(), st.feed):
		x.fail("uvm", "feed "+strings.Join(uvmFeeds(), " or "), verdict80(st.feed), fix)
	default:
		x.pass("uvm", expected, fmt.Sprintf("%s, security version %d, signed %s", st.feed, st.svn, date(st.signed)))
		if x.now.After(st.signerEnds) {
			x.warn("uvm_signer", "the signer's certificate valid now, or when it signed", fmt.Sprintf("valid when it says it signed; it ended %s, %s ago", date(st.signerEnds), span(x.now.Sub(st.signerEnds))))
		}
	}
}

// containers checks the policy of a container group: HOST_DATA is the hash of one that the
// caller holds. Without a policy, or without HOST_DATA, there is nothing to check.
func (x *examination) containers() {
	if len(x.policies) == 0 || zero(x.report.HostData[:]) {
		return
	}
	const expected = "a container policy whose SHA-256 is HOST_DATA"
	for _, p := range x.policies {
		if sum := sha256.Sum256(p); sum == x.report.HostData {
			x.pass("container_policy", expected, fmt.Sprintf("a policy of %d bytes", len(p)))
			x.claim("container_policy", true)
			return
		}
	}
	x.fail("container_policy", expected, fmt.Sprintf("HOST_DATA %x…, the hash of none of %d policies", x.report.HostData[:8], len(x.policies)), "give the policy that the container group was started with, unaltered")
	x.claim("container_policy", false)
}
