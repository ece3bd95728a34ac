package transit

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"strongroom.dev/keys"
)

func tagged(b []byte) string { return prefix + base64.StdEncoding.EncodeToString(b) }

// tagged takes a parameter that holds what tagged wrote.
func (p parameters) tagged(name string) ([]byte, error) {
	s, err := p.text(name)
	if err != nil {
		return nil, err
	}
	text, found := strings.CutPrefix(s, prefix)
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if !found || err != nil {
		return nil, &statusError{400, "invalid " + name + ": " + prefix + " and base64 are expected"}
	}
	return b, nil
}

// takes reads parameters in base64, those with a "!" needed, and refuses what is left.
func takes(p parameters, names ...string) ([][]byte, error) {
	var out [][]byte
	for _, name := range names {
		read := p.data
		if bare, must := strings.CutSuffix(name, "!"); must {
			name, read = bare, p.needed
		}
		b, err := read(name)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, p.rest()
}

// hashNames takes names of hashes, which Ed25519 has no use for: Vault passes over them too.
func hashNames(p parameters, more string) error {
	for name, known := range map[string][]string{
		"hash_algorithm": hashes(), "algorithm": hashes(), "signature_algorithm": {"pss", "pkcs1v15"}, "marshaling_algorithm": {"asn1"}, "salt_length": {"auto", "hash"},
	} {
		s, err := p.text(name)
		if err != nil {
			return err
		}
		if s != "" && !slices.Contains(known, s) {
			return &statusError{400, "unsupported " + name}
		}
	}
	if more != "" && !slices.Contains(hashes(), more) {
		return &statusError{404, "no such path"}
	}
	return nil
}

// hashes are the names of hashes, as Vault writes them.
func hashes() []string { return []string{"sha2-224", "sha2-256", "sha2-384", "sha2-512"} }

func sign(k Key, p parameters, more string) (any, error) {
	if err := hashNames(p, more); err != nil {
		return nil, err
	}
	in, err := takes(p, "input!", "context")
	if err != nil {
		return nil, err
	}
	out := map[string]any{"signature": tagged(k.Key.Sign(in[1], in[0])), "key_version": 1}
	if len(in[1]) > 0 { // keys/NAME shows that of the empty context only
		out["public_key"] = base64.StdEncoding.EncodeToString(k.Key.Public(in[1]))
	}
	return out, nil
}

func verify(k Key, p parameters, more string) (any, error) {
	if _, found := p["hmac"]; found {
		return verifyHMAC(k, p, more)
	}
	signature, err := p.tagged("signature")
	if err != nil {
		return nil, err
	}
	if err := hashNames(p, more); err != nil {
		return nil, err
	}
	in, err := takes(p, "input!", "context")
	if err != nil {
		return nil, err
	}
	return map[string]any{"valid": k.Key.Verify(in[1], in[0], signature)}, nil
}

// algorithm gives the hash of an HMAC: of the path, the body, or the standard one.
func algorithm(p parameters, more string) (string, error) {
	chosen := more
	for _, name := range []string{"algorithm", "hash_algorithm"} {
		s, err := p.text(name)
		if err != nil {
			return "", err
		}
		if chosen == "" {
			chosen = s
		}
	}
	if chosen == "" {
		chosen = "sha2-256"
	}
	return chosen, nil
}

func hmac(k Key, p parameters, more string) (any, error) {
	hash, err := algorithm(p, more)
	if err != nil {
		return nil, err
	}
	in, err := takes(p, "input!")
	if err != nil {
		return nil, err
	}
	mac, err := k.Key.MAC(hash, in[0])
	if err != nil {
		return nil, &statusError{400, "unsupported algorithm"}
	}
	return map[string]any{"hmac": tagged(mac)}, nil
}

func verifyHMAC(k Key, p parameters, more string) (any, error) {
	mac, err := p.tagged("hmac")
	if err != nil {
		return nil, err
	}
	hash, err := algorithm(p, more)
	if err != nil {
		return nil, err
	}
	in, err := takes(p, "input!")
	if err != nil {
		return nil, err
	}
	if _, err := k.Key.MAC(hash, nil); err != nil {
		return nil, &statusError{400, "unsupported algorithm"}
	}
	return map[string]any{"valid": k.Key.VerifyMAC(hash, in[0], mac)}, nil
}

func encrypt(k Key, p parameters, more string) (any, error) {
	in, err := takes(p, "plaintext!", "context", "associated_data")
	if err != nil || more != "" {
		return nil, orNoPath(err)
	}
	defer clear(in[0])
	sealed, err := k.Key.Encrypt(in[1], in[2], in[0])
	if err != nil {
		return nil, err
	}
	return map[string]any{"ciphertext": tagged(sealed), "key_version": 1}, nil
}

func decrypt(k Key, p parameters, more string) (any, error) {
	sealed, err := p.tagged("ciphertext")
	if err != nil {
		return nil, err
	}
	in, err := takes(p, "context", "associated_data")
	if err != nil || more != "" {
		return nil, orNoPath(err)
	}
	plain, err := k.Key.Decrypt(in[0], in[1], sealed)
	if err != nil {
		return nil, &statusError{400, "cipher: message authentication failed"}
	}
	defer clear(plain)
	return map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}, nil
}

