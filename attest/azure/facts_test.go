package azure_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// TestFactsSNP compares the facts of a SEV-SNP machine with what its evidence holds.
func TestFactsSNP(t *testing.T) {
	e, v, day, _ := base(t, false)
	facts, err := v.Platform().Verify(encode(t, e), evidencetest.Time(day))
	if err != nil {
		t.Fatal(err)
	}
	if facts.Platform != azure.Name || facts.Class != "confidential" || facts.Debug || facts.Generation != "Milan" || len(facts.Machine) != 128 || facts.Root.IsZero() || len(facts.ReportData) != 48 ||
		len(facts.Measurements["measurement"]) != 96 || len(facts.Measurements["pcr7"]) != 64 || len(facts.InitData) != 0 || len(facts.Excludes) == 0 || len(facts.Trusts) != 3 {
		t.Errorf("%+v", facts)
	}
	for name, value := range facts.Measurements {
		if strings.Trim(value, "0") == "" {
			t.Errorf("%s is zero", name)
		}
	}
	if !bytes.Contains(e.Quotes[0].Message, facts.ReportData) {
		t.Error("report data is not the quote's nonce")
	}
	f, err := v.Examine(encode(t, e), evidencetest.Time(day))
	if err != nil {
		t.Fatal(err)
	}
	config, _ := f.Claims["vm_configuration"].(map[string]any)
	vtpm, _ := f.Claims["vtpm"].(map[string]any)
	if config["secure_boot"] != true || config["tpm_enabled"] != true || len(config["vmUniqueId"].(string)) != 36 || f.Claims["hcl_version"] != 1 || len(f.Claims["hcl_user_data"].(string)) != 128 ||
		vtpm["clock_safe"] != true || len(vtpm["nonce"].(string)) != 96 || f.Claims["report_data"] == nil {
		t.Errorf("%v", f.Claims)
	}
}

// TestFactsTDX looks at the facts of a TDX machine, which is out of date.
func TestFactsTDX(t *testing.T) {
	e, v, day, _ := base(t, true)
	f, err := v.Examine(encode(t, e), evidencetest.Time(day))
	if err != nil {
		t.Fatal(err)
	}
	if f.Facts.Generation != "00806f050000" || len(f.Facts.Machine) != 32 || string(f.Facts.ReportData) != "challenge" || len(f.Facts.Measurements["mrtd"]) != 96 || f.Facts.Measurements["rtmr3"] != "" ||
		f.Facts.Debug || f.Claims["hcl_version"] != 2 || f.Claims["tcb_status"] != "OutOfDate" {
		t.Errorf("%+v %v", f.Facts, f.Claims["tcb_status"])
	}
}

// TestNothingKnown gives neither claims nor a root where a certificate or quote is missing.
func TestNothingKnown(t *testing.T) {
	for name, file := range map[string]string{"SNP": snp + "hcl-report.bin", "TDX": tdx + "hcl-report.bin"} {
		f, err := (azure.Verifier{}).Examine(evidencetest.Read(t, file), evidencetest.Time("2025-06-20"))
		if err != nil || len(f.Claims) != 0 || !f.Facts.Root.IsZero() || len(f.Facts.Measurements) != 0 || !f.Facts.Debug || evidencetest.Failed(f) == "" {
			t.Errorf("%s: %+v %v", name, f, err)
		}
	}
}

