package arm

import (
	"encoding/hex"
	"fmt"
	"strings"

	"strongroom.dev/cbor"
	"strongroom.dev/cose"
)

// Profiles of tokens.
const (
	psa1       = "PSA_IOT_PROFILE_1"                   // draft-tschofenig-rats-psa-token-05 and before
	psa2       = "http://arm.com/psa/2.0.0"            // later drafts
	psaTFM     = "tag:psacertified.org,2023:psa#tfm"   // RFC 9783, section 5.2
	ccaLegacy  = "http://arm.com/CCA-SSD/1.0.0"        // RMM 1.0, before its final release
	cca2023    = "tag:arm.com,2023:cca_platform#1.0.0" // draft-ffm-rats-cca-token-00
	cca2024    = "tag:arm.com,2024:cca_platform#2.0.0" // draft-ffm-rats-cca-token-03
	realm2023  = "tag:arm.com,2023:realm#1.0.0"
	realm2024  = "tag:arm.com,2024:realm#2.0.0"
	labelEAT   = 265 // profile (RFC 9711)
	labelPSA1  = -75000
	leastState = 0x3000 // secured (RFC 9783, section 4.3.1)
)

// hashes are the sizes of SHA-256, SHA-384 and SHA-512.
func hashes() []int { return []int{32, 48, 64} }

// common are the claims that PSA's and CCA's platforms share (RFC 9783, section 4;
// draft-ffm-rats-cca-token, section 4.1).
func common() map[int64]rule {
	return map[int64]rule{
		labelEAT: {name: "profile", kind: cbor.Text, required: true},
		256:      {name: "instance_id", kind: cbor.Bytes, sizes: []int{33}, required: true},
		2395:     {name: "lifecycle", kind: cbor.Unsigned, required: true},
		2396:     {name: "implementation_id", kind: cbor.Bytes, sizes: []int{32}, required: true},
		2399:     {name: "software_components", kind: cbor.Array, required: true},
		2400:     {name: "verification_service", kind: cbor.Text},
	}
}

func psaRules() map[int64]rule {
	rules := common()
	rules[10] = rule{name: "nonce", kind: cbor.Bytes, sizes: hashes(), required: true}
	rules[2394] = rule{name: "client_id", kind: cbor.Unsigned, required: true}
	rules[268] = rule{name: "boot_seed", kind: cbor.Bytes, sizes: []int{8, 32}, ranged: true}
	rules[2397] = rules[268]
	rules[2398] = rule{name: "certification_reference", kind: cbor.Text}
	return rules
}

func psa1Rules() map[int64]rule {
	return map[int64]rule{
		labelPSA1: {name: "profile", kind: cbor.Text},
		-75001:    {name: "client_id", kind: cbor.Unsigned, required: true},
		-75002:    {name: "lifecycle", kind: cbor.Unsigned, required: true},
		-75003:    {name: "implementation_id", kind: cbor.Bytes, sizes: []int{32}, required: true},
		-75004:    {name: "boot_seed", kind: cbor.Bytes, sizes: []int{32}},
		-75005:    {name: "certification_reference", kind: cbor.Text},
		-75006:    {name: "software_components", kind: cbor.Array},
		-75007:    {name: "no_software_measurements", kind: cbor.Unsigned},
		-75008:    {name: "nonce", kind: cbor.Bytes, sizes: hashes(), required: true},
		-75009:    {name: "instance_id", kind: cbor.Bytes, sizes: []int{33}, required: true},
		-75010:    {name: "verification_service", kind: cbor.Text},
	}
}

func ccaRules(profile string) map[int64]rule {
	rules := common()
	rules[10] = rule{name: "challenge", kind: cbor.Bytes, sizes: hashes(), required: true}
	rules[2401] = rule{name: "config", kind: cbor.Bytes, sizes: []int{1, maxBytes}, ranged: true, required: true}
	rules[2402] = rule{name: "hash_algorithm", kind: cbor.Text, required: true}
	if profile == cca2024 {
		rules[2394] = rule{name: "client_id", kind: cbor.Unsigned, required: true}
		rules[2403] = rule{name: "manufacturing_config", kind: cbor.Bytes, sizes: []int{1, maxBytes}, ranged: true}
		rules[2404] = rule{name: "extension", kind: cbor.Array}
		rules[2405] = rule{name: "boot_keys", kind: cbor.Array}
		rules[2406] = rule{name: "peer_signers", kind: cbor.Bytes, sizes: []int{1, maxBytes}, ranged: true}
	}
	return rules
}

// component is a measured piece of software (RFC 9783, section 4.4.1).
type component struct {
	kind, version, algorithm string
	value, signer            []byte
	claims                   map[string]any
}

func componentRules() map[int64]rule {
	return map[int64]rule{
		1: {name: "type", kind: cbor.Text},
		2: {name: "measurement", kind: cbor.Bytes, sizes: hashes(), required: true},
		4: {name: "version", kind: cbor.Text},
		5: {name: "signer_id", kind: cbor.Bytes, sizes: hashes(), required: true},
		6: {name: "hash_algorithm", kind: cbor.Text},
	}
}

// platformToken is a PSA token, or the platform's part of a CCA token. Nothing in it is
// verified but its form.
type platformToken struct {
	signed     *cose.Sign1
	profile    string
	claims     map[string]cbor.Value
	components []component
}