// rewrap gives a new ciphertext of the same plaintext. In Vault it moves one to the newest
// version of its key; here there is one.
func rewrap(k Key, p parameters, more string) (any, error) {
	sealed, err := p.tagged("ciphertext")
	if err != nil {
		return nil, err
	}
	in, err := takes(p, "context")
	if err != nil || more != "" {
		return nil, orNoPath(err)
	}
	plain, err := k.Key.Decrypt(in[0], nil, sealed)
	if err != nil {
		return nil, &statusError{400, "cipher: message authentication failed"}
	}
	defer clear(plain)
	if sealed, err = k.Key.Encrypt(in[0], nil, plain); err != nil {
		return nil, err
	}
	return map[string]any{"ciphertext": tagged(sealed), "key_version": 1}, nil
}

// derive gives 32 bytes for a context, the same each time. Vault has no such operation.
func derive(k Key, p parameters, more string) (any, error) {
	in, err := takes(p, "context!")
	if err != nil || more != "" {
		return nil, orNoPath(err)
	}
	b := k.Key.Derive(in[0])
	defer clear(b)
	return map[string]any{"key": base64.StdEncoding.EncodeToString(b)}, nil
}

// dataKey gives a new random key, in the clear and encrypted, or encrypted only.
func dataKey(k Key, p parameters, kind string) (any, error) {
	bits, err := p.number("bits", 256, 512)
	if err != nil {
		return nil, err
	}
	if bits != 128 && bits != 256 && bits != 512 {
		return nil, &statusError{400, "bits are 128, 256 or 512"}
	}
	in, err := takes(p, "context", "associated_data")
	if err != nil {
		return nil, err
	}
	key := keys.RandomBytes(bits / 8)
	defer clear(key)
	sealed, err := k.Key.Encrypt(in[0], in[1], key)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"ciphertext": tagged(sealed), "key_version": 1}
	if kind == "plaintext" {
		out["plaintext"] = base64.StdEncoding.EncodeToString(key)
	}
	return out, nil
}

// maxRandom is Vault's own bound, in bytes.
const maxRandom = 128 << 10

// random gives random bytes: transit/random, random/BYTES or random/SOURCE/BYTES; there is
// one source.
func random(p parameters, rest string) (any, error) {
	if source, after, _ := strings.Cut(rest, "/"); source == "platform" || source == "seal" || source == "all" {
		rest = after
	}
	if rest != "" {
		p["bytes"] = []byte(`"` + rest + `"`)
	}
	n, err := p.number("bytes", 32, maxRandom)
	if err != nil {
		return nil, err
	}
	format, err := p.text("format")
	if err != nil {
		return nil, err
	}
	if _, err := p.text("source"); err != nil {
		return nil, err
	}
	if err := p.rest(); err != nil {
		return nil, err
	}
	b := keys.RandomBytes(n)
	switch format {
	case "", "base64":
		return map[string]any{"random_bytes": base64.StdEncoding.EncodeToString(b)}, nil
	case "hex":
		return map[string]any{"random_bytes": hex.EncodeToString(b)}, nil
	}
	return nil, &statusError{400, "format is base64 or hex"}
}

// hash hashes, without a key: transit/hash or transit/hash/ALGORITHM.
func hash(p parameters, more string) (any, error) {
	chosen, err := algorithm(p, more)
	if err != nil {
		return nil, err
	}
	format, err := p.text("format")
	if err != nil {
		return nil, err
	}
	in, err := takes(p, "input!")
	if err != nil {
		return nil, err
	}
	var sum []byte
	switch chosen {
	case "sha2-224":
		s := sha256.Sum224(in[0])
		sum = s[:]
	case "sha2-256":
		s := sha256.Sum256(in[0])
		sum = s[:]
	case "sha2-384":
		s := sha512.Sum384(in[0])
		sum = s[:]
	case "sha2-512":
		s := sha512.Sum512(in[0])
		sum = s[:]
	default:
		return nil, &statusError{400, "unsupported algorithm"}
	}
	switch format {
	case "", "hex":
		return map[string]any{"sum": hex.EncodeToString(sum)}, nil
	case "base64":
		return map[string]any{"sum": base64.StdEncoding.EncodeToString(sum)}, nil
	}
	return nil, &statusError{400, "format is base64 or hex"}
}

func orNoPath(err error) error {
	if err != nil {
		return err
	}
	return &statusError{404, "no such path"}
}
