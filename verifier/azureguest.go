package verifier

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strconv"

	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/ear"
	"strongroom.dev/keys"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// azureGuest is the operation for whole virtual machines.
const azureGuest = "AzureGuest"

// guestInfo is what a guest says of itself: AttestationInfo, as base64url of this. What stands in
// no field here (the AK's certificate, names of the operating system) is passed over: no claim
// comes of it.
type guestInfo struct {
	AttestationProtocolVersion string
	ClientPayload              guestPayload
	// TcgLogs is the log of firmware and boot loader. Some clients leave events of other PCRs than
	// the first eight out of it, or send none.
	TcgLogs       looseBytes
	IsolationInfo struct {
		Type     string
		Evidence struct {
			Proof       looseBytes // SevSnp: JSON (guestProof); Tdx: the TD quote
			RunTimeData looseBytes
		}
	}
	TpmInfo struct {
		EncKeyCertifyInfo          looseBytes
		EncKeyCertifyInfoSignature looseBytes
		EncKeyPub                  looseBytes
		PCRs                       []struct {
			Digest looseBytes
			Index  int
		}
		PcrQuote     looseBytes
		PcrSignature looseBytes
	}
}

// guestPayload is what the relying party has the guest pass on. Clients that have nothing to pass
// on send an empty text, or null.
type guestPayload struct{ nonce []byte }

// UnmarshalJSON reads it. Members other than the nonce are passed over: no claim comes of them.
func (p *guestPayload) UnmarshalJSON(text []byte) error {
	if string(text) == `""` {
		return nil
	}
	var in struct {
		Nonce looseBytes `json:"nonce"`
	}
	err := json.Unmarshal(text, &in)
	p.nonce = in.Nonce
	return err
}

// guestProof is the hardware's part on SEV-SNP.
type guestProof struct {
	SnpReport     looseBytes
	VcekCertChain looseBytes // PEM
}

func badGuest(expected, got string) error {
	return verdict.Misuse("maa.request", expected, got, "send AttestationInfo as guests of Microsoft's service do")
}

// azureGuestToken answers a guest. The token leaves encrypted to a key of the guest's TPM, which
// the TPM's attestation key certified and which is in the token.
func (s *Service) azureGuestToken(ctx context.Context, g Gate, body []byte) (MAAAnswer, error) {
	info, err := parseGuest(body)
	if err != nil {
		return MAAAnswer{}, err
	}
	evidence, err := info.evidence()
	if err != nil {
		return MAAAnswer{}, err
	}
	data, err := evidence.Encode()
	if err != nil {
		return MAAAnswer{}, badGuest("evidence of a guest", verdict.Short(err.Error()))
	}
	a := asking{shape: g.Shape, audience: g.Audience, now: s.cfg.Now(), freshness: ear.ByRelyingParty, mend: mendGuest}
	if a.policy, err = s.policy(ctx, g.Policy); err != nil {
		return MAAAnswer{}, err
	}
	a.fresh.Nonce = info.ClientPayload.nonce
	finding, digest, err := s.examineOnly(ctx, azure.Name, data, a)
	if err != nil {
		return MAAAnswer{}, err
	}
	key, jwk, err := info.encryptionKey(evidence.HCLReport)
	if err != nil {
		return MAAAnswer{}, s.refused(ctx, a, azure.Name, err)
	}
	if a.key, err = ear.ConfirmJWK(jwk); err != nil {
		return MAAAnswer{}, err
	}
	digestOfPolicy, id := a.policy.Digest(), keys.RandomID()
	a.extra = guestClaims(finding, info, jwk)
	a.extra["x-ms-policy-hash"], a.extra["jti"] = base64.RawURLEncoding.EncodeToString(digestOfPolicy[:]), hex.EncodeToString(id[:])
	answer, err := s.answer(ctx, a, finding, digest)
	if err != nil {
		return MAAAnswer{}, err
	}
	sealed, err := ear.NewTransport(answer.Token, key)
	return MAAAnswer{base64.RawURLEncoding.EncodeToString(sealed)}, err
}

func parseGuest(body []byte) (info guestInfo, err error) {
	doc, err := object(body)
	if err != nil {
		return info, badGuest("a JSON object", verdict.Short(err.Error()))
	}
	inner, err := urlBytes(doc, "AttestationInfo")
	if err != nil || inner == nil {
		return info, badGuest("AttestationInfo, as base64url", orMissing(err))
	}
	if err := tpm2.Decode(inner, &info); err != nil {
		return info, badGuest("AttestationInfo of JSON", verdict.Short(err.Error()))
	}
	switch {
	case info.AttestationProtocolVersion != "2.0":
		return info, badGuest("protocol version 2.0", verdict.Short(info.AttestationProtocolVersion))
	case len(info.ClientPayload.nonce) == 0:
		return info, badGuest("a nonce in ClientPayload, which the TPM's quote answers", "none")
	}
	return info, nil
}

