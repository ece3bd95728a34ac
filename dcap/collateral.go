package dcap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
)

// Collateral is what Intel signs about its platforms, as its services hand it out. Nothing in
// it is trusted for being there.
type Collateral struct {
	// TCBInfos, Identities and Evaluations are responses as served: {"tcbInfo":{...},
	// "signature":"..."} and so on.
	TCBInfos, Identities, Evaluations [][]byte
	// Certificates are those of Intel's TCB signing and PCK CAs; others are passed over.
	Certificates []*x509.Certificate
	// CRLs are the root's and the PCK CAs'; others are passed over.
	CRLs []*x509.RevocationList
	// LeastEvaluation is the lowest tcbEvaluationDataNumber that TCB information and identity of
	// the quoting enclave may have. It makes old but valid collateral useless to an attacker who
	// can choose it. 0 demands nothing beyond Intel's own dates.
	LeastEvaluation int
}

// Verifier checks quotes with collateral whose signatures it has checked once. It never
// changes and may be used by several goroutines. The nil Verifier has no collateral.
type Verifier struct {
	root        root
	least       int
	authorities map[string]*authority // by the certificate's bytes
	rootCRLs    []*crl
	looseCRLs   []*x509.RevocationList // of CAs not among the collateral
	signers     []*signer
	infos       []signedBySigner[*TCBInfo]
	identities  []signedBySigner[*Identity]
	evaluations []signedBySigner[*Evaluations]
	rejected    []string
}

// signer is a TCB signing key with the certificates Intel issued for it: when one ends, the
// next has the same key and serial number.
type signer struct {
	key   *ecdsa.PublicKey
	certs []*x509.Certificate
}

type signedBySigner[T any] struct {
	doc     T
	signer  *signer
	version lineage.Version
}

// crl is a revocation list whose signature is checked.
type crl struct {
	list    *x509.RevocationList
	revoked map[string]bool // by serial number's bytes
	version lineage.Version
}

// New checks the collateral's signatures up to the Intel SGX Root CA. What fails is kept out
// and mentioned when it is missed.
func New(c Collateral) *Verifier {
	r, err := newRoot(intelRoot)
	if err != nil { // a constant
		return nil
	}
	return newVerifier(r, c)
}

func newVerifier(r root, c Collateral) *Verifier {
	v := &Verifier{root: r, least: c.LeastEvaluation, authorities: map[string]*authority{}}
	for _, cert := range c.Certificates {
		v.addCertificate(cert)
	}
	for i, list := range c.CRLs {
		if i == MaxDocuments {
			v.reject("CRLs", fmt.Errorf("more than %d", MaxDocuments))
			break
		}
		v.addCRL(list)
	}
	v.infos = addDocuments(v, "TCB information", c.TCBInfos, ParseTCBInfo, (*TCBInfo).version)
	v.identities = addDocuments(v, "enclave identity", c.Identities, ParseIdentity, (*Identity).version)
	v.evaluations = addDocuments(v, "TCB evaluation numbers", c.Evaluations, ParseEvaluations, (*Evaluations).version)
	return v
}

// reject notes why something was kept out; a few reasons are enough.
func (v *Verifier) reject(what string, err error) {
	const enough = 8
	if len(v.rejected) < enough {
		v.rejected = append(v.rejected, verdict.Short(what+": "+err.Error()))
	}
}

// addCertificate takes certificates of TCB signing and of PCK CAs. Others (roots, PCK
// certificates, other vendors') are none of its business.
func (v *Verifier) addCertificate(cert *x509.Certificate) {
	switch cert.Subject.CommonName {
	case namePlatform, nameProcessor:
		a, err := v.root.authority(cert)
		if err != nil {
			v.reject("certificate", err)
			return
		}
		v.authorities[string(cert.Raw)] = a
	case nameSigning:
		key, err := v.root.signer(cert)
		if err != nil {
			v.reject("certificate", err)
			return
		}
		for _, s := range v.signers {
			if s.key.Equal(key) {
				s.certs = append(s.certs, cert)
				return
			}
		}
		if len(v.signers) < MaxSigners {
			v.signers = append(v.signers, &signer{key, []*x509.Certificate{cert}})
		}
	}
}

func (v *Verifier) addCRL(list *x509.RevocationList) {
	switch list.Issuer.CommonName {
	case nameRoot:
		l, err := checkCRL(list, v.root.key)
		if err != nil {
			v.reject("CRL of "+nameRoot, err)
			return
		}
		v.rootCRLs = append(v.rootCRLs, l)
	case namePlatform, nameProcessor:
		known := false
		for _, a := range v.authorities {
			if bytes.Equal(a.cert.RawSubject, list.RawIssuer) {
				known = true
				a.add(list, v)
			}
		}
		if !known {
			v.looseCRLs = append(v.looseCRLs, list)
		}
	}
}

// add takes one of the authority's lists, if its signature is right.
func (a *authority) add(list *x509.RevocationList, v *Verifier) {
	l, err := checkCRL(list, a.key)
	if err != nil {
		v.reject("CRL of "+list.Issuer.CommonName, err)
		return
	}
	a.crls = append(a.crls, l)
}

