package nvidia

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"

	"strongroom.dev/wire"
)

// Namespaces and algorithms of RIMs: ISO/IEC 19770-2:2015, TCG Reference Integrity Manifest,
// W3C XML Signature 1.1.
const (
	spaceSWID   = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
	spaceHash   = "http://www.w3.org/2001/04/xmlenc#sha384"
	spaceDSig   = "http://www.w3.org/2000/09/xmldsig#"
	algC14N     = "http://www.w3.org/2006/12/xml-c14n11"
	algEnvelope = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	algDigest   = "http://www.w3.org/2001/04/xmldsig-more#sha384"
	algSign     = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
)

// rim is a reference integrity manifest: what NVIDIA says a driver or a VBIOS measures as.
type rim struct {
	name string // where it came from, for people
	// edition is GPU or SWITCH, product a chip, version a driver's or VBIOS's.
	edition, product, version string
	golden                    []reference
	// digest is the SHA-384 of the canonical document without its signature.
	digest wire.Digest

	root, signature, signedInfo *element
	stated, r, s                []byte
	certificates                []*x509.Certificate

	once  sync.Once // guards chain and err
	chain []*x509.Certificate
	err   error
}

// reference is an active measurement of a RIM. Index counts from 0.
type reference struct {
	index  int
	name   string
	values [][]byte
}

// parseRIM reads a RIM and checks its digest. Signature and chain are left to
// [rim.genuine], which takes longer.
func parseRIM(name string, data []byte) (*rim, error) {
	root, err := parseXML(data)
	if err != nil {
		return nil, err
	}
	if root.space != spaceSWID || root.local != "SoftwareIdentity" {
		return nil, fmt.Errorf("a document %.40q, expected SoftwareIdentity", root.local)
	}
	parts, err := root.elements()
	if err != nil {
		return nil, err
	}
	want := []struct{ space, local string }{{spaceSWID, "Entity"}, {spaceSWID, "Meta"}, {spaceSWID, "Payload"}, {spaceDSig, "Signature"}}
	if len(parts) != len(want) {
		return nil, fmt.Errorf("%d parts, expected Entity, Meta, Payload and Signature", len(parts))
	}
	for i, w := range want {
		if parts[i].space != w.space || parts[i].local != w.local {
			return nil, fmt.Errorf("%.40q where %s is expected", parts[i].local, w.local)
		}
	}
	r := &rim{name: name, root: root, signature: parts[3]}
	if err := r.meta(parts[1]); err != nil {
		return nil, err
	}
	if err := r.payload(parts[2]); err != nil {
		return nil, err
	}
	if err := r.sign(); err != nil {
		return nil, err
	}
	r.digest = sha512.Sum384(root.canonical(r.signature))
	return r, nil
}

func (r *rim) meta(e *element) error {
	for name, to := range map[string]*string{"edition": &r.edition, "product": &r.product, "colloquialVersion": &r.version} {
		value, ok := e.attribute("", name)
		if !ok || value == "" {
			return fmt.Errorf("no %s in Meta", name)
		}
		*to = value
	}
	return nil
}

func (r *rim) payload(e *element) error {
	resources, err := e.elements()
	if err != nil {
		return err
	}
	if len(resources) == 0 {
		return errors.New("an empty Payload")
	}
	seen := [maxIndex + 1]bool{}
	for _, x := range resources {
		if x.space != spaceSWID || x.local != "Resource" || len(x.children) > 0 {
			return fmt.Errorf("%.40q in Payload", x.local)
		}
		ref, active, err := parseReference(x)
		if err != nil {
			return err
		}
		if seen[ref.index] {
			return fmt.Errorf("measurement %d twice", ref.index)
		}
		if seen[ref.index] = true; active {
			r.golden = append(r.golden, ref)
		}
	}
	if len(r.golden) == 0 {
		return errors.New("no active measurement")
	}
	return nil
}

// parseReference reads a Resource. Its attributes are exactly type, index, active,
// alternatives, name, size, and Hash0 onwards, one for each alternative.
func parseReference(e *element) (reference, bool, error) {
	ref := reference{index: -1}
	number := func(name string, most int) (int, error) {
		text, _ := e.attribute("", name)
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > most || strconv.Itoa(n) != text {
			return 0, fmt.Errorf("%s %.40q of a measurement", name, text)
		}
		return n, nil
	}
	var err error
	if ref.index, err = number("index", maxIndex); err != nil {
		return ref, false, err
	}
	size, err := number("size", maxValue)
	if err != nil {
		return ref, false, err
	}
	alternatives, err := number("alternatives", maxAlternatives)
	if err != nil {
		return ref, false, err
	}
	ref.name, _ = e.attribute("", "name")
	kind, _ := e.attribute("", "type")
	active, _ := e.attribute("", "active")
	if kind != "Measurement" || ref.name == "" || active != "True" && active != "False" || size == 0 || alternatives == 0 || len(e.attributes) != 6+alternatives {
		return ref, false, fmt.Errorf("measurement %d with unknown or missing attributes", ref.index)
	}
	for i := range alternatives {
		text, _ := e.attribute(spaceHash, "Hash"+strconv.Itoa(i))
		value, err := hex.DecodeString(text)
		if err != nil || len(value) != size {
			return ref, false, fmt.Errorf("alternative %d of measurement %d is not of %d bytes", i, ref.index, size)
		}
		ref.values = append(ref.values, value)
	}
	return ref, active == "True", nil
}

