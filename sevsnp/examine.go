package sevsnp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"time"

	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Collateral is what the caller has to judge reports with. All of it is verified before use.
type Collateral struct {
	// Certificates are those of chips and clouds, and AMD's intermediates where they are newer
	// than the built-in ones.
	Certificates []*x509.Certificate
	// CRLs are AMD's revocation lists. Without a current one, a check fails.
	CRLs []*x509.RevocationList
	// Statements are Microsoft's COSE documents about firmware of container groups.
	Statements [][]byte
	// Policies are policies of container groups, in plain text.
	Policies [][]byte
}

// Verifier verifies reports. It may be used by several goroutines at once. A nil Verifier
// has no collateral.
type Verifier struct {
	chains      *chains
	veks        []*vek
	held        map[holder][]*vek // the same, to look up
	given       []authority
	names       map[string]bool // of AMD's intermediates and roots among the certificates: is any genuine?
	revocations map[Product]revocations
	statements  []heldStatement
	policies    [][]byte
}

// holder is whose certificate is looked for: the kind of key, the TCB, and for a VCEK the
// chip.
type holder struct {
	kind KeyKind
	tcb  TCB
	chip [64]byte
}

// heldStatement is a statement that the caller holds, or why it is none.
type heldStatement struct {
	data []byte
	*statement
	err error
}

// New makes a verifier, checking the collateral once.
func New(c Collateral) *Verifier { return newVerifier(newChains(), c) }

func newVerifier(chains *chains, c Collateral) *Verifier {
	v := &Verifier{chains: chains, held: make(map[holder][]*vek), names: make(map[string]bool), policies: c.Policies}
	for _, cert := range c.Certificates {
		switch {
		case isVEK(cert):
			if k, err := parseVEK(cert); err == nil {
				h := holder{k.kind, k.tcb, k.chip}
				v.veks = append(v.veks, k)
				v.held[h] = append(v.held[h], k)
			}
		case isAuthority(cert):
			a, err := v.chains.authority(cert)
			if err == nil {
				v.given = add(v.given, a)
			}
			v.names[cert.Subject.CommonName] = v.names[cert.Subject.CommonName] || err == nil
		}
	}
	v.revocations = v.chains.revoked(c.CRLs)
	for _, data := range c.Statements {
		if !bytes.Contains(data, []byte("x-ms-sevsnpvm-launchmeasurement")) {
			continue // a COSE document about something else
		}
		st, err := parseStatement(data)
		if err != nil {
			st = nil
		}
		v.statements = append(v.statements, heldStatement{data, st, err})
	}
	return v
}

// Result is what a report shows. Checks may have failed.
type Result struct {
	// Genuine is set if the report's signature was verified up to Root. If it is not, no
	// certificate for the report was at hand: a check says so, and nothing else is known.
	Genuine bool
	Report  *Report
	Product Product
	// Root is the SHA-256 of the root's SubjectPublicKeyInfo.
	Root wire.Hash
	// Chip is the chip's id as the report states it and its certificate confirms it; nil under
	// a VLEK, which is the same in all machines of a cloud, or if the host masks the id.
	Chip []byte
	// TCB are the version numbers of the firmware by component ("bootloader", "tee", "snp",
	// "microcode", on Turin also "fmc"): of those reported and those at the guest's launch, the
	// lesser, since what ran under older firmware stays in doubt after an update.
	TCB map[string]int64
	// Cloud is whom a VLEK was loaded for, "" under a VCEK.
	Cloud string
	// Checks are all that were made, in order; ids start with "snp.".
	Checks []verdict.Check
	// Warnings are ids of passed checks that a careful reader should look at.
	Warnings []string
	// Claims are all fields of the report, and what certificates and statements say of it.
	Claims map[string]any
	// Endorsements is the CRL that revocation was judged by, if there is one.
	Endorsements []lineage.Version
}

// examination is one examination under way.
type examination struct {
	*Verifier
	now      time.Time
	envelope *Envelope
	report   *Report
	link     link
	lists    revocations // of the product that link is of
	// otherKind came with the report and is of the kind of key that did not sign it.
	otherKind *vek
	r         *Result
}

