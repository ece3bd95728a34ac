package corim

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"strongroom.dev/cbor"
	"strongroom.dev/cose"
	"strongroom.dev/verdict"
)

// Trust is whose signatures count. The zero Trust accepts nothing.
type Trust struct {
	// Keys sign themselves: elliptic curves of NIST's, or RSA.
	Keys []crypto.PublicKey
	// Roots are certificates that the signer's chain must lead to.
	Roots []*x509.Certificate
}

// Manifest is what a CoRIM whose signature verifies says in its reference triples.
type Manifest struct {
	ID string
	// Signer is the name that the signer gives itself; the key is what was verified.
	Signer string
	// Profile names the rules by which its elements are called; "" if there is none.
	Profile string
	// Until is when it is not to be used any more; zero if it doesn't say.
	Until   time.Time
	Triples []Triple
	// LeftOut says in words what else is in it.
	LeftOut []string
}

// The tags of draft-ietf-rats-corim, and the one of COSE_Sign1.
const (
	tagTime     = 1
	tagURI      = 32
	tagUUID     = 37
	tagOID      = 111
	tagUnsigned = 501
	tagCoSWID   = 505
	tagCoMID    = 506
	tagCoTL     = 508
	tagInt      = 551
	tagSVN      = 552
	tagMinSVN   = 553
	tagBytes    = 560
	tagMasked   = 563
)

// Header parameters: those of COSE, and the two that say who signs (RFC 9597).
const (
	labelMeta = 8
	labelCWT  = 15
)

func invalid(check, expected, got, fix string) error {
	return verdict.NotGenuine(check, expected, verdict.Short(got), fix)
}

func malformed(expected, got string) error {
	return invalid("corim.form", expected, got, "ask its signer for one by draft-ietf-rats-corim")
}

// Open reads a CoRIM that was signed by what the caller trusts, at now. The error is a
// [verdict.Error]: Invalid for what is no signed CoRIM or by no trusted signer, Refused for one
// outside its dates, or one that says what would be lost (check corim.unsupported).
func Open(data []byte, t Trust, now time.Time) (*Manifest, error) {
	if len(data) > MaxFile {
		return nil, malformed(fmt.Sprintf("at most %d bytes", MaxFile), fmt.Sprint(len(data)))
	}
	data, err := signedPart(data)
	if err != nil {
		return nil, err
	}
	s, err := cose.ParseSign1(data, envelope())
	if err != nil {
		return nil, malformed("a signed CoRIM", err.Error())
	}
	if err := checkHeader(s); err != nil {
		return nil, err
	}
	if err := t.verify(s, now); err != nil {
		return nil, err
	}
	m := &Manifest{}
	// Everything from here on is what the signer says.
	if err := m.readSigner(s.Header, now); err != nil {
		return nil, err
	}
	if err := m.readCorim(s.Payload, now); err != nil {
		return nil, err
	}
	return m, nil
}

// signedPart takes off the tags 500 and 502, which older drafts put around it.
func signedPart(data []byte) ([]byte, error) {
	data, _ = bytes.CutPrefix(data, []byte{0xd9, 0x01, 0xf4})
	if bytes.HasPrefix(data, []byte{0xd9, 0x01, 0xf5}) {
		return nil, invalid("corim.signature", "a signed CoRIM", "one that nobody signed", "ask its makers for the signed one: unsigned values are anybody's word")
	}
	data, _ = bytes.CutPrefix(data, []byte{0xd9, 0x01, 0xf6})
	return data, nil
}

func checkHeader(s *cose.Sign1) error {
	labels, ok := s.Critical()
	for _, l := range labels {
		n, number := l.Int()
		ok = ok && number && slices.Contains([]int64{cose.LabelAlgorithm, cose.LabelContentType, labelMeta, labelCWT, cose.LabelX5Chain}, n)
	}
	if !ok {
		return malformed("no critical header parameters but those of a CoRIM", "others, or a list that is none")
	}
	content := s.Header.Get(cose.LabelContentType)
	if content.Kind != cbor.Text || content.Text != "application/rim+cbor" && content.Text != "application/corim-unsigned+cbor" {
		return malformed("content of type application/rim+cbor", content.Kind.String()+" "+content.Text)
	}
	return nil
}

// verify checks the signature with a pinned key, or with the leaf of a chain to a pinned root.
func (t Trust) verify(s *cose.Sign1, now time.Time) error {
	expected := fmt.Sprintf("a signature by one of %d keys, or under one of %d roots, that you pin", len(t.Keys), len(t.Roots))
	const fix = "pin the key or root of whoever signs it, as they publish it; never take it from the file"
	last := "no signature of theirs"
	for _, k := range t.Keys {
		err := s.Verify(k)
		if err == nil {
			return nil
		}
		last = err.Error()
	}
	if len(t.Roots) == 0 {
		return invalid("corim.signature", expected, last, fix)
	}
	chain, err := certificates(s)
	if err != nil {
		return invalid("corim.signature", expected, err.Error(), fix)
	}
	if err := t.chain(chain, now); err != nil {
		return invalid("corim.chain", expected, err.Error(), fix)
	}
	if err := s.Verify(chain[0].PublicKey); err != nil {
		return invalid("corim.signature", expected, err.Error(), fix)
	}
	return nil
}

