package tpm

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"strongroom.dev/agreement"
)

// identity finds out where the attestation key lives: from its certificate, from a record of
// its activation, or because the relying party knows it. Otherwise nobody vouches for it.
func (x *examination) identity() error {
	hash, spki, err := fingerprintOf(x.key)
	if err != nil {
		return invalid("key", "an attestation key", err.Error(), "use an RSA or ECDSA key")
	}
	x.claims["ak_public_key"] = hex.EncodeToString(spki)
	x.who = origin{class: agreement.Software, trusts: []string{"whoever can read or change the machine's memory"}}
	switch {
	case x.akCert != nil:
		return x.byCertificate(spki)
	case len(x.activation) > 0:
		return x.byActivation()
	}
	const expected = "somebody who vouches for the attestation key"
	for _, pin := range x.pins {
		if bytes.Equal(pin, spki) {
			x.who.root, x.who.machine, x.who.software = hash, hex.EncodeToString(hash[:]), "nobody but the relying party says where the key lives"
			x.warn("identity", expected, "the relying party itself, which pins the key "+hash.Short())
			return nil
		}
	}
	x.fail("identity", expected, "nobody: anyone can make such a key ("+hash.Short()+")",
		"send the key's certificate or an activation record, or give its public key with the endorsements")
	return nil
}

// byCertificate follows the attestation key's own certificate.
func (x *examination) byCertificate(spki []byte) error {
	if !bytes.Equal(x.akCert.RawSubjectPublicKeyInfo, spki) {
		return invalid("identity", "a certificate of the key that signed the quotes", "a certificate of another key", "send the certificate of the attestation key")
	}
	return x.follow(x.akCert, x.certs, oidAIK(), "the attestation key's certificate")
}

// byActivation follows the certificate of the endorsement key that an activation names.
func (x *examination) byActivation() error {
	const expected, fix = "a record that the attestation key was activated in a TPM", "have the key activated again (spec/tpm.md)"
	a, doc, err := openActivation(x.activation)
	if err != nil {
		return invalid("activation", expected, err.Error(), fix)
	}
	if x.public == nil || !bytes.Equal(a.AKName, x.public.Name) {
		return invalid("activation", expected, "a record about another key", fix)
	}
	ek, others, err := a.certificates()
	if err != nil {
		return invalid("activation", expected, err.Error(), fix)
	}
	n, err := doc.SignedBy(x.activators)
	switch {
	case err != nil:
		return invalid("activation", expected, err.Error(), fix)
	case n == 0:
		x.fail("activation", expected, "signed by nobody that the relying party trusts", "name the activator's key, or have the key activated by somebody trusted")
	default:
		x.pass("activation", expected, "valid from "+a.Activated.String()+" to "+a.Expires.String())
	}
	if err := a.check(x.now); err != nil {
		x.fail("activation_dates", "an activation that is in force", err.Error(), fix)
	}
	x.claims["activated"], x.claims["activation_expires"] = a.Activated.String(), a.Expires.String()
	return x.follow(ek, append(others, x.certs...), oidEK(), "the endorsement key's certificate")
}

// follow follows a key's certificate to a root, and notes what it says of the TPM.
func (x *examination) follow(leaf *x509.Certificate, extra []*x509.Certificate, usage asn1.ObjectIdentifier, what string) error {
	expected := what + " under a root that is known to be of a maker of TPMs or a cloud"
	const fix = "send the certificates between the key's and its maker's root"
	p, s := x.store.find(leaf, extra)
	switch {
	case p == nil && s.wrong != "":
		return invalid("chain", expected, "a signature that is not by "+s.wrong, fix)
	case p == nil:
		from := ""
		if s.from != "" {
			from = ", to be had at " + s.from
		}
		x.fail("collateral", expected, "no certificate of "+s.open+from, fix)
		return nil
	}
	if bad := badLeaf(leaf, usage, p.maker); bad != "" {
		return invalid("chain", expected, what+": "+bad, "send "+what)
	}
	id, err := identify(leaf)
	if err != nil {
		return invalid("chain", expected, what+": "+err.Error(), "send "+what)
	}
	x.certified(p, id, expected)
	x.dates(p)
	x.revoked(p)
	return nil
}

