package verifier

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"strongroom.dev/appraise"
	"strongroom.dev/attest"
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
	Quote    []byte    `json:"quote"`
	Nonce    *ITANonce `json:"verifier_nonce"`
	Runtime  []byte    `json:"runtime_data"`
	User     []byte    `json:"user_data"`
	EventLog []byte    `json:"event_log"`
}

// itaRequest is a request in the form of one attester, or of several.
type itaRequest struct {
	itaEvidence
	TDX       *itaEvidence `json:"tdx"`
	PolicyIDs []string     `json:"policy_ids"`
	Algorithm string       `json:"token_signing_alg"`
	MustMatch bool         `json:"policy_must_match"`
}

func badITA(expected, got, fix string) error {
	return verdict.Misuse("ita.request", expected, got, fix)
}

// ITA answers a client of Intel Trust Authority with evidence of TDX (spec/attestation.md,
// section 7). The token goes to the one audience that the service gates for this shape.
func (s *Service) ITA(ctx context.Context, body []byte) (ITAAnswer, error) {
	g, err := s.gate(ear.ITA(), "")
	if err != nil {
		return ITAAnswer{}, err
	}
	r, nested, err := parseITA(body)
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
	held, err := r.held()
	if err != nil {
		return ITAAnswer{}, err
	}
	if a.key, err = heldKey(held, false); err != nil {
		return ITAAnswer{}, err
	}
	if a.challenge, err = s.recogniseITA(r.Nonce, g.Audience); err != nil {
		return ITAAnswer{}, err
	}
	hash := sha512.New()
	for _, part := range [][]byte{r.Nonce.Value, r.Nonce.Issued, held} {
		hash.Write(part)
	}
	a.fresh.ReportData = hash.Sum(nil)
	finding, digest, err := s.examineOnly(ctx, "tdx", r.Quote, a)
	if err != nil {
		return ITAAnswer{}, err
	}
	a.extra = itaClaims(finding, r.itaEvidence, held, a.policy, nested)
	answer, err := s.answer(ctx, a, finding, digest)
	return ITAAnswer{answer.Token}, err
}

func parseITA(body []byte) (r itaRequest, nested bool, err error) {
	doc, err := object(body)
	if err != nil {
		return r, false, badITA("a JSON object", verdict.Short(err.Error()), "send the request as Intel's service takes it")
	}
	for name := range doc {
		switch name {
		case "quote", "verifier_nonce", "runtime_data", "user_data", "event_log", "tdx", "policy_ids", "token_signing_alg", "policy_must_match":
		default:
			return r, false, badITA("evidence of TDX", "a member "+verdict.Short(name), "ask the service's own interface for other evidence")
		}
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, false, badITA("members as Intel's service takes them", verdict.Short(err.Error()), "correct the request")
	}
	if nested = r.TDX != nil; nested {
		if r.Quote != nil || r.Nonce != nil || r.Runtime != nil || r.User != nil {
			return r, false, badITA("one quote", "one in tdx and one beside it", "send one")
		}
		r.itaEvidence = *r.TDX
	}
	return r, nested, nil
}

// checkITA checks what of a request this service can't do as asked.
func checkITA(r itaRequest, policy wire.ID) error {
	switch {
	case len(r.Quote) == 0:
		return badITA("a quote", "none", "send the TDX quote")
	case r.Nonce == nil:
		return badITA("verifier_nonce", "none", "get /appraisal/v2/nonce first, and have the quote bind it")
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

// PolicyUUID names a policy where clients can only name it by a UUID (RFC 9562, version 8: from
// a hash of its id).
func PolicyUUID(id wire.ID) string {
	h := wire.SHA256("strongroom/policy-uuid/v1", []byte(id))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// held gives the data that the quote binds besides the nonce; clients have two names for it.
func (r itaRequest) held() ([]byte, error) {
	if len(r.Runtime) > 0 && len(r.User) > 0 {
		return nil, badITA("runtime_data or user_data", "both", "send what the quote binds")
	}
	if len(r.Runtime) > 0 {
		return r.Runtime, nil
	}
	return r.User, nil
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

func itaClaims(f attest.Finding, e itaEvidence, held []byte, p *appraise.Policy, nested bool) map[string]any {
	id := keys.RandomID()
	tdx := map[string]any{"attester_type": "TDX", "attester_held_data": base64.StdEncoding.EncodeToString(held), "verifier_nonce": e.Nonce}
	tdxClaims(tdx, f)
	if svn, ok := f.Claims["tee_tcb_svn"].(string); ok && len(svn) >= 4 {
		if b, err := hex.DecodeString(svn[:4]); err == nil {
			tdx["tdx_seamsvn"] = int64(b[1])<<8 | int64(b[0])
		}
	}
	c := map[string]any{"tdx": tdx}
	if !nested {
		c = tdx
	}
	digest := p.Digest()
	c["ver"], c["jti"], c["intuse"], c["eat_profile"] = "2.0.0", hex.EncodeToString(id[:]), "generic", "https://portal.trustauthority.intel.com/eat_profile.html"
	c["policy_ids_matched"] = []map[string]any{{"id": PolicyUUID(p.ID), "version": p.Version, "hash": base64.StdEncoding.EncodeToString(digest[:])}}
	return c
}
