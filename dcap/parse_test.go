package dcap_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"strongroom.dev/dcap"
)

func pckOf(values ...[]byte) (dcap.PCK, error) {
	c := &x509.Certificate{}
	for _, v := range values {
		c.Extensions = append(c.Extensions, pkix.Extension{Id: oid(), Value: v})
	}
	return dcap.ParsePCK(c)
}

func TestParsePCK(t *testing.T) {
	m := machine{[16]int{1, 2, 3}, 300, "00606a000000"}
	good := m.pairs(t)
	p, err := pckOf(sequence(t, good...).FullBytes)
	if err != nil || p.PCESVN != 300 || p.Components[2] != 3 || p.CPUSVN[1] != 2 || p.SGXType != 1 || !p.Platform || !p.DynamicPlatform || p.CachedKeys || !p.SMTEnabled {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := pckOf(sequence(t, good[:5]...).FullBytes); err != nil || p.Platform {
		t.Errorf("of the processor CA: %+v, %v", p, err)
	}
	with := func(i int, p pair) []byte {
		all := append([]pair{}, good...)
		all[i] = p
		return sequence(t, all...).FullBytes
	}
	tcb := func(edit func([]pair) []pair) []byte {
		var all []pair
		for i := range 17 {
			all = append(all, pair{oid(2, i+1), i})
		}
		all = append(all, pair{oid(2, 18), make([]byte, 16)})
		return with(1, pair{oid(2), sequence(t, edit(all)...)})
	}
	for name, c := range map[string]struct {
		values [][]byte
		want   string
	}{
		"none":                   {nil, "no SGX extension"},
		"two":                    {[][]byte{m.extension(t), m.extension(t)}, "two SGX extensions"},
		"bytes behind":           {[][]byte{append(m.extension(t), 0)}, "unknown form"},
		"no sequence":            {[][]byte{{4, 0}}, "unknown form"},
		"missing FMSPC":          {[][]byte{sequence(t, append(append([]pair{}, good[:3]...), good[4:]...)...).FullBytes}, "without element 4"},
		"twice":                  {[][]byte{sequence(t, append(append([]pair{}, good...), good[0])...).FullBytes}, "unknown or twice"},
		"unknown element":        {[][]byte{sequence(t, append(append([]pair{}, good...), pair{oid(8), 1})...).FullBytes}, "unknown"},
		"another arc":            {[][]byte{with(0, pair{asn1.ObjectIdentifier{1, 2, 3, 4, 5, 6, 7, 1}, 1})}, "with element"},
		"PIID alone":             {[][]byte{sequence(t, good[:6]...).FullBytes}, "expected both or none"},
		"short PPID":             {[][]byte{with(0, pair{oid(1), make([]byte, 15)})}, "15 bytes, expected 16"},
		"PPID no octets":         {[][]byte{with(0, pair{oid(1), 7})}, "element"},
		"SGX type 3":             {[][]byte{with(4, pair{oid(5), asn1.Enumerated(3)})}, "SGX type 3"},
		"SGX type an integer":    {[][]byte{with(4, pair{oid(5), 1})}, "element"},
		"component 256":          {[][]byte{tcb(func(p []pair) []pair { p[3].Value = 256; return p })}, "security version 256"},
		"component -1":           {[][]byte{tcb(func(p []pair) []pair { p[3].Value = -1; return p })}, "security version -1"},
		"PCESVN 65536":           {[][]byte{tcb(func(p []pair) []pair { p[16].Value = 65536; return p })}, "security version 65536"},
		"no component 16":        {[][]byte{tcb(func(p []pair) []pair { return append(p[:15], p[16:]...) })}, "no TCB element 16"},
		"short CPUSVN":           {[][]byte{tcb(func(p []pair) []pair { p[17].Value = []byte{1}; return p })}, "1 bytes, expected 16"},
		"unknown configuration":  {[][]byte{with(6, pair{oid(7), sequence(t, pair{oid(7, 4), true})})}, "unknown"},
		"configuration a number": {[][]byte{with(6, pair{oid(7), sequence(t, pair{oid(7, 1), 1})})}, "element"},
	} {
		if _, err := pckOf(c.values...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
}

// TestDocuments: what is refused in Intel's documents whoever signed them.
func TestDocuments(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name, want string
		edit       func(info map[string]any)
	}{
		{"for another TEE", "known are SGX and TDX", func(d map[string]any) { d["id"] = "TDX2" }},
		{"short FMSPC", "fmspc", func(d map[string]any) { d["fmspc"] = "00" }},
		{"PCEID no hex", "pceId", func(d map[string]any) { d["pceId"] = "zzzz" }},
		{"date of another form", "issueDate", func(d map[string]any) { d["issueDate"] = "2026-11-24" }},
		{"no next update", "nextUpdate", func(d map[string]any) { delete(d, "nextUpdate") }},
		{"window of negative length", "is before", func(d map[string]any) { d["nextUpdate"] = "2020-01-01T00:00:00Z" }},
		{"no evaluation number", "tcbEvaluationDataNumber 0", func(d map[string]any) { delete(d, "tcbEvaluationDataNumber") }},
		{"no type", "unknown tcbType", func(d map[string]any) { delete(d, "tcbType") }},
		{"null", "null", func(d map[string]any) { d["tcbType"] = nil }},
		{"fraction", "cannot unmarshal", func(d map[string]any) { d["tcbEvaluationDataNumber"] = 1.5 }},
		{"no levels", "0 TCB levels", func(d map[string]any) { d["tcbLevels"] = []any{} }},
		{"too many levels", "TCB levels, expected 1 to", func(d map[string]any) {
			for len(d["tcbLevels"].([]any)) <= dcap.MaxLevels {
				d["tcbLevels"] = append(d["tcbLevels"].([]any), d["tcbLevels"].([]any)...)
			}
		}},
		{"15 components", "15 sgxtcbcomponents", func(d map[string]any) { tcbOf(d)["sgxtcbcomponents"] = components()[:15] }},
		{"component 256", "cannot unmarshal", func(d map[string]any) { tcbOf(d)["sgxtcbcomponents"] = components(256) }},
		{"no pcesvn", "no pcesvn", func(d map[string]any) { delete(tcbOf(d), "pcesvn") }},
		{"no TDX components", "0 tdxtcbcomponents", func(d map[string]any) { delete(tcbOf(d), "tdxtcbcomponents") }},
		{"no date of a level", "tcbDate", func(d map[string]any) { delete(d["tcbLevels"].([]any)[0].(map[string]any), "tcbDate") }},
		{"TDX without module", "tdxModule: false", func(d map[string]any) { delete(d, "tdxModule") }},
		{"SGX with module", "tdxModule: true", func(d map[string]any) { d["id"] = "SGX" }},
		{"module with an id", "tdxModule with an id", func(d map[string]any) { d["tdxModule"] = module("TDX_01") }},
		{"module's signer short", "mrsigner", func(d map[string]any) { d["tdxModule"].(map[string]any)["mrsigner"] = "00" }},
		{"two modules of a name", "no id, or twice", func(d map[string]any) {
			d["tdxModuleIdentities"] = []any{module("TDX_01", enclaveLevel(1, "UpToDate")), module("tdx_01", enclaveLevel(1, "UpToDate"))}
		}},
		{"module without levels", "no TCB levels", func(d map[string]any) { d["tdxModuleIdentities"] = []any{module("TDX_01")} }},
		{"module status of a platform", "unknown TCB status", func(d map[string]any) {
			d["tdxModuleIdentities"] = []any{module("TDX_01", enclaveLevel(1, "SWHardeningNeeded"))}
		}},
		{"module level without isvsvn", "no isvsvn", func(d map[string]any) {
			l := enclaveLevel(1, "UpToDate")
			l["tcb"] = map[string]any{}
			d["tdxModuleIdentities"] = []any{module("TDX_01", l)}
		}},
	} {
		info := defaultInfo()
		c.edit(info)
		if _, err := dcap.ParseTCBInfo(w.respond("tcbInfo", info, nil), yes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
	for _, c := range []struct {
		name, want string
		edit       func(id map[string]any)
	}{
		{"version 1", "version 1, known is 2", func(d map[string]any) { d["version"] = 1 }},
		{"no isvprodid", "no isvprodid", func(d map[string]any) { delete(d, "isvprodid") }},
		{"no levels", "no TCB levels", func(d map[string]any) { delete(d, "tcbLevels") }},
		{"short mask", "attributesMask", func(d map[string]any) { d["attributesMask"] = "FF" }},
		{"no mask", "miscselectMask", func(d map[string]any) { delete(d, "miscselectMask") }},
		{"unknown member", "unknown field", func(d map[string]any) { d["mrenclave"] = "00" }},
	} {
		id := defaultIdentity()
		c.edit(id)
		if _, err := dcap.ParseIdentity(w.respond("enclaveIdentity", id, nil), yes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("identity, %s: %v, expected %q", c.name, err, c.want)
		}
	}
	body, err := json.Marshal(defaultInfo())
	if err != nil {
		t.Fatal(err)
	}
	signature := strings.Repeat("00", 64)
	for name, c := range map[string][2]string{
		"no signature":     {`{"tcbInfo":{}}`, "expected the members"},
		"more members":     {`{"tcbInfo":{},"signature":"","x":1}`, "expected the members"},
		"another document": {`{"enclaveIdentity":{},"signature":""}`, "expected the members"},
		"no object":        {`{"tcbInfo":[],"signature":""}`, "expected the members"},
		"short signature":  {`{"tcbInfo":{},"signature":"00"}`, "1 bytes, expected 64"},
		"signature no hex": {`{"tcbInfo":{},"signature":"zz"}`, "signature"},
		"not valid UTF-8":  {"{\"tcbInfo\":\"\xff\"}", "UTF-8"},
		"bytes behind":     {`{"tcbInfo":` + string(body) + `,"signature":"` + signature + `"} x`, "bytes behind"},
		"duplicate inside": {`{"tcbInfo":{"id":"SGX",` + string(body[1:]) + `,"signature":"` + signature + `"}`, "duplicate member"},
		"too long":         {strings.Repeat(" ", dcap.MaxDocument+1), "at most"},
		"nested too deep":  {strings.Repeat("[", 100), "nested deeper"},
		"too many values":  {`{"tcbInfo":[` + strings.Repeat("1,", 20000) + `1]}`, "more than 16384 values"},
		"long s":           {`{"tcbInfo":{},"ſignature":"","signature":""}`, "duplicate member"},
	} {
		if _, err := dcap.ParseTCBInfo([]byte(c[0]), yes); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v, expected %q", name, err, c[1])
		}
	}
	if _, err := dcap.ParseEvaluations([]byte(`{"tcbEvaluationDataNumbers":{"id":"SGX","version":1,"issueDate":"2026-11-24T00:00:00Z","nextUpdate":"2026-11-24T00:00:00Z","tcbEvalNumbers":[]},"signature":"`+signature+`"}`), yes); err == nil {
		t.Error("an empty list of evaluation numbers parses")
	}
}

func tcbOf(d map[string]any) map[string]any {
	return d["tcbLevels"].([]any)[0].(map[string]any)["tcb"].(map[string]any)
}

// TestCertificates: what is refused in certificates and CRLs although the right key signed.
func TestCertificates(t *testing.T) {
	for _, c := range []struct {
		name, want string
		edit       func(w *world)
	}{
		{"CA that is none", "may not sign certificates", func(w *world) {
			w.ca = w.certificate("Intel SGX PCK Platform CA", 2, w.caKey, w.root, w.rootKey, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
		}},
		{"CA that may not sign", "may not sign certificates", func(w *world) {
			w.ca = w.certificate("Intel SGX PCK Platform CA", 2, w.caKey, w.root, w.rootKey, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCRLSign })
		}},
		{"CA of another name", "no CA of PCK certificates", func(w *world) {
			w.ca = w.certificate("Intel SGX TCB Signing", 2, w.caKey, w.root, w.rootKey, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign })
		}},
		{"CA signed by another key", "is not signed by", func(w *world) {
			w.ca = w.certificate("Intel SGX PCK Platform CA", 2, w.caKey, w.root, newKey(w.t), func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign })
		}},
		{"critical extension", "unknown critical extension", func(w *world) {
			w.ca = w.certificate("Intel SGX PCK Platform CA", 2, w.caKey, w.root, w.rootKey, func(c *x509.Certificate) {
				c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
			})
		}},
		{"PCK of another name", "no PCK certificate", func(w *world) {
			w.pck = w.certificate("Intel SGX PCK Certificates", 3, w.pckKey, w.ca, w.caKey, func(*x509.Certificate) {})
		}},
		{"PCK without extension", "no SGX extension", func(w *world) {
			w.pck = w.certificate("Intel SGX PCK Certificate", 3, w.pckKey, w.ca, w.caKey, func(*x509.Certificate) {})
		}},
		{"PCK signed by another key", "is not signed by", func(w *world) {
			w.pck = w.certificate("Intel SGX PCK Certificate", 3, w.pckKey, w.ca, newKey(w.t), func(*x509.Certificate) {})
		}},
		{"PCK that is a CA", "no PCK certificate", func(w *world) {
			w.pck = w.certificate("Intel SGX PCK Certificate", 3, w.pckKey, w.ca, w.caKey, func(c *x509.Certificate) { c.IsCA = true })
		}},
		{"root altered but for its key", "is not signed by", func(w *world) {
			w.root = w.certificate("Intel SGX Root CA", 1, w.rootKey, nil, newKey(w.t), func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.build()
			v := w.verifier()
			c.edit(w)
			if _, err := v.Examine(w.quote(), dcap.TDX, now); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, expected %q", err, c.want)
			}
		})
	}
	for _, c := range []struct {
		name, want string
		edit       func(w *world, collateral *dcap.Collateral)
	}{
		{"CRL of the CA signed by the root", "missing: the CRL of Intel SGX PCK Platform CA", func(w *world, k *dcap.Collateral) { k.CRLs[1] = w.crl(w.ca, w.rootKey, nil) }},
		{"CRL of the root signed by the CA", "missing: the CRL of Intel SGX Root CA", func(w *world, k *dcap.Collateral) { k.CRLs[0] = w.crl(w.root, w.caKey, nil) }},
		{"CRL with a critical extension", "unknown critical extension", func(w *world, k *dcap.Collateral) {
			k.CRLs[0].Extensions = append(k.CRLs[0].Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true})
		}},
		{"documents signed by the PCK CA", "no certificate of", func(w *world, k *dcap.Collateral) { k.Certificates = []*x509.Certificate{w.ca} }},
		{"signer that is a CA", "is no TCB signing certificate", func(w *world, k *dcap.Collateral) {
			k.Certificates = []*x509.Certificate{w.certificate("Intel SGX TCB Signing", 4, w.signKey, w.root, w.rootKey, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageDigitalSignature })}
		}},
		{"signer below a CA", "is not signed by", func(w *world, k *dcap.Collateral) {
			k.Certificates = []*x509.Certificate{w.certificate("Intel SGX TCB Signing", 4, w.signKey, w.ca, w.caKey, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			k := w.collateral()
			c.edit(w, &k)
			r, err := dcap.NewWithRoot(k, w.root.RawSubjectPublicKeyInfo).Examine(w.quote(), dcap.TDX, now)
			if err != nil || !strings.Contains(failed(r), c.want) {
				t.Errorf("%v, failed:\n%s\nexpected %q", err, failed(r), c.want)
			}
		})
	}
}

// TestKnownCA: with the CA's certificate among the collateral its CRL counts just the same,
// also for another certificate of the same CA.
func TestKnownCA(t *testing.T) {
	w := newWorld(t)
	w.revokedByCA = append(w.revokedByCA, big.NewInt(3))
	k := w.collateral()
	k.Certificates = append(k.Certificates, w.ca)
	v := dcap.NewWithRoot(k, w.root.RawSubjectPublicKeyInfo)
	quote := w.quote()
	again := w.certificate("Intel SGX PCK Platform CA", 2, w.caKey, w.root, w.rootKey, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
	})
	w.ca = again
	for _, raw := range [][]byte{quote, w.quote()} {
		r, err := v.Examine(raw, dcap.TDX, now)
		if err != nil || !strings.Contains(failed(r), "tdx.revocation: revoked") {
			t.Errorf("%v, failed:\n%s", err, failed(r))
		}
	}
	if bytes.Equal(quote, w.quote()) {
		t.Error("the two quotes are one")
	}
}
