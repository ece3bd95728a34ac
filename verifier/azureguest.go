package verifier

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strconv"

	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/ear"
	"strongroom.dev/keys"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// azureGuest is the operation for whole virtual machines.
const azureGuest = "AzureGuest"

// guestInfo is what a guest says of itself: AttestationInfo, as base64url of this. What stands in
// no field here (the event log, which clients cut, the AK's certificate, names of the operating
// system) is passed over.
type guestInfo struct {
	AttestationProtocolVersion string
	ClientPayload              struct {
		Nonce []byte `json:"nonce"`
	}
	IsolationInfo struct {
		Type     string
		Evidence struct {
			Proof       []byte // JSON: SnpReport, VcekCertChain
			RunTimeData []byte
		}
	}
	TpmInfo struct {
		EncKeyCertifyInfo          []byte
		EncKeyCertifyInfoSignature []byte
		EncKeyPub                  []byte
		PCRs                       []struct {
			Digest []byte
			Index  int
		}
		PcrQuote     []byte
		PcrSignature []byte
	}
}

// guestProof is the hardware's part.
type guestProof struct {
	SnpReport     string // base64url
	VcekCertChain []byte // PEM
}

func badGuest(expected, got string) error {
	return verdict.Misuse("maa.request", expected, got, "send AttestationInfo as guests of Microsoft's service do")
}

// azureGuestToken answers a guest. The token leaves encrypted to a key of the guest's TPM, which
// the TPM's attestation key certified and which is in the token.
func (s *Service) azureGuestToken(ctx context.Context, g Gate, body []byte) (MAAAnswer, error) {
	info, proof, err := parseGuest(body)
	if err != nil {
		return MAAAnswer{}, err
	}
	report, err := info.hclReport(proof)
	if err != nil {
		return MAAAnswer{}, err
	}
	evidence, err := info.evidence(report, proof)
	if err != nil {
		return MAAAnswer{}, err
	}
	a := asking{shape: g.Shape, audience: g.Audience, now: s.cfg.Now(), freshness: ear.ByRelyingParty, mend: mendGuest}
	if a.policy, err = s.policy(ctx, g.Policy); err != nil {
		return MAAAnswer{}, err
	}
	a.fresh.Nonce = info.ClientPayload.Nonce
	finding, digest, err := s.examineOnly(ctx, azure.Name, evidence, a)
	if err != nil {
		return MAAAnswer{}, err
	}
	key, jwk, err := info.encryptionKey(report)
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

func parseGuest(body []byte) (info guestInfo, proof guestProof, err error) {
	doc, err := object(body)
	if err != nil {
		return info, proof, badGuest("a JSON object", verdict.Short(err.Error()))
	}
	inner, err := urlBytes(doc, "AttestationInfo")
	if err != nil || inner == nil {
		return info, proof, badGuest("AttestationInfo, as base64url", orMissing(err))
	}
	if err := tpm2.Decode(inner, &info); err != nil {
		return info, proof, badGuest("AttestationInfo of JSON", verdict.Short(err.Error()))
	}
	if err := tpm2.Decode(info.IsolationInfo.Evidence.Proof, &proof); err != nil {
		return info, proof, badGuest("the hardware's Proof, of JSON", verdict.Short(err.Error()))
	}
	switch {
	case info.AttestationProtocolVersion != "2.0":
		return info, proof, badGuest("protocol version 2.0", verdict.Short(info.AttestationProtocolVersion))
	case info.IsolationInfo.Type != "SevSnp":
		return info, proof, badGuest("isolation by SevSnp", verdict.Short(info.IsolationInfo.Type))
	case len(info.ClientPayload.Nonce) == 0:
		return info, proof, badGuest("a nonce in ClientPayload, which the quote answers", "none")
	}
	return info, proof, nil
}

// hclReport puts the paravisor's report together again: clients take it apart (attest/azure has
// the layout). The hardware report's hash over the runtime data makes sure of it.
func (info guestInfo) hclReport(proof guestProof) ([]byte, error) {
	const size, hardware, data, runtime = 1184, 32, 1216, 1236
	report, err := base64.RawURLEncoding.DecodeString(proof.SnpReport)
	if err != nil || len(report) != size {
		return nil, badGuest(fmt.Sprintf("SnpReport of %d bytes as base64url", size), fmt.Sprintf("%d bytes", len(report)))
	}
	held := info.IsolationInfo.Evidence.RunTimeData
	b := make([]byte, runtime, runtime+len(held))
	copy(b, "HCLA")
	for at, n := range map[int]int{4: 1, 8: runtime + len(held), 12: 2, data: runtime - data + len(held), data + 4: 1, data + 8: 2, data + 12: 1, data + 16: len(held)} {
		binary.LittleEndian.PutUint32(b[at:], uint32(n))
	}
	copy(b[hardware:], report)
	return append(b, held...), nil
}

// evidence makes this program's own form of it.
func (info guestInfo) evidence(report []byte, proof guestProof) ([]byte, error) {
	values := map[string]wire.Bytes{}
	for _, p := range info.TpmInfo.PCRs {
		index := strconv.Itoa(p.Index)
		if _, twice := values[index]; twice {
			return nil, badGuest("each PCR once", "PCR "+index+" twice")
		}
		values[index] = p.Digest
	}
	e := azure.Evidence{HCLReport: report, Quotes: []tpm2.Document{{Banks: map[string]map[string]wire.Bytes{"sha256": values}, Message: info.TpmInfo.PcrQuote, Signature: info.TpmInfo.PcrSignature}}}
	for block, rest := pem.Decode(proof.VcekCertChain); block != nil; block, rest = pem.Decode(rest) {
		e.Certificates = append(e.Certificates, block.Bytes)
	}
	data, err := e.Encode()
	if err != nil {
		return nil, badGuest("evidence of a guest", verdict.Short(err.Error()))
	}
	return data, nil
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
	snpClaims(isolation, f)
	c := map[string]any{
		"x-ms-ver": "1.0", "x-ms-attestation-type": "azurevm", "x-ms-azurevm-attestation-protocol-ver": "2.0", "x-ms-isolation-tee": isolation,
		"x-ms-runtime": map[string]any{"keys": []any{key}, "client-payload": map[string]any{"nonce": base64.StdEncoding.EncodeToString(info.ClientPayload.Nonce)}},
	}
	if vm, ok := f.Claims["vm_configuration"].(map[string]any); ok {
		if secure, ok := vm["secure_boot"].(bool); ok {
			c["secureboot"] = secure
		}
	}
	return c
}