// Examine checks evidence in any form that [Open] reads. It gives an error, of kind Invalid,
// for what is not genuine: unreadable, or with a signature, chain or binding that is wrong.
// All else is a failed check in the result.
func (v *Verifier) Examine(evidence []byte, now time.Time) (*Result, error) {
	e, err := Open(evidence)
	if err != nil {
		return nil, malformed(err)
	}
	return v.ExamineEnvelope(e, now)
}

// ExamineEnvelope is Examine for evidence that the caller took apart, such as a report from
// inside another platform's evidence with the certificates that came with it.
func (v *Verifier) ExamineEnvelope(e Envelope, now time.Time) (*Result, error) {
	if v == nil {
		v = New(Collateral{})
	}
	report, err := ParseReport(e.Report)
	if err != nil {
		return nil, malformed(err)
	}
	x := &examination{Verifier: v, now: now, envelope: &e, report: report, r: &Result{Report: report, Claims: make(map[string]any, 96)}}
	if err := x.form(); err != nil {
		return nil, err
	}
	found, err := x.chain()
	if err != nil {
		return nil, err
	}
	if !found {
		return x.r, nil
	}
	if err := x.signature(); err != nil {
		return nil, err
	}
	return x.r, x.judge()
}

func malformed(err error) error {
	return verdict.NotGenuine("snp.form", "a SEV-SNP report of version 2 to 5", verdict.Short(err.Error()), "send the report exactly as the platform gives it")
}

// pass, warn and fail note a check; invalid makes the error for what is not genuine.
func (x *examination) pass(id, expected, got string) {
	x.r.Checks = append(x.r.Checks, verdict.Check{ID: "snp." + id, OK: true, Expected: expected, Got: got})
}

func (x *examination) warn(id, expected, got string) {
	x.pass(id, expected, got)
	x.r.Warnings = append(x.r.Warnings, "snp."+id)
}

func (x *examination) fail(id, expected, got, fix string) {
	x.r.Checks = append(x.r.Checks, verdict.Check{ID: "snp." + id, Expected: expected, Got: verdict.Printable(got), Fix: fix})
}

func (x *examination) invalid(id, expected, got, fix string) error {
	return verdict.NotGenuine("snp."+id, expected, verdict.Short(got), fix)
}

// form checks what decides how the report is to be read: product, and who signed.
func (x *examination) form() error {
	r := x.report
	x.pass("form", "a SEV-SNP report of version 2 to 5", fmt.Sprintf("version %d (%s)", r.Version, x.envelope.formName()))
	const expected = "signed by a VCEK or VLEK"
	switch key := r.Flags.Key(); {
	case key != VCEK && key != VLEK:
		return x.invalid("signer", expected, "signing key: "+key.String(), "have the host let the firmware sign reports")
	case r.Flags.MaskChipKey():
		return x.invalid("signer", expected, "a host that masks the chip's key (MASK_CHIP_KEY): nothing signed the report", "have the host set MASK_CHIP_KEY to 0")
	}
	if r.Version >= 3 && productOf(r.Family, r.Model) == "" {
		return x.invalid("product", "a Milan, Genoa, Bergamo, Siena or Turin processor", fmt.Sprintf("family %#x, model %#x", r.Family, r.Model), "use a release that knows this processor")
	}
	return nil
}

func (e *Envelope) formName() string {
	if e.Form == "" {
		return formRaw
	}
	return e.Form
}

