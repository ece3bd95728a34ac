package verifier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"

	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/ear"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// ITANonce is a nonce as clients of Intel Trust Authority get it and send it back.
type ITANonce struct {
	Value     []byte `json:"val"`
	Issued    []byte `json:"iat"`
	Signature []byte `json:"signature"`
}

// ITAAnswer is what those clients get for evidence.
type ITAAnswer struct {
	Token string `json:"token"`
}

// ITANonce makes a nonce: a challenge like any other, in three parts.
func (s *Service) ITANonce() (ITANonce, error) {
	g, err := s.gate(ear.ITA(), "")
	if err != nil {
		return ITANonce{}, err
	}
	now := s.cfg.Now()
	token := s.makeChallenge(keys.RandomID(), now.Add(ChallengeLifetime), g.Audience, forITA)
	s.stats.challenges.Add(1)
	return ITANonce{Value: token[32:], Issued: []byte(strconv.FormatInt(now.Unix(), 10)), Signature: token[:32]}, nil
}

// itaEvidence is what a client sends of one attester.
type itaEvidence struct {
	Quote    looseBytes `json:"quote"`
	Report   looseBytes `json:"report"` // of SEV-SNP
	Nonce    *ITANonce  `json:"verifier_nonce"`
	Runtime  looseBytes `json:"runtime_data"`
	User     looseBytes `json:"user_data"`
	EventLog looseBytes `json:"event_log"`
}

func (e itaEvidence) empty() bool {
	return e.Quote == nil && e.Report == nil && e.Nonce == nil && e.Runtime == nil && e.User == nil && e.EventLog == nil
}

// itaRequest is a request in the form of one attester, or of several.
type itaRequest struct {
	itaEvidence
	TDX       *itaEvidence `json:"tdx"`
	SNP       *itaEvidence `json:"sevsnp"`
	PolicyIDs []string     `json:"policy_ids"`
	Algorithm string       `json:"token_signing_alg"`
	MustMatch bool         `json:"policy_must_match"`

	nested string // the member that the evidence came in; "" for the top
}

func badITA(expected, got, fix string) error {
	return verdict.Misuse("ita.request", expected, got, fix)
}

// ITA answers a client of Intel Trust Authority with evidence of TDX, SGX or SEV-SNP
// (spec/attestation.md, section 7); on Azure, whose paravisor stands between the hardware report
// and what the attester binds, that has an address of its own. The token goes to the one audience
// that the service gates for this shape.
func (s *Service) ITA(ctx context.Context, onAzure bool, body []byte) (ITAAnswer, error) {
	g, err := s.gate(ear.ITA(), "")
	if err != nil {
		return ITAAnswer{}, err
	}
	r, err := parseITA(body)
	if err != nil {
		return ITAAnswer{}, err
	}
	if err := checkITA(r, g.Policy); err != nil {
		return ITAAnswer{}, err
	}
	a := asking{shape: g.Shape, audience: g.Audience, now: s.cfg.Now(), freshness: ear.ByService, mend: mendITA}
	if a.policy, err = s.policy(ctx, g.Policy); err != nil {
		return ITAAnswer{}, err
	}
	platform, evidence := s.itaPlatform(r)
	held, err := r.held(onAzure)
	if err != nil {
		return ITAAnswer{}, err
	}
	if a.key, err = itaKey(held); err != nil {
		return ITAAnswer{}, err
	}
	if a.challenge, err = s.recogniseITA(r.Nonce, g.Audience); err != nil {
		return ITAAnswer{}, err
	}
	if a.fresh.ReportData, err = r.reportData(platform, onAzure, held); err != nil {
		return ITAAnswer{}, err
	}
	finding, digest, err := s.examineOnly(ctx, platform, evidence, a)
	if err != nil {
		return ITAAnswer{}, err
	}
	if a.extra, err = r.claims(finding, held, onAzure, a.policy); err != nil {
		return ITAAnswer{}, err
	}
	answer, err := s.answer(ctx, a, finding, digest)
	return ITAAnswer{answer.Token}, err
}

