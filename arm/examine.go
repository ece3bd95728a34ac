package arm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"strongroom.dev/cose"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Verifier verifies tokens with pinned keys. It may be used by several goroutines at once. A
// nil Verifier has none.
type Verifier struct {
	keys []*pinned
	// named are keys by the instance ids that are hashes of them, as devices often make them.
	named map[string]*pinned
}

// pinned is a key that the caller vouches for.
type pinned struct {
	key         *ecdsa.PublicKey
	fingerprint wire.Hash // of its SubjectPublicKeyInfo
}

// New makes a verifier with keys that the caller pins, as SubjectPublicKeyInfo. Keys of other
// kinds than elliptic curves are of no use here.
func New(keys [][]byte) *Verifier {
	v := &Verifier{named: make(map[string]*pinned)}
	for _, spki := range keys {
		parsed, err := x509.ParsePKIXPublicKey(spki)
		key, ok := parsed.(*ecdsa.PublicKey)
		if err != nil || !ok {
			continue
		}
		p := &pinned{key, wire.HashOf(spki)}
		v.keys = append(v.keys, p)
		v.named[instance(spki)] = p
		if point, err := key.Bytes(); err == nil {
			v.named[instance(point)] = p
		}
	}
	return v
}

// instance gives the instance id that is made of a key: 1 and its hash (RFC 9783, section
// 4.2.1).
func instance(key []byte) string {
	sum := sha256.Sum256(key)
	return "\x01" + string(sum[:])
}

// Result is what a token shows. Checks may have failed.
type Result struct {
	// Genuine is set if the token's signature was verified with a pinned key, Root. If it is not,
	// there is no key to try: a check says so, and nothing else is known.
	Genuine bool
	Root    wire.Hash
	// InstanceID names the device, ImplementationID its make.
	InstanceID, ImplementationID []byte
	// Challenge is whom the token was made for: a PSA token's nonce, a realm's challenge.
	Challenge []byte
	// Personalization is a realm's personalization value, 64 bytes.
	Personalization []byte
	// Measurements by name, lower-case hex.
	Measurements map[string]string
	Debug        bool
	Checks       []verdict.Check
	Claims       map[string]any
}

type examination struct {
	*Verifier
	platform string // starts the checks' ids
	r        *Result
}

// ExaminePSA checks a PSA token. It gives an error, of kind Invalid, for what is not genuine:
// unreadable, or with a wrong signature. All else is a failed check in the result.
func (v *Verifier) ExaminePSA(token []byte) (*Result, error) {
	x := v.examination("psa")
	t, err := parsePSA(token)
	if err != nil {
		return nil, x.invalid("form", "a PSA token", verdict.Short(err.Error()), "send the token as the device gives it")
	}
	found, err := x.root(t, "initial attestation key (IAK)")
	if err != nil {
		return nil, err
	}
	if !found {
		return x.r, nil
	}
	x.lifecycle(t)
	x.r.Challenge = t.claims["nonce"].Bytes
	x.r.Measurements = t.measurements("")
	x.device(t, "")
	return x.r, nil
}

// ExamineCCA checks a CCA token, as [Verifier.ExaminePSA] does a PSA token.
func (v *Verifier) ExamineCCA(token []byte) (*Result, error) {
	x := v.examination("cca")
	t, err := parseCCA(token)
	if err != nil {
		return nil, x.invalid("form", "a CCA token", verdict.Short(err.Error()), "send the token as the realm gives it")
	}
	if err := x.bound(t); err != nil {
		return nil, err
	}
	found, err := x.root(t.platform, "platform attestation key (CPAK)")
	if err != nil {
		return nil, err
	}
	if !found {
		return x.r, nil
	}
	x.lifecycle(t.platform)
	x.device(t.platform, "platform_")
	x.realm(t)
	return x.r, nil
}

func (v *Verifier) examination(platform string) *examination {
	if v == nil {
		v = &Verifier{}
	}
	return &examination{v, platform, &Result{Claims: make(map[string]any)}}
}

// bound checks that the realm's token is signed by the key in it, and that the platform's
// token vouches for that key.
func (x *examination) bound(t *ccaToken) error {
	const fix = "take both tokens from the same realm, in one answer"
	const signed = "a realm token signed by the realm's own key (RAK)"
	if err := t.realm.signed.Verify(t.realm.key); err != nil {
		return x.invalid("realm_signature", signed, verdict.Short(err.Error()), fix)
	}
	x.pass("realm_signature", signed, t.realm.signed.Algorithm())
	const bound = "a platform challenge that is the hash of the realm's key"
	challenge := t.platform.claims["challenge"].Bytes
	ok, err := t.realm.boundBy(challenge)
	if err != nil {
		return x.invalid("binding", bound, verdict.Short(err.Error()), fix)
	}
	if !ok {
		return x.invalid("binding", bound, fmt.Sprintf("%x…, the hash of another", challenge[:8]), fix)
	}
	x.pass("binding", bound, "it is, "+t.realm.claims["public_key_hash_algorithm"].Text)
	return nil
}