// TestClaims lets nothing but a quote over the very challenge make claims of evidence.
func TestClaims(t *testing.T) {
	signing, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	hpke, err := keys.GenerateHPKEKey()
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("{}")
	want := attest.Expectation{Now: evidencetest.Time("2025-06-01"), AgreementBody: body, Binding: attest.Binding{
		Purpose: attest.ForRelease, Nonce: attest.NonceOf([]byte("token")), Signing: signing.Public(), HPKE: hpke.Public(), Agreement: wire.SHA384(agreement.AgreementType, body), Run: wire.DigestOf(body)}}
	e, _, _, _ := base(t, false)
	for name, c := range map[string]struct {
		data  []byte
		check string
	}{
		"a report alone":              {evidencetest.Read(t, snp+"hcl-report.bin"), "evidence.binding"},
		"a quote for somebody else's": {encode(t, e), "evidence.binding"},
		"no report":                   {[]byte("HCLA"), "azure.hcl_report"},
	} {
		v := azure.New(evidencetest.Set(t, snp+"vcek.pem", lists))
		_, err := attest.Verify(attest.Evidence{Platform: azure.Name, Evidence: c.data}, []attest.Platform{v.Platform()}, want)
		if err == nil || verdict.As(err).Check != c.check {
			t.Errorf("%s: %v, expected %s", name, err, c.check)
		}
	}
}

// TestSecureBoot points out a machine that boots whatever it is given.
func TestSecureBoot(t *testing.T) {
	r, err := azure.ParseReport(evidencetest.Read(t, kinvolk+"hcl-report-tdx.bin"))
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := azure.ParseRuntime(r.Runtime)
	if err != nil || runtime.Configuration["secure_boot"] != false {
		t.Errorf("%+v %v", runtime, err)
	}
	// The same file's runtime data, without its padding, is a vector of its own.
	old, err := azure.ParseReport(evidencetest.Read(t, kinvolk+"hcl-report-snp.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if runtime, err = azure.ParseRuntime(old.Runtime); err != nil || runtime.UserData != "" || runtime.Configuration["current_time"] != 1678652405 {
		t.Errorf("%+v %v", runtime, err)
	}
	if _, err := azure.ParseRuntime(evidencetest.Read(t, kinvolk+"var-data.bin")); err != nil {
		t.Errorf("var-data.bin: %v", err)
	}
}

// TestDetect takes an Azure machine's evidence for that, whatever its form, and no other
// platform's.
func TestDetect(t *testing.T) {
	for _, c := range cases() {
		if data := evidencetest.Find(t, c.File); data != nil && azure.Detect(data) != (c.Err != "azure.form") {
			t.Errorf("%s: recognised, or not, against what it is", c.File)
		}
	}
	evidencetest.Walk(t, func(path string, data []byte) {
		name := filepath.Base(path)
		may := strings.HasPrefix(path, "azure/") && (strings.Contains(name, "evidence") || strings.Contains(name, "report") || strings.Contains(name, "attestation"))
		if azure.Detect(data) && !may {
			t.Errorf("%s is taken for evidence of an Azure machine", path)
		}
	})
}

// TestErrors keeps the checks of the hardware by their own names.
func TestErrors(t *testing.T) {
	e, v, day, _ := base(t, true)
	e.TDQuote = e.TDQuote[:600]
	var own *verdict.Error
	if _, err := v.Examine(encode(t, e), evidencetest.Time(day)); !errors.As(err, &own) || own.Check != "tdx.quote" || own.Fix == "" {
		t.Errorf("%v", err)
	}
}

// TestHardwareOf: what is to be fetched depends on the report or quote inside.
func TestHardwareOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		report int
		quote  bool
		certs  int
	}{{snp + "evidence-v2.json", 1184, false, 1}, {tdx + "evidence-v0.json", 0, true, 0}, {kinvolk + "hcl-report-tdx.bin", 0, false, 0}} {
		h, err := azure.HardwareOf(evidencetest.Read(t, c.name))
		if err != nil || len(h.SNP) != c.report || len(h.TDQuote) > 0 != c.quote || len(h.Certificates) < c.certs {
			t.Errorf("%s: %d, %d, %d: %v", c.name, len(h.SNP), len(h.TDQuote), len(h.Certificates), err)
		}
	}
	for _, bad := range []string{"", "HCLA", "{}"} {
		if _, err := azure.HardwareOf([]byte(bad)); verdict.As(err).Kind != verdict.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
