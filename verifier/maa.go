package verifier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"

	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/ear"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// maaKind is one of the operations of Microsoft Azure Attestation.
type maaKind struct {
	// platform is whose evidence it takes; members are the names under which it comes.
	platform wire.ID
	members  []string
	// wrapped is set where the evidence is a JSON document inside.
	wrapped bool
}

func maaKinds() map[string]maaKind {
	return map[string]maaKind{
		"SevSnpVm":    {"snp", []string{"report"}, true},
		"TdxVm":       {"tdx", []string{"quote"}, false},
		"SgxEnclave":  {"sgx", []string{"quote", "Quote"}, false},
		"OpenEnclave": {"sgx", []string{"report"}, false},
	}
}

// MAAKinds lists the operations, by the last element of their path.
func MAAKinds() []string {
	return []string{"SevSnpVm", "SgxEnclave", "OpenEnclave", "TdxVm", azureGuest}
}

// MAAAnswer is what clients of Microsoft Azure Attestation get.
type MAAAnswer struct {
	Token string `json:"token"`
}

// maaRequest is a request as it is understood.
type maaRequest struct {
	evidence []byte
	runtime  []byte // what the report data is a hash of
	isJSON   bool
	initTime []byte
	initJSON bool
	nonce    string
}

// MAA answers a client of Microsoft Azure Attestation (spec/attestation.md, section 6). version
// is the query's api-version. The token goes to the one audience that the service gates for this
// shape, and carries the key that the runtime data holds.
func (s *Service) MAA(ctx context.Context, operation, version string, body []byte) (MAAAnswer, error) {
	kind, found := maaKinds()[operation]
	if !found && operation != azureGuest {
		return MAAAnswer{}, verdict.Misuse("maa.operation", fmt.Sprintf("one of %v", MAAKinds()), verdict.Short(operation), "use one of these")
	}
	if ok, _ := regexp.MatchString(`^20[0-9]{2}-[0-9]{2}-[0-9]{2}(-preview)?$`, version); !ok {
		return MAAAnswer{}, verdict.Misuse("maa.api-version", "?api-version=2022-08-01, or another date", "none such", "name the version that the client was written for")
	}
	g, err := s.gate(ear.MAA(), "")
	if err != nil {
		return MAAAnswer{}, err
	}
	if operation == azureGuest {
		return s.azureGuestToken(ctx, g, body)
	}
	r, err := parseMAA(kind, body)
	if err != nil {
		return MAAAnswer{}, err
	}
	a := asking{shape: g.Shape, audience: g.Audience, now: s.cfg.Now(), freshness: ear.ByRelyingParty, mend: mendMAA}
	if a.policy, err = s.policy(ctx, g.Policy); err != nil {
		return MAAAnswer{}, err
	}
	if a.key, err = heldKey(r.runtime, r.isJSON); err != nil {
		return MAAAnswer{}, err
	}
	bound := sha256.Sum256(r.runtime)
	a.fresh.ReportData = bound[:]
	finding, digest, err := s.examineOnly(ctx, kind.platform, r.evidence, a)
	if err != nil {
		return MAAAnswer{}, err
	}
	if err := r.checkInitTime(kind.platform, finding.Facts.InitData); err != nil {
		return MAAAnswer{}, s.refused(ctx, a, kind.platform, err)
	}
	if a.extra, err = maaClaims(kind.platform, finding, r, a.policy); err != nil {
		return MAAAnswer{}, err
	}
	answer, err := s.answer(ctx, a, finding, digest)
	return MAAAnswer{answer.Token}, err
}

