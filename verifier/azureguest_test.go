package verifier_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// guestMachine is an Azure machine of which only the hardware's own signature is left out.
type guestMachine struct {
	ak, enc *rsa.PrivateKey
	nonce   []byte
}

// toldAzure verifies everything of a guest's evidence but the hardware report's signature.
func toldAzure() attest.Examiner {
	return attest.Examiner{Name: azure.Name, Detect: func([]byte) bool { return false }, Examine: func(data []byte, _ time.Time) (attest.Finding, error) {
		var e azure.Evidence
		bad := func(err error) (attest.Finding, error) {
			return attest.Finding{}, verdict.NotGenuine("azure.quote", "a quote", err.Error(), "send it as it is")
		}
		if err := json.Unmarshal(data, &e); err != nil {
			return bad(err)
		}
		report, err := azure.ParseReport(e.HCLReport)
		if err != nil {
			return bad(err)
		}
		runtime, err := azure.ParseRuntime(report.Runtime)
		if err != nil {
			return bad(err)
		}
		quote, err := e.Quotes[0].Quote()
		if err != nil {
			return bad(err)
		}
		quoted, err := tpm2.VerifyQuotes([]tpm2.Quote{quote}, runtime.AK)
		if err != nil {
			return bad(err)
		}
		sum := sha256.Sum256(report.Runtime)
		if !bytes.Equal(report.SNP[0x50:0x70], sum[:]) {
			return attest.Finding{}, verdict.NotGenuine("azure.binding", "runtime data", "other", "send it as it is")
		}
		return attest.Finding{Claims: map[string]any{"vmpl": 0, "vm_configuration": runtime.Configuration}, Checks: []verdict.Check{{ID: "azure.quote", OK: true}},
			Facts: attest.Facts{Platform: azure.Name, Class: agreement.Confidential, Root: wire.HashOf([]byte("root")), ReportData: quoted.Nonce, Measurements: map[string]string{"measurement": "aa11"}}}, nil
	}}
}

func newGuest(t *testing.T) guestMachine {
	t.Helper()
	return guestMachine{must(rsa.GenerateKey(rand.Reader, 2048)), must(rsa.GenerateKey(rand.Reader, 2048)), []byte("a nonce of the relying party")}
}

func (g guestMachine) sign(message []byte) []byte {
	digest := sha256.Sum256(message)
	return must(rsa.SignPKCS1v15(nil, g.ak, crypto.SHA256, digest[:]))
}

// attested makes a TPMS_ATTEST.
func attested(kind uint16, extra, rest []byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, 0xff544347), kind)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(extra))), extra...)
	return append(append(b, make([]byte, 17+8)...), rest...)
}

func sized16(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// public is a TPMT_PUBLIC of the encryption key.
func (g guestMachine) public(attributes uint32) []byte {
	b := []byte{0, 1, 0, 0x0b}
	b = binary.BigEndian.AppendUint32(b, attributes)
	b = append(b, 0, 0, 0, 0x10, 0, 0x10, 8, 0, 0, 0, 0, 0)
	return append(b, sized16(g.enc.N.Bytes())...)
}

// info is what the guest sends, to be changed by tests.
func (g guestMachine) info() map[string]any {
	n := base64.RawURLEncoding.EncodeToString(g.ak.N.Bytes())
	runtime := []byte(`{"keys":[{"kid":"HCLAkPub","kty":"RSA","key_ops":["sign"],"e":"AQAB","n":"` + n + `"}],"vm-configuration":{"secure-boot":true},"user-data":""}`)
	report := make([]byte, 1184)
	sum := sha256.Sum256(runtime)
	copy(report[0x50:], sum[:])
	pcrs, all := []map[string]any{}, []byte{}
	for i := range 24 {
		value := bytes.Repeat([]byte{byte(i + 1)}, 32)
		pcrs, all = append(pcrs, map[string]any{"Index": i, "Digest": value}), append(all, value...)
	}
	digest := sha256.Sum256(all)
	quote := attested(0x8018, g.nonce, append([]byte{0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff}, sized16(digest[:])...))
	public := g.public(1<<1 | 1<<4 | 1<<5 | 1<<17)
	name := sha256.Sum256(public)
	certify := attested(0x8017, nil, append(sized16(append([]byte{0, 0x0b}, name[:]...)), sized16([]byte("qualified"))...))
	return map[string]any{
		"AttestationProtocolVersion": "2.0", "ClientPayload": map[string]any{"nonce": g.nonce}, "OSType": []byte("Linux"), "OSVersionMajor": 1, "TcgLogs": []byte("cut"),
		"IsolationInfo": map[string]any{"Type": "SevSnp", "Evidence": map[string]any{"RunTimeData": runtime,
			"Proof": must(json.Marshal(map[string]any{"SnpReport": url64(report), "VcekCertChain": []byte("")}))}},
		"TpmInfo": map[string]any{"AikCert": []byte("x"), "EncKeyPub": sized16(public), "EncKeyCertifyInfo": certify, "EncKeyCertifyInfoSignature": g.sign(certify),
			"PCRs": pcrs, "PcrSet": []int{0}, "PcrQuote": quote, "PcrSignature": g.sign(quote)},
	}
}

func guestWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, func(c *verifier.Config) {
		gates(c)
		before := c.Table
		c.Table = func(set endorse.Set) []attest.Examiner { return append(before(set), toldAzure()) }
	})
	w.inForce("id: rooms\nversion: 1\nplatforms:\n  azure:\n    measurements:\n      measurement: [aa11]\n")
	return w
}

