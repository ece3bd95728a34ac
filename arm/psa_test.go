package arm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/arm"
)

// TestPSA is one token per rule.
func TestPSA(t *testing.T) {
	d, good := newDevice(), psaClaims()
	for name, c := range map[string]struct {
		claims any
		want   string
	}{
		"good":                      {good, "genuine"},
		"of an older profile":       {good.Set(265, "http://arm.com/psa/2.0.0").Set(268, nothing{}).Set(2397, fill(6, 8)), "genuine"},
		"of profile 1":              {psa1Claims(), "genuine"},
		"of profile 1, unnamed":     {psa1Claims().Set(-75000, nothing{}), "genuine"},
		"of no software":            {psa1Claims().Set(-75006, nothing{}).Set(-75007, 1), "genuine"},
		"without what may be left":  {good.Set(268, nothing{}).Set(2398, nothing{}).Set(2400, nothing{}), "genuine"},
		"with an unknown claim":     {good.Set(-80000, pairs{"a", []any{1, nil, raw{0xf5}, "b", raw{0xc1, 0x01}}}), "genuine"},
		"secured, another value":    {good.Set(2395, 0x30ff), "genuine"},
		"of an unknown profile":     {good.Set(265, "http://arm.com/psa/3.0.0"), "invalid evidence psa.form"},
		"of CCA's profile":          {good.Set(265, "http://arm.com/CCA-SSD/1.0.0"), "invalid evidence psa.form"},
		"of a numbered profile":     {good.Set(265, 1), "invalid evidence psa.form"},
		"of another profile 1":      {psa1Claims().Set(-75000, "PSA_IOT_PROFILE_0"), "invalid evidence psa.form"},
		"mixed profiles":            {psa1Claims().Set(265, "http://arm.com/psa/2.0.0"), "invalid evidence psa.form"},
		"without a nonce":           {good.Set(10, nothing{}), "invalid evidence psa.form"},
		"with a nonce of 31 bytes":  {good.Set(10, fill(9, 31)), "invalid evidence psa.form"},
		"with a nonce of 65 bytes":  {good.Set(10, fill(9, 65)), "invalid evidence psa.form"},
		"with an empty nonce":       {good.Set(10, []byte{}), "invalid evidence psa.form"},
		"with two nonces":           {good.Set(10, []any{fill(9, 32), fill(8, 32)}), "invalid evidence psa.form"},
		"with a claim twice":        {append(slices.Clone(good), 10, fill(8, 32)), "invalid evidence psa.form"},
		"with two boot seeds":       {good.Set(2397, fill(6, 32)), "invalid evidence psa.form"},
		"with a boot seed of 7":     {good.Set(268, fill(6, 7)), "invalid evidence psa.form"},
		"with a boot seed of 33":    {good.Set(268, fill(6, 33)), "invalid evidence psa.form"},
		"without a lifecycle":       {good.Set(2395, nothing{}), "invalid evidence psa.form"},
		"with a lifecycle in text":  {good.Set(2395, "secured"), "invalid evidence psa.form"},
		"with a lifecycle below 0":  {good.Set(2395, -1), "invalid evidence psa.form"},
		"with a lifecycle too high": {good.Set(2395, 0x13000), "invalid evidence psa.form"},
		"without implementation":    {good.Set(2396, nothing{}), "invalid evidence psa.form"},
		"implementation of 31":      {good.Set(2396, fill(5, 31)), "invalid evidence psa.form"},
		"without an instance":       {good.Set(256, nothing{}), "invalid evidence psa.form"},
		"instance of 32":            {good.Set(256, fill(1, 32)), "invalid evidence psa.form"},
		"instance of another type":  {good.Set(256, fill(2, 33)), "invalid evidence psa.form"},
		"without a client":          {good.Set(2394, nothing{}), "invalid evidence psa.form"},
		"with a client out of all":  {good.Set(2394, raw{0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), "invalid evidence psa.form"},
		"without components":        {good.Set(2399, nothing{}), "invalid evidence psa.form"},
		"without, in profile 1":     {psa1Claims().Set(-75006, nothing{}), "invalid evidence psa.form"},
		"with no components":        {good.Set(2399, []any{}), "invalid evidence psa.form"},
		"with 65 components":        {good.Set(2399, slices.Repeat(components()[:1], 65)), "invalid evidence psa.form"},
		"component of no map":       {good.Set(2399, []any{fill(1, 32)}), "invalid evidence psa.form"},
		"component unmeasured":      {good.Set(2399, []any{pairs{1, "BL", 5, fill(2, 32)}}), "invalid evidence psa.form"},
		"component unsigned":        {good.Set(2399, []any{pairs{1, "BL", 2, fill(2, 32)}}), "invalid evidence psa.form"},
		"component of 20 bytes":     {good.Set(2399, []any{pairs{2, fill(1, 20), 5, fill(2, 32)}}), "invalid evidence psa.form"},
		"empty service":             {good.Set(2400, ""), "invalid evidence psa.form"},
		"long service":              {good.Set(2400, strings.Repeat("x", 257)), "invalid evidence psa.form"},
		"with floating point":       {good.Set(-80000, raw{0xf9, 0x3c, 0}), "invalid evidence psa.form"},
		"no map":                    {[]any{}, "invalid evidence psa.form"},
		// Debug (pitfall 3) and states in which keys mean nothing.
		"debugged":                 {good.Set(2395, 0x4000), "psa.debug"},
		"debugged in its root":     {good.Set(2395, 0x50ff), "psa.debug"},
		"of unknown state":         {good.Set(2395, 0), "psa.lifecycle"},
		"in assembly":              {good.Set(2395, 0x1000), "psa.lifecycle"},
		"in provisioning":          {good.Set(2395, 0x2000), "psa.lifecycle"},
		"decommissioned":           {good.Set(2395, 0x6000), "psa.lifecycle"},
		"of a state that is none":  {good.Set(2395, 0x3100), "psa.lifecycle"},
		"debugged, in profile 1":   {psa1Claims().Set(-75002, 0x4000), "psa.debug"},
		"unprovisioned, profile 1": {psa1Claims().Set(-75002, 0x2000), "psa.lifecycle"},
	} {
		r, err := arm.New([][]byte{spki(d.iak)}).ExaminePSA(sign(c.claims, d.iak))
		if got := outcome(r, err); got != c.want {
			t.Errorf("%s: got %q, expected %q (%v)", name, got, c.want, err)
		}
		checkResult(t, name, r, err)
		if err == nil && r.Debug != (c.want != "genuine") {
			t.Errorf("%s: debug %t", name, r.Debug)
		}
	}
}

// TestKeys is about who signed, and which keys are pinned.
func TestKeys(t *testing.T) {
	d, other, third := newDevice(), newDevice(), newDevice()
	p521 := must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	ed := must(x509.MarshalPKIXPublicKey(make(ed25519.PublicKey, 32)))
	claims := psaClaims()
	named := func(key *ecdsa.PrivateKey, bytes []byte) pairs {
		sum := sha256.Sum256(bytes)
		return claims.Set(256, append([]byte{1}, sum[:]...))
	}
	point := must(d.iak.PublicKey.Bytes())
	many := func(n int, own bool) [][]byte {
		var keys [][]byte
		for range n {
			keys = append(keys, spki(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))
		}
		if own {
			keys = append(keys, spki(d.iak))
		}
		return keys
	}
	for name, c := range map[string]struct {
		token  []byte
		pinned [][]byte
		want   string
	}{
		"its key":                        {sign(claims, d.iak), [][]byte{spki(d.iak)}, "genuine"},
		"its key among others":           {sign(claims, d.iak), [][]byte{spki(other.iak), ed, spki(d.cpak), spki(d.iak)}, "genuine"},
		"named by its key's DER":         {sign(named(d.iak, spki(d.iak)), d.iak), append(many(70, false), spki(d.iak)), "genuine"},
		"named by its key's point":       {sign(named(d.iak, point), d.iak), append(many(70, false), spki(d.iak)), "genuine"},
		"named by another key":           {sign(named(d.iak, spki(other.iak)), d.iak), [][]byte{spki(other.iak), spki(d.iak)}, "invalid evidence psa.signature"},
		"P-384":                          {sign(claims, d.cpak), [][]byte{spki(d.cpak)}, "genuine"},
		"P-521":                          {sign(claims, p521), [][]byte{spki(p521)}, "genuine"},
		"the last of 64":                 {sign(claims, d.iak), many(63, true), "genuine"},
		"too many":                       {sign(claims, d.iak), many(64, true), "psa.key"},
		"none pinned":                    {sign(claims, d.iak), nil, "psa.key"},
		"another curve":                  {sign(claims, d.iak), [][]byte{spki(d.cpak)}, "psa.key"},
		"no elliptic curve":              {sign(claims, d.iak), [][]byte{ed, {0x30, 0}}, "psa.key"},
		"another device":                 {sign(claims, d.iak), [][]byte{spki(other.iak), spki(third.iak)}, "invalid evidence psa.signature"},
		"MACed":                          {append([]byte{0xd1}, sign(claims, d.iak)[1:]...), [][]byte{spki(d.iak)}, "invalid evidence psa.form"},
		"tagged as something else":       {append([]byte{0xd3}, sign(claims, d.iak)[1:]...), [][]byte{spki(d.iak)}, "invalid evidence psa.form"},
		"HMAC in the header":             {signWith(raw{0xa1, 1, 5}, claims, d.iak), [][]byte{spki(d.iak)}, "invalid evidence psa.signature"},
		"no algorithm":                   {signWith(raw{0xa0}, claims, d.iak), [][]byte{spki(d.iak)}, "invalid evidence psa.signature"},
		"critical members":               {signWith(raw{0xa2, 1, 0x26, 2, 0x81, 0x18, 0x63}, claims, d.iak), [][]byte{spki(d.iak)}, "invalid evidence psa.form"},
		"the algorithm of another curve": {signWith(raw{0xa1, 1, 0x38, 0x22}, claims, d.iak), [][]byte{spki(d.iak), spki(d.cpak)}, "invalid evidence psa.signature"},
		"nothing":                        {nil, [][]byte{spki(d.iak)}, "invalid evidence psa.form"},
		"bytes behind":                   {append(sign(claims, d.iak), 0), [][]byte{spki(d.iak)}, "invalid evidence psa.form"},
		"too long":                       {append(sign(claims, d.iak), make([]byte, 64<<10)...), [][]byte{spki(d.iak)}, "invalid evidence psa.form"},
		"a CCA token":                    {d.cca(nil, nil), [][]byte{spki(d.cpak)}, "invalid evidence psa.form"},
		"a CCA platform's token":         {sign(platformClaims(coseKey(d.rak)), d.cpak), [][]byte{spki(d.cpak)}, "invalid evidence psa.form"},
	} {
		r, err := arm.New(c.pinned).ExaminePSA(c.token)
		if got := outcome(r, err); got != c.want {
			t.Errorf("%s: got %q, expected %q (%v)", name, got, c.want, err)
		}
		checkResult(t, name, r, err)
	}
	var zero *arm.Verifier
	if got := outcome(zero.ExaminePSA(sign(claims, d.iak))); got != "psa.key" {
		t.Errorf("a nil verifier: %q", got)
	}
}

// TestPSAResult checks what a token says.
func TestPSAResult(t *testing.T) {
	d := newDevice()
	list := append(components(), pairs{2, fill(4, 64), 5, fill(2, 32)}, pairs{1, "BL", 2, fill(5, 32), 5, fill(2, 32)}, pairs{1, "Weird Name/" + strings.Repeat("é", 40), 2, fill(6, 32), 5, fill(2, 32)}, pairs{1, "bl-2", 2, fill(7, 32), 5, fill(2, 32)})
	r, err := arm.New([][]byte{spki(d.iak)}).ExaminePSA(sign(psaClaims().Set(2399, list).Set(-80000, pairs{1, raw{0xf4}}), d.iak))
	if err != nil || !bytes.Equal(r.Challenge, fill(9, 32)) || !bytes.Equal(r.InstanceID, instanceID(7)) || !bytes.Equal(r.ImplementationID, fill(5, 32)) || r.Personalization != nil {
		t.Fatalf("%+v %v", r, err)
	}
	names := slices.Sorted(maps.Keys(r.Measurements))
	want := []string{"bl", "bl-2", "bl-2-2", "component-3", "m1", "weird-name------------------------------"}
	if !slices.Equal(names, want) {
		t.Errorf("measurements %q", names)
	}
	for name, want := range map[string]any{"profile": "tag:psacertified.org,2023:psa#tfm", "client_id": int64(-3), "lifecycle": int64(0x3001), "lifecycle_name": "secured", "debug": false,
		"certification_reference": "1234567890123-12345", "algorithm": "ES256", "signer": r.Root.String()} {
		if r.Claims[name] != want {
			t.Errorf("%s is %v, expected %v", name, r.Claims[name], want)
		}
	}
	parts, _ := r.Claims["software_components"].([]any)
	if m, ok := r.Claims["claim_-80000"].(map[string]any); !ok || m["1"] != false || len(parts) != 6 || parts[0].(map[string]any)["version"] != "1.0" {
		t.Errorf("%+v", r.Claims)
	}
	if got, err := arm.New([][]byte{spki(d.iak)}).ExaminePSA(sign(psa1Claims(), d.iak)); err != nil || len(got.Challenge) != 48 || got.Claims["profile"] != "PSA_IOT_PROFILE_1" {
		t.Errorf("profile 1: %+v %v", got, err)
	}
	for name, token := range map[string][]byte{"RFC 9783": sign(psaClaims(), d.iak), "profile 1": sign(psa1Claims(), d.iak), "untagged": sign(psaClaims(), d.iak)[1:], "MACed": append([]byte{0xd1}, sign(psaClaims(), d.iak)[1:]...)} {
		if !arm.LooksLikePSA(token) || arm.LooksLikeCCA(token) {
			t.Errorf("%s is not recognised", name)
		}
	}
	if cca := d.cca(nil, nil); arm.LooksLikePSA(cca) || !arm.LooksLikeCCA(cca) || arm.LooksLikePSA(sign(pairs{1, 2}, d.iak)) || arm.LooksLikePSA(nil) || arm.LooksLikeCCA(nil) {
		t.Error("something else is taken for a token")
	}
}