// chain finds the certificate for the report and verifies it up to AMD's root. A certificate
// that came with the report must be the one for it; of those the caller holds, any may be.
func (x *examination) chain() (bool, error) {
	given, err := x.authorities()
	if err != nil {
		return false, err
	}
	candidates, err := x.inline()
	if err != nil {
		return false, err
	}
	if candidates == nil {
		if candidates, err = x.fromHeld(given); err != nil {
			return false, err
		}
	}
	if candidates == nil {
		return false, x.missing()
	}
	const fix = "take the chip's certificate and its chain anew from AMD's key server"
	for _, k := range candidates {
		if x.link, err = x.chains.link(k, given); err == nil {
			break
		}
	}
	if err != nil {
		return false, x.invalid("chain", "a certificate chain from "+string(candidates[0].product)+"'s root", err.Error(), fix)
	}
	for _, name := range []string{x.link.issuer.Subject.CommonName, x.link.root.cert.Subject.CommonName} {
		if genuine, given := x.names[name]; given && !genuine {
			return false, x.invalid("chain", "endorsements by AMD", fmt.Sprintf("a certificate of %q that AMD's root did not sign", name), fix)
		}
	}
	x.lists = x.revocations[x.link.product].and(x.chains.revoked(x.envelope.CRLs)[x.link.product])
	x.r.Product, x.r.Root = x.link.product, x.link.root.pin
	x.pass("chain", "a certificate chain from AMD's root (key "+x.link.root.pin.Short()+")",
		fmt.Sprintf("%s, %s, %s", x.link.root.cert.Subject.CommonName, x.link.issuer.Subject.CommonName, x.link.kind))
	return true, nil
}

// authorities gives AMD's intermediates that the evidence and the caller bring. A
// certificate in AMD's name inside evidence that AMD's root did not sign is refused, needed
// or not.
func (x *examination) authorities() ([]authority, error) {
	given := x.given
	for _, cert := range x.envelope.Certificates {
		if !isAuthority(cert) {
			continue
		}
		a, err := x.chains.authority(cert)
		if err != nil {
			return nil, x.invalid("chain", "certificates of AMD's", err.Error(), "take the chip's certificate and its chain anew from AMD's key server")
		}
		given = add([]authority{a}, given...)
	}
	return given, nil
}

// add adds those that are not there yet.
func add(all []authority, more ...authority) []authority {
	for _, a := range more {
		if !slices.ContainsFunc(all, func(b authority) bool { return a.id == b.id }) {
			all = append(all, a)
		}
	}
	return all
}

// inline gives the certificates of the right kind of key that came with the report; nil if
// none did. One of them must be for this report.
func (x *examination) inline() ([]*vek, error) {
	var fitting []*vek
	var mismatch error
	for _, cert := range x.envelope.Certificates {
		if !isVEK(cert) {
			continue
		}
		k, err := parseVEK(cert)
		if err != nil {
			return nil, x.invalid("chain", "a VCEK or VLEK certificate of AMD's", err.Error(), "take the chip's certificate anew from AMD's key server")
		}
		switch check, expected, got := k.speaksFor(x.report); check {
		case "":
			fitting = append(fitting, k)
		case "signer": // a table may hold both kinds
			x.otherKind = k
		default:
			mismatch = x.invalid(check, expected, got, "send the report with the certificate of its own chip, at its own TCB")
		}
	}
	if fitting == nil {
		return nil, mismatch
	}
	return fitting, nil
}

// fromHeld gives the caller's certificates for this report; nil if there are none.
func (x *examination) fromHeld(given []authority) ([]*vek, error) {
	r := x.report
	h := holder{kind: r.Flags.Key(), tcb: r.ReportedTCB}
	if h.kind == VCEK {
		h.chip = r.ChipID
	}
	var fitting []*vek
	for _, k := range x.held[h] {
		if check, _, _ := k.speaksFor(r); check == "" {
			fitting = append(fitting, k)
		}
	}
	if fitting != nil {
		return fitting, nil
	}
	return x.near(given)
}

// near looks at what the caller holds when none of it is for this report. If that is a
// handful of certificates, they were meant for it, and to say that one is missing would hide
// what is wrong: one of its chip or TCB, or one of very few, in AMD's name that AMD did not
// sign, or the only one of its chip or TCB being of this chip at another TCB, or of
// another chip.
func (x *examination) near(given []authority) ([]*vek, error) {
	if len(x.veks) > maxCertificates {
		return nil, nil
	}
	r, near := x.report, []*vek(nil)
	for _, k := range x.veks {
		known := r.Version < 3 || k.product == productOf(r.Family, r.Model)
		alike := known && k.kind == r.Flags.Key() && (k.tcb == r.ReportedTCB || k.kind == VCEK && k.chip == r.ChipID)
		if _, err := x.chains.link(k, given); err != nil && (alike || len(x.veks) <= fewCertificates) {
			return nil, x.invalid("chain", "endorsements by AMD", err.Error(), "take the chip's certificate anew from AMD's key server")
		}
		if alike {
			near = append(near, k)
		}
	}
	if len(near) != 1 {
		return nil, nil
	}
	check, expected, got := near[0].speaksFor(r)
	if check == "" { // the host masks the chip's id
		return near, nil
	}
	return nil, x.invalid(check, expected, got, "give the certificate of the report's own chip, at its own TCB")
}

