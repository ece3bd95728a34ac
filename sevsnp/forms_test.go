package sevsnp_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"runtime"
	"strings"
	"testing"

	"strongroom.dev/sevsnp"
)

const (
	vcekGUID = "63da758de6644564adc5f4b93be8accd"
	vlekGUID = "a8074bc2a25a483eaae639c045a0b8a1"
	askGUID  = "4ab7b379bbac4fe4a02f05aef327c782"
	crlGUID  = "92f81bc358114d3d97ffd19f88dc67ea"
)

// table makes a certificate table of pairs of GUID and data.
func table(t testing.TB, pairs ...any) []byte {
	t.Helper()
	var head, body []byte
	offset := 24 * (len(pairs)/2 + 1)
	for i := 0; i < len(pairs); i += 2 {
		guid, err := hex.DecodeString(pairs[i].(string))
		if err != nil {
			t.Fatal(err)
		}
		data := pairs[i+1].([]byte)
		head = append(head, guid...)
		head = binary.LittleEndian.AppendUint32(head, uint32(offset+len(body)))
		head = binary.LittleEndian.AppendUint32(head, uint32(len(data)))
		body = append(body, data...)
	}
	return append(append(head, make([]byte, 24)...), body...)
}

func inPEMBlock(kind string, data []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data})
}

// crate gives a report as the sev crate serialises it.
func crate(b []byte, turin bool) map[string]any {
	ints := func(p []byte) []int {
		out := make([]int, len(p))
		for i, v := range p {
			out[i] = int(v)
		}
		return out
	}
	tcb := func(at int) map[string]any {
		p := b[at : at+8]
		if turin {
			return map[string]any{"fmc": p[0], "bootloader": p[1], "tee": p[2], "snp": p[3], "microcode": p[7]}
		}
		return map[string]any{"fmc": nil, "bootloader": p[0], "tee": p[1], "snp": p[6], "microcode": p[7]}
	}
	le := binary.LittleEndian
	version := func(at int) map[string]any {
		return map[string]any{"major": b[at+2], "minor": b[at+1], "build": b[at]}
	}
	return map[string]any{
		"version": le.Uint32(b), "guest_svn": le.Uint32(b[4:]), "policy": le.Uint64(b[8:]), "family_id": ints(b[0x10:0x20]), "image_id": ints(b[0x20:0x30]),
		"vmpl": le.Uint32(b[0x30:]), "sig_algo": le.Uint32(b[0x34:]), "current_tcb": tcb(0x38), "plat_info": le.Uint64(b[0x40:]), "key_info": le.Uint32(b[0x48:]),
		"report_data": ints(b[0x50:0x90]), "measurement": ints(b[0x90:0xc0]), "host_data": ints(b[0xc0:0xe0]), "id_key_digest": ints(b[0xe0:0x110]),
		"author_key_digest": ints(b[0x110:0x140]), "report_id": ints(b[0x140:0x160]), "report_id_ma": ints(b[0x160:0x180]), "reported_tcb": tcb(0x180),
		"cpuid_fam_id": b[0x188], "cpuid_mod_id": b[0x189], "cpuid_step": b[0x18a], "chip_id": ints(b[0x1a0:0x1e0]), "committed_tcb": tcb(0x1e0),
		"current": version(0x1e8), "committed": version(0x1ec), "launch_tcb": tcb(0x1f0), "launch_mit_vector": le.Uint64(b[0x1f8:]), "current_mit_vector": le.Uint64(b[0x200:]),
		"signature": map[string]any{"r": ints(b[0x2a0:0x2e8]), "s": ints(b[0x2e8:0x330])},
	}
}

func asInts(b []byte) []int {
	out := make([]int, len(b))
	for i, v := range b {
		out[i] = int(v)
	}
	return out
}

// cborText and cborBytes write CBOR heads of two bytes' length and the data behind them.
func cborText(s string) []byte { return append([]byte{0x60 | byte(len(s))}, s...) }

func cborBytes(b []byte) []byte { return append([]byte{0x59, byte(len(b) >> 8), byte(len(b))}, b...) }

// scaleVector writes a vector in SCALE encoding.
func scaleVector(b []byte) []byte {
	n := len(b)
	switch {
	case n < 1<<6:
		return append([]byte{byte(n << 2)}, b...)
	case n < 1<<14:
		return append(binary.LittleEndian.AppendUint16(nil, uint16(n<<2|1)), b...)
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(n<<2|2)), b...)
}

