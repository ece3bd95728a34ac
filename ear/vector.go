package ear

import (
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
)

// Vector is the trustworthiness vector of AR4SI (draft-ietf-rats-ar4si, section 2.3). 0 makes no
// claim; 2 to 31 affirm, 32 to 95 warn, 96 to 127 speak against.
type Vector struct {
	InstanceIdentity int `json:"instance-identity,omitempty"`
	Configuration    int `json:"configuration,omitempty"`
	Executables      int `json:"executables,omitempty"`
	Hardware         int `json:"hardware,omitempty"`
	RuntimeOpaque    int `json:"runtime-opaque,omitempty"`
}

// aspect is one entry of the vector, with what it is set to.
type aspect struct {
	affirming, warning, contraindicated int
}

const (
	identity      = "instance-identity"
	configuration = "configuration"
	executables   = "executables"
	hardware      = "hardware"
	opaque        = "runtime-opaque"
	none          = ""
)

// aspectOf tells which entry a check speaks for. "" is for checks that are about the asking and
// not about the attester. What is not known here is about its configuration.
func aspectOf(id string) string {
	switch {
	case id == "freshness", id == "class":
		return none
	case strings.HasPrefix(id, "policy.measurement."), strings.HasPrefix(id, "policy.register."), strings.HasPrefix(id, "policy.reference."):
		return executables
	case id == "policy.machine":
		return identity
	case id == "policy.root", id == "policy.generation", id == "policy.advisory", strings.HasPrefix(id, "policy.tcb."):
		return hardware
	case strings.HasPrefix(id, "policy."):
		return configuration
	}
	if part := partOf(id); part != "" {
		id = strings.TrimPrefix(id, part+".")
	}
	_, name, _ := strings.Cut(id, ".")
	if id == "debug" {
		name = id
	}
	switch first, _, _ := strings.Cut(name, "."); first {
	case "debug":
		return opaque
	case "chip_id", "identity":
		return identity
	case "nonce":
		return none
	case "form", "chain", "signature", "signer", "product", "certificates", "collateral", "collateral_dates", "dates", "revocation", "revoked", "root", "tcb",
		"tcb_committed", "tcb_evaluation", "tcb_layout", "tcb_order", "module", "quote", "qe_binding", "qe_identity", "qe_report", "alias_check", "hardware",
		"hcl_report", "runtime_data", "activation", "activation_dates", "fwid", "key", "binding", "topology", "devices", "attachment", "realm_signature", "lifecycle":
		return hardware
	case "uvm", "uvm_signer", "container_policy", "dstack_config", "rim", "measurements", "log", "boot":
		return executables
	}
	return configuration
}

// partOf names the part of a composite that a check is of: cpu, device0 and so on; "" if it is of
// none.
func partOf(id string) string {
	part, rest, _ := strings.Cut(id, ".")
	n, device := strings.CutPrefix(part, "device")
	if strings.Contains(rest, ".") && (part == "cpu" || device && n != "" && strings.Trim(n, "0123456789") == "") {
		return part
	}
	return ""
}

// parts gives what a result says of each part of a composite, in the order of its checks; none
// if it is of one piece. The policy judges the whole.
func parts(r appraise.Result) (names []string, of map[string]appraise.Result) {
	of = map[string]appraise.Result{}
	for _, c := range r.Checks {
		part := partOf(c.ID)
		if part == "" {
			continue
		}
		p, known := of[part]
		if !known {
			names = append(names, part)
			p = appraise.Result{Platform: part, Class: r.Class}
		}
		c.ID = strings.TrimPrefix(c.ID, part+".")
		if slices.Contains(r.Warnings, part+"."+c.ID) {
			p.Warnings = append(p.Warnings, c.ID)
		}
		p.Checks = append(p.Checks, c)
		of[part] = p
	}
	for name, p := range of {
		p.Verdict = attest.Finding{Checks: p.Checks, Warnings: p.Warnings}.Standing()
		of[name] = p
	}
	return names, of
}

// VectorOf derives the vector from the checks that a result was made of, and from nothing else.
// An entry says the worst of its checks; one without a check makes no claim.
func VectorOf(r appraise.Result) Vector {
	worst := map[string]attest.Standing{}
	for _, c := range r.Checks {
		at := aspectOf(c.ID)
		switch {
		case !c.OK:
			worst[at] = attest.Contraindicated
		case worst[at] == attest.Contraindicated:
		case slices.Contains(r.Warnings, c.ID):
			worst[at] = attest.Warning
		case worst[at] == "":
			worst[at] = attest.Affirming
		}
	}
	v := Vector{
		// There is no warning about an identity: it is recognised, or nothing is said.
		InstanceIdentity: aspect{2, 0, 97}.value(worst[identity]),
		Configuration:    aspect{3, 32, 96}.value(worst[configuration]),
		Executables:      aspect{3, 32, 96}.value(worst[executables]),
		Hardware:         aspect{2, 32, 96}.value(worst[hardware]),
		RuntimeOpaque:    aspect{2, 0, 96}.value(worst[opaque]),
	}
	if v.InstanceIdentity == 2 && !passed(r, "policy.machine") {
		v.InstanceIdentity = 0 // a genuine identity that nobody has named is not a recognised one
	}
	if v.Executables == 3 && !passed(r, "policy.measurement.") && !passed(r, "policy.reference.group") {
		v.Executables = 0
	}
	if v.Configuration == 3 && (passed(r, "policy.claim.") || passed(r, "policy.rule.")) {
		v.Configuration = 2 // approved, not only without known fault
	}
	if r.Class != agreement.Confidential && v.RuntimeOpaque == 2 {
		v.RuntimeOpaque = 0 // the memory can be read; strongroom_class says so
	}
	return v
}

func (a aspect) value(s attest.Standing) int {
	switch s {
	case attest.Affirming:
		return a.affirming
	case attest.Warning:
		return a.warning
	case attest.Contraindicated:
		return a.contraindicated
	}
	return 0
}

// passed reports whether a check passed whose id is, or starts with, this.
func passed(r appraise.Result, id string) bool {
	for _, c := range r.Checks {
		if c.OK && (c.ID == id || strings.HasSuffix(id, ".") && strings.HasPrefix(c.ID, id)) {
			return true
		}
	}
	return false
}
