// Package snp verifies evidence of AMD SEV-SNP: an attestation report, raw or in the forms
// that guests, clouds and tools wrap it in (see [sevsnp.Open]).
//
// It promises what package sevsnp promises of reports, and adds nothing of its own but
// names: init data is HOST_DATA, the machine is its chip id. Under a VLEK, which is the same
// in all machines of a cloud, evidence names no machine. And it says what no report covers:
// the claim acpi.
package snp

import (
	"encoding/hex"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/sevsnp"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Name is the platform's name in evidence and agreements.
const Name wire.ID = "snp"

// The claim [ACPI] says who makes the machine's ACPI tables. No launch digest covers them, and
// with their byte code (AML) a host can read a guest's memory, so of every genuine report it is
// [HostControlled]; an image whose measured command line keeps byte code out is known by its
// launch digest (spec/host-interface.md, section 3).
const (
	ACPI           = "acpi"
	HostControlled = "host-controlled"
)

// Verifier verifies SEV-SNP reports with AMD's certificates and CRLs, and Microsoft's
// statements. The zero Verifier has only what the evidence carries, so that every finding
// has a failed check.
type Verifier struct{ sevsnp *sevsnp.Verifier }

// New makes a verifier, checking the endorsements once.
func New(set endorse.Set) Verifier {
	return Verifier{sevsnp.New(sevsnp.Collateral{
		Certificates: set.Certificates(),
		CRLs:         set.CRLs(),
		Statements:   set.Data(endorse.COSESign1),
		Policies:     set.Data(endorse.ContainerPolicy),
	})}
}

// With makes a verifier of one of package sevsnp, which knows whom to trust and what for.
func With(v *sevsnp.Verifier) Verifier { return Verifier{v} }

// Detect reports whether data looks like a SEV-SNP report, in any form that Examine takes.
func Detect(data []byte) bool { return sevsnp.Detect(data) }

// Platform gives the platform for the table handed to [attest.Verify].
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: attest.Strict(v.Examine)}
}

// Examine says everything there is to say about evidence at a time. It gives an error only
// for what is not a genuine SEV-SNP report.
func (v Verifier) Examine(evidence []byte, now time.Time) (attest.Finding, error) {
	r, err := v.sevsnp.Examine(evidence, now)
	if err != nil {
		return attest.Finding{}, err
	}
	return finding(r), nil
}

func finding(r *sevsnp.Result) attest.Finding {
	f := attest.Finding{Claims: r.Claims, Checks: r.Checks, Warnings: r.Warnings, Endorsements: r.Endorsements}
	if !r.Genuine { // nothing is known but that a certificate is missing
		f.Facts = attest.Facts{Platform: Name, Class: agreement.Confidential, Debug: true}
		return f
	}
	f.Claims[ACPI] = HostControlled
	f.Facts = attest.Facts{
		Platform:     Name,
		Class:        agreement.Confidential,
		Root:         r.Root,
		Machine:      hex.EncodeToString(r.Chip),
		Generation:   string(r.Product),
		TCB:          r.TCB,
		ReportData:   r.Report.ReportData[:],
		InitData:     r.Report.HostData[:],
		Measurements: map[string]string{"measurement": hex.EncodeToString(r.Report.Measurement[:])},
		Debug:        r.Report.Policy.Debug(),
		Excludes:     []string{"host administrator", "cloud operator"},
		Trusts:       []string{"AMD: CPU, security processor and firmware", "whoever can touch the memory bus"},
	}
	if r.Cloud != "" {
		f.Facts.Trusts = append(f.Facts.Trusts, "the cloud that holds the key: "+verdict.Printable(r.Cloud))
	}
	return f
}
