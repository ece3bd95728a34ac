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
	case strings.HasPrefix(id, "policy.measurement."):
		return executables
	case id == "policy.machine":
		return identity
	case id == "policy.root", id == "policy.generation", id == "policy.advisory", strings.HasPrefix(id, "policy.tcb."):
		return hardware
	case strings.HasPrefix(id, "policy."):
		return configuration
	}
	_, name, _ := strings.Cut(id, ".")
	if id == "debug" {
		name = id
	}
	switch first, _, _ := strings.Cut(name, "."); first {
	case "debug":
		return opaque
	case "chip_id":
		return identity
	case "form", "chain", "signature", "signer", "product", "certificates", "collateral", "collateral_dates", "dates", "revocation", "revoked", "tcb",
		"tcb_committed", "tcb_evaluation", "tcb_layout", "tcb_order", "module", "quote", "qe_binding", "qe_identity", "qe_report", "alias_check":
		return hardware
	case "uvm", "uvm_signer", "container_policy", "dstack_config":
		return executables
	}
	return configuration
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
	if v.Executables == 3 && !passed(r, "policy.measurement.") {
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