// hardware gives the paravisor's report, which clients take apart, and on TDX the quote, on
// SEV-SNP the chip's certificates.
func (info guestInfo) hardware() (e azure.Evidence, err error) {
	held := info.IsolationInfo.Evidence
	switch info.IsolationInfo.Type {
	case "SevSnp":
		var proof guestProof
		if err := tpm2.Decode(held.Proof, &proof); err != nil {
			return e, badGuest("the hardware's Proof, of JSON", verdict.Short(err.Error()))
		}
		for block, rest := pem.Decode(proof.VcekCertChain); block != nil; block, rest = pem.Decode(rest) {
			e.Certificates = append(e.Certificates, block.Bytes)
		}
		e.HCLReport, err = azure.Assemble(proof.SnpReport, nil, held.RunTimeData)
	case "Tdx", "TDX":
		e.TDQuote = wire.Bytes(held.Proof)
		e.HCLReport, err = azure.Assemble(nil, held.Proof, held.RunTimeData)
	default:
		return e, badGuest("isolation by SevSnp or Tdx", verdict.Short(info.IsolationInfo.Type))
	}
	if err != nil {
		return e, badGuest("SnpReport, or of Tdx a TD quote as Proof, and RunTimeData", verdict.Short(err.Error()))
	}
	return e, nil
}

// evidence makes this program's own form of it. A log that was sent is in it, to be replayed.
func (info guestInfo) evidence() (azure.Evidence, error) {
	e, err := info.hardware()
	if err != nil {
		return e, err
	}
	values := map[string]wire.Bytes{}
	for _, p := range info.TpmInfo.PCRs {
		index := strconv.Itoa(p.Index)
		if _, twice := values[index]; twice {
			return e, badGuest("each PCR once", "PCR "+index+" twice")
		}
		values[index] = wire.Bytes(p.Digest)
	}
	e.EventLog = wire.Bytes(info.TcgLogs)
	e.Quotes = []tpm2.Document{{Banks: map[string]map[string]wire.Bytes{"sha256": values}, Message: wire.Bytes(info.TpmInfo.PcrQuote), Signature: wire.Bytes(info.TpmInfo.PcrSignature)}}
	return e, nil
}

// encryptionKey checks that the TPM's own attestation key, which the report names, certified the
// key, and that only the TPM can use it.
func (info guestInfo) encryptionKey(report []byte) (*rsa.PublicKey, []byte, error) {
	const expected, fix = "a key that the guest's TPM made, certified by its attestation key, and can alone decrypt with", "make it in the TPM: decrypt, fixedTPM, fixedParent and sensitiveDataOrigin, nothing else"
	bad := func(got string) error {
		return verdict.NotGenuine("azure.encryption_key", expected, verdict.Short(got), fix)
	}
	hcl, err := azure.ParseReport(report)
	if err != nil {
		return nil, nil, bad(err.Error())
	}
	runtime, err := azure.ParseRuntime(hcl.Runtime)
	if err != nil {
		return nil, nil, bad(err.Error())
	}
	public, err := tpm2.ParsePublic(info.TpmInfo.EncKeyPub)
	if err != nil {
		return nil, nil, bad(err.Error())
	}
	if lack := public.LacksToReceive(); lack != "" {
		return nil, nil, bad(lack)
	}
	if err := tpm2.VerifyCertify(info.TpmInfo.EncKeyCertifyInfo, info.TpmInfo.EncKeyCertifyInfoSignature, runtime.AK, public); err != nil {
		return nil, nil, bad(err.Error())
	}
	key, ok := public.Key.(*rsa.PublicKey)
	if !ok {
		return nil, nil, bad("a key that is not RSA")
	}
	jwk, err := json.Marshal(map[string]string{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes())})
	return key, jwk, err
}

// guestClaims gives the claims that Microsoft's service makes: the hardware's one level down.
func guestClaims(f attest.Finding, info guestInfo, jwk []byte) map[string]any {
	var key map[string]any
	if err := json.Unmarshal(jwk, &key); err != nil {
		key = map[string]any{} // made a moment ago
	}
	key["kid"], key["key_ops"] = "TpmEphemeralEncryptionKey", []string{"encrypt"}
	isolation := map[string]any{}
	if info.IsolationInfo.Type == "SevSnp" {
		snpClaims(isolation, f)
	} else {
		tdxClaims(isolation, f)
		isolation["x-ms-attestation-type"] = "tdxvm"
	}
	c := map[string]any{
		"x-ms-ver": "1.0", "x-ms-attestation-type": "azurevm", "x-ms-azurevm-attestation-protocol-ver": "2.0", "x-ms-isolation-tee": isolation,
		"x-ms-runtime": map[string]any{"keys": []any{key}, "client-payload": map[string]any{"nonce": base64.StdEncoding.EncodeToString(info.ClientPayload.nonce)}},
	}
	if secure, known := secureBoot(f); known {
		c["secureboot"] = secure
	}
	return c
}

// secureBoot says whether Secure Boot is on: as the replayed log proves it, else as the paravisor
// says.
func secureBoot(f attest.Finding) (on, known bool) {
	if log, ok := f.Claims["event_log"].(map[string]any); ok && log["secure_boot"] != string(measure.SecureBootUnknown) {
		return log["secure_boot"] == string(measure.SecureBootOn), true
	}
	vm, _ := f.Claims["vm_configuration"].(map[string]any)
	on, known = vm["secure_boot"].(bool)
	return on, known
}