func (t Trust) chain(chain []*x509.Certificate, now time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range t.Roots {
		roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	leaf := chain[0]
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("a certificate that is not for signatures")
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

// certificates gives the chain in the headers, leaf first (RFC 9360).
func certificates(s *cose.Sign1) ([]*x509.Certificate, error) {
	v := s.Header.Get(cose.LabelX5Chain)
	if v.Kind == cbor.None {
		v = s.Unprotected.Get(cose.LabelX5Chain)
	}
	items := v.Items
	if v.Kind == cbor.Bytes {
		items = []cbor.Value{v}
	}
	if len(items) == 0 || len(items) > maxChain {
		return nil, fmt.Errorf("%d certificates in its headers, expected 1 to %d", len(items), maxChain)
	}
	var chain []*x509.Certificate
	for _, it := range items {
		c, err := x509.ParseCertificate(it.Bytes)
		if err != nil {
			return nil, fmt.Errorf("a certificate that does not parse: %w", err)
		}
		chain = append(chain, c)
	}
	return chain, nil
}

// readSigner reads who signs, and from when to when: corim-meta, or claims of a CWT.
func (m *Manifest) readSigner(header cbor.Value, now time.Time) error {
	meta, cwt := header.Get(labelMeta), header.Get(labelCWT)
	switch {
	case meta.Kind == cbor.Bytes:
		v, err := cbor.Parse(meta.Bytes, envelope())
		if err != nil || v.Kind != cbor.Map {
			return malformed("a map corim-meta", "something else")
		}
		if m.Signer, err = text(v.Get(0).Get(0)); err != nil {
			return err
		}
		if err := m.validity(v.Get(1), now); err != nil {
			return err
		}
	case meta.Kind != cbor.None || cwt.Kind != cbor.Map:
		return malformed("corim-meta or CWT claims that say who signs", "neither")
	}
	if cwt.Kind == cbor.None {
		return nil
	}
	if cwt.Kind != cbor.Map {
		return malformed("a map of CWT claims", cwt.Kind.String())
	}
	iss, err := text(cwt.Get(1))
	if err != nil {
		return err
	}
	if m.Signer == "" {
		m.Signer = iss
	}
	return m.within(cwt.Get(5), cwt.Get(4), now)
}

// validity reads a validity-map, whose times are tagged.
func (m *Manifest) validity(v cbor.Value, now time.Time) error {
	if v.Kind == cbor.None {
		return nil
	}
	from, until := v.Get(0), v.Get(1)
	untag := func(v *cbor.Value) bool {
		if v.Kind == cbor.Tag && v.Number == tagTime {
			*v = v.Items[0]
			return true
		}
		return v.Kind == cbor.None
	}
	if v.Kind != cbor.Map || !untag(&from) || !untag(&until) || until.Kind == cbor.None {
		return malformed("a validity with not-after", "another one")
	}
	return m.within(from, until, now)
}

func (m *Manifest) within(from, until cbor.Value, now time.Time) error {
	const most = 253402300799 // the last second of the year 9999
	at := func(v cbor.Value) (time.Time, error) {
		if v.Kind == cbor.None {
			return time.Time{}, nil
		}
		n, ok := v.Int()
		if !ok || n < 0 || n > most {
			return time.Time{}, malformed("times in whole seconds", v.Kind.String())
		}
		return time.Unix(n, 0).UTC(), nil
	}
	start, err := at(from)
	if err != nil {
		return err
	}
	end, err := at(until)
	if err != nil {
		return err
	}
	if now.Before(start) || !end.IsZero() && !now.Before(end) {
		return verdict.Refuse("corim.dates", fmt.Sprintf("a time from %s to %s", start.Format(time.RFC3339), end.Format(time.RFC3339)), now.UTC().Format(time.RFC3339), "get the current one from its signer")
	}
	if !end.IsZero() && (m.Until.IsZero() || end.Before(m.Until)) {
		m.Until = end
	}
	return nil
}

// text reads a text of one line.
func text(v cbor.Value) (string, error) {
	if v.Kind != cbor.Text || v.Text == "" || len(v.Text) > maxText || verdict.Printable(v.Text) != v.Text {
		return "", malformed(fmt.Sprintf("a text of one line, at most %d bytes", maxText), v.Kind.String()+" "+v.Text)
	}
	return v.Text, nil
}
