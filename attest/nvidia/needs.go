package nvidia

import (
	"bytes"
	"crypto/x509"
	"slices"
)

// Needs are the endorsements that evidence asks for, for whoever fetches them. Nothing in it
// is verified.
type Needs struct {
	// RIMs are identifiers at NVIDIA's RIM service.
	RIMs []string
	// Status are certificates whose OCSP responses are needed, each with its issuer.
	Status []Issued
}

// Issued is a certificate with its issuer's.
type Issued struct{ Certificate, Issuer *x509.Certificate }

// Needed says what evidence needs. Reports without a chain do not say which RIMs are theirs.
// RIMs that are there already name certificates whose status is needed in turn; what can't be
// read among them is passed over.
func Needed(evidence []byte, rims ...[]byte) (Needs, error) {
	var n Needs
	found, err := Open(evidence)
	if err != nil {
		return n, invalid("form", "reports of NVIDIA GPUs or NVSwitches", err.Error(), "send the evidence exactly as the collecting tool gives it")
	}
	l := newLinks()
	for _, f := range found {
		r, err := ParseReport(f.Report)
		if err != nil {
			return Needs{}, invalid("form", "SPDM 1.1 measurement reports", err.Error(), "send the evidence exactly as the collecting tool gives it")
		}
		chain := byName(f.Certificates, l.devices.cert)
		d := &device{report: r, chain: chain}
		if len(chain) < 2 || d.identify() != nil {
			continue
		}
		for _, m := range d.missing() {
			if !slices.Contains(n.RIMs, m.id) {
				n.RIMs = append(n.RIMs, m.id)
			}
		}
		n.status(chain[1:])
	}
	for _, data := range rims {
		if r, err := parseRIM("", data); err == nil {
			n.status(byName(r.certificates, l.rims.cert))
		}
	}
	return n, nil
}

// byName puts certificates in order, from the one that is no authority to the root.
func byName(came []*x509.Certificate, root *x509.Certificate) []*x509.Certificate {
	var chain []*x509.Certificate
	for _, c := range came {
		if !c.IsCA {
			chain = []*x509.Certificate{c}
		}
	}
	for pool := append(slices.Clone(came), root); len(chain) > 0 && len(chain) < maxChain; {
		last := chain[len(chain)-1]
		i := slices.IndexFunc(pool, func(c *x509.Certificate) bool { return c != nil && bytes.Equal(c.RawSubject, last.RawIssuer) })
		if i < 0 || bytes.Equal(last.RawSubject, last.RawIssuer) {
			break
		}
		chain = append(chain, pool[i])
	}
	return chain
}

func (n *Needs) status(chain []*x509.Certificate) {
	for i := range max(0, len(chain)-1) {
		same := func(have Issued) bool { return bytes.Equal(have.Certificate.Raw, chain[i].Raw) }
		if !slices.ContainsFunc(n.Status, same) {
			n.Status = append(n.Status, Issued{chain[i], chain[i+1]})
		}
	}
}
