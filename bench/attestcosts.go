package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-sev-guest/abi"
	sevproto "github.com/google/go-sev-guest/proto/sevsnp"
	sevverify "github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"
	tdxverify "github.com/google/go-tdx-guest/verify"

	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/attest/snp"
	"strongroom.dev/attest/tdx"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// rounds and round are how long two sides are compared: in turns, so that a busy machine is busy
// for both.
const (
	rounds = 15
	round  = 60 * time.Millisecond
)

// inTurns gives the median rates of two sides, in calls a second.
func inTurns(ours, theirs func() error) (a, b float64, err error) {
	var rates [2][]float64
	for range rounds {
		for i, side := range []func() error{ours, theirs} {
			r, err := rateOf(side)
			if err != nil {
				return 0, 0, err
			}
			rates[i] = append(rates[i], r)
		}
	}
	slices.Sort(rates[0])
	slices.Sort(rates[1])
	return rates[0][rounds/2], rates[1][rounds/2], nil
}

func rateOf(f func() error) (float64, error) {
	began, n := time.Now(), 0
	for ; time.Since(began) < round; n++ {
		if err := f(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

func against(name string, ours, theirs func() error, least float64) (row, error) {
	a, b, err := inTurns(ours, theirs)
	return row{Name: name, Value: a, Unit: "1/s", Against: b, Ratio: a / b, Goal: fmt.Sprintf("at least %gx", least), Met: a/b >= least}, err
}

// snpRows compares the verification of a report whose chain is known with the one signature
// that it can't do without, and with the peer's.
func snpRows() ([]row, error) {
	w, err := newSNPWorld()
	if err != nil {
		return nil, err
	}
	v := snp.New(w.set)
	ours := func() error {
		f, err := v.Examine(w.report, w.at)
		if err == nil && f.Standing() == attest.Contraindicated {
			err = errors.New("the recorded report is refused")
		}
		return err
	}
	bare, err := bareP384()
	if err != nil {
		return nil, err
	}
	first, err := against(snpBare, ours, bare, 0.85)
	if err != nil {
		return nil, err
	}
	peer, err := w.peer()
	if err != nil {
		return nil, err
	}
	second, err := against(snpPeer, ours, peer, 1.9)
	return []row{first, second}, err
}

// bareP384 is one verification of a signature with Go's own library.
func bareP384() (func() error, error) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	digest := sha512.Sum384([]byte("a report"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	return func() error {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			return errors.New("a signature does not verify")
		}
		return nil
	}, err
}

// peer is go-sev-guest's full verification, offline, under the same root.
func (w snpWorld) peer() (func() error, error) {
	chain, err := evidencetest.Load(snpPeers + "trust/ask_ark_milan.pem")
	if err != nil {
		return nil, err
	}
	roots := &trust.AMDRootCerts{ProductLine: "Milan"}
	if err := roots.FromKDSCertBytes(chain); err != nil {
		return nil, err
	}
	ask, rest := pem.Decode(chain)
	ark, _ := pem.Decode(rest)
	if ask == nil || ark == nil {
		return nil, errors.New("no chain of two certificates")
	}
	options := &sevverify.Options{DisableCertFetching: true, Now: w.at, TrustedRoots: map[string][]*trust.AMDRootCerts{"Milan": {roots}}}
	return func() error {
		p, err := abi.ReportToProto(w.report)
		if err != nil {
			return err
		}
		return sevverify.SnpAttestation(&sevproto.Attestation{Report: p, CertificateChain: &sevproto.CertificateChain{VcekCert: w.vcek, AskCert: ask.Bytes, ArkCert: ark.Bytes}}, options)
	}, nil
}

const (
	tdxQuote      = "tdx/Phala-Network+dcap-qvl/sample/tdx_quote"
	tdxCollateral = tdxQuote + "_collateral.json"
)

// tdxRows compares the verification of a quote whose collateral is known with the peer's full
// verification, which is answered from memory.
func tdxRows() ([]row, error) {
	quote, err := evidencetest.Load(tdxQuote)
	if err != nil {
		return nil, err
	}
	set, err := endorsements(tdxCollateral)
	if err != nil {
		return nil, err
	}
	at := time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	v := tdx.New(set)
	ours := func() error {
		f, err := v.Examine(quote, at)
		if err == nil && f.Standing() == attest.Contraindicated {
			err = errors.New("the recorded quote is refused")
		}
		return err
	}
	pcs := newPCS(set)
	roots := x509.NewCertPool()
	roots.AddCert(pcs.root)
	options := &tdxverify.Options{GetCollateral: true, CheckRevocations: true, Getter: pcs, TrustedRoots: roots,
		Now: &tdxverify.TimeSet{PckCertChain: at, TcbInfo: at, QeIdentity: at, PckCrl: at, RootCaCrl: at}}
	r, err := against(tdxPeer, ours, func() error { return tdxverify.RawTdxQuote(quote, options) }, 3)
	return []row{r}, err
}

// pcs answers the peer's requests for collateral from memory.
type pcs struct {
	info, identity, rootCRL, caCRL []byte
	root, ca, sign                 *x509.Certificate
}

func newPCS(set endorse.Set) *pcs {
	s := &pcs{info: set.Of(endorse.IntelTCBInfo)[0].Data, identity: set.Of(endorse.IntelQEIdentity)[0].Data}
	const ca, root = "Intel SGX PCK Platform CA", "Intel SGX Root CA"
	for _, c := range set.Certificates() {
		switch c.Subject.CommonName {
		case root:
			s.root = c
		case "Intel SGX TCB Signing":
			s.sign = c
		case ca:
			s.ca = c
		}
	}
	for _, l := range set.CRLs() {
		switch l.Issuer.CommonName {
		case root:
			s.rootCRL = l.Raw
		case ca:
			s.caCRL = l.Raw
		}
	}
	return s
}

// Get is what the peer asks with.
func (s *pcs) Get(address string) (map[string][]string, []byte, error) {
	chain := func(header string, certs ...*x509.Certificate) map[string][]string {
		var text strings.Builder
		for _, c := range certs {
			_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // to memory
		}
		return map[string][]string{header: {url.QueryEscape(text.String())}}
	}
	switch {
	case strings.Contains(address, "/tcb?"):
		return chain("Tcb-Info-Issuer-Chain", s.sign, s.root), s.info, nil
	case strings.Contains(address, "/qe/identity"):
		return chain("Sgx-Enclave-Identity-Issuer-Chain", s.sign, s.root), s.identity, nil
	case strings.Contains(address, "/pckcrl"):
		return chain("Sgx-Pck-Crl-Issuer-Chain", s.ca, s.root), s.caCRL, nil
	}
	return nil, s.rootCRL, nil
}

// costs takes one attestation apart: what each step takes alone, one at a time. What is left of
// the whole is HTTP, both ends of it.
func (s *attestationService) costs() ([]row, error) {
	ctx := context.Background()
	challenge, err := s.service.Challenge(verifier.ChallengeRequest{Audience: "bench"})
	if err != nil {
		return nil, err
	}
	body, err := s.request(challenge)
	if err != nil {
		return nil, err
	}
	var request verifier.Request
	read := func() error {
		canonical, err := wire.Canonical(body)
		if err != nil {
			return err
		}
		request = verifier.Request{}
		return wire.UnmarshalCanonical(canonical, &request)
	}
	if err := read(); err != nil {
		return nil, err
	}
	whole, err := s.service.Attest(ctx, request)
	if err != nil {
		return nil, err
	}
	finding, err := s.world.answering(s.world.set).Examine(request.Evidence, s.world.at)
	if err != nil {
		return nil, err
	}
	policy, err := appraise.Parse("policy", []byte(benchPolicy))
	if err != nil {
		return nil, err
	}
	ring, _, err := ear.Ring{}.Advance(ear.EAR(), ear.ES256, ear.Usual(), s.world.at)
	if err != nil {
		return nil, err
	}
	bare, err := bareP384()
	if err != nil {
		return nil, err
	}
	examiner := s.world.answering(s.world.set)
	var rows []row
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"challenge", func() error { _, err := s.service.Challenge(verifier.ChallengeRequest{Audience: "bench"}); return err }},
		{"reading the request", read},
		{"examining the report", func() error { _, err := examiner.Examine(request.Evidence, s.world.at); return err }},
		{"of which the P-384 signature", bare},
		{"judging by the policy", func() error {
			_ = appraise.Demand{Policy: policy, Freshness: appraise.Freshness{ReportData: finding.Facts.ReportData}, Now: s.world.at}.Judge(finding)
			return nil
		}},
		{"signing the token", func() error {
			_, err := ring.Sign("https://attest.example.org", ear.Statement{Results: []appraise.Result{whole.Result}, Evidence: whole.Evidence, Freshness: ear.ByService,
				Nonce: challenge.Nonce, Audience: "bench", Confirmation: s.key, InitData: finding.Facts.InitData, ReportData: finding.Facts.ReportData}, s.world.at)
			return err
		}},
		{"writing the answer", func() error { _, err := wire.Marshal(whole); return err }},
		{"all of it, without HTTP", func() error {
			if err := read(); err != nil {
				return err
			}
			answer, err := s.service.Attest(ctx, request)
			if err == nil {
				_, err = wire.Marshal(answer)
			}
			return err
		}},
	} {
		var each []float64
		for range rounds {
			r, err := rateOf(step.do)
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench:", step.name)
				return nil, err
			}
			each = append(each, 1e6/r)
		}
		slices.Sort(each)
		rows = append(rows, row{Name: serviceCosts + ", " + step.name, Value: each[rounds/2], Unit: "us"})
	}
	return rows, nil
}