// TestForms takes one report through every form of evidence, with its certificate inside
// where the form has room for one.
func TestForms(t *testing.T) {
	w := newWorld(t)
	for _, p := range processors {
		report := w.report(5, p.family, p.model, func(b []byte) {
			b[0x1f8], b[0x1e8], b[0x1e9], b[0x1ea] = 3, 40, 55, 1
			copy(b[0xc0:], dstackHash([]byte(`{"version":3}`)))
		})
		vek, ask := w.vek(w.chip(p.product)), w.ask(p.product, sevsnp.VCEK)
		b64, url := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
		tab, pemChain := table(t, vcekGUID, vek.Raw), append(inPEMBlock("CERTIFICATE", vek.Raw), inPEMBlock("CERTIFICATE", ask.Raw)...)
		swapped, _ := hex.DecodeString("8d75da6364e66445adc5f4b93be8accd")
		js := func(v any) []byte { return must(json.Marshal(v)) }
		message := append(binary.LittleEndian.AppendUint32(make([]byte, 4), sevsnp.ReportSize), make([]byte, 24)...)
		tsm := bytes.Join([][]byte{{0xa3}, cborText("auxblob"), cborBytes(tab), cborText("outblob"), cborBytes(report), cborText("provider"), cborText("sev_guest")}, nil)
		dstack := bytes.Join([][]byte{{0, 5}, scaleVector(report), {1 << 2}, scaleVector(vek.Raw), scaleVector([]byte(`{"version":3}`)), []byte("event log and configuration")}, nil)
		snpReport := js(map[string]any{"SnpReport": url(report), "VcekCertChain": url(pemChain)})
		for name, evidence := range map[string][]byte{
			"raw and table":                   append(bytes.Clone(report), tab...),
			"raw and table of PEM":            append(bytes.Clone(report), table(t, vcekGUID, inPEMBlock("CERTIFICATE", vek.Raw))...),
			"raw and table, zeros behind":     append(append(bytes.Clone(report), tab...), make([]byte, 512)...),
			"raw and table, GUIDs swapped":    append(bytes.Clone(report), bytes.Replace(bytes.Clone(tab), tab[:16], swapped, 1)...),
			"raw and table with a cloud's":    append(bytes.Clone(report), table(t, "ecae0c0f950243b1afa20ae2e0d565b6", []byte("8 bytes."), vcekGUID, vek.Raw)...),
			"guest message":                   append(append(message, report...), tab...),
			"trustee":                         js(map[string]any{"attestation_report": crate(report, p.family == 0x1a), "cert_chain": []any{map[string]any{"cert_type": "VCEK", "data": asInts(vek.Raw)}}}),
			"trustee, spaced":                 must(json.MarshalIndent(map[string]any{"attestation_report": crate(report, p.family == 0x1a), "cert_chain": []any{map[string]any{"cert_type": "VCEK", "data": asInts(vek.Raw)}}}, " ", "\t")),
			"trustee, base64":                 js(map[string]any{"platform": "snp", "evidence": map[string]any{"attestation_report": b64(report), "cert_chain": map[string]any{"vcek": b64(vek.Raw)}}}),
			"report as an array":              js(map[string]any{"report": asInts(report), "certs": string(pemChain)}),
			"configfs-tsm JSON":               js(map[string]any{"provider": "sev_guest", "outblob": url(report), "auxblob": url(tab)}),
			"configfs-tsm CBOR":               tsm,
			"MAA":                             js(map[string]any{"report": url(snpReport), "runtimeData": map[string]any{"data": url([]byte("{}")), "dataType": "JSON"}}),
			"ACI":                             js(map[string]any{"attestation": b64(report), "platform_certificates": b64(pemChain)}),
			"dstack":                          dstack,
			"dstack in hex":                   []byte(hex.EncodeToString(dstack)),
			"PEM":                             append(append([]byte("some words\n"), inPEMBlock("REPORT", report)...), pemChain...),
			"hex of raw and table":            []byte(hex.EncodeToString(append(bytes.Clone(report), tab...)) + "\n"),
			"base64 of raw and table":         []byte(b64(append(bytes.Clone(report), tab...))),
			"base64 of raw and table, folded": []byte(fold(b64(append(bytes.Clone(report), tab...)), 76)),
			"the same report twice":           js(map[string]any{"a": b64(report), "b": url(report), "c": string(pemChain)}),
		} {
			if !sevsnp.Detect(evidence) {
				t.Errorf("%s: not recognised", name)
			}
			r, err := w.verifier(w.collateral(p.product)).Examine(evidence, w.now)
			if got := outcome(r, err); got != "" {
				t.Errorf("%s %s: %s %v", p.product, name, got, err)
				continue
			}
			if strings.HasPrefix(name, "dstack") && r.Claims["dstack_mr_config"] != `{"version":3}` {
				t.Errorf("%s: no mr_config", name)
			}
		}
	}
}

func fold(s string, n int) string {
	var b strings.Builder
	for len(s) > n {
		b.WriteString(s[:n] + "\r\n")
		s = s[n:]
	}
	return b.String() + s
}

