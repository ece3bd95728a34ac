package arm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"maps"
	"slices"
	"testing"

	"strongroom.dev/arm"
	"strongroom.dev/internal/cbortest"
)

// TestCCA is one token per rule about its claims.
func TestCCA(t *testing.T) {
	d := newDevice()
	none := func(p pairs) pairs { return p }
	put := func(key, value any) func(pairs) pairs {
		return func(p pairs) pairs { return p.Set(key, value) }
	}
	newer := func(p pairs) pairs {
		return p.Set(265, "tag:arm.com,2024:cca_platform#2.0.0").Set(2394, 1).Set(2403, []byte{1}).Set(2404, []any{pairs{1, 2}}).Set(2405, []any{}).Set(2406, []byte{2})
	}
	newerRealm := func(p pairs) pairs {
		return p.Set(265, "tag:arm.com,2024:realm#2.0.0").Set(256, instanceID(3)).Set(44243, "private")
	}
	for name, c := range map[string]struct {
		platform, realm func(pairs) pairs
		want            string
	}{
		"good":                       {none, none, "genuine"},
		"of the oldest profile":      {put(265, "http://arm.com/CCA-SSD/1.0.0"), none, "genuine"},
		"of profiles of 2024":        {newer, newerRealm, "genuine"},
		"platform unknown":           {put(265, "http://arm.com/CCA-SSD/3.0.0"), none, "invalid evidence cca.form"},
		"platform without a profile": {put(265, nothing{}), none, "invalid evidence cca.form"},
		"a PSA profile":              {put(265, "tag:psacertified.org,2023:psa#tfm"), none, "invalid evidence cca.form"},
		"2024 without a client":      {func(p pairs) pairs { return newer(p).Set(2394, nothing{}) }, none, "invalid evidence cca.form"},
		"2024 realm, no policy":      {none, func(p pairs) pairs { return newerRealm(p).Set(44243, nothing{}) }, "invalid evidence cca.form"},
		"2024 realm, no instance":    {none, func(p pairs) pairs { return newerRealm(p).Set(256, nothing{}) }, "invalid evidence cca.form"},
		"realm unknown":              {none, put(265, "tag:arm.com,2025:realm#3.0.0"), "invalid evidence cca.form"},
		"realm's profile a number":   {none, put(265, 3), "invalid evidence cca.form"},
		"without a challenge":        {put(10, nothing{}), none, "invalid evidence cca.form"},
		"without a config":           {put(2401, nothing{}), none, "invalid evidence cca.form"},
		"with an empty config":       {put(2401, []byte{}), none, "invalid evidence cca.form"},
		"without a hash":             {put(2402, nothing{}), none, "invalid evidence cca.form"},
		"without components":         {put(2399, nothing{}), none, "invalid evidence cca.form"},
		"realm without challenge":    {none, put(10, nothing{}), "invalid evidence cca.form"},
		"realm challenge of 63":      {none, put(10, fill(1, 63)), "invalid evidence cca.form"},
		"realm challenge of 32":      {none, put(10, fill(1, 32)), "invalid evidence cca.form"},
		"without personalization":    {none, put(44235, nothing{}), "invalid evidence cca.form"},
		"personalization of 32":      {none, put(44235, fill(1, 32)), "invalid evidence cca.form"},
		"without RIM":                {none, put(44238, nothing{}), "invalid evidence cca.form"},
		"RIM of 20 bytes":            {none, put(44238, fill(1, 20)), "invalid evidence cca.form"},
		"without REMs":               {none, put(44239, nothing{}), "invalid evidence cca.form"},
		"three REMs":                 {none, put(44239, []any{fill(1, 32), fill(1, 32), fill(1, 32)}), "invalid evidence cca.form"},
		"a REM of text":              {none, put(44239, []any{fill(1, 32), fill(1, 32), fill(1, 32), "x"}), "invalid evidence cca.form"},
		"without a key":              {none, put(44237, nothing{}), "invalid evidence cca.form"},
		"a key that is none":         {none, put(44237, fill(1, 97)), "invalid evidence cca.form"},
		"without a hash of the key":  {none, put(44240, nothing{}), "invalid evidence cca.form"},
		"realm claim twice":          {none, func(p pairs) pairs { return append(p, 10, fill(1, 64)) }, "invalid evidence cca.form"},
		// The binding of realm and platform.
		"challenge of another key": {put(10, fill(1, 32)), none, "invalid evidence cca.binding"},
		"challenge cut short":      {put(10, platformClaims(coseKey(d.rak))[3].([]byte)[:31]), none, "invalid evidence cca.form"},
		"challenge padded":         {put(10, append(platformClaims(coseKey(d.rak))[3].([]byte), make([]byte, 16)...)), none, "invalid evidence cca.binding"},
		"SHA-384 of the key":       {put(10, sum384(coseKey(d.rak))), put(44240, "sha-384"), "genuine"},
		"SHA-512 of the key":       {put(10, sum512(coseKey(d.rak))), put(44240, "sha-512"), "genuine"},
		"a hash of another name":   {put(10, sum384(coseKey(d.rak))), none, "invalid evidence cca.binding"},
		"an unknown hash":          {none, put(44240, "md5"), "invalid evidence cca.binding"},
		// Debug (pitfall 3) and states in which keys mean nothing.
		"debugged":       {put(2395, 0x4000), none, "cca.debug"},
		"recoverable":    {put(2395, 0x5000), none, "cca.debug"},
		"unknown state":  {put(2395, 0), none, "cca.lifecycle"},
		"in assembly":    {put(2395, 0x10ff), none, "cca.lifecycle"},
		"in manufacture": {put(2395, 0x2000), none, "cca.lifecycle"},
		"decommissioned": {put(2395, 0x6000), none, "cca.lifecycle"},
	} {
		r, err := arm.New([][]byte{spki(d.cpak)}).ExamineCCA(d.cca(c.platform, c.realm))
		if got := outcome(r, err); got != c.want {
			t.Errorf("%s: got %q, expected %q (%v)", name, got, c.want, err)
		}
		checkResult(t, name, r, err)
	}
}