// missing notes that there is no certificate for the report; if one came with it that is for
// the other kind of key, that is an error.
func (x *examination) missing() error {
	r := x.report
	expected := fmt.Sprintf("the %s certificate of chip %x… at TCB %x", r.Flags.Key(), r.ChipID[:8], r.ReportedTCB[:])
	if k := x.otherKind; k != nil {
		return x.invalid("signer", expected, "a certificate of a "+k.kind.String(), "send the report with the certificate of the kind of key that signed it")
	}
	got, fix := "no certificates at all", "fetch the chip's certificate for this TCB from AMD's key server and give it as an endorsement"
	if n := len(x.veks); n > 0 {
		got = fmt.Sprintf("%d certificates, none of them for this report", n)
	}
	switch urls := r.Sources(); {
	case r.Flags.Key() == VLEK:
		fix = "ask the cloud for its VLEK certificate at this TCB and give it as an endorsement"
	case zero(r.ChipID[:]):
		fix = "send the chip's certificate with the report: the host masks CHIP_ID, so that nobody else can tell which one it is"
	case len(urls) > 0:
		fix = "fetch " + urls[0] + " and give it as an endorsement"
	}
	x.fail("collateral", expected, got, fix)
	return nil
}

// signature checks the report's signature: ECDSA on P-384 over SHA-384 of its first 0x2a0
// bytes.
func (x *examination) signature() error {
	r := x.report
	digest := sha512.Sum384(r.signed)
	expected := "the report signed by the " + x.link.kind.String()
	if !ecdsa.Verify(x.link.key, digest[:], new(big.Int).SetBytes(r.r[:]), new(big.Int).SetBytes(r.s[:])) {
		return x.invalid("signature", expected, "a signature that does not verify", "take a new report; one that was altered on its way cannot be mended")
	}
	x.r.Genuine = true
	x.pass("signature", expected, "it is")
	x.pass("tcb", "a key for the reported TCB", x.link.product.text(r.ReportedTCB))
	return nil
}

// judge makes all further checks. It gives an error where a binding inside the evidence is
// wrong.
func (x *examination) judge() error {
	x.machine()
	x.dates()
	x.collateral()
	x.revocation()
	x.configuration()
	x.firmwareVersions()
	x.containers()
	for _, check := range []func() error{x.attestedKey, x.dstackConfig, x.firmware} {
		if err := check(); err != nil {
			return err
		}
	}
	x.claims()
	return nil
}

// machine checks which machine it is. Under a VLEK there is no telling.
func (x *examination) machine() {
	r, expected := x.report, "the id of the chip that signed"
	switch {
	case x.link.kind == VLEK:
		x.r.Cloud = x.link.csp
		if !zero(r.ChipID[:]) {
			x.fail("chip_id", "a report by a cloud's key without a chip's id", "an id that no certificate confirms", "have the host use the VCEK where machines must be told apart")
			return
		}
		x.pass("chip_id", "a report by a cloud's key without a chip's id", "key of "+verdict.Printable(x.link.csp))
	case zero(r.ChipID[:]):
		x.fail("chip_id", expected, "zeros: the host masks it (MASK_CHIP_ID)", "have the host set MASK_CHIP_ID to 0")
	default:
		x.r.Chip = bytes.Clone(r.ChipID[:])
		x.pass("chip_id", expected, fmt.Sprintf("%x…", r.ChipID[:8]))
	}
}

func hexText(b []byte) string { return hex.EncodeToString(b) }

func verdict80(s string) string { return fmt.Sprintf("%.80q", s) }