// certified notes what root and certificate make of the TPM.
func (x *examination) certified(p *path, id identity, expected string) {
	leaf := p.leaf()
	x.who.root, x.who.machine = p.fingerprint(), hex.EncodeToString(hashBytes(leaf.RawSubjectPublicKeyInfo))
	x.who.make, x.who.software = p.maker.name, id.software()
	if text := id.text(); text != "" {
		x.who.make = text
	}
	switch {
	case p.maker.name == "" && !p.given:
		x.strangeRoot(p, expected)
		x.who.software = "a root that nobody named"
	case p.maker.name == "" && x.who.software == "":
		x.who.software = "a root of the relying party's own choice, of no known maker"
		x.warn("root", expected, fmt.Sprintf("the relying party's own choice: %q", p.root().Subject.String()))
	case x.who.software != "":
		x.warn("root", expected, fmt.Sprintf("a software TPM (%s) under %q", x.who.software, p.root().Subject.String()))
	default:
		x.pass("root", expected, p.maker.name+" (key "+p.fingerprint().Short()+")")
		x.who.class = agreement.IntegrityOnly
	}
	if p.maker.cloud {
		x.who.trusts = append(x.who.trusts, p.maker.name+": hypervisor, virtual TPM and their administrators")
	} else {
		x.who.trusts = append(x.who.trusts, "the TPM's maker: "+p.root().Subject.String())
	}
	if id.instance != nil {
		x.who.machine = id.instance.machine()
	}
	for name, value := range id.claims() {
		x.claims[name] = value
	}
	x.claims["certificate_subject"], x.claims["certificate_issuer"] = leaf.Subject.String(), leaf.Issuer.String()
	x.claims["certificate_serial"] = hex.EncodeToString(leaf.SerialNumber.Bytes())
	x.claims["certificate_not_before"], x.claims["certificate_not_after"] = leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339)
	x.claims["root_subject"] = p.root().Subject.String()
	x.claims["software_tpm"] = x.who.software
}

// strangeRoot refuses a root that nobody named. Where others are pinned, by an agreement or a relying
// party, these are what was expected: software TPMs all have authorities of one name, and only fingerprints tell them apart.
func (x *examination) strangeRoot(p *path, expected string) {
	got := fmt.Sprintf("root %s (%q), which nobody named", p.fingerprint(), p.root().Subject.String())
	if len(x.store.pinned) == 0 {
		x.fail("root", expected, got, "give the root with the endorsements, or pin it in the agreement, if you trust it: its TPMs then count as software")
		return
	}
	var pinned []string
	for _, root := range x.store.pinned {
		pinned = append(pinned, root.String())
	}
	x.fail("root", "root "+strings.Join(pinned, " or ")+", which is pinned", got, "take a machine under a root that is pinned; or pin this one too, in the agreement or with --root, if you rely on whoever holds it")
}

func (x *examination) dates(p *path) {
	const expected = "certificates that are valid"
	if late := p.outOfDate(x.now); late != "" {
		x.fail("dates", expected, late, "use evidence while its certificates are valid, or have a new certificate issued")
		return
	}
	x.pass("dates", expected, "they are")
}

// revoked asks the CRLs. A certificate that names no CRL can't be revoked by its issuer.
func (x *examination) revoked(p *path) {
	const expected = "no certificate revoked, by CRLs that are current"
	r := p.revocation(x.crls, x.now)
	x.used = append(x.used, r.used...)
	switch {
	case r.revoked != "":
		x.fail("revocation", expected, r.revoked+" is revoked", "use another TPM")
	case len(r.missing) > 0:
		x.fail("collateral", expected, "no CRL of "+strings.Join(r.missing, "; "), "give current CRLs with the endorsements")
	case r.checked == 0:
		x.pass("revocation", expected, "none of these issuers has a CRL")
	default:
		x.pass("revocation", expected, fmt.Sprintf("%d checked", r.checked))
	}
}