// examineOnly examines evidence of one platform, whatever else it looks like.
func (s *Service) examineOnly(ctx context.Context, platform wire.ID, evidence []byte, a asking) (attest.Finding, wire.Digest, error) {
	for _, x := range s.table.Load().examiners {
		if x.Name != platform {
			continue
		}
		f, err := x.Examine(evidence, a.now)
		if err != nil {
			return attest.Finding{}, wire.Digest{}, s.refused(ctx, a, platform, genuine(err))
		}
		return f, attest.Evidence{Platform: platform, Evidence: evidence}.Digest(), nil
	}
	return attest.Finding{}, wire.Digest{}, verdict.Misuse("evidence.platform", "a platform of this build", string(platform), "use a build that knows it")
}

func badMAA(expected, got string) error {
	return verdict.Misuse("maa.request", expected, got, "send the request as Microsoft's service takes it")
}

// parseMAA reads a request. Members have one spelling each; what is not known is passed over, as
// that service does.
func parseMAA(kind maaKind, body []byte) (maaRequest, error) {
	var r maaRequest
	doc, err := object(body)
	if err != nil {
		return r, badMAA("a JSON object", verdict.Short(err.Error()))
	}
	if _, draft := doc["draftPolicyForAttestation"]; draft {
		return r, badMAA("no draft policy", "draftPolicyForAttestation: officers try drafts on recorded evidence")
	}
	if r.evidence, err = urlBytes(doc, kind.members...); err != nil || r.evidence == nil {
		return r, badMAA("evidence as base64url in "+kind.members[0], orMissing(err))
	}
	if kind.wrapped {
		inner, err := object(r.evidence)
		if err != nil || inner["SnpReport"] == nil {
			return r, badMAA(`a report of JSON with SnpReport and VcekCertChain, as base64url`, orMissing(err))
		}
	}
	if r.runtime, r.isJSON, err = heldData(doc, "runtimeData"); err != nil {
		return r, err
	}
	if r.runtime == nil { // as the service of 2018 named it
		if r.runtime, err = urlBytes(doc, "EnclaveHeldData", "enclaveHeldData"); err != nil {
			return r, badMAA("base64url", err.Error())
		}
	}
	if r.initTime, r.initJSON, err = heldData(doc, "initTimeData"); err != nil {
		return r, err
	}
	if raw := doc["nonce"]; raw != nil {
		if err := json.Unmarshal(raw, &r.nonce); err != nil || len(r.nonce) > 1024 {
			return r, badMAA("a nonce of at most 1,024 characters", "another value")
		}
	}
	return r, nil
}

func orMissing(err error) string {
	if err != nil {
		return verdict.Short(err.Error())
	}
	return "none"
}

// object reads a JSON object without repeated members.
func object(data []byte) (map[string]json.RawMessage, error) {
	canonical, err := wire.Canonical(data)
	if err != nil {
		return nil, err
	}
	var doc map[string]json.RawMessage
	err = json.Unmarshal(canonical, &doc)
	return doc, err
}

