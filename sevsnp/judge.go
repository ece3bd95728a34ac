package sevsnp

import (
	"fmt"
	"strings"
)

// configuration checks how the guest and its host were set up.
func (x *examination) configuration() {
	r := x.report
	if len(r.nonzero) > 0 {
		x.fail("reserved", "reserved fields as the firmware ABI has them", strings.Join(r.nonzero, "; "), "use a release that knows this firmware, which says more than this one can judge")
	} else {
		x.pass("reserved", "reserved fields as the firmware ABI has them", "they are")
	}
	x.demand("debug", !r.Policy.Debug(), "a guest whose memory the host may not decrypt", "debugging is allowed (POLICY.DEBUG)", "debugging is not allowed", "start the guest with a policy without DEBUG")
	x.demand("migration", !r.Policy.MigrateMA(), "a guest without a migration agent", "a migration agent is allowed (POLICY.MIGRATE_MA), and may move or copy the guest", "none is allowed",
		"start the guest with a policy without MIGRATE_MA")
	x.demand("migration_agent", ones(r.ReportIDMA[:]) || zero(r.ReportIDMA[:]), "no migration agent bound to the guest", fmt.Sprintf("the one with report id %x…", r.ReportIDMA[:8]), "there is none", "start the guest anew")
	x.demand("vmpl", r.VMPL == 0, "a report asked for at VMPL 0", fmt.Sprintf("VMPL %d: software above it in the guest, such as a cloud's paravisor, decides what that part sees", r.VMPL), "VMPL 0",
		"ask for the report at VMPL 0, or verify the software at VMPL 0 by its own evidence")
	x.aliases()
}

func (x *examination) demand(id string, ok bool, expected, bad, good, fix string) {
	if ok {
		x.pass(id, expected, good)
		return
	}
	x.fail(id, expected, bad, fix)
}

// aliases warns of memory that may be aliased: BadRAM, CVE-2024-21944, AMD-SB-3015. Firmware
// that knows the attack says that it looked; older firmware and platforms say nothing.
func (x *examination) aliases() {
	const expected = "firmware that has looked for aliased memory (BadRAM, AMD-SB-3015)"
	if x.report.PlatformInfo.AliasChecked() {
		x.pass("alias_check", expected, "it has, and found none")
		return
	}
	x.warn("alias_check", expected, "not known: ALIAS_CHECK_COMPLETE is 0, so that memory modules that lie about their size are not ruled out")
}

// firmwareVersions checks the TCBs against each other, component by component. Firmware
// never reports a TCB above the committed one, nor commits one above the one it runs.
func (x *examination) firmwareVersions() {
	r, p := x.report, x.link.product
	for _, t := range []TCB{r.CurrentTCB, r.ReportedTCB, r.CommittedTCB, r.LaunchTCB} {
		if !p.reserved(t) {
			x.fail("tcb_layout", "zero in the reserved bytes of every "+string(p)+" TCB", fmt.Sprintf("%x", t[:]), "use a release that knows this firmware")
			break
		}
	}
	const expected = "reported TCB up to the committed one, and that up to the current one"
	over, ahead := p.behind(r.CommittedTCB, r.ReportedTCB), p.behind(r.CurrentTCB, r.CommittedTCB)
	switch {
	case over != "":
		x.fail("tcb_order", expected, "committed: "+over+" reported", "have the host commit its firmware (SNP_COMMIT)")
	case ahead != "":
		x.fail("tcb_order", expected, "current: "+ahead+" committed", "have the host update its firmware")
	default:
		x.pass("tcb_order", expected, "so it is")
	}
	x.rollback()
}

// rollback warns where the host may still go back to older firmware, or has not yet raised
// what it reports: keys are then those of the older one.
func (x *examination) rollback() {
	r, p := x.report, x.link.product
	const expected = "current firmware committed, and reported"
	switch behind := p.behind(r.CommittedTCB, r.CurrentTCB); {
	case behind != "":
		x.warn("tcb_committed", expected, "provisional firmware, which the host may take back: committed "+behind)
	case p.behind(r.ReportedTCB, r.CommittedTCB) != "":
		x.warn("tcb_committed", expected, "the host reports an older TCB than it has committed: "+p.behind(r.ReportedTCB, r.CommittedTCB))
	default:
		x.pass("tcb_committed", expected, "so it is")
	}
}

func ones(b []byte) bool {
	for _, v := range b {
		if v != 0xff {
			return false
		}
	}
	return true
}