// TestWrongForms is about wrappings that can be read in two ways, or not at all.
func TestWrongForms(t *testing.T) {
	w := newWorld(t)
	report := w.report(3, 0x19, 1, func(b []byte) { copy(b[0xc0:], dstackHash([]byte("{}"))) })
	other := w.report(3, 0x19, 1, nil)
	vek := w.vek(w.chip(sevsnp.Milan))
	b64 := base64.StdEncoding.EncodeToString
	js := func(v any) []byte { return must(json.Marshal(v)) }
	scale := func(certs byte, config string) []byte {
		return bytes.Join([][]byte{{0, 5}, scaleVector(report), {certs << 2}, scaleVector([]byte(config)), []byte("behind")}, nil)
	}
	withMember := func(name string, value any) []byte {
		c := crate(report, false)
		c[name] = value
		return js(map[string]any{"attestation_report": c})
	}
	failing := append(binary.LittleEndian.AppendUint32([]byte{0x16, 0, 0, 0}, sevsnp.ReportSize), make([]byte, 24)...)
	for name, c := range map[string]struct {
		evidence []byte
		want     string
	}{
		"empty":                          {nil, "invalid form"},
		"words":                          {[]byte("not evidence"), "invalid form"},
		"short":                          {report[:sevsnp.ReportSize-1], "invalid form"},
		"byte behind":                    {append(bytes.Clone(report), 1), "invalid form"},
		"byte behind zeros":              {append(append(bytes.Clone(report), make([]byte, 100)...), 1), "invalid form"},
		"too much":                       {append(bytes.Clone(report), make([]byte, sevsnp.MaxEvidence)...), "invalid form"},
		"table cut short":                {append(bytes.Clone(report), table(t, vcekGUID, vek.Raw)[:600]...), "invalid form"},
		"table pointing into itself":     {append(bytes.Clone(report), bytes.Replace(table(t, vcekGUID, vek.Raw), []byte{48, 0, 0, 0}, []byte{8, 0, 0, 0}, 1)...), "invalid form"},
		"table with rubbish for a chip":  {append(bytes.Clone(report), table(t, vcekGUID, []byte("rubbish"))...), "invalid form"},
		"firmware error":                 {append(failing, report...), "invalid form"},
		"two reports":                    {js(map[string]any{"a": b64(report), "b": b64(other)}), "invalid form"},
		"two reports in PEM":             {append(inPEMBlock("REPORT", report), inPEMBlock("REPORT", other)...), "invalid form"},
		"duplicate member":               {[]byte(`{"report":"` + b64(report) + `","report":"` + b64(report) + `"}`), "invalid form"},
		"duplicate member deep inside":   {[]byte(`{"report":"` + b64(report) + `","x":{"a":1,"\u0061":2}}`), "invalid form"},
		"JSON cut short":                 {js(map[string]any{"a": b64(report)})[:500], "invalid form"},
		"bytes behind JSON":              {append(js(map[string]any{"a": b64(report)}), '}'), "invalid form"},
		"not UTF-8":                      {[]byte("{\"a\":\"" + b64(report) + "\",\"b\":\"\xff\"}"), "invalid form"},
		"deep nesting":                   {[]byte(`{"report":"` + b64(report) + `","x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`), "invalid form"},
		"many values":                    {[]byte(`{"report":"` + b64(report) + `","x":[` + strings.Repeat("{},", 4000) + `{}]}`), "invalid form"},
		"base64 with spare bits":         {[]byte(spareBits(b64(report))), "invalid form"},
		"crate: byte of 256":             {withMember("chip_id", append(asInts(report[0x1a0:0x1df]), 256)), "invalid form"},
		"crate: chip id of 63 bytes":     {withMember("chip_id", asInts(report[0x1a0:0x1df])), "invalid form"},
		"crate: vmpl of 2^32":            {withMember("vmpl", 1<<32), "invalid form"},
		"crate: vmpl of -1":              {withMember("vmpl", -1), "collateral"}, // not an integer here, hence zero, as it was
		"crate: another member's value":  {withMember("vmpl", 1), "collateral"},
		"CBOR of indefinite length":      {append([]byte{0xbf}, append(cborText("outblob"), append(cborBytes(report), 0xff)...)...), "invalid form"},
		"CBOR with bytes behind":         {bytes.Join([][]byte{{0xa1}, cborText("outblob"), cborBytes(report), {0}}, nil), "invalid form"},
		"CBOR with a duplicate":          {bytes.Join([][]byte{{0xa2}, cborText("outblob"), cborBytes(report), cborText("outblob"), cborBytes(report)}, nil), "invalid form"},
		"CBOR with floating point":       {bytes.Join([][]byte{{0xa2}, cborText("outblob"), cborBytes(report), cborText("x"), {0xf9, 0, 0}}, nil), "invalid form"},
		"dstack: config of another":      {scale(0, "{} "), "collateral"},
		"dstack: more certificates":      {scale(17, "{}"), "invalid form"},
		"dstack: certificates cut short": {scale(1, "{}"), "invalid form"},
		"COSE without a report":          {append([]byte{0xd2, 0x84, 0x41, 0xa0, 0xa0, 0x40}, 0x58, 0x60), "invalid form"},
	} {
		if got := outcome(w.verifier(w.collateral(sevsnp.Milan)).Examine(c.evidence, w.now)); got != c.want {
			t.Errorf("%s: got %q, expected %q", name, got, c.want)
		}
	}
	// A wrapping changes nothing about what is signed.
	held := w.verifier(w.collateral(sevsnp.Milan, vek))
	if got := outcome(held.Examine(withMember("vmpl", 1), w.now)); got != "invalid signature" {
		t.Errorf("crate with another VMPL: %q", got)
	}
	if got := outcome(held.Examine(scale(0, "{} "), w.now)); got != "invalid dstack_config" {
		t.Errorf("dstack with another document: %q", got)
	}
	if got := outcome(held.Examine(scale(0, "{}"), w.now)); got != "" {
		t.Errorf("dstack: %q", got)
	}
}