func parseITA(body []byte) (r itaRequest, err error) {
	doc, err := object(body)
	if err != nil {
		return r, badITA("a JSON object", verdict.Short(err.Error()), "send the request as Intel's service takes it")
	}
	for name := range doc {
		switch name {
		case "quote", "report", "verifier_nonce", "runtime_data", "user_data", "event_log", "tdx", "sevsnp", "policy_ids", "token_signing_alg", "policy_must_match":
		default:
			return r, badITA("evidence of TDX, SGX or SEV-SNP", "a member "+verdict.Short(name), "ask the service's own interface for other evidence")
		}
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, badITA("members as Intel's service takes them", verdict.Short(err.Error()), "correct the request")
	}
	switch {
	case r.TDX == nil && r.SNP == nil:
		return r, nil
	case r.TDX != nil && r.SNP != nil || !r.itaEvidence.empty():
		return r, badITA("evidence of one attester", "more", "send one")
	case r.TDX != nil:
		r.itaEvidence, r.nested = *r.TDX, "tdx"
	default:
		r.itaEvidence, r.nested = *r.SNP, "sevsnp"
	}
	return r, nil
}

// checkITA checks what of a request this service can't do as asked.
func checkITA(r itaRequest, policy wire.ID) error {
	switch {
	case len(r.Quote) == 0 && len(r.Report) == 0:
		return badITA("a quote, or of SEV-SNP a report", "none", "send the evidence")
	case len(r.Quote) > 0 && len(r.Report) > 0, r.nested == "tdx" && len(r.Report) > 0, r.nested == "sevsnp" && len(r.Quote) > 0:
		return badITA("quote for TDX and SGX, report for SEV-SNP", "the other, or both", "send what the attester made")
	case r.Nonce == nil:
		return badITA("verifier_nonce", "none", "get /appraisal/v2/nonce first, and have the evidence bind it")
	case r.Algorithm != "" && r.Algorithm != string(ear.PS384):
		return badITA("token_signing_alg PS384", verdict.Short(r.Algorithm), "leave it away")
	case len(r.EventLog) > 0:
		return badITA("no event log", "one", "leave it away: the policy judges the registers")
	}
	for _, id := range r.PolicyIDs {
		if id != PolicyUUID(policy) {
			return badITA("policy_ids of the one policy that judges here: "+PolicyUUID(policy), verdict.Short(id), "leave them away")
		}
	}
	return nil
}

// itaPlatform says whose evidence it is. A quote at the top is of TDX unless it is one of SGX.
func (s *Service) itaPlatform(r itaRequest) (wire.ID, []byte) {
	if len(r.Report) > 0 {
		return "snp", r.Report
	}
	for _, x := range s.table.Load().examiners {
		if x.Name == "sgx" && r.nested == "" && x.Detect(r.Quote) {
			return "sgx", r.Quote
		}
	}
	return "tdx", r.Quote
}

// PolicyUUID names a policy where clients can only name it by a UUID (RFC 9562, version 8: from
// a hash of its id).
func PolicyUUID(id wire.ID) string {
	h := wire.SHA256("strongroom/policy-uuid/v1", []byte(id))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// held gives the data that the evidence binds besides the nonce; clients have two names for it.
// On Azure the other is the paravisor's own.
func (r itaRequest) held(onAzure bool) ([]byte, error) {
	switch {
	case onAzure && len(r.Runtime) == 0:
		return nil, badITA("the paravisor's runtime_data", "none", "send the runtime data of the HCL report")
	case onAzure:
		return r.User, nil
	case len(r.Runtime) > 0 && len(r.User) > 0:
		return nil, badITA("runtime_data or user_data", "both", "send what the evidence binds; of machines on Azure, to /appraisal/v2/attest/azure")
	case len(r.Runtime) > 0:
		return r.Runtime, nil
	}
	return r.User, nil
}

// itaKey finds the attester's key in the data: as heldKey, or a public key as it is in
// certificates (SubjectPublicKeyInfo), which Intel's command line sends.
func itaKey(held []byte) (ear.Confirmation, error) {
	if len(held) > 0 && held[0] == 0x30 { // a SEQUENCE in DER; neither JSON nor PEM begins so
		return ear.ConfirmPEM(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: held}))
	}
	return heldKey(held, false)
}