func TestAzureGuest(t *testing.T) {
	w, g := guestWorld(t), newGuest(t)
	ask := func(change func(info map[string]any)) (verifier.MAAAnswer, error) {
		info := g.info()
		if change != nil {
			change(info)
		}
		body := must(json.Marshal(map[string]any{"AttestationInfo": url64(must(json.Marshal(info)))}))
		return w.MAA(context.Background(), "AzureGuest", "2020-10-01", body)
	}
	answer, err := ask(nil)
	if err != nil {
		t.Fatal(err)
	}
	var sealed ear.Transport
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(answer.Token)), &sealed); err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 as the guest's TPM does
	key, err := rsa.DecryptPKCS1v15(nil, g.enc, sealed.Key)
	if err != nil {
		t.Fatal(err)
	}
	token, err := sealed.Open(key)
	if err != nil {
		t.Fatal(err)
	}
	c := payloadOf(t, token)
	keysIn := c["x-ms-runtime"].(map[string]any)["keys"].([]any)[0].(map[string]any)
	if c["x-ms-attestation-type"] != "azurevm" || c["secureboot"] != true || keysIn["kid"] != "TpmEphemeralEncryptionKey" || keysIn["n"] != url64(g.enc.N.Bytes()) ||
		c["x-ms-isolation-tee"].(map[string]any)["x-ms-sevsnpvm-vmpl"] != 0.0 || c["cnf"].(map[string]any)["jwk"].(map[string]any)["n"] != url64(g.enc.N.Bytes()) || c["strongroom_platform"] != "azure" {
		t.Errorf("%v", c)
	}
	if _, err := sealed.Open(make([]byte, 32)); err == nil {
		t.Error("another key opens it")
	}

	tpm := func(info map[string]any) map[string]any { return info["TpmInfo"].(map[string]any) }
	isolation := func(info map[string]any) map[string]any { return info["IsolationInfo"].(map[string]any) }
	const usage, refused, invalid = verdict.Usage, verdict.Refused, verdict.Invalid
	other := newGuest(t)
	for what, c := range map[string]struct {
		change func(map[string]any)
		kind   verdict.Kind
		check  string
	}{
		"another nonce": {func(i map[string]any) {
			i["ClientPayload"] = map[string]any{"nonce": []byte("another nonce, not in the quote")}
		}, refused, "freshness"},
		"no nonce":                  {func(i map[string]any) { i["ClientPayload"] = map[string]any{} }, usage, "maa.request"},
		"another protocol":          {func(i map[string]any) { i["AttestationProtocolVersion"] = "1.0" }, usage, "maa.request"},
		"another kind of isolation": {func(i map[string]any) { isolation(i)["Type"] = "None" }, usage, "maa.request"},
		"runtime data of another": {func(i map[string]any) {
			isolation(i)["Evidence"].(map[string]any)["RunTimeData"] = isolation(other.info())["Evidence"].(map[string]any)["RunTimeData"]
		}, invalid, "azure.quote"},
		"no hardware report":          {func(i map[string]any) { isolation(i)["Evidence"].(map[string]any)["Proof"] = []byte(`{}`) }, usage, "maa.request"},
		"a quote by another key":      {func(i map[string]any) { tpm(i)["PcrSignature"] = tpm(other.info())["PcrSignature"] }, invalid, "azure.quote"},
		"another PCR":                 {func(i map[string]any) { tpm(i)["PCRs"].([]map[string]any)[3]["Digest"] = make([]byte, 32) }, invalid, "azure.quote"},
		"a PCR twice":                 {func(i map[string]any) { tpm(i)["PCRs"].([]map[string]any)[3]["Index"] = 2 }, usage, "maa.request"},
		"a key that nobody certified": {func(i map[string]any) { tpm(i)["EncKeyPub"] = tpm(other.info())["EncKeyPub"] }, invalid, "azure.encryption_key"},
		"certified by another": {func(i map[string]any) {
			tpm(i)["EncKeyCertifyInfoSignature"] = tpm(other.info())["EncKeyCertifyInfoSignature"]
		}, invalid, "azure.encryption_key"},
		"a key that may leave": {func(i map[string]any) { tpm(i)["EncKeyPub"] = g.public(1<<4 | 1<<5 | 1<<17) }, invalid, "azure.encryption_key"},
		"no key":               {func(i map[string]any) { delete(tpm(i), "EncKeyPub") }, invalid, "azure.encryption_key"},
	} {
		_, err := ask(c.change)
		fails(t, what, err, c.kind, c.check)
	}
	_, err = w.MAA(context.Background(), "AzureGuest", "2020-10-01", []byte(`{}`))
	fails(t, "nothing", err, usage, "maa.request")
}