// claims notes every field of the report and of its certificate.
func (x *examination) claims() {
	r, p := x.report, x.link.product
	c := x.r.Claims
	for name, v := range map[string][]byte{
		"family_id": r.FamilyID[:], "image_id": r.ImageID[:], "report_data": r.ReportData[:], "measurement": r.Measurement[:], "host_data": r.HostData[:],
		"id_key_digest": r.IDKeyDigest[:], "author_key_digest": r.AuthorKeyDigest[:], "report_id": r.ReportID[:], "report_id_ma": r.ReportIDMA[:], "chip_id": r.ChipID[:],
	} {
		c[name] = hexText(v)
	}
	for name, v := range map[string]TCB{"current_tcb": r.CurrentTCB, "reported_tcb": r.ReportedTCB, "committed_tcb": r.CommittedTCB, "launch_tcb": r.LaunchTCB} {
		c[name] = p.claims(v)
	}
	for name, bit := range policyBits() {
		c["policy_"+name] = r.Policy.has(bit)
	}
	for name, bit := range platformBits() {
		c["platform_"+name] = r.PlatformInfo.has(bit)
	}
	c["version"], c["guest_svn"], c["vmpl"], c["signature_algorithm"] = int64(r.Version), int64(r.GuestSVN), int64(r.VMPL), int64(r.algorithm)
	c["policy"], c["policy_abi_minor"], c["policy_abi_major"] = fmt.Sprintf("%#x", uint64(r.Policy)), int64(r.Policy&0xff), int64(r.Policy>>8&0xff)
	c["platform_info"], c["flags"] = fmt.Sprintf("%#x", uint64(r.PlatformInfo)), fmt.Sprintf("%#x", uint32(r.Flags))
	c["author_key_enabled"], c["mask_chip_key"], c["signing_key"] = r.Flags.AuthorKey(), r.Flags.MaskChipKey(), strings.ToLower(r.Flags.Key().String())
	c["current_version"], c["committed_version"] = r.Current.String(), r.Committed.String()
	if r.Version >= 3 {
		c["cpuid_family"], c["cpuid_model"], c["cpuid_stepping"] = int64(r.Family), int64(r.Model), int64(r.Stepping)
	}
	if r.Version >= 5 {
		c["launch_mitigation_vector"], c["current_mitigation_vector"] = fmt.Sprintf("%#x", r.LaunchMitigations), fmt.Sprintf("%#x", r.CurrentMitigations)
	}
	x.r.TCB = p.least(r.ReportedTCB, r.LaunchTCB)
	c["product"], c["vek_product_name"] = string(p), x.link.name
	c["vek_not_before"], c["vek_not_after"] = date(x.link.cert.NotBefore), date(x.link.cert.NotAfter)
	c["root"] = x.link.root.pin.String()
	if x.link.kind == VLEK {
		c["csp_id"] = x.link.csp
	}
}

// policyBits are the single bits of GUEST_POLICY, by the name of their claim.
func policyBits() map[string]int {
	return map[string]int{"smt_allowed": 16, "migrate_ma_allowed": 18, "debug_allowed": 19, "single_socket_required": 20, "cxl_allowed": 21,
		"mem_aes_256_xts_required": 22, "rapl_disabled": 23, "ciphertext_hiding_required": 24, "page_swap_disabled": 25}
}

// platformBits are the bits of PLATFORM_INFO.
func platformBits() map[string]int {
	return map[string]int{"smt_enabled": 0, "tsme_enabled": 1, "ecc_enabled": 2, "rapl_disabled": 3, "ciphertext_hiding_enabled": 4,
		"alias_check_complete": 5, "tio_enabled": 7}
}

func (x *examination) claim(name string, value any) { x.r.Claims[name] = value }

func (x *examination) claimText(name string, n node) {
	if n.kind == aText {
		x.claim(name, n.text)
	}
}

func (x *examination) claimNumber(name string, n node) {
	if n.kind == aNumber && n.number < 1<<53 {
		x.claim(name, int64(n.number))
	}
}

// Sources gives the addresses at AMD's key server of the certificate for the report, of the
// chain above it and of the CRL, in this order; nothing where the report does not say of
// which product it is (version 2). A VLEK's certificate comes from the cloud.
func (r *Report) Sources() []string {
	p := r.Product()
	if p == "" {
		return nil
	}
	if r.Flags.Key() == VLEK {
		base := "https://kdsintf.amd.com/vlek/v1/" + string(p)
		return []string{base + "/cert_chain", base + "/crl"}
	}
	base := "https://kdsintf.amd.com/vcek/v1/" + string(p)
	return []string{base + "/" + hexText(p.ChipID(r)) + "?" + p.KeyQuery(r.ReportedTCB), base + "/cert_chain", base + "/crl"}
}
