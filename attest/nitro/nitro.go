// Package nitro verifies evidence of AWS Nitro enclaves: the attestation document that an
// enclave's security module (NSM) signs, raw or in the forms that tools wrap it in.
//
// It promises that a document which passes was signed by the NSM of a genuine enclave, under
// AWS's one root, and that the enclave does not run in debug mode. PCRs, and what the
// enclave put in, are facts for the relying party to compare. AWS itself, whose hypervisor
// and cards isolate the enclave, is trusted and not kept out.
package nitro

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Name is the platform's name in evidence and agreements.
const Name wire.ID = "nitro"

// Verifier verifies attestation documents. The zero Verifier has no root, and refuses all.
type Verifier struct {
	root *x509.Certificate
	crls []*x509.RevocationList
}

// New makes a verifier. Documents carry all certificates they need; of the endorsements, only
// AWS's CRLs are of use.
func New(set endorse.Set) Verifier { return Verifier{awsRoot(), set.CRLs()} }

// Platform gives the platform for the table handed to [attest.Verify].
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: attest.Strict(v.Examine)}
}

// examination is one examination under way.
type examination struct {
	Verifier
	now      time.Time
	envelope *envelope
	document *document
	checks   []verdict.Check
	warnings []string
	used     []lineage.Version
}

// Examine says everything there is to say about evidence at a time. It gives an error only
// for what is not a genuine document of an NSM.
func (v Verifier) Examine(evidence []byte, now time.Time) (attest.Finding, error) {
	x := &examination{Verifier: v, now: now}
	var err error
	if x.envelope, err = open(evidence); err == nil {
		x.document, err = parseDocument(x.envelope.document)
	}
	if err != nil {
		return attest.Finding{}, x.invalid("form", "an attestation document of a Nitro enclave", verdict.Short(err.Error()), "send the document as the NSM gives it")
	}
	if err := x.chain(); err != nil {
		return attest.Finding{}, err
	}
	if err := x.signature(); err != nil {
		return attest.Finding{}, err
	}
	if err := x.bindings(); err != nil {
		return attest.Finding{}, err
	}
	x.dates()
	x.timestamp()
	x.revocation()
	x.debug()
	x.members()
	return attest.Finding{Facts: x.facts(), Claims: x.claims(), Checks: x.checks, Warnings: x.warnings, Endorsements: x.used}, nil
}

func (x *examination) signature() error {
	const expected = "a signature over the document by its certificate's key"
	if err := x.document.signed.Verify(x.document.certificate.PublicKey); err != nil {
		return x.invalid("signature", expected, verdict.Short(err.Error()), fixDocument)
	}
	x.pass("signature", expected, x.document.signed.Algorithm())
	return nil
}

// bindings checks what came with the document against it.
func (x *examination) bindings() error {
	if x.envelope.form == Type {
		const expected = "PCR16 extended with the init data, once, and locked"
		got := "another PCR16"
		pcr, locked := x.document.pcrs[InitDataPCR]
		if !locked {
			got = "no PCR16: it is not locked"
		}
		if !locked || pcr != InitDataPCRValue(x.envelope.initData) {
			return x.invalid("init_data", expected, got, "start the room with this agreement, and let it lock PCR16")
		}
		x.pass("init_data", expected, "it is")
	}
	if x.envelope.reportData != nil {
		const expected = "user data that is the report data beside the document"
		if !bytes.Equal(x.envelope.reportData, x.document.userData) {
			return x.invalid("report_data", expected, "another", "take both from the same enclave")
		}
		x.pass("report_data", expected, "it is")
	}
	x.carrier()
	return nil
}

// InitDataPCRValue gives the value of [InitDataPCR] after it was extended with init data as its
// first and only value.
func InitDataPCRValue(initData []byte) [48]byte {
	return sha512.Sum384(append(make([]byte, pcrSize), initData...))
}