// parseSigned reads a token's envelope and its claims.
func parseSigned(data []byte) (*cose.Sign1, cbor.Value, error) {
	if len(data) > MaxToken {
		return nil, cbor.Value{}, fmt.Errorf("a token of %d bytes, at most %d", len(data), MaxToken)
	}
	if len(data) > 0 && data[0] == 0xd1 { // tag 17, COSE_Mac0
		return nil, cbor.Value{}, fmt.Errorf("a token with a MAC: whoever could check it could also forge it")
	}
	s, err := cose.ParseSign1(data, limits())
	if err != nil {
		return nil, cbor.Value{}, err
	}
	if labels, ok := s.Critical(); !ok || len(labels) > 0 {
		return nil, cbor.Value{}, fmt.Errorf("critical members in its header that are not known here")
	}
	claims, err := cbor.Parse(s.Payload, limits())
	return s, claims, err
}

// parsePSA reads a PSA token of any profile.
func parsePSA(data []byte) (*platformToken, error) {
	s, set, err := parseSigned(data)
	if err != nil {
		return nil, err
	}
	t := &platformToken{signed: s, profile: set.Get(labelEAT).Text}
	rules := psaRules()
	if set.Get(labelEAT).Kind == cbor.None { // before there was an EAT profile
		t.profile, rules = psa1, psa1Rules()
		if own := set.Get(labelPSA1); own.Kind == cbor.Text {
			t.profile = own.Text
		}
	}
	if t.profile != psa1 && t.profile != psa2 && t.profile != psaTFM {
		return nil, fmt.Errorf("profile %.80q, which is not known here", t.profile)
	}
	return t, t.fill(set, rules)
}

// parseCCAPlatform reads the platform's part of a CCA token.
func parseCCAPlatform(data []byte) (*platformToken, error) {
	s, set, err := parseSigned(data)
	if err != nil {
		return nil, err
	}
	t := &platformToken{signed: s, profile: set.Get(labelEAT).Text}
	if t.profile != ccaLegacy && t.profile != cca2023 && t.profile != cca2024 {
		return nil, fmt.Errorf("profile %.80q, which is not known here", t.profile)
	}
	return t, t.fill(set, ccaRules(t.profile))
}

func (t *platformToken) fill(set cbor.Value, rules map[int64]rule) error {
	var err error
	if t.claims, err = read(set, rules); err != nil {
		return err
	}
	if t.claims["instance_id"].Bytes[0] != 1 { // UEID type RAND (RFC 9711, section 4.2.1)
		return fmt.Errorf("an instance_id that does not begin with 1")
	}
	if state := t.state(); state < 0 || state > 0xffff {
		return fmt.Errorf("lifecycle %d, at most 65535", state)
	}
	list, ok := t.claims["software_components"]
	if !ok {
		if _, none := t.claims["no_software_measurements"]; !none {
			return fmt.Errorf("neither software_components nor word that there are none")
		}
		return nil
	}
	if len(list.Items) == 0 || len(list.Items) > maxComponents {
		return fmt.Errorf("%d software_components, expected 1 to %d", len(list.Items), maxComponents)
	}
	for _, item := range list.Items {
		c, err := parseComponent(item)
		if err != nil {
			return fmt.Errorf("software component: %w", err)
		}
		t.components = append(t.components, c)
	}
	return nil
}

func parseComponent(v cbor.Value) (component, error) {
	claims, err := read(v, componentRules())
	if err != nil {
		return component{}, err
	}
	c := component{kind: claims["type"].Text, version: claims["version"].Text, algorithm: claims["hash_algorithm"].Text,
		value: claims["measurement"].Bytes, signer: claims["signer_id"].Bytes, claims: make(map[string]any, len(claims))}
	for name, value := range claims {
		c.claims[name] = plain(value)
	}
	return c, nil
}

func (t *platformToken) state() int64 {
	n, _ := t.claims["lifecycle"].Int()
	return n
}

// stateName gives what a lifecycle value means (RFC 9783, section 4.3.1).
func stateName(state int64) string {
	switch state >> 8 {
	case 0x00:
		return "unknown"
	case 0x10:
		return "assembly and test"
	case 0x20:
		return "root of trust provisioning"
	case 0x30:
		return "secured"
	case 0x40:
		return "non-root-of-trust debug"
	case 0x50:
		return "recoverable root-of-trust debug"
	case 0x60:
		return "decommissioned"
	}
	return "not defined"
}

// debug reports whether somebody may look into the device.
func (t *platformToken) debug() bool { return t.state()>>8 == 0x40 || t.state()>>8 == 0x50 }

func (t *platformToken) secured() bool { return t.state()>>8 == leastState>>8 }

// measurements gives the components' measurements, named by their types as agreements can
// name them: "bl", "rse-bl1-2"; "component-3" without a type; "-2" behind a name that was
// there before.
func (t *platformToken) measurements(prefix string) map[string]string {
	m := make(map[string]string, len(t.components))
	for i, c := range t.components {
		name := prefix + simple(c.kind)
		if c.kind == "" {
			name = fmt.Sprintf("%scomponent-%d", prefix, i+1)
		}
		base := name
		for n := 2; m[name] != ""; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		m[name] = hex.EncodeToString(c.value)
	}
	return m
}

// simple makes a name of a-z, 0-9 and "-", at most 40 bytes.
func simple(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(text))
	return clean[:min(len(clean), 40)]
}