func sum384(b []byte) []byte { s := sha512.Sum384(b); return s[:] }
func sum512(b []byte) []byte { s := sha512.Sum512(b); return s[:] }

// TestTokens is about how the two tokens stand together, and who signed them.
func TestTokens(t *testing.T) {
	d, other := newDevice(), newDevice()
	key, otherKey := coseKey(d.rak), coseKey(other.rak)
	platform, realm := sign(platformClaims(key), d.cpak), sign(realmClaims(key), d.rak)
	cmw := func(format any) []byte {
		return append([]byte{0xd9, 0x03, 0x8b}, cbortest.Encode(pairs{44234, []any{format, platform}, 44241, []any{format, realm}})...)
	}
	tagged := func(tag byte, v any) []byte { return append([]byte{0xd9, 0x01, tag}, cbortest.Encode(v)...) }
	point := must(d.rak.PublicKey.Bytes())
	bare := realmClaims(point).Set(265, nothing{})
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	small := must(p256.PublicKey.Bytes())
	for name, c := range map[string]struct {
		token []byte
		want  string
	}{
		"good":                            {collection(platform, realm), "genuine"},
		"the other order":                 {tagged(0x8f, pairs{44241, realm, 44234, platform}), "genuine"},
		"as a CMW collection":             {cmw(263), "genuine"},
		"a CMW of something else":         {cmw(264), "invalid evidence cca.form"},
		"a CMW of text":                   {cmw("application/eat+cwt"), "invalid evidence cca.form"},
		"a CMW's tag, the older form":     {append([]byte{0xd9, 0x03, 0x8b}, collection(platform, realm)[3:]...), "invalid evidence cca.form"},
		"a bare key":                      {collection(sign(platformClaims(point), d.cpak), sign(bare, d.rak)), "genuine"},
		"a bare key, with a profile":      {collection(sign(platformClaims(point), d.cpak), sign(realmClaims(point), d.rak)), "invalid evidence cca.form"},
		"a COSE key, without a profile":   {collection(platform, sign(realmClaims(key).Set(265, nothing{}), d.rak)), "invalid evidence cca.form"},
		"a bare key of P-256":             {collection(sign(platformClaims(small), d.cpak), sign(realmClaims(small).Set(265, nothing{}), p256)), "invalid evidence cca.form"},
		"a realm signed by another":       {collection(platform, sign(realmClaims(key), other.rak)), "invalid evidence cca.realm_signature"},
		"another realm":                   {collection(platform, sign(realmClaims(otherKey), other.rak)), "invalid evidence cca.binding"},
		"a platform signed by another":    {collection(sign(platformClaims(key), other.cpak), realm), "invalid evidence cca.signature"},
		"a platform signed by its realm":  {collection(sign(platformClaims(key), d.rak), realm), "invalid evidence cca.signature"},
		"a realm signed by its platform":  {collection(platform, sign(realmClaims(key), d.cpak)), "invalid evidence cca.realm_signature"},
		"twice the platform":              {collection(platform, platform), "invalid evidence cca.form"},
		"swapped":                         {collection(realm, platform), "invalid evidence cca.form"},
		"without a realm":                 {tagged(0x8f, pairs{44234, platform}), "invalid evidence cca.form"},
		"with a third":                    {tagged(0x8f, pairs{44234, platform, 44241, realm, 1, realm}), "invalid evidence cca.form"},
		"another tag":                     {tagged(0x90, pairs{44234, platform, 44241, realm}), "invalid evidence cca.form"},
		"no tag":                          {collection(platform, realm)[3:], "invalid evidence cca.form"},
		"tokens not wrapped":              {tagged(0x8f, pairs{44234, raw(platform), 44241, raw(realm)}), "invalid evidence cca.form"},
		"bytes behind":                    {append(collection(platform, realm), 0), "invalid evidence cca.form"},
		"too long":                        {append(collection(platform, realm), make([]byte, 64<<10)...), "invalid evidence cca.form"},
		"nothing":                         {nil, "invalid evidence cca.form"},
		"a PSA token":                     {sign(psaClaims(), d.cpak), "invalid evidence cca.form"},
		"a PSA token in platform's place": {collection(sign(psaClaims(), d.cpak), realm), "invalid evidence cca.form"},
	} {
		r, err := arm.New([][]byte{spki(d.cpak)}).ExamineCCA(c.token)
		if got := outcome(r, err); got != c.want {
			t.Errorf("%s: got %q, expected %q (%v)", name, got, c.want, err)
		}
		checkResult(t, name, r, err)
	}
	r, err := arm.New(nil).ExamineCCA(collection(platform, realm))
	if got := outcome(r, err); got != "cca.key" {
		t.Errorf("no keys: %q", got)
	}
	checkResult(t, "no keys", r, err)
}