// spareBits sets bits that base64 leaves unused: 1184 bytes leave two in the last digit.
func spareBits(s string) string {
	trimmed := strings.TrimRight(s, "=")
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := strings.IndexByte(digits, trimmed[len(trimmed)-1])
	return trimmed[:len(trimmed)-1] + string(digits[last|1])
}

// TestHexIsNotBase64 checks that hex is read as hex, though most of it is base64 too.
func TestHexIsNotBase64(t *testing.T) {
	w := newWorld(t)
	report := w.report(3, 0x19, 1, nil)
	e, err := sevsnp.Open([]byte(hex.EncodeToString(report)))
	if err != nil || !bytes.Equal(e.Report, report) {
		t.Errorf("%v", err)
	}
}

// TestSources checks the addresses at AMD's key server.
func TestSources(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		report []byte
		want   []string
	}{
		{w.report(2, 0x19, 1, nil), nil},
		{w.report(3, 0x19, 0xa0, nil), []string{"https://kdsintf.amd.com/vcek/v1/Genoa/c8c7c6", "?blSPL=04&teeSPL=01&snpSPL=20&ucodeSPL=100"}},
		{w.report(3, 0x1a, 2, nil), []string{"https://kdsintf.amd.com/vcek/v1/Turin/c8c7c6c5c4c3c2c1?fmcSPL=09&blSPL=04&teeSPL=01&snpSPL=20&ucodeSPL=100"}},
		{w.report(3, 0x19, 1, func(b []byte) { b[0x48] = 4 }), []string{"https://kdsintf.amd.com/vlek/v1/Milan/cert_chain"}},
	} {
		r, err := sevsnp.ParseReport(c.report)
		if err != nil {
			t.Fatal(err)
		}
		got := r.Sources()
		if (len(got) == 0) != (len(c.want) == 0) {
			t.Errorf("got %v, expected %v", got, c.want)
		}
		for _, part := range c.want {
			if !strings.Contains(got[0], part) {
				t.Errorf("%s lacks %s", got[0], part)
			}
		}
	}
}

// TestAllocations bounds what hostile wrappings may cost.
func TestAllocations(t *testing.T) {
	for name, evidence := range map[string][]byte{
		"numbers": []byte("[" + strings.Repeat("1,", 500_000) + "1]"),
		"maps":    []byte("[" + strings.Repeat("{},", 300_000) + "{}]"),
		"strings": []byte("[" + strings.Repeat(`"x",`, 200_000) + `"x"]`),
		"deep":    []byte(strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000)),
		"base64":  []byte(base64.StdEncoding.EncodeToString(make([]byte, 700_000))),
		"pem":     bytes.Repeat([]byte("-----BEGIN X-----\nAAAA\n-----END X-----\n"), 25_000),
		"cbor":    append([]byte{0xa1, 0x61, 'x', 0x9a, 0, 0xf, 0, 0}, make([]byte, 1_000_000)...),
		"certs":   bytes.Repeat(inPEMBlock("CERTIFICATE", newWorld(t).roots[sevsnp.Milan].Raw), 700),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := sevsnp.Open(evidence)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 16*uint64(len(evidence)) {
			t.Errorf("%s: %d bytes for %d of input", name, n, len(evidence))
		}
	}
}

func dstackHash(document []byte) []byte {
	sum := sha256.Sum256(append([]byte("dstack-mr-config-v3:\x00"), document...))
	return sum[:]
}