// sign reads the signature, which must be of the one form that NVIDIA uses: enveloped, over
// the whole document, Canonical XML 1.1, SHA-384, ECDSA.
func (r *rim) sign() error {
	parts, err := r.signature.take(spaceDSig, "SignedInfo", "SignatureValue", "KeyInfo")
	if err != nil {
		return err
	}
	if err := r.signature.only(); err != nil {
		return err
	}
	r.signedInfo = parts[0]
	if r.stated, err = parseSignedInfo(parts[0]); err != nil {
		return err
	}
	text, err := parts[1].content()
	if err != nil {
		return err
	}
	value, err := decode64(text)
	if err != nil || len(value) != 2*sizeHalf {
		return fmt.Errorf("a signature of %d bytes, expected %d", len(value), 2*sizeHalf)
	}
	r.r, r.s = value[:sizeHalf], value[sizeHalf:]
	return r.keyInfo(parts[2])
}

// parseSignedInfo checks the algorithms and gives the digest.
func parseSignedInfo(e *element) ([]byte, error) {
	info, err := e.take(spaceDSig, "CanonicalizationMethod", "SignatureMethod", "Reference")
	if err != nil {
		return nil, err
	}
	ref, err := info[2].take(spaceDSig, "Transforms", "DigestMethod", "DigestValue")
	if err != nil {
		return nil, err
	}
	transforms, err := ref[0].take(spaceDSig, "Transform", "Transform")
	if err != nil {
		return nil, err
	}
	for _, w := range []struct {
		*element
		algorithm string
	}{{info[0], algC14N}, {info[1], algSign}, {transforms[0], algEnvelope}, {transforms[1], algC14N}, {ref[1], algDigest}} {
		if err := w.only("Algorithm", w.algorithm); err != nil {
			return nil, err
		}
		if len(w.children) > 0 {
			return nil, fmt.Errorf("%s with parameters", w.local)
		}
	}
	for _, bare := range []*element{e, ref[0]} {
		if err := bare.only(); err != nil {
			return nil, err
		}
	}
	if err := info[2].only("URI", ""); err != nil {
		return nil, err
	}
	text, err := ref[2].content()
	if err != nil {
		return nil, err
	}
	digest, err := decode64(text)
	if err != nil || len(digest) != sha512.Size384 {
		return nil, fmt.Errorf("a digest of %d bytes, expected %d", len(digest), sha512.Size384)
	}
	return digest, nil
}

func (r *rim) keyInfo(e *element) error {
	if err := e.only(); err != nil {
		return err
	}
	data, err := e.take(spaceDSig, "X509Data")
	if err != nil {
		return err
	}
	list, err := data[0].elements()
	if err != nil {
		return err
	}
	if len(list) == 0 || len(list) > maxChain {
		return fmt.Errorf("%d certificates, expected 1 to %d", len(list), maxChain)
	}
	for _, x := range list {
		if x.space != spaceDSig || x.local != "X509Certificate" {
			return fmt.Errorf("%.40q in X509Data", x.local)
		}
		text, err := x.content()
		if err != nil {
			return err
		}
		der, err := decode64(text)
		if err != nil {
			return errors.New("a certificate that is no base64")
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("a certificate: %w", err)
		}
		r.certificates = append(r.certificates, c)
	}
	return nil
}

// decode64 reads base64 that may be spread over lines.
func decode64(text string) ([]byte, error) {
	return base64.StdEncoding.Strict().DecodeString(strings.ReplaceAll(text, "\n", ""))
}

// genuine checks, once, that the document is as it was signed, by a signer of NVIDIA's. Dates
// are left to the caller.
func (r *rim) genuine(l *links) error {
	r.once.Do(func() { r.chain, r.err = r.check(l) })
	return r.err
}

func (r *rim) check(l *links) ([]*x509.Certificate, error) {
	if !bytes.Equal(r.stated, r.digest[:]) {
		return nil, errors.New("its content was altered: the digest differs")
	}
	leaf := r.certificates[0]
	if err := checkLeaf(leaf); err != nil {
		return nil, err
	}
	sum := sha512.Sum384(r.signedInfo.canonical(nil))
	key, _ := leaf.PublicKey.(*ecdsa.PublicKey) // checkLeaf has seen it
	if !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(r.r), new(big.Int).SetBytes(r.s)) {
		return nil, errors.New("its signature does not verify")
	}
	chain, err := l.chain(leaf, r.certificates[1:], l.rims)
	if err != nil {
		return nil, err
	}
	if c := stranger(r.certificates, chain); c != nil {
		return nil, fmt.Errorf("%s is not in its signer's chain", common(c))
	}
	return chain, nil
}