// TestCCAResult checks what a token says.
func TestCCAResult(t *testing.T) {
	d := newDevice()
	r, err := arm.New([][]byte{spki(d.cpak)}).ExamineCCA(d.cca(nil, nil))
	if err != nil || !bytes.Equal(r.Challenge, fill(8, 64)) || len(r.Personalization) != 64 || !bytes.Equal(r.InstanceID, instanceID(7)) || r.Debug {
		t.Fatalf("%+v %v", r, err)
	}
	if names := slices.Sorted(maps.Keys(r.Measurements)); !slices.Equal(names, []string{"platform-config", "platform/bl", "platform/m1", "rem1", "rim"}) {
		t.Errorf("measurements %q", names)
	}
	if r.Measurements["platform-config"] != "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81" || r.Measurements["rim"] != hex.EncodeToString(fill(3, 32)) {
		t.Errorf("%q", r.Measurements)
	}
	for name, want := range map[string]any{"platform_profile": "tag:arm.com,2023:cca_platform#1.0.0", "platform_config": "010203", "realm_profile": "tag:arm.com,2023:realm#1.0.0",
		"platform_lifecycle_name": "secured", "realm_public_key_hash_algorithm": "sha-256", "realm_algorithm": "ES384", "debug": false} {
		if r.Claims[name] != want {
			t.Errorf("%s is %v, expected %v", name, r.Claims[name], want)
		}
	}
}

func FuzzExamineCCA(f *testing.F) {
	d := newDevice()
	f.Add(collection([]byte{0x84, 0x40, 0xa0, 0x40, 0x40}, []byte{0x84, 0x40, 0xa0, 0x40, 0x40}))
	f.Add(append([]byte{0xd9, 0x03, 0x8b}, cbortest.Encode(pairs{44234, []any{263, []byte{0xd2}}, 44241, []any{263, []byte{0xd2}}})...))
	v := arm.New([][]byte{spki(d.cpak)})
	f.Fuzz(func(t *testing.T, token []byte) {
		if r, err := v.ExamineCCA(token); err == nil && (r.Genuine || len(r.Claims) > 0) {
			t.Error("genuine")
		}
		arm.LooksLikeCCA(token)
	})
}

// FuzzClaims fuzzes claims under signatures that verify.
func FuzzClaims(f *testing.F) {
	d := newDevice()
	f.Add(cbortest.Encode(psaClaims()), cbortest.Encode(realmClaims(nil)))
	f.Add(cbortest.Encode(psa1Claims()), cbortest.Encode(pairs{44237, coseKey(d.rak)}))
	v := arm.New([][]byte{spki(d.cpak)})
	f.Fuzz(func(t *testing.T, platform, realm []byte) {
		v.ExaminePSA(sign(raw(platform), d.cpak))
		v.ExamineCCA(collection(sign(raw(platform), d.cpak), sign(raw(realm), d.rak)))
	})
}

func FuzzExaminePSA(f *testing.F) {
	f.Add(append([]byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0}, append(cbortest.Encode(cbortest.Encode(psaClaims())), 0x40)...))
	v := arm.New([][]byte{spki(newDevice().iak)})
	f.Fuzz(func(t *testing.T, token []byte) {
		if r, err := v.ExaminePSA(token); err == nil && (r.Genuine || len(r.Claims) > 0) {
			t.Error("genuine")
		}
		arm.LooksLikePSA(token)
	})
}