// reportData gives what the evidence's report data must be, zeros behind it.
func (r itaRequest) reportData(platform wire.ID, onAzure bool, held []byte) ([]byte, error) {
	asked := append(append(bytes.Clone(r.Nonce.Value), r.Nonce.Issued...), held...)
	long := sha512.Sum512(asked)
	switch {
	case onAzure && platform == "sgx":
		return nil, badITA("evidence of a machine on Azure", "a quote of SGX", "send enclaves' quotes to /appraisal/v2/attest")
	case onAzure:
		runtime, err := azure.ParseRuntime(r.Runtime)
		if err != nil {
			return nil, badITA("the paravisor's runtime_data", verdict.Short(err.Error()), "send the runtime data of the HCL report as it is")
		}
		if want := hex.EncodeToString(long[:]); runtime.UserData != want {
			return nil, verdict.Refuse("freshness", "user-data "+want+" in runtime_data", verdict.Short(runtime.UserData), "have the paravisor (NV index 0x01400002) bind SHA-512 of the nonce's val and iat and of user_data, and send the report that it then makes")
		}
		short := sha256.Sum256(r.Runtime)
		return short[:], nil
	case platform == "sgx":
		short := sha256.Sum256(asked)
		return short[:], nil
	}
	return long[:], nil
}

// recogniseITA checks a nonce that comes back. iat is for the client alone: what counts is the
// time in the value, which the signature covers.
func (s *Service) recogniseITA(n *ITANonce, audience string) (recognised, error) {
	if len(n.Signature) != 32 || len(n.Value) < 24 || len(n.Issued) > 32 {
		return recognised{}, verdict.NotGenuine("challenge.known", "a nonce of this service", "another", "get /appraisal/v2/nonce, and send it back whole")
	}
	c, err := s.recognise(append(append([]byte{}, n.Signature...), n.Value...), audience, forITA)
	if err != nil {
		return recognised{}, err
	}
	issued := strconv.FormatInt(int64(binary.BigEndian.Uint64(n.Value[16:]))/1000-int64(ChallengeLifetime.Seconds()), 10)
	if string(n.Issued) != issued {
		return recognised{}, verdict.NotGenuine("challenge.known", "iat "+issued, verdict.Short(string(n.Issued)), "send the nonce back whole")
	}
	return c, nil
}

// claims gives the claims that Intel's service makes of a platform's.
func (r itaRequest) claims(f attest.Finding, held []byte, onAzure bool, p *appraise.Policy) (map[string]any, error) {
	inner := map[string]any{"attester_held_data": base64.StdEncoding.EncodeToString(held), "verifier_nonce": r.Nonce}
	switch f.Facts.Platform {
	case "tdx":
		inner["attester_type"] = "TDX"
		tdxClaims(inner, f)
	case "sgx":
		inner["attester_type"] = "SGX"
		copyClaims(inner, f.Claims, "sgx_", map[string]string{"mrenclave": "mrenclave", "mrsigner": "mrsigner", "isvprodid": "isv_prod_id", "isvsvn": "isv_svn", "is_debuggable": "debug",
			"report_data": "report_data", "config_id": "config_id", "config_svn": "config_svn"})
		attesterClaims(inner, f)
	case "snp":
		inner["attester_type"] = "AMD SEV-SNP"
		names := map[string]any{}
		snpClaims(names, f)
		for theirs, v := range names {
			if name, found := strings.CutPrefix(theirs, "x-ms-sevsnpvm-"); found {
				inner["sevsnp_"+strings.ReplaceAll(name, "-", "_")] = v
			}
		}
	}
	if onAzure {
		canonical, err := wire.Canonical(r.Runtime)
		if err != nil {
			return nil, badITA("runtime_data in JSON, of integers and text", verdict.Short(err.Error()), "send the runtime data of the HCL report as it is")
		}
		inner["attester_runtime_data"] = json.RawMessage(canonical)
	}
	c := inner
	if r.nested != "" {
		c = map[string]any{r.nested: inner}
	}
	digest, id := p.Digest(), keys.RandomID()
	c["ver"], c["jti"], c["intuse"], c["eat_profile"] = "2.0.0", hex.EncodeToString(id[:]), "generic", "https://portal.trustauthority.intel.com/eat_profile.html"
	c["policy_ids_matched"] = []map[string]any{{"id": PolicyUUID(p.ID), "version": p.Version, "hash": base64.StdEncoding.EncodeToString(digest[:])}}
	return c, nil
}