// checkCRL checks signature and form of a list.
func checkCRL(list *x509.RevocationList, by *ecdsa.PublicKey) (*crl, error) {
	issuer := x509.Certificate{PublicKeyAlgorithm: x509.ECDSA, PublicKey: by}
	if list.SignatureAlgorithm != x509.ECDSAWithSHA256 || issuer.CheckSignature(list.SignatureAlgorithm, list.RawTBSRevocationList, list.Signature) != nil {
		return nil, fmt.Errorf("not signed by its issuer")
	}
	for _, e := range list.Extensions {
		if e.Critical {
			return nil, fmt.Errorf("unknown critical extension %v", e.Id)
		}
	}
	l := &crl{list: list, revoked: make(map[string]bool, len(list.RevokedCertificateEntries)), version: endorse.VersionOfCRL(list)}
	for _, entry := range list.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Critical {
				return nil, fmt.Errorf("entry with the unknown critical extension %v", e.Id)
			}
		}
		l.revoked[string(entry.SerialNumber.Bytes())] = true
	}
	return l, nil
}

// addDocuments parses signed documents, each under the signer that it verifies with.
func addDocuments[T any](v *Verifier, what string, responses [][]byte, parse func([]byte, func(signed, signature []byte) bool) (T, error), version func(T, []byte) lineage.Version) []signedBySigner[T] {
	var out []signedBySigner[T]
	if len(responses) > MaxDocuments {
		v.reject(what, fmt.Errorf("more than %d", MaxDocuments))
		responses = responses[:MaxDocuments]
	}
	if len(responses) > 0 && len(v.signers) == 0 {
		v.reject(what, fmt.Errorf("no certificate of %q to check it with", nameSigning))
		return nil
	}
	for _, response := range responses {
		var by *signer
		doc, err := parse(response, func(signed, signature []byte) bool {
			for _, s := range v.signers {
				if signedBy(s.key, signed, signature) {
					by = s
					return true
				}
			}
			return false
		})
		if err != nil {
			v.reject(what, err)
			continue
		}
		out = append(out, signedBySigner[T]{doc, by, version(doc, response)})
	}
	return out
}

// authority gives the CA that a certificate is for, checked up to the root, with its CRLs.
func (v *Verifier) authority(cert *x509.Certificate) (*authority, error) {
	if a := v.authorities[string(cert.Raw)]; a != nil {
		return a, nil
	}
	a, err := v.root.authority(cert)
	if err != nil {
		return nil, err
	}
	for _, known := range v.authorities {
		if known.key.Equal(a.key) && bytes.Equal(known.cert.RawSubject, cert.RawSubject) {
			a.crls = known.crls
			return a, nil
		}
	}
	for _, list := range v.looseCRLs {
		if !bytes.Equal(list.RawIssuer, cert.RawSubject) {
			continue
		}
		if l, err := checkCRL(list, a.key); err == nil {
			a.crls = append(a.crls, l)
		}
	}
	return a, nil
}

// tcbInfo gives the best TCB information for a platform at a time: see [dated.better].
func (v *Verifier) tcbInfo(tee TEE, p PCK, now time.Time) (best signedBySigner[*TCBInfo]) {
	for _, s := range v.infos {
		if s.doc.ID == tee.String() && s.doc.FMSPC == p.FMSPC && s.doc.PCEID == p.PCEID && (best.doc == nil || s.doc.better(best.doc.dated, now)) {
			best = s
		}
	}
	return best
}

// fmspcs lists for which platforms there is TCB information.
func (v *Verifier) fmspcs(tee TEE) []string {
	var all []string
	for _, s := range v.infos {
		if text := fmt.Sprintf("%X", s.doc.FMSPC); s.doc.ID == tee.String() && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// identity gives the best identity of the TEE's quoting enclave at a time.
func (v *Verifier) identity(tee TEE, now time.Time) (best signedBySigner[*Identity]) {
	id := "QE"
	if tee == TDX {
		id = "TD_QE"
	}
	for _, s := range v.identities {
		if s.doc.ID == id && (best.doc == nil || s.doc.better(best.doc.dated, now)) {
			best = s
		}
	}
	return best
}

// evaluation gives the newest list of evaluation numbers that holds at a time, if there is any.
func (v *Verifier) evaluation(tee TEE, now time.Time) (best signedBySigner[*Evaluations]) {
	for _, s := range v.evaluations {
		e := s.doc
		if e.ID == tee.String() && !now.Before(e.Issued) && !now.After(e.NextUpdate) && s.signer.expired(now) == "" && (best.doc == nil || e.Issued.After(best.doc.Issued)) {
			best = s
		}
	}
	return best
}

// expired describes the signer's certificate if none is valid at a time.
func (s *signer) expired(now time.Time) string {
	text := ""
	for _, c := range s.certs {
		if text = expired(c, now); text == "" {
			return ""
		}
	}
	return text
}

// current gives the newest list issued by a time, nil if there is none.
func current(lists []*crl, now time.Time) (best *crl) {
	for _, l := range lists {
		if !now.Before(l.list.ThisUpdate) && (best == nil || l.list.ThisUpdate.After(best.list.ThisUpdate)) {
			best = l
		}
	}
	return best
}

// revoked reports whether any list issued by a time names the certificate: Intel takes
// nothing back.
func revoked(lists []*crl, c *x509.Certificate, now time.Time) bool {
	for _, l := range lists {
		if !now.Before(l.list.ThisUpdate) && l.revoked[string(c.SerialNumber.Bytes())] {
			return true
		}
	}
	return false
}
