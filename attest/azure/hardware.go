package azure

import "crypto/x509"

// Hardware is the part of evidence that AMD's or Intel's documents are about, for whoever
// fetches them. Nothing in it is verified.
type Hardware struct {
	// SNP is the SEV-SNP report in the HCL report, nil on TDX; Certificates came with it, the
	// chip's among them if the evidence has it.
	SNP          []byte
	Certificates []*x509.Certificate
	// TDQuote is the quote on TDX, which an HCL report alone does not hold.
	TDQuote []byte
}

// HardwareOf takes the hardware's part out of evidence in any form that Examine takes. It gives
// an error of kind Invalid for what has none of these forms.
func HardwareOf(evidence []byte) (Hardware, error) {
	const expected, fix = "evidence of a confidential machine on Azure", "send the evidence exactly as the collecting tool gives it"
	p, err := open(evidence)
	if err != nil {
		return Hardware{}, invalid("form", expected, err.Error(), fix)
	}
	r, err := ParseReport(p.report)
	if err != nil {
		return Hardware{}, invalid("hcl_report", "an HCL report", err.Error(), fix)
	}
	if r.SNP != nil {
		return Hardware{SNP: r.SNP, Certificates: p.certs}, nil
	}
	return Hardware{TDQuote: p.tdQuote}, nil
}
