package arm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"

	"strongroom.dev/cbor"
	"strongroom.dev/cose"
)

// Labels and tags of a CCA token's collection (RMM specification, section A7.2.3;
// draft-ffm-rats-cca-token-03, section 3).
const (
	tagCollection = 399 // {44234: token, 44241: token}
	tagCMW        = 907 // {44234: [263, token], 44241: [263, token]}
	labelPlatform = 44234
	labelRealm    = 44241
	contentEAT    = 263 // application/eat+cwt, CoAP content format
)

// realmRules are the claims of a realm (draft-ffm-rats-cca-token, section 4.2).
func realmRules(profile string) map[int64]rule {
	rules := map[int64]rule{
		10:    {name: "challenge", kind: cbor.Bytes, sizes: []int{64}, required: true},
		44235: {name: "personalization_value", kind: cbor.Bytes, sizes: []int{64}, required: true},
		44236: {name: "hash_algorithm", kind: cbor.Text, required: true},
		44237: {name: "public_key", kind: cbor.Bytes, sizes: []int{1, maxBytes}, ranged: true, required: true},
		44238: {name: "initial_measurement", kind: cbor.Bytes, sizes: hashes(), required: true},
		44239: {name: "extensible_measurements", kind: cbor.Array, required: true},
		44240: {name: "public_key_hash_algorithm", kind: cbor.Text, required: true},
	}
	if profile != "" {
		rules[labelEAT] = rule{name: "profile", kind: cbor.Text, required: true}
	}
	if profile == realm2024 {
		rules[256] = rule{name: "instance_id", kind: cbor.Bytes, sizes: []int{33}, required: true}
		rules[44243] = rule{name: "memory_encryption_policy", kind: cbor.Text, required: true}
	}
	return rules
}

// realmToken is the realm's part of a CCA token. Nothing in it is verified but its form.
type realmToken struct {
	signed  *cose.Sign1
	profile string
	claims  map[string]cbor.Value
	key     *ecdsa.PublicKey // the realm attestation key (RAK)
}

func parseRealm(data []byte) (*realmToken, error) {
	s, set, err := parseSigned(data)
	if err != nil {
		return nil, err
	}
	t := &realmToken{signed: s, profile: set.Get(labelEAT).Text}
	if set.Get(labelEAT).Kind != cbor.None && t.profile != realm2023 && t.profile != realm2024 {
		return nil, fmt.Errorf("profile %.80q, which is not known here", t.profile)
	}
	if t.claims, err = read(set, realmRules(t.profile)); err != nil {
		return nil, err
	}
	extensible := t.claims["extensible_measurements"].Items
	if len(extensible) != 4 {
		return nil, fmt.Errorf("%d extensible_measurements, expected 4", len(extensible))
	}
	for _, m := range extensible {
		if err := (rule{name: "extensible measurement", kind: cbor.Bytes, sizes: hashes()}).check(m); err != nil {
			return nil, err
		}
	}
	t.key, err = realmKey(t.profile, t.claims["public_key"].Bytes)
	return t, err
}

// realmKey reads a RAK: a COSE_Key, or before there was a profile, a bare point of P-384.
func realmKey(profile string, data []byte) (*ecdsa.PublicKey, error) {
	if profile == "" {
		return ecdsa.ParseUncompressedPublicKey(elliptic.P384(), data)
	}
	v, err := cbor.Parse(data, limits())
	if err != nil {
		return nil, err
	}
	return cose.Key(v)
}

// boundBy reports whether a platform's challenge is the hash of the realm's key.
func (t *realmToken) boundBy(challenge []byte) (bool, error) {
	key := t.claims["public_key"].Bytes
	switch name := t.claims["public_key_hash_algorithm"].Text; name {
	case "sha-256":
		sum := sha256.Sum256(key)
		return bytes.Equal(sum[:], challenge), nil
	case "sha-384":
		sum := sha512.Sum384(key)
		return bytes.Equal(sum[:], challenge), nil
	case "sha-512":
		sum := sha512.Sum512(key)
		return bytes.Equal(sum[:], challenge), nil
	default:
		return false, fmt.Errorf("public_key_hash_algorithm %.40q, expected sha-256, sha-384 or sha-512", name)
	}
}

// ccaToken is a CCA token, taken apart.
type ccaToken struct {
	platform *platformToken
	realm    *realmToken
}

func parseCCA(data []byte) (*ccaToken, error) {
	if len(data) > MaxToken {
		return nil, fmt.Errorf("a token of %d bytes, at most %d", len(data), MaxToken)
	}
	v, err := cbor.Parse(data, limits())
	if err != nil {
		return nil, err
	}
	if v.Kind != cbor.Tag || v.Number != tagCollection && v.Number != tagCMW || v.Items[0].Kind != cbor.Map || len(v.Items[0].Pairs) != 2 {
		return nil, fmt.Errorf("not a collection of two tokens with tag %d or %d", tagCollection, tagCMW)
	}
	parts := make(map[int64][]byte, 2)
	for _, label := range []int64{labelPlatform, labelRealm} {
		part := v.Items[0].Get(label)
		if v.Number == tagCMW {
			if part.Kind != cbor.Array || len(part.Items) != 2 || part.Items[0].Kind != cbor.Unsigned || part.Items[0].Number != contentEAT {
				return nil, fmt.Errorf("member %d is not a pair of content format %d and a token", label, contentEAT)
			}
			part = part.Items[1]
		}
		if part.Kind != cbor.Bytes {
			return nil, fmt.Errorf("member %d is %s, expected a token", label, part.Kind)
		}
		parts[label] = part.Bytes
	}
	var t ccaToken
	if t.platform, err = parseCCAPlatform(parts[labelPlatform]); err != nil {
		return nil, fmt.Errorf("platform token: %w", err)
	}
	if t.realm, err = parseRealm(parts[labelRealm]); err != nil {
		return nil, fmt.Errorf("realm token: %w", err)
	}
	return &t, nil
}
