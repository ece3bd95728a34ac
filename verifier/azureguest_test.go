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
	"strings"
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
		hardware := report.SNP
		at := 0x50 // of the report data
		if report.TD != nil {
			hardware, at = report.TD, 128
		}
		sum := sha256.Sum256(report.Runtime)
		if !bytes.Equal(hardware[at:at+32], sum[:]) || (report.TD != nil) != (len(e.TDQuote) > 0) {
			return attest.Finding{}, verdict.NotGenuine("azure.binding", "runtime data", "other", "send it as it is")
		}
		f := attest.Finding{Claims: map[string]any{"vmpl": 0, "mrtd": "bb", "tee_tcb_svn": "0501", "vm_configuration": runtime.Configuration}, Checks: []verdict.Check{{ID: "azure.quote", OK: true}},
			Facts: attest.Facts{Platform: azure.Name, Class: agreement.Confidential, Root: wire.HashOf([]byte("root")), ReportData: quoted.Nonce, Measurements: map[string]string{"measurement": "aa11"}}}
		if len(e.EventLog) > 0 {
			c, boot, err := quoted.CheckLog("azure.event_log", e.EventLog)
			if err != nil {
				return attest.Finding{}, verdict.FromCheck(verdict.Invalid, c, nil)
			}
			if f.Checks = append(f.Checks, c); boot != nil {
				f.Claims["event_log"] = boot.Claims()
			}
		}
		return f, nil
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

// eventLog is a log that leads to its PCR 0: one event, and the separator of PCR 7. It says where
// the guest's PCRs must be what.
func eventLog() (log []byte, pcrs map[int][]byte) {
	u32 := func(b []byte, n ...uint32) []byte {
		for _, v := range n {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b
	}
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2)
	spec = append(u32(spec, 1), 0x0b, 0, 32, 0, 0) // one algorithm, SHA-256
	log = append(u32(append(u32(nil, 0, 3), make([]byte, 20)...), uint32(len(spec))), spec...)
	pcrs = map[int][]byte{}
	event := func(pcr, kind uint32, data []byte) {
		digest := sha256.Sum256(data)
		log = append(u32(log, pcr, kind, 1), 0x0b, 0)
		log = append(u32(append(log, digest[:]...), uint32(len(data))), data...)
		sum := sha256.Sum256(append(make([]byte, 32), digest[:]...))
		pcrs[int(pcr)] = sum[:]
	}
	event(0, 8, []byte("version"))  // EV_S_CRTM_VERSION
	event(7, 4, []byte{0, 0, 0, 0}) // EV_SEPARATOR
	return log, pcrs
}

// tdQuote is a quote of a TD, whose signature nobody here looks at.
func tdQuote(runtime []byte) []byte {
	b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, 4), 2)
	b = append(binary.LittleEndian.AppendUint32(b, 0x81), make([]byte, 4)...)
	b = append(append(b, 0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07), make([]byte, 20)...)
	sum := sha256.Sum256(runtime)
	b = append(append(b, append(make([]byte, 520), sum[:]...)...), make([]byte, 32)...)
	inner := append(make([]byte, 384+64+2), 5, 0, 0, 0, 0, 0)
	signature := append(binary.LittleEndian.AppendUint32(append(make([]byte, 128), 6, 0), uint32(len(inner))), inner...)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(signature))), signature...)
}

// info is what the guest sends, to be changed by tests.
func (g guestMachine) info() map[string]any {
	n := base64.RawURLEncoding.EncodeToString(g.ak.N.Bytes())
	runtime := []byte(`{"keys":[{"kid":"HCLAkPub","kty":"RSA","key_ops":["sign"],"e":"AQAB","n":"` + n + `"}],"vm-configuration":{"secure-boot":true},"user-data":""}`)
	report := make([]byte, 1184)
	sum := sha256.Sum256(runtime)
	copy(report[0x50:], sum[:])
	log, logged := eventLog()
	pcrs, all := []map[string]any{}, []byte{}
	for i := range 24 {
		value := bytes.Repeat([]byte{byte(i + 1)}, 32)
		if logged[i] != nil {
			value = logged[i]
		}
		pcrs, all = append(pcrs, map[string]any{"Index": i, "Digest": value}), append(all, value...)
	}
	digest := sha256.Sum256(all)
	quote := attested(0x8018, g.nonce, append([]byte{0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0xff}, sized16(digest[:])...))
	public := g.public(1<<1 | 1<<4 | 1<<5 | 1<<17)
	name := sha256.Sum256(public)
	certify := attested(0x8017, nil, append(sized16(append([]byte{0, 0x0b}, name[:]...)), sized16([]byte("qualified"))...))
	return map[string]any{
		"AttestationProtocolVersion": "2.0", "ClientPayload": map[string]any{"nonce": g.nonce}, "OSType": []byte("Linux"), "OSVersionMajor": 1, "TcgLogs": log,
		"IsolationInfo": map[string]any{"Type": "SevSnp", "Evidence": map[string]any{"RunTimeData": runtime,
			"Proof": must(json.Marshal(map[string]any{"SnpReport": url64(report), "VcekCertChain": []byte("")}))}},
		"TpmInfo": map[string]any{"AikCert": []byte("x"), "EncKeyPub": sized16(public), "EncKeyCertifyInfo": certify, "EncKeyCertifyInfoSignature": g.sign(certify),
			"PCRs": pcrs, "PcrSet": []int{0}, "PcrQuote": quote, "PcrSignature": g.sign(quote)},
	}
}