// carrier checks that the enclave vouches for the key of the TLS certificate that held its
// document: the key stands in one of the fields that the enclave chose, as DER, as a bare point
// of an elliptic curve, or as base64 of either. Else anyone may have put the document there.
func (x *examination) carrier() {
	c := x.envelope.carrier
	if c == nil {
		return
	}
	const expected = "a document that holds the public key of the TLS certificate around it"
	keys := [][]byte{c.RawSubjectPublicKeyInfo}
	if key, ok := c.PublicKey.(*ecdsa.PublicKey); ok {
		if point, err := key.Bytes(); err == nil {
			keys = append(keys, point)
		}
	}
	var forms [][]byte
	for _, raw := range keys {
		forms = append(forms, raw, []byte(base64.StdEncoding.EncodeToString(raw)), []byte(base64.RawStdEncoding.EncodeToString(raw)))
	}
	d := x.document
	for _, field := range [][]byte{d.publicKey, d.userData, d.nonce} {
		if slices.ContainsFunc(forms, func(key []byte) bool { return len(field) >= len(key) && bytes.Contains(field, key) }) {
			x.pass("certificate_key", expected, "it is there")
			return
		}
	}
	x.fail("certificate_key", expected, "it is in none of public_key, user_data and nonce", "take the document from the enclave by another way, with a nonce of your own")
}

// debug checks that the enclave was measured: one that runs in debug mode, where its parent
// reads its console, has zeros in PCRs 0 to 2 (user guide, "Where to get an enclave's
// measurements").
func (x *examination) debug() {
	const expected = "a measured enclave: PCRs 0, 1 and 2 that are not zero"
	if zeros := x.zeros(); len(zeros) > 0 {
		x.fail("debug", expected, "zeros in "+strings.Join(zeros, ", ")+": the enclave runs in debug mode", "start the enclave without --debug-mode")
		return
	}
	x.pass("debug", expected, "they are not")
}

func (x *examination) zeros() []string {
	var zeros []string
	for i := range 3 {
		if x.document.pcrs[i] == [pcrSize]byte{} {
			zeros = append(zeros, fmt.Sprintf("PCR%d", i))
		}
	}
	return zeros
}

// members warns of members that this program does not know.
func (x *examination) members() {
	if len(x.document.unknown) > 0 {
		x.warn("members", "only members known here", strings.Join(x.document.unknown, ", ")+" beside them")
	}
}

func (x *examination) facts() attest.Facts {
	d := x.document
	f := attest.Facts{
		Platform:     Name,
		Class:        agreement.Confidential,
		Root:         wire.HashOf(x.root.RawSubjectPublicKeyInfo),
		Machine:      instance(d.moduleID),
		ReportData:   d.userData,
		InitData:     x.envelope.initData,
		Measurements: make(map[string]string),
		Debug:        len(x.zeros()) > 0,
		Excludes:     []string{"administrators of the parent instance"},
		Trusts:       []string{"AWS: the Nitro hypervisor, cards and security module, and whoever works on them"},
	}
	// PCRs 0 to 2 are the image, 8 is who signed it, above 16 is what the enclave measured
	// itself. PCRs 3 and 4 are the parent's role and instance, 16 is the init data: agreements,
	// which name every measurement, can't know them.
	for i, pcr := range d.pcrs {
		if i > 2 && (i == 3 || i == 4 || i == InitDataPCR || pcr == [pcrSize]byte{}) {
			continue
		}
		f.Measurements[fmt.Sprintf("pcr%d", i)] = hex.EncodeToString(pcr[:])
	}
	return f
}

// instance gives the id of the parent instance, which starts a module's.
func instance(module string) string {
	id, _, _ := strings.Cut(module, "-enc")
	return id
}

func (x *examination) claims() map[string]any {
	d := x.document
	c := map[string]any{
		"form":              x.envelope.form,
		"module_id":         d.moduleID,
		"instance_id":       instance(d.moduleID),
		"digest":            "SHA384",
		"timestamp":         stamp(d.time),
		"timestamp_ms":      d.time.UnixMilli(),
		"algorithm":         d.signed.Algorithm(),
		"debug":             len(x.zeros()) > 0,
		"signer":            d.certificate.Subject.CommonName,
		"signer_serial":     hex.EncodeToString(d.certificate.SerialNumber.Bytes()),
		"signer_not_before": stamp(d.certificate.NotBefore),
		"signer_not_after":  stamp(d.certificate.NotAfter),
	}
	var chain []any
	for _, b := range d.bundle {
		chain = append(chain, b.Subject.CommonName)
	}
	c["chain"] = chain
	for i, pcr := range d.pcrs {
		c[fmt.Sprintf("pcr%d", i)] = hex.EncodeToString(pcr[:])
	}
	for name, field := range map[string][]byte{"public_key": d.publicKey, "user_data": d.userData, "nonce": d.nonce, "init_data": x.envelope.initData} {
		if field != nil {
			c[name] = hex.EncodeToString(field)
		}
	}
	if len(d.unknown) > 0 {
		c["unknown_members"] = strings.Join(d.unknown, ", ")
	}
	return c
}
