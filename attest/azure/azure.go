package azure

import (
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/dcap"
	"strongroom.dev/endorse"
	"strongroom.dev/sevsnp"
	"strongroom.dev/wire"
)

// Name is the platform's name in evidence and agreements.
const Name wire.ID = "azure"

// Verifier verifies evidence of Azure's confidential machines with AMD's and Intel's
// collateral. The zero Verifier has only what the evidence carries, so that every finding has a
// failed check.
type Verifier struct {
	snp *sevsnp.Verifier
	tdx *dcap.Verifier
}

// New makes a verifier, checking the collateral once.
func New(set endorse.Set) Verifier { return NewWithFloor(set, 0) }

// NewWithFloor makes a verifier that also refuses Intel's collateral with a
// tcbEvaluationDataNumber below the floor.
func NewWithFloor(set endorse.Set, floor int) Verifier {
	c := dcap.CollateralOf(set)
	c.LeastEvaluation = floor
	return Verifier{snp: sevsnp.New(sevsnp.Collateral{Certificates: set.Certificates(), CRLs: set.CRLs()}), tdx: dcap.New(c)}
}

// Platform gives the platform for the table handed to [attest.Verify].
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: attest.Strict(v.Examine)}
}

// Examine says everything there is to say about evidence at a time. It gives an error, of kind
// Invalid, for what is not genuine: unreadable, or with a signature, chain or binding that is
// wrong.
func (v Verifier) Examine(evidence []byte, now time.Time) (attest.Finding, error) {
	const expected, fix = "evidence of a confidential machine on Azure", "send the HCL report, the quotes and the TD quote or chip certificate in one of the forms that spec/tpm.md lists"
	p, err := open(evidence)
	if err != nil {
		return attest.Finding{}, invalid("form", expected, err.Error(), fix)
	}
	report, err := ParseReport(p.report)
	if err != nil {
		return attest.Finding{}, invalid("hcl_report", "an HCL report", err.Error(), fix)
	}
	runtime, err := ParseRuntime(report.Runtime)
	if err != nil {
		return attest.Finding{}, invalid("runtime_data", "runtime data of the paravisor", err.Error(), fix)
	}
	x := &examination{Verifier: v, parts: p, now: now, report: report, runtime: runtime}
	x.pass("form", expected, p.form)
	return x.examine()
}