// asTD makes the guest a trust domain.
func asTD(info map[string]any) {
	isolation := info["IsolationInfo"].(map[string]any)
	held := isolation["Evidence"].(map[string]any)
	isolation["Type"], held["Proof"] = "Tdx", tdQuote(held["RunTimeData"].([]byte))
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

// guestAsk sends what a guest says of itself.
func guestAsk(w *world, g guestMachine, changes ...func(info map[string]any)) (verifier.MAAAnswer, error) {
	info := g.info()
	for _, change := range changes {
		change(info)
	}
	body := must(json.Marshal(map[string]any{"AttestationInfo": url64(must(json.Marshal(info)))}))
	return w.MAA(context.Background(), "AzureGuest", "2020-10-01", body)
}

// open opens the answer as the guest's TPM does.
func (g guestMachine) open(t *testing.T, answer verifier.MAAAnswer) map[string]any {
	t.Helper()
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
	if _, err := sealed.Open(make([]byte, 32)); err == nil {
		t.Error("another key opens it")
	}
	return payloadOf(t, token)
}

func TestAzureGuestRefuses(t *testing.T) {
	w, g, other := guestWorld(t), newGuest(t), newGuest(t)
	tpm := func(info map[string]any) map[string]any { return info["TpmInfo"].(map[string]any) }
	isolation := func(info map[string]any) map[string]any { return info["IsolationInfo"].(map[string]any) }
	held := func(info map[string]any) map[string]any { return isolation(info)["Evidence"].(map[string]any) }
	const usage, refused, invalid = verdict.Usage, verdict.Refused, verdict.Invalid
	for what, c := range map[string]struct {
		change func(map[string]any)
		kind   verdict.Kind
		check  string
	}{
		"another nonce": {func(i map[string]any) {
			i["ClientPayload"] = map[string]any{"nonce": []byte("another nonce, not in the quote")}
		}, refused, "freshness"},
		"no nonce":                    {func(i map[string]any) { i["ClientPayload"] = map[string]any{} }, usage, "maa.request"},
		"an empty payload":            {func(i map[string]any) { i["ClientPayload"] = "" }, usage, "maa.request"},
		"a payload of null":           {func(i map[string]any) { i["ClientPayload"] = nil }, usage, "maa.request"},
		"a payload of text":           {func(i map[string]any) { i["ClientPayload"] = "nonce" }, usage, "maa.request"},
		"another protocol":            {func(i map[string]any) { i["AttestationProtocolVersion"] = "1.0" }, usage, "maa.request"},
		"another kind of isolation":   {func(i map[string]any) { isolation(i)["Type"] = "TrustedLaunch" }, usage, "maa.request"},
		"runtime data of another":     {func(i map[string]any) { held(i)["RunTimeData"] = held(other.info())["RunTimeData"] }, invalid, "azure.quote"},
		"no hardware report":          {func(i map[string]any) { held(i)["Proof"] = []byte(`{}`) }, usage, "maa.request"},
		"a quote by another key":      {func(i map[string]any) { tpm(i)["PcrSignature"] = tpm(other.info())["PcrSignature"] }, invalid, "azure.quote"},
		"another PCR":                 {func(i map[string]any) { tpm(i)["PCRs"].([]map[string]any)[3]["Digest"] = make([]byte, 32) }, invalid, "azure.quote"},
		"a PCR twice":                 {func(i map[string]any) { tpm(i)["PCRs"].([]map[string]any)[3]["Index"] = 2 }, usage, "maa.request"},
		"a key that nobody certified": {func(i map[string]any) { tpm(i)["EncKeyPub"] = tpm(other.info())["EncKeyPub"] }, invalid, "azure.encryption_key"},
		"certified by another": {func(i map[string]any) {
			tpm(i)["EncKeyCertifyInfoSignature"] = tpm(other.info())["EncKeyCertifyInfoSignature"]
		}, invalid, "azure.encryption_key"},
		"a key that may leave": {func(i map[string]any) { tpm(i)["EncKeyPub"] = g.public(1<<4 | 1<<5 | 1<<17) }, invalid, "azure.encryption_key"},
		"no key":               {func(i map[string]any) { delete(tpm(i), "EncKeyPub") }, invalid, "azure.encryption_key"},
		"what is no log":       {func(i map[string]any) { i["TcgLogs"] = []byte("cut") }, invalid, "azure.event_log"},
		"a log cut short":      {func(i map[string]any) { i["TcgLogs"] = i["TcgLogs"].([]byte)[:100] }, invalid, "azure.event_log"},
		"an altered log": {func(i map[string]any) {
			log := i["TcgLogs"].([]byte)
			i["TcgLogs"] = bytes.Replace(log, log[len(log)-40:len(log)-8], make([]byte, 32), 1)
		}, refused, "azure.event_log"},
		"a log in broken text":     {func(i map[string]any) { i["TcgLogs"] = "!" }, usage, "maa.request"},
		"a domain without quote":   {func(i map[string]any) { asTD(i); delete(held(i), "Proof") }, usage, "maa.request"},
		"a domain with a report":   {func(i map[string]any) { isolation(i)["Type"] = "Tdx" }, usage, "maa.request"},
		"a report that is a quote": {func(i map[string]any) { asTD(i); isolation(i)["Type"] = "SevSnp" }, usage, "maa.request"},
		"a quote about other data": {func(i map[string]any) { asTD(i); held(i)["Proof"] = tdQuote([]byte("{}")) }, invalid, "azure.binding"},
		"an enclave's quote": {func(i map[string]any) {
			asTD(i)
			copy(held(i)["Proof"].([]byte)[4:], []byte{0, 0, 0, 0})
		}, usage, "maa.request"},
	} {
		_, err := guestAsk(w, g, c.change)
		fails(t, what, err, c.kind, c.check)
	}
	_, err := w.MAA(context.Background(), "AzureGuest", "2020-10-01", []byte(`{}`))
	fails(t, "nothing", err, usage, "maa.request")
	for _, none := range []any{"", nil} { // what Microsoft's clients send without a payload
		if _, err := guestAsk(w, g, func(i map[string]any) { i["ClientPayload"] = none }); err == nil || !strings.Contains(verdict.As(err).Expected, "nonce") {
			t.Errorf("a payload of %v: %v, expected to hear of the nonce", none, err)
		}
	}
}

func TestAzureGuest(t *testing.T) {
	w, g := guestWorld(t), newGuest(t)
	noLog := func(info map[string]any) { delete(info, "TcgLogs") }
	loosely := func(info map[string]any) { // as the client in Python writes them
		held := info["IsolationInfo"].(map[string]any)["Evidence"].(map[string]any)
		held["Proof"], held["RunTimeData"] = url64(held["Proof"].([]byte)), url64(held["RunTimeData"].([]byte))
	}
	for what, changes := range map[string][]func(map[string]any){"SEV-SNP": nil, "TDX": {asTD}, "without a log": {noLog}, "TDX without": {asTD, noLog}, "base64url": {loosely}, "TDX in base64url": {asTD, loosely}} {
		answer, err := guestAsk(w, g, changes...)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		c := g.open(t, answer)
		keysIn := c["x-ms-runtime"].(map[string]any)["keys"].([]any)[0].(map[string]any)
		if c["x-ms-attestation-type"] != "azurevm" || c["secureboot"] != true || keysIn["kid"] != "TpmEphemeralEncryptionKey" || keysIn["n"] != url64(g.enc.N.Bytes()) ||
			c["cnf"].(map[string]any)["jwk"].(map[string]any)["n"] != url64(g.enc.N.Bytes()) || c["strongroom_platform"] != "azure" {
			t.Errorf("%s: %v", what, c)
		}
		tee := c["x-ms-isolation-tee"].(map[string]any)
		if strings.HasPrefix(what, "TDX") {
			if tee["x-ms-attestation-type"] != "tdxvm" || tee["tdx_mrtd"] != "bb" || tee["tdx_seamsvn"] != float64(0x105) || tee["x-ms-sevsnpvm-vmpl"] != nil {
				t.Errorf("%s: %v", what, tee)
			}
		} else if tee["x-ms-attestation-type"] != "sevsnpvm" || tee["x-ms-sevsnpvm-vmpl"] != 0.0 || tee["tdx_mrtd"] != nil {
			t.Errorf("%s: %v", what, tee)
		}
	}
}
