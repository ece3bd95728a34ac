package azure

import (
	"encoding/hex"
	"fmt"
	"maps"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/dcap"
	"strongroom.dev/lineage"
	"strongroom.dev/sevsnp"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
)

// examination is one examination under way.
type examination struct {
	Verifier
	*parts
	now     time.Time
	report  *Report
	runtime *Runtime
	quoted  *tpm2.Quoted // nil without quotes
	boot    *tpm2.Boot   // nil without a log

	facts    attest.Facts
	checks   []verdict.Check
	warnings []string
	claims   map[string]any // of the hardware; nil as long as nothing is proven
	used     []lineage.Version
}

func invalid(id, expected, got, fix string) error {
	return verdict.NotGenuine("azure."+id, expected, verdict.Short(got), fix)
}

func (x *examination) pass(id, expected, got string) {
	x.checks = append(x.checks, verdict.Check{ID: "azure." + id, OK: true, Expected: expected, Got: verdict.Printable(got)})
}

func (x *examination) warn(id, expected, got string) {
	x.pass(id, expected, got)
	x.warnings = append(x.warnings, "azure."+id)
}

func (x *examination) fail(id, expected, got, fix string) {
	x.checks = append(x.checks, verdict.Check{ID: "azure." + id, Expected: expected, Got: verdict.Printable(got), Fix: fix})
}

func (x *examination) examine() (attest.Finding, error) {
	x.facts = attest.Facts{Platform: Name, Class: agreement.Confidential, Debug: true}
	hardware := x.trustDomain
	if x.report.SNP != nil {
		hardware = x.secureVM
	}
	for _, step := range []func() error{hardware, x.quote} {
		if err := step(); err != nil {
			return attest.Finding{}, err
		}
	}
	if x.claims == nil { // nothing is known but what is missing
		return attest.Finding{Facts: x.facts, Checks: x.checks, Warnings: x.warnings}, nil
	}
	x.describe()
	return attest.Finding{Facts: x.facts, Claims: x.claims, Checks: x.checks, Warnings: x.warnings, Endorsements: x.used}, nil
}

// binding checks that the hardware report is about this runtime data.
func (x *examination) binding(reportData []byte) error {
	const expected = "report data that is the hash of the runtime data"
	if !x.report.binds(reportData) {
		return invalid("binding", expected, "runtime data that the hardware report is not about", "send the HCL report exactly as it is in the TPM's memory")
	}
	x.pass("binding", expected, fmt.Sprintf("SHA-256 of %d bytes", len(x.report.Runtime)))
	return nil
}

// secureVM verifies the SEV-SNP report.
func (x *examination) secureVM() error {
	if len(x.tdQuote) > 0 {
		return invalid("hardware", "a report of one kind of hardware", "a SEV-SNP report with a TD quote", "send the parts of one machine")
	}
	r, err := x.snp.ExamineEnvelope(sevsnp.Envelope{Report: x.report.SNP, Form: "in an HCL report", Certificates: x.certs}, x.now)
	if err != nil {
		return err
	}
	if err := x.binding(r.Report.ReportData[:]); err != nil {
		return err
	}
	x.checks, x.warnings = append(x.checks, r.Checks...), append(x.warnings, r.Warnings...)
	if !r.Genuine {
		return nil
	}
	x.claims, x.used = maps.Clone(r.Claims), r.Endorsements
	x.facts.Root, x.facts.Machine, x.facts.Generation, x.facts.Debug = r.Root, hex.EncodeToString(r.Chip), string(r.Product), r.Report.Policy.Debug()
	x.facts.TCB = r.TCB
	x.facts.Measurements = map[string]string{"measurement": hex.EncodeToString(r.Report.Measurement[:])}
	x.facts.Trusts = []string{"AMD: CPU, security processor and firmware"}
	if r.Cloud != "" {
		x.facts.Trusts = append(x.facts.Trusts, "the cloud that holds the key: "+verdict.Printable(r.Cloud))
	}
	return nil
}

