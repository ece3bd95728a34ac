package tpm

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/lineage"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// examination is one examination under way.
type examination struct {
	Verifier
	*parts
	now      time.Time
	quoted   *tpm2.Quoted
	boot     *tpm2.Boot // nil without a log
	who      origin
	checks   []verdict.Check
	warnings []string
	claims   map[string]any
	used     []lineage.Version
}

// origin is what is known of where the attestation key lives.
type origin struct {
	class    agreement.Class
	root     wire.Hash
	machine  string
	make     string
	trusts   []string
	software string // what says that it is a software TPM
}

func invalid(id, expected, got, fix string) error {
	return verdict.NotGenuine("tpm."+id, expected, verdict.Short(got), fix)
}

func (x *examination) pass(id, expected, got string) {
	x.checks = append(x.checks, verdict.Check{ID: "tpm." + id, OK: true, Expected: expected, Got: verdict.Printable(got)})
}

func (x *examination) warn(id, expected, got string) {
	x.pass(id, expected, got)
	x.warnings = append(x.warnings, "tpm."+id)
}

func (x *examination) fail(id, expected, got, fix string) {
	x.checks = append(x.checks, verdict.Check{ID: "tpm." + id, Expected: expected, Got: verdict.Printable(got), Fix: fix})
}

func (x *examination) examine() (attest.Finding, error) {
	x.pass("form", "evidence of a TPM 2.0", x.form)
	if x.key == nil && !x.findKey() {
		return attest.Finding{Facts: attest.Facts{Platform: Name, Class: agreement.Software}, Checks: x.checks}, nil
	}
	for _, step := range []func() error{x.quote, x.attestationKey, x.identity, x.initialData, x.eventLog} {
		if err := step(); err != nil {
			return attest.Finding{}, err
		}
	}
	x.freshness()
	if x.hardware {
		x.warn("hardware", "no other evidence inside", "a report of other hardware, which was not looked at")
	}
	return x.finding(), nil
}

// findKey looks for the key of a quote that names none among those that are pinned.
func (x *examination) findKey() bool {
	for i, spki := range x.pins {
		if i == maxPins {
			break
		}
		key, err := x509.ParsePKIXPublicKey(spki)
		if err != nil {
			continue
		}
		if _, err := tpm2.VerifyQuotes(x.quotes, key); err == nil {
			x.key = key
			return true
		}
	}
	x.fail("identity", "an attestation key that is known", "a quote that names no key, by none of the keys at hand", "send the key with the quote, or give its public key with the endorsements")
	return false
}

func (x *examination) quote() error {
	const expected = "quotes signed by the attestation key, of exactly the values given"
	q, err := tpm2.VerifyQuotes(x.quotes, x.key)
	if err != nil {
		return invalid("quote", expected, err.Error(), "take a new quote; one that was altered on its way cannot be mended")
	}
	x.quoted = q
	x.pass("quote", expected, fmt.Sprintf("%d, with %s", len(x.quotes), tpm2.KeyText(x.key)))
	for name, value := range q.Claims() {
		x.claims[name] = value
	}
	return nil
}

// attestationKey checks that the key signs nothing but what its TPM made. Where only the bare
// key is known, whoever vouches for it must have seen to that.
func (x *examination) attestationKey() error {
	const expected, fix = "a restricted signing key that can't leave its TPM", "make the attestation key from a template for such keys"
	x.claims["ak"] = tpm2.KeyText(x.key)
	if x.public == nil {
		return nil
	}
	x.claims["ak_name"] = hex.EncodeToString(x.public.Name)
	x.claims["ak_attributes"] = fmt.Sprintf("%08x", x.public.Attributes)
	if lack := x.public.Lacks(); lack != "" {
		x.fail("key", expected, lack, fix)
	} else {
		x.pass("key", expected, "it is")
	}
	return nil
}

// initialData checks that the evidence's init data is what the PCR holds.
func (x *examination) initialData() error {
	if len(x.initData) == 0 && x.started == nil {
		return nil
	}
	c := x.quoted.CheckInitData("tpm.init_data", x.initData)
	if x.started != nil {
		c = x.quoted.CheckStarted("tpm.init_data", x.initData, *x.started)
	}
	if !c.OK {
		return verdict.FromCheck(verdict.Invalid, c, nil)
	}
	x.checks = append(x.checks, c)
	x.claims["init_data"] = hex.EncodeToString(x.initData)
	return nil
}

// eventLog replays the log, and takes from it what the quoted PCRs prove.
func (x *examination) eventLog() error {
	if len(x.log) == 0 {
		return nil
	}
	c, boot, err := x.quoted.CheckLog("tpm.event_log", x.log)
	if err != nil {
		return verdict.FromCheck(verdict.Invalid, c, nil)
	}
	x.checks = append(x.checks, c)
	if boot == nil {
		return nil
	}
	x.boot = boot
	x.claims["event_log"] = boot.Claims()
	if open := boot.Open(); open != "" {
		x.warn("firmware", "firmware that is measured before it runs", open)
	}
	return nil
}

// measurements gives what is to be compared with what should have been started.
func (x *examination) measurements() map[string]string {
	m := x.quoted.Best().Measurements()
	if x.boot != nil {
		x.boot.Names(m)
	}
	if len(x.initData) > 0 {
		delete(m, fmt.Sprintf("pcr%d", tpm2.InitDataPCR)) // agreements can't hold a hash of themselves
	}
	if x.started != nil {
		delete(m, fmt.Sprintf("pcr%d", tpm2.WorkPCR)) // it was compared with this very run
	}
	return m
}

// freshness checks nonce, PCRs and clock.
func (x *examination) freshness() {
	nonce, short := x.quoted.CheckNonce("tpm.nonce")
	if short {
		x.warnings = append(x.warnings, nonce.ID)
	}
	x.checks = append(x.checks, nonce, x.quoted.CheckPCRs("tpm.pcrs"))
	if !x.quoted.Attest.Safe {
		x.warn("clock", "a clock that never went back", "one that may have, since the TPM was not shut down in order")
	}
}

func (x *examination) finding() attest.Finding {
	x.claims["class"] = string(x.who.class)
	x.claims["form"] = x.form
	f := attest.Finding{Claims: x.claims, Checks: x.checks, Warnings: x.warnings, Endorsements: x.used}
	f.Facts = attest.Facts{
		Platform:     Name,
		Class:        x.who.class,
		Root:         x.who.root,
		Machine:      x.who.machine,
		Generation:   x.who.make,
		ReportData:   x.quoted.Nonce,
		InitData:     x.initData,
		Measurements: x.measurements(),
		Trusts:       x.who.trusts,
	}
	return f
}

// fingerprintOf is the SHA-256 of a key's SubjectPublicKeyInfo.
func fingerprintOf(key crypto.PublicKey) (wire.Hash, []byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	return wire.HashOf(spki), spki, err
}
