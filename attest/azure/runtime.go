package azure

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
)

// Runtime is what the paravisor says of the machine: its virtual TPM's keys and how it is
// configured. The set of members differs from machine to machine.
type Runtime struct {
	// AK is the virtual TPM's attestation key, HCLAkPub.
	AK *rsa.PublicKey
	// UserData is what the machine's owner had bound into the report, as hex; "" if the
	// paravisor has no such member.
	UserData string
	// Configuration is the machine's configuration, plain values by name.
	Configuration map[string]any
}

// ParseRuntime reads runtime data.
func ParseRuntime(text []byte) (*Runtime, error) {
	if err := tpm2.Unique(text); err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	r := &Runtime{}
	var err error
	if r.AK, err = attestationKey(all["keys"]); err != nil {
		return nil, err
	}
	if r.Configuration, err = configuration(all["vm-configuration"]); err != nil {
		return nil, err
	}
	if raw, ok := all["user-data"]; ok {
		if err := json.Unmarshal(raw, &r.UserData); err != nil {
			return nil, fmt.Errorf("user-data: %w", err)
		}
		if b, err := hex.DecodeString(r.UserData); err != nil || len(b) > 64 {
			return nil, fmt.Errorf("user-data of %d digits", len(r.UserData))
		}
		r.UserData = strings.ToLower(r.UserData)
	}
	return r, nil
}

// attestationKey finds the one key named HCLAkPub in a JSON Web Key Set's list.
func attestationKey(raw []byte) (*rsa.PublicKey, error) {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || len(list) > maxKeys {
		return nil, fmt.Errorf("runtime data without a list of keys, or of more than %d", maxKeys)
	}
	var found *rsa.PublicKey
	for _, k := range list {
		if text(k["kid"]) != "HCLAkPub" {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("two keys HCLAkPub")
		}
		key, err := webKey(k)
		if err != nil {
			return nil, fmt.Errorf("HCLAkPub: %w", err)
		}
		found = key
	}
	if found == nil {
		return nil, fmt.Errorf("runtime data without the key HCLAkPub")
	}
	return found, nil
}

func text(raw []byte) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// webKey reads an RSA key (RFC 7518, section 6.3.1).
func webKey(k map[string]json.RawMessage) (*rsa.PublicKey, error) {
	if kty := text(k["kty"]); kty != "RSA" {
		return nil, fmt.Errorf("of type %.20q, expected RSA", kty)
	}
	n, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text(k["n"]), "="))
	if err != nil || len(n) > 512 {
		return nil, fmt.Errorf("a modulus that can't be read")
	}
	e, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text(k["e"]), "="))
	if err != nil || len(e) == 0 || len(e) > 4 {
		return nil, fmt.Errorf("an exponent that can't be read")
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 {
		return nil, fmt.Errorf("an exponent of %d bits", exponent.BitLen())
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}
	return key, tpm2.CheckKey(key)
}

// configuration reads the plain values of an object; what is nested is left out.
func configuration(raw []byte) (map[string]any, error) {
	out := map[string]any{}
	if raw == nil {
		return out, nil
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil || len(all) > maxMembers {
		return nil, fmt.Errorf("vm-configuration that is no object of at most %d members", maxMembers)
	}
	for name, value := range all {
		name = strings.ReplaceAll(verdict.Short(name), "-", "_")
		switch v := value.(type) {
		case bool:
			out[name] = v
		case string:
			out[name] = verdict.Short(v)
		case float64: // integers become claims; there are no others
			if v == float64(int64(v)) && v < 1<<53 && v > -1<<53 {
				out[name] = int(v)
			}
		}
	}
	return out, nil
}
