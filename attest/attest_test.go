package attest_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

const body = `{"an":"agreement"}`

var now = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)

func binding(t *testing.T) attest.Binding {
	t.Helper()
	return attest.Binding{
		Purpose:   attest.ForRelease,
		Nonce:     attest.NonceOf([]byte("token")),
		Signing:   signingKey(t),
		HPKE:      hpkeKey(t),
		Agreement: wire.SHA384(agreement.AgreementType, []byte(body)),
		Run:       wire.DigestOf([]byte("run")),
	}
}

func signingKey(t *testing.T) keys.PublicKey {
	t.Helper()
	k, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

func hpkeKey(t *testing.T) keys.HPKEPublicKey {
	t.Helper()
	k, err := keys.GenerateHPKEKey()
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

// genuine gives the facts of a platform that measured what the binding asks for.
func genuine(b attest.Binding) attest.Facts {
	report, init := b.ReportData(), attest.InitData([]byte(body))
	return attest.Facts{
		Platform: "plain", Class: agreement.Confidential, Root: wire.HashOf([]byte("root")), Machine: "chip-1",
		ReportData: report[:], InitData: init[:], Measurements: map[string]string{"launch": "00ff"},
		Checks: []verdict.Check{{ID: "evidence.plain.signature", OK: true}},
	}
}

func platform(f attest.Facts, err error) attest.Platform {
	return attest.Platform{Name: "plain", Verify: func([]byte, time.Time) (attest.Facts, error) { return f, err }}
}

var evidence = attest.Evidence{Platform: "plain", Evidence: []byte("bytes")}

func want(b attest.Binding) attest.Expectation {
	return attest.Expectation{Binding: b, AgreementBody: []byte(body), Now: now}
}

// Every field of the binding reaches the report data: none can be exchanged.
func TestBindingCoversEveryField(t *testing.T) {
	base := binding(t)
	changes := map[string]func(*attest.Binding){
		"purpose":   func(b *attest.Binding) { b.Purpose = attest.ForIngress },
		"nonce":     func(b *attest.Binding) { b.Nonce[31] ^= 1 },
		"signing":   func(b *attest.Binding) { b.Signing = signingKey(t) },
		"hpke":      func(b *attest.Binding) { b.HPKE = hpkeKey(t) },
		"agreement": func(b *attest.Binding) { b.Agreement[47] ^= 1 },
		"run":       func(b *attest.Binding) { b.Run[0] ^= 1 },
		"swapped":   func(b *attest.Binding) { b.Agreement, b.Run = b.Run, b.Agreement },
		"no run":    func(b *attest.Binding) { b.Run = wire.Digest{} },
	}
	seen := map[[64]byte]string{base.ReportData(): "base"}
	for name, change := range changes {
		b := base
		change(&b)
		if other, found := seen[b.ReportData()]; found {
			t.Errorf("%s: same report data as %s", name, other)
		}
		seen[b.ReportData()] = name
		if b.ShortReportData() == base.ShortReportData() {
			t.Errorf("%s: same short report data", name)
		}
		if _, err := attest.Verify(evidence, []attest.Platform{platform(genuine(b), nil)}, want(base)); err == nil {
			t.Errorf("%s: evidence for another binding passed", name)
		}
	}
	long, short := base.ReportData(), base.ShortReportData()
	if bytes.HasPrefix(long[:], short[:]) {
		t.Error("short report data is a prefix of the long")
	}
}

func TestVerifyAccepts(t *testing.T) {
	b := binding(t)
	short, shortInit := b.ShortReportData(), attest.ShortInitData([]byte(body))
	forms := map[string]func(*attest.Facts){
		"long":         func(*attest.Facts) {},
		"short report": func(f *attest.Facts) { f.ReportData = short[:] },
		"short init":   func(f *attest.Facts) { f.InitData = shortInit[:] },
	}
	for name, change := range forms {
		f := genuine(b)
		change(&f)
		c, err := attest.Verify(evidence, []attest.Platform{platform(f, nil)}, want(b))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !c.Proven() || c.Platform() != "plain" || c.Class() != agreement.Confidential || c.Root() != f.Root || c.Machine() != "chip-1" ||
			c.Measurements()["launch"] != "00ff" || c.Binding() != b || c.EvidenceDigest() != evidence.Digest() {
			t.Errorf("%s: claims are not the facts: %+v", name, c.Facts())
		}
		if len(c.Checks()) != 5 || c.Checks()[0].ID != "evidence.plain.signature" {
			t.Errorf("%s: checks %v", name, c.Checks())
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	b := binding(t)
	for name, test := range map[string]struct {
		facts func(*attest.Facts)
		check string
		got   string // words of the explanation
	}{
		"report of 63 bytes":      {func(f *attest.Facts) { f.ReportData = f.ReportData[:63] }, "evidence.binding", "63 bytes"},
		"report of 65 bytes":      {func(f *attest.Facts) { f.ReportData = append(f.ReportData, 0) }, "evidence.binding", "65 bytes"},
		"report truncated to 32":  {func(f *attest.Facts) { f.ReportData = f.ReportData[:32] }, "evidence.binding", ""},
		"report of 0 bytes":       {func(f *attest.Facts) { f.ReportData = nil }, "evidence.binding", "0 bytes"},
		"report zero":             {func(f *attest.Facts) { f.ReportData = make([]byte, 64) }, "evidence.binding", "empty"},
		"report of other purpose": {func(f *attest.Facts) { o := b; o.Purpose = attest.ForDevice; r := o.ReportData(); f.ReportData = r[:] }, "evidence.binding", "purpose device"},
		"short of other purpose": {func(f *attest.Facts) {
			o := b
			o.Purpose = attest.ForJoin
			r := o.ShortReportData()
			f.ReportData = r[:]
		}, "evidence.binding", "purpose join"},
		"report altered":          {func(f *attest.Facts) { f.ReportData[63] ^= 1 }, "evidence.binding", ""},
		"init of 47 bytes":        {func(f *attest.Facts) { f.InitData = f.InitData[:47] }, "evidence.init-data", "47 bytes"},
		"init padded to 64":       {func(f *attest.Facts) { f.InitData = append(f.InitData, make([]byte, 16)...) }, "evidence.init-data", "64 bytes"},
		"init truncated to 32":    {func(f *attest.Facts) { f.InitData = f.InitData[:32] }, "evidence.init-data", ""},
		"init absent":             {func(f *attest.Facts) { f.InitData = nil }, "evidence.init-data", "0 bytes"},
		"init zero":               {func(f *attest.Facts) { f.InitData = make([]byte, 48) }, "evidence.init-data", "zero"},
		"init short zero":         {func(f *attest.Facts) { f.InitData = make([]byte, 32) }, "evidence.init-data", "zero"},
		"init of other agreement": {func(f *attest.Facts) { d := attest.InitData([]byte("x")); f.InitData = d[:] }, "evidence.init-data", ""},
		"debug":                   {func(f *attest.Facts) { f.Debug = true }, "evidence.debug", ""},
		"no class":                {func(f *attest.Facts) { f.Class = "" }, "evidence.facts", "class"},
		"unknown class":           {func(f *attest.Facts) { f.Class = "secret" }, "evidence.facts", "class"},
		"other platform's facts":  {func(f *attest.Facts) { f.Platform = "fancy" }, "evidence.facts", "fancy"},
		"no root":                 {func(f *attest.Facts) { f.Root = wire.Hash{} }, "evidence.facts", "root"},
		"no measurements":         {func(f *attest.Facts) { f.Measurements = nil }, "evidence.facts", "0 measurements"},
		"upper-case measurement":  {func(f *attest.Facts) { f.Measurements = map[string]string{"a": "FF"} }, "evidence.facts", "lower-case"},
		"empty measurement":       {func(f *attest.Facts) { f.Measurements = map[string]string{"a": ""} }, "evidence.facts", "lower-case"},
		"platform's failed check": {func(f *attest.Facts) { f.Checks = []verdict.Check{{ID: "evidence.plain.tcb"}} }, "evidence.plain.tcb", ""},
	} {
		f := genuine(b)
		test.facts(&f)
		c, err := attest.Verify(evidence, []attest.Platform{platform(f, nil)}, want(b))
		var e *verdict.Error
		if !errors.As(err, &e) || e.Check != test.check || e.Kind != verdict.Invalid || !strings.Contains(e.Got, test.got) {
			t.Errorf("%s: got %v, want %s: %s", name, err, test.check, test.got)
		}
		if c.Proven() {
			t.Errorf("%s: claims were made", name)
		}
		if e != nil && len(e.Checks) < 4 {
			t.Errorf("%s: only %d checks reported", name, len(e.Checks))
		}
	}
}

func TestVerifyRefusesExpectation(t *testing.T) {
	b := binding(t)
	full := want(b)
	for name, change := range map[string]func(*attest.Expectation){
		"zero":             func(x *attest.Expectation) { *x = attest.Expectation{} },
		"no purpose":       func(x *attest.Expectation) { x.Binding.Purpose = "" },
		"unknown purpose":  func(x *attest.Expectation) { x.Binding.Purpose = "all" },
		"no nonce":         func(x *attest.Expectation) { x.Binding.Nonce = wire.Hash{} },
		"no signing key":   func(x *attest.Expectation) { x.Binding.Signing = keys.PublicKey{} },
		"no HPKE key":      func(x *attest.Expectation) { x.Binding.HPKE = keys.HPKEPublicKey{} },
		"no agreement":     func(x *attest.Expectation) { x.Binding.Agreement = wire.Digest{} },
		"no run":           func(x *attest.Expectation) { x.Binding.Run = wire.Digest{} },
		"no body":          func(x *attest.Expectation) { x.AgreementBody = nil },
		"another's digest": func(x *attest.Expectation) { x.AgreementBody = []byte("{}") },
		"no time":          func(x *attest.Expectation) { x.Now = time.Time{} },
	} {
		x := full
		change(&x)
		// The platform agrees to anything: only the expectation can refuse.
		f := genuine(x.Binding)
		init := attest.InitData(x.AgreementBody)
		f.InitData = init[:]
		_, err := attest.Verify(evidence, []attest.Platform{platform(f, nil)}, x)
		if e := verdict.As(err); err == nil || e.Check != "evidence.expectation" || e.Kind != verdict.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A room that serves many runs has no run in its evidence; such evidence never releases.
func TestServingRoomHasNoRun(t *testing.T) {
	b := binding(t)
	b.Run, b.Purpose = wire.Digest{}, attest.ForIngress
	if _, err := attest.Verify(evidence, []attest.Platform{platform(genuine(b), nil)}, want(b)); err != nil {
		t.Error(err)
	}
}

func TestVerifyPicksThePlatform(t *testing.T) {
	b := binding(t)
	good := platform(genuine(b), nil)
	unnamed := good
	unnamed.Name = ""
	blind := attest.Platform{Name: "plain"}
	big := attest.Evidence{Platform: "plain", Evidence: make([]byte, attest.MaxEvidence+1)}
	for name, test := range map[string]struct {
		evidence attest.Evidence
		table    []attest.Platform
		check    string
		kind     verdict.Kind
	}{
		"no table":         {evidence, nil, "evidence.platform", verdict.Invalid},
		"other platform":   {attest.Evidence{Platform: "fancy", Evidence: []byte("x")}, []attest.Platform{good}, "evidence.platform", verdict.Invalid},
		"no platform":      {attest.Evidence{Evidence: []byte("x")}, []attest.Platform{good, unnamed}, "evidence.platform", verdict.Invalid},
		"twice":            {evidence, []attest.Platform{good, good}, "evidence.platform", verdict.Usage},
		"without verifier": {evidence, []attest.Platform{blind}, "evidence.platform", verdict.Invalid},
		"no bytes":         {attest.Evidence{Platform: "plain"}, []attest.Platform{good}, "evidence.size", verdict.Invalid},
		"too many bytes":   {big, []attest.Platform{good}, "evidence.size", verdict.Invalid},
		"platform's error": {evidence, []attest.Platform{platform(genuine(b), errors.New("bad chain\n"))}, "evidence.plain", verdict.Invalid},
		"platform's fault": {evidence, []attest.Platform{platform(genuine(b), &verdict.Error{Check: "evidence.plain.chain"})}, "evidence.plain.chain", verdict.Invalid},
	} {
		c, err := attest.Verify(test.evidence, test.table, want(b))
		if e := verdict.As(err); err == nil || e.Check != test.check || e.Kind != test.kind || c.Proven() {
			t.Errorf("%s: got %v, want %s", name, err, test.check)
		}
	}
}

func TestZeroClaims(t *testing.T) {
	var c attest.Claims
	if c.Proven() || c.Platform() != "" || c.Class() != "" || !c.Root().IsZero() || len(c.Measurements()) != 0 || !c.EvidenceDigest().IsZero() ||
		c.Binding() != (attest.Binding{}) || len(c.Checks()) != 0 || c.Facts().Platform != "" {
		t.Error("zero claims claim something")
	}
}

// Nobody who holds claims can change them.
func TestClaimsAreCopies(t *testing.T) {
	b := binding(t)
	f := genuine(b)
	c, err := attest.Verify(evidence, []attest.Platform{platform(f, nil)}, want(b))
	if err != nil {
		t.Fatal(err)
	}
	f.Measurements["launch"], f.ReportData[0] = "aa", f.ReportData[0]^1
	c.Measurements()["launch"] = "bb"
	c.Checks()[0].OK = false
	c.Facts().Measurements["launch"], c.Facts().ReportData[0] = "cc", 0
	if c.Measurements()["launch"] != "00ff" || !c.Checks()[0].OK || !bytes.Equal(c.Facts().ReportData, genuine(b).ReportData) {
		t.Error("claims changed")
	}
}

func TestInitDataForms(t *testing.T) {
	long, short := attest.InitData([]byte(body)), attest.ShortInitData([]byte(body))
	if long == wire.SHA384(agreement.AgreementType, []byte(body)) {
		t.Error("init data is the agreement's digest: domains are not apart")
	}
	if bytes.HasPrefix(long[:], short[:]) || long.IsZero() || short.IsZero() {
		t.Error("short init data is a prefix of the long")
	}
}
