package agreement

import (
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/wire"
)

// classesOf says which protection classes a kind of machine can have. A TPM keeps nobody
// out of memory, and is mere software if its root is a software TPM's, which is then pinned.
func classesOf(kind wire.ID) []Class {
	switch kind {
	case "dev":
		return []Class{Software}
	case "tpm":
		return []Class{IntegrityOnly, Software}
	case "snp", "tdx", "sgx", "nitro", "azure":
		return []Class{Confidential}
	}
	return nil
}

// layers are what a dev room's sandbox may lack if the agreement says so.
func layers() []wire.ID {
	return []wire.ID{"user-namespace", "mount-namespace", "pid-namespace", "network-namespace", "seccomp", "landlock", "user-range", "memory-group"}
}

func (a Agreement) validatePlatforms(p place) error {
	list := p.dot("platforms")
	return first(
		oneOf(p.dot("protection"), a.Protection, Confidential, IntegrityOnly, Software),
		each(list, a.Platforms, func(p place, m Platform) error { return m.validateClass(p, a.Protection) }),
		each(list, a.Platforms, func(p place, m Platform) error { return m.validate(p, a.Protection) }),
		unique(list, a.Platforms, "kind", func(m Platform) string {
			if m.Root != nil {
				return string(m.Kind) + " under root " + m.Root.String()
			}
			return string(m.Kind)
		}),
	)
}

// validateClass checks that a platform is of the agreement's class (R4). Classes never mix:
// a room on the weakest machine accepted would see everything.
func (m Platform) validateClass(p place, class Class) error {
	classes := classesOf(m.Kind)
	if classes == nil {
		return p.dot("kind").bad("dev, snp, tdx, sgx, nitro, azure or tpm", quoted(string(m.Kind)), "")
	}
	if slices.Contains(classes, class) {
		return nil
	}
	words := make([]string, len(classes))
	for i, c := range classes {
		words[i] = string(c)
	}
	why := "an agreement accepts machines of one protection class only"
	if m.Kind == "dev" {
		why = "a dev room protects data from nobody who runs the machine: say `protection: software` if that is what all parties want, or remove the platform"
	}
	if m.Kind == "tpm" {
		why = "a TPM keeps nobody out of the room's memory: say `protection: integrity-only` if that is enough, or remove the platform"
	}
	return p.dot("kind").refuse("agreement.protection", fmt.Sprintf("machines of class %q", class),
		fmt.Sprintf("%q, which is of class %q", m.Kind, strings.Join(words, `" or "`)), why)
}

func (m Platform) validate(p place, class Class) error {
	if m.Root != nil && m.Root.IsZero() {
		return p.dot("root").bad("the fingerprint of a root", "zero", "`strongroom doctor` prints it")
	}
	if m.Root == nil && class == Software {
		return p.dot("root").refuse("agreement.protection", "the root pinned by fingerprint (root: sha256:...)", "nothing",
			"anyone can make evidence of this kind: pin the one root you mean")
	}
	if err := first(
		p.dot("machines").count(len(m.Machines), 0, MaxMachines),
		each(p.dot("machines"), m.Machines, func(p place, s string) error { return p.line(s, MaxText) }),
		unique(p.dot("machines"), m.Machines, "", self[string]),
		p.dot("images").count(len(m.Images), 0, MaxImages),
		each(p.dot("images"), m.Images, func(p place, i Image) error { return i.validate(p, m.Kind) }),
		unique(p.dot("images"), m.Images, "name", func(i Image) string { return string(i.Name) }),
		p.dot("may_lack").count(len(m.MayLack), 0, len(layers())),
		each(p.dot("may_lack"), m.MayLack, func(p place, l wire.ID) error { return oneOf(p, l, layers()...) }),
		unique(p.dot("may_lack"), m.MayLack, "", self[wire.ID]),
	); err != nil {
		return err
	}
	if len(m.MayLack) > 0 && m.Kind != "dev" {
		return p.dot("may_lack").bad("nothing, except for kind dev", names(m.MayLack, self[wire.ID]), "remove it: a real room image has every layer")
	}
	return m.validateReleases(p)
}

// validateReleases checks the release lines, and that something is accepted at all.
func (m Platform) validateReleases(p place) error {
	if len(m.Releases) == 0 {
		return p.dot("images").count(len(m.Images), 1, MaxImages)
	}
	at := p.dot("releases")
	return first(
		at.count(len(m.Releases), 0, MaxReleases),
		each(at, m.Releases, func(p place, r ReleaseLine) error { return r.validate(p) }),
		unique(at, m.Releases, "product", func(r ReleaseLine) string { return string(r.Product) }),
	)
}

func (r ReleaseLine) validate(p place) error {
	return first(
		p.dot("product").id(r.Product),
		p.dot("keys").count(len(r.Keys), 1, MaxKeys),
		each(p.dot("keys"), r.Keys, func(p place, k string) error { return p.publicKey(k) }),
		unique(p.dot("keys"), r.Keys, "", self[string]),
		p.dot("threshold").integer(r.Threshold, 1, int64(len(r.Keys))),
		p.dot("minimum_version").integer(r.MinimumVersion, 1, wire.MaxInteger),
		p.dot("log_key").noteKey(r.LogKey),
	)
}

func (i Image) validate(p place, kind wire.ID) error {
	at := p.dot("measurements")
	if err := first(p.dot("name").id(i.Name), at.count(len(i.Measurements), 1, MaxImages)); err != nil {
		return err
	}
	for _, name := range sortedNames(i.Measurements) {
		m := at.dot(name)
		if !measurementName(name) {
			return at.bad("measurement names of a-z, 0-9, and - . / between them", quoted(name), "")
		}
		value := i.Measurements[name]
		if !lowerHex(value) || len(value) < 32 || len(value) > 128 || len(value)%2 != 0 {
			return m.bad("32 to 128 lower-case hex digits", quoted(value), "`strongroom doctor` prints the room's measurements")
		}
		if strings.Trim(value, "0") == "" {
			return m.bad("a measurement", "zero, which no program has", "")
		}
		if kind == "dev" && (len(value) != 96 || name != "agent" && !strings.HasPrefix(name, "helper/")) {
			return m.bad(`"agent" or "helper/NAME" with a SHA-384 of 96 hex digits`, quoted(value), "")
		}
	}
	if kind == "dev" && i.Measurements["agent"] == "" {
		return at.bad(`a measurement "agent"`, "none", "add the SHA-384 of strongroom-agent")
	}
	return nil
}

func measurementName(s string) bool {
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '/' || r == '.' || r == '_' }) {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

func lowerHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