// urlBytes reads the one of some members that is there, base64url with or without padding.
func urlBytes(doc map[string]json.RawMessage, names ...string) ([]byte, error) {
	var found json.RawMessage
	for _, name := range names {
		if doc[name] == nil {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%s stands beside another name of the same", name)
		}
		found = doc[name]
	}
	if found == nil {
		return nil, nil
	}
	var text string
	if err := json.Unmarshal(found, &text); err != nil {
		return nil, err
	}
	for len(text) > 0 && text[len(text)-1] == '=' {
		text = text[:len(text)-1]
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// heldData reads {data, dataType}.
func heldData(doc map[string]json.RawMessage, name string) (data []byte, isJSON bool, err error) {
	if doc[name] == nil {
		return nil, false, nil
	}
	inner, err := object(doc[name])
	if err != nil {
		return nil, false, badMAA(name+" with data and dataType", verdict.Short(err.Error()))
	}
	if data, err = urlBytes(inner, "data"); err != nil || len(data) == 0 {
		return nil, false, badMAA(name+" with data as base64url", orMissing(err))
	}
	var kind string
	if raw := inner["dataType"]; raw != nil {
		if err := json.Unmarshal(raw, &kind); err != nil {
			return nil, false, badMAA("dataType JSON or Binary", "another value")
		}
	}
	if kind != "JSON" && kind != "Binary" && kind != "" {
		return nil, false, badMAA("dataType JSON or Binary", verdict.Short(kind))
	}
	return data, kind == "JSON", nil
}

// heldKey finds the attester's key in what the evidence binds: the first of "keys" in JSON, one
// JWK, or a key in PEM.
func heldKey(held []byte, isJSON bool) (ear.Confirmation, error) {
	if trimmed := bytes.TrimSpace(held); !isJSON && !bytes.HasPrefix(trimmed, []byte("{")) {
		return ear.ConfirmPEM(held)
	}
	doc, err := object(held)
	if err != nil {
		return ear.Confirmation{}, verdict.Misuse("token.key-binding", "runtime data in JSON, of integers and text", verdict.Short(err.Error()), "put the attester's public key into it, as keys: [JWK]")
	}
	if doc["keys"] == nil {
		return ear.ConfirmJWK(held)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(doc["keys"], &list); err != nil || len(list) == 0 {
		return ear.Confirmation{}, verdict.Misuse("token.key-binding", "keys: [JWK] in the runtime data", "no key", "put the attester's public key first")
	}
	return ear.ConfirmJWK(list[0])
}

// checkInitTime holds init time data against the init data: HOST_DATA is its SHA-256.
func (r maaRequest) checkInitTime(platform wire.ID, initData []byte) error {
	if r.initTime == nil {
		return nil
	}
	if platform != "snp" {
		return badMAA("no initTimeData for this platform", "some")
	}
	if want := sha256.Sum256(r.initTime); !bytes.Equal(want[:], initData) {
		return verdict.NotGenuine("evidence.init-data", "init data "+whole(want[:])+", the hash of initTimeData", whole(initData), "send the data that it was started with")
	}
	return nil
}

// maaClaims gives the claims that Microsoft's service makes of a platform's.
func maaClaims(platform wire.ID, f attest.Finding, r maaRequest, p *appraise.Policy) (map[string]any, error) {
	digest, id := p.Digest(), keys.RandomID()
	c := map[string]any{"x-ms-ver": "1.0", "x-ms-policy-hash": base64.RawURLEncoding.EncodeToString(digest[:]), "jti": hex.EncodeToString(id[:])}
	if r.nonce != "" {
		c["nonce"] = r.nonce
	}
	for name, held := range map[string]struct {
		data   []byte
		isJSON bool
	}{"x-ms-runtime": {r.runtime, r.isJSON}, "x-ms-inittime": {r.initTime, r.initJSON}} {
		if !held.isJSON {
			continue
		}
		canonical, err := wire.Canonical(held.data)
		if err != nil {
			return nil, badMAA("data in JSON, of integers and text", verdict.Short(err.Error()))
		}
		c[name] = json.RawMessage(canonical)
	}
	switch platform {
	case "snp":
		snpClaims(c, f)
	case "tdx":
		tdxClaims(c, f)
		c["x-ms-attestation-type"], c["eat_profile"], c["intuse"] = "tdxvm", "https://aka.ms/maa-eat-profile-tdxvm", "generic"
	case "sgx":
		sgxClaims(c, f, r)
	}
	return c, nil
}

// copyClaims copies claims of a platform under other names. What the evidence does not have is
// left out.
func copyClaims(to, from map[string]any, prefix string, names map[string]string) {
	for theirs, ours := range names {
		if v, found := from[ours]; found {
			to[prefix+theirs] = v
		}
	}
}

func snpClaims(c map[string]any, f attest.Finding) {
	const prefix = "x-ms-sevsnpvm-"
	c["x-ms-attestation-type"] = "sevsnpvm"
	copyClaims(c, f.Claims, prefix, map[string]string{
		"authorkeydigest": "author_key_digest", "familyId": "family_id", "guestsvn": "guest_svn", "hostdata": "host_data", "idkeydigest": "id_key_digest", "imageId": "image_id",
		"is-debuggable": "policy_debug_allowed", "launchmeasurement": "measurement", "migration-allowed": "policy_migrate_ma_allowed", "reportdata": "report_data",
		"reportid": "report_id", "smt-allowed": "policy_smt_allowed", "vmpl": "vmpl", "chipid": "chip_id",
	})
	if tcb, ok := f.Claims["reported_tcb"].(map[string]any); ok {
		copyClaims(c, tcb, prefix, map[string]string{"bootloader-svn": "bootloader", "tee-svn": "tee", "snpfw-svn": "snp", "microcode-svn": "microcode"})
	}
	for _, check := range f.Checks { // Microsoft's own statement about the firmware was verified
		if check.ID == "snp.uvm" && check.OK && f.Claims["uvm_svn"] != nil {
			c["x-ms-compliance-status"] = "azure-compliant-uvm"
		}
	}
}

// tdxClaims are the same in Microsoft's and Intel's tokens.
func tdxClaims(c map[string]any, f attest.Finding) {
	copyClaims(c, f.Claims, "tdx_", map[string]string{
		"mrconfigid": "mrconfigid", "mrowner": "mrowner", "mrownerconfig": "mrownerconfig", "mrseam": "mrseam", "mrsignerseam": "mrsignerseam", "mrtd": "mrtd",
		"report_data": "report_data", "rtmr0": "rtmr0", "rtmr1": "rtmr1", "rtmr2": "rtmr2", "rtmr3": "rtmr3", "seam_attributes": "seam_attributes",
		"td_attributes": "td_attributes", "tee_tcb_svn": "tee_tcb_svn", "xfam": "xfam", "td_attributes_debug": "debug", "is_debuggable": "debug",
		"td_attributes_septve_disable": "sept_ve_disable", "td_attributes_key_locker": "key_locker", "td_attributes_perfmon": "perfmon", "td_attributes_protection_keys": "pks",
	})
	if svn, ok := f.Claims["tee_tcb_svn"].(string); ok && len(svn) >= 4 {
		if b, err := hex.DecodeString(svn[:4]); err == nil {
			c["tdx_seamsvn"] = int64(b[1])<<8 | int64(b[0])
		}
	}
	attesterClaims(c, f)
}

// attesterClaims are those about Intel's platforms of either kind.
func attesterClaims(c map[string]any, f attest.Finding) {
	copyClaims(c, f.Claims, "attester_", map[string]string{"tcb_status": "tcb_status", "tcb_date": "tcb_date", "advisory_ids": "advisories"})
	c["dbgstat"] = map[bool]string{true: "enabled", false: "disabled"}[f.Facts.Debug]
}

func sgxClaims(c map[string]any, f attest.Finding, r maaRequest) {
	c["x-ms-attestation-type"], c["tee"] = "sgx", "sgx"
	copyClaims(c, f.Claims, "x-ms-sgx-", map[string]string{
		"is-debuggable": "debug", "mrenclave": "mrenclave", "mrsigner": "mrsigner", "product-id": "isv_prod_id", "svn": "isv_svn", "config-id": "config_id",
		"config-svn": "config_svn", "isvextprodid": "isv_ext_prod_id", "isvfamilyid": "isv_family_id", "report-data": "report_data",
	})
	copyClaims(c, f.Claims, "", map[string]string{"is-debuggable": "debug", "product-id": "isv_prod_id", "sgx-mrenclave": "mrenclave", "sgx-mrsigner": "mrsigner", "svn": "isv_svn"})
	if !r.isJSON {
		ehd := base64.RawURLEncoding.EncodeToString(r.runtime)
		c["x-ms-sgx-ehd"], c["maa-ehd"] = ehd, ehd
	}
}