// root finds the pinned key that signed a token. Without a pinned key that could have, a check
// fails and nothing else is known; with some, one of them must have.
func (x *examination) root(t *platformToken, what string) (bool, error) {
	expected := "a signature by a pinned " + what
	id := t.claims["instance_id"].Bytes
	const fix = "pin the device's key with --endorsements, as its maker publishes it (PEM or JWK)"
	tries, more := x.candidates(t.signed, string(id))
	for _, k := range tries {
		if t.signed.Verify(k.key) == nil {
			x.pass("signature", expected, "one by key "+k.fingerprint.Short()+", "+t.signed.Algorithm())
			x.r.Genuine, x.r.Root = true, k.fingerprint
			return true, nil
		}
	}
	switch {
	case more:
		x.fail("key", expected, fmt.Sprintf("by none of the %d keys that were tried; more are pinned", len(tries)), "pin fewer keys, only those of the devices expected")
	case len(tries) == 0 && t.signed.Algorithm() == "":
		return false, x.invalid("signature", expected, "an algorithm that is not accepted here", "use a device that signs with ECDSA")
	case len(tries) == 0:
		x.fail("key", expected, fmt.Sprintf("no pinned key for %s; the token says it is of instance %x…", t.signed.Algorithm(), id[:9]), fix)
	default:
		return false, x.invalid("signature", expected, fmt.Sprintf("one by none of %d pinned keys", len(tries)), fix)
	}
	x.r.Debug = true
	return false, nil
}

// candidates gives the keys that a token may be signed with: the one its instance id is the
// hash of; else all on the curve of its algorithm, of which more tells that there are too
// many.
func (v *Verifier) candidates(s *cose.Sign1, id string) (tries []*pinned, more bool) {
	if k, ok := v.named[id]; ok {
		return []*pinned{k}, false
	}
	curve := map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[s.Algorithm()]
	for _, k := range v.keys {
		if k.key.Curve.Params().Name != curve {
			continue
		}
		if len(tries) == maxTries {
			return tries, true
		}
		tries = append(tries, k)
	}
	return tries, false
}

// lifecycle checks that the device is in the field and closed: only there do its keys and
// measurements mean anything.
func (x *examination) lifecycle(t *platformToken) {
	const expected = "a device in the lifecycle state \"secured\", 0x3000 to 0x30ff"
	got := fmt.Sprintf("%q, %#04x", stateName(t.state()), t.state())
	switch {
	case t.secured():
		x.pass("lifecycle", expected, got)
	case t.debug():
		x.fail("debug", expected, got+": somebody may look inside", "end debugging and restart the device")
	default:
		x.fail("lifecycle", expected, got, "use a device that is secured")
	}
	x.r.Debug = !t.secured()
}

// device notes what a platform says of itself.
func (x *examination) device(t *platformToken, prefix string) {
	x.r.InstanceID, x.r.ImplementationID = t.claims["instance_id"].Bytes, t.claims["implementation_id"].Bytes
	for name, value := range t.claims {
		x.r.Claims[prefix+name] = plain(value)
	}
	var components []any
	for _, c := range t.components {
		components = append(components, c.claims)
	}
	x.r.Claims[prefix+"profile"] = t.profile
	x.r.Claims[prefix+"software_components"] = components
	x.r.Claims[prefix+"lifecycle_name"] = stateName(t.state())
	x.r.Claims[prefix+"algorithm"] = t.signed.Algorithm()
	x.r.Claims["debug"] = x.r.Debug
	x.r.Claims["signer"] = x.r.Root.String()
}

// realm notes what a realm says. Measurements are the realm's, and below "platform/" the
// platform's: its configuration, which is of any length, by its SHA-256. Extensible ones
// that were not extended are left out.
func (x *examination) realm(t *ccaToken) {
	for name, value := range t.realm.claims {
		x.r.Claims["realm_"+name] = plain(value)
	}
	x.r.Claims["realm_profile"] = t.realm.profile
	x.r.Claims["realm_algorithm"] = t.realm.signed.Algorithm()
	x.r.Challenge = t.realm.claims["challenge"].Bytes
	x.r.Personalization = t.realm.claims["personalization_value"].Bytes
	m := t.platform.measurements("platform/")
	config := sha256.Sum256(t.platform.claims["config"].Bytes)
	m["platform-config"] = hex.EncodeToString(config[:])
	m["rim"] = hex.EncodeToString(t.realm.claims["initial_measurement"].Bytes)
	for i, rem := range t.realm.claims["extensible_measurements"].Items {
		if len(bytes.Trim(rem.Bytes, "\x00")) > 0 {
			m[fmt.Sprintf("rem%d", i)] = hex.EncodeToString(rem.Bytes)
		}
	}
	x.r.Measurements = m
}

// Notes of checks.

func (x *examination) pass(id, expected, got string) {
	x.r.Checks = append(x.r.Checks, verdict.Check{ID: x.platform + "." + id, OK: true, Expected: expected, Got: got})
}

func (x *examination) fail(id, expected, got, fix string) {
	x.r.Checks = append(x.r.Checks, verdict.Check{ID: x.platform + "." + id, Expected: expected, Got: got, Fix: fix})
}

// invalid is for what is not genuine.
func (x *examination) invalid(id, expected, got, fix string) error {
	return verdict.NotGenuine(x.platform+"."+id, expected, got, fix)
}

// LooksLikePSA reports whether data is a signed or MACed set of claims with a PSA
// implementation id.
func LooksLikePSA(data []byte) bool {
	if len(data) > MaxToken || len(data) < 64 || data[0] != 0xd2 && data[0] != 0xd1 && data[0] != 0x84 {
		return false
	}
	s, err := cose.ParseSign1(bytes.TrimPrefix(data, []byte{0xd1}), limits())
	return err == nil && (bytes.Contains(s.Payload, []byte{0x19, 0x09, 0x5c, 0x58, 32}) || bytes.Contains(s.Payload, []byte{0x3a, 0, 0x01, 0x24, 0xfa, 0x58, 32}))
}

// LooksLikeCCA reports whether data starts as a CCA token does.
func LooksLikeCCA(data []byte) bool {
	return len(data) > 64 && data[0] == 0xd9 && (data[1] == tagCollection>>8 && data[2] == tagCollection&0xff || data[1] == tagCMW>>8 && data[2] == tagCMW&0xff) && data[3]>>5 == 5
}