// trustDomain verifies the quote for the TDREPORT. Without one, nothing speaks for it: its MAC
// is for the machine that made it.
func (x *examination) trustDomain() error {
	const expected, fix = "a TD quote for the TDREPORT", "have the machine fetch a quote for the TDREPORT in its HCL report"
	if err := x.binding(x.report.TD[tdReportData:][:64]); err != nil {
		return err
	}
	if len(x.tdQuote) == 0 {
		x.fail("hardware", expected, "none", fix)
		return nil
	}
	if len(x.tdQuote) > MaxQuote {
		return invalid("hardware", expected, fmt.Sprintf("%d bytes, at most %d", len(x.tdQuote), MaxQuote), fix)
	}
	r, err := x.tdx.Examine(x.tdQuote, dcap.TDX, x.now)
	if err != nil {
		return err
	}
	td := r.Quote.TD
	if name := differs(x.report.TD, td); name != "" {
		return invalid("hardware", expected, "a quote for another: "+name+" differs", fix)
	}
	x.pass("hardware", expected, "they agree in every field")
	x.checks, x.warnings = append(x.checks, r.Checks...), append(x.warnings, r.Warnings...)
	x.claims, x.used = maps.Clone(r.Claims), r.Endorsements
	x.facts.Root, x.facts.Machine, x.facts.Generation, x.facts.Debug = r.Root, hex.EncodeToString(r.PCK.PPID[:]), hex.EncodeToString(r.PCK.FMSPC[:]), td.Debug()
	x.facts.TCB = r.TCB
	x.facts.Measurements = td.Measurements()
	x.facts.Trusts = []string{"Intel: CPU, microcode, TDX module and quoting enclave"}
	return nil
}

// quote verifies the quotes by the virtual TPM, and judges what they cover. Evidence without
// any has no report data, so that it answers nobody's challenge.
func (x *examination) quote() error {
	const expected = "quotes by the virtual TPM's attestation key, of exactly the values given"
	if len(x.quotes) == 0 {
		x.warn("quote", expected, "none: the evidence answers no challenge, and says nothing of what booted in the machine")
		return nil
	}
	q, err := tpm2.VerifyQuotes(x.quotes, x.runtime.AK)
	if err != nil {
		return invalid("quote", expected, err.Error(), "take a new quote with the attestation key that Azure made (at 0x81000003), not one of your own")
	}
	x.quoted = q
	x.pass("quote", expected, fmt.Sprintf("%d, with %s", len(x.quotes), tpm2.KeyText(x.runtime.AK)))
	if len(x.initData) > 0 {
		c := q.CheckInitData("azure.init_data", x.initData)
		if !c.OK {
			return verdict.FromCheck(verdict.Invalid, c, nil)
		}
		x.checks = append(x.checks, c)
	}
	if len(x.log) > 0 {
		c, boot, err := q.CheckLog("azure.event_log", x.log)
		if err != nil {
			return verdict.FromCheck(verdict.Invalid, c, nil)
		}
		x.checks, x.boot = append(x.checks, c), boot
	}
	nonce, short := q.CheckNonce("azure.nonce")
	if short {
		x.warnings = append(x.warnings, nonce.ID)
	}
	x.checks = append(x.checks, nonce, q.CheckPCRs("azure.pcrs"))
	return nil
}

// describe completes facts and claims of genuine evidence.
func (x *examination) describe() {
	x.facts.Excludes = []string{"host administrator", "cloud operator"}
	x.facts.Trusts = append(x.facts.Trusts, "Microsoft: the paravisor in the machine and its virtual TPM", "whoever can touch the memory bus")
	x.claims["form"] = x.form
	x.claims["hcl_version"] = int(x.report.Version)
	x.claims["vm_configuration"] = x.runtime.Configuration
	x.claims["hcl_user_data"] = x.runtime.UserData
	x.secureBoot()
	if x.quoted == nil {
		return
	}
	x.claims["vtpm"] = x.quoted.Claims()
	x.facts.ReportData, x.facts.InitData = x.quoted.Nonce, x.initData
	for name, value := range x.quoted.Best().Measurements() {
		x.facts.Measurements[name] = value
	}
	if x.boot != nil {
		x.claims["event_log"] = x.boot.Claims()
	}
	if len(x.initData) > 0 {
		x.claims["init_data"] = hex.EncodeToString(x.initData)
		delete(x.facts.Measurements, fmt.Sprintf("pcr%d", tpm2.InitDataPCR)) // agreements can't hold a hash of themselves
	}
}

// secureBoot points out a machine that boots whatever it is given.
func (x *examination) secureBoot() {
	if on, ok := x.runtime.Configuration["secure_boot"].(bool); ok && !on {
		x.warn("secure_boot", "what boots is looked at", "Secure Boot is off: rely on the PCRs alone")
	}
}
