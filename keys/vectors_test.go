package keys_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors again")

const docType = "strongroom/test/v1"

// vector is one case of spec/vectors/keys. Kind is public-key, signature, document, mac,
// derive or hpke.
type vector struct {
	Comment string `json:"comment"`
	Kind    string `json:"kind"`
	// Expect is "success" or "failure"; of a document also "form failure", when it can't be
	// read at all.
	Expect string `json:"expect"`

	Secret    string          `json:"secret,omitempty"` // text of a key file, or hex
	Public    string          `json:"public,omitempty"`
	KeyID     string          `json:"key_id,omitempty"`
	Type      string          `json:"type,omitempty"`
	Digest    string          `json:"digest,omitempty"`
	Message   string          `json:"message,omitempty"` // hex of the signed or sealed bytes
	Signature *keys.Signature `json:"signature,omitempty"`
	Document  string          `json:"document,omitempty"`
	Domain    string          `json:"domain,omitempty"`
	Fields    []string        `json:"fields,omitempty"` // hex
	Info      string          `json:"info,omitempty"`   // hex
	Output    string          `json:"output,omitempty"` // hex

	name   string
	random bool // has randomness in it: written with -update, and read ever after
}

func seedKey(a keys.Algorithm, name string) *keys.SigningKey {
	seed := wire.SHA256("strongroom/test/key", []byte(name))
	secret := seed[:]
	if strings.HasSuffix(string(a), "+ml-dsa-65") {
		second := wire.SHA256("strongroom/test/pq", []byte(name))
		secret = append(secret, second[:]...)
	}
	k, err := keys.ParseSigningKey("STRONGROOM-SIGNING-KEY-1:" + string(a) + ":" + base64.StdEncoding.EncodeToString(secret) + "\n")
	if err != nil {
		panic(err)
	}
	return k
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var algorithms = []keys.Algorithm{keys.Ed25519, keys.ECDSAP256, keys.Ed25519MLDSA, keys.ECDSAP256MLDSA}

func digest(name string) wire.Digest { return wire.SHA384("strongroom/test/digest", []byte(name)) }

func fileName(a keys.Algorithm) string { return strings.ReplaceAll(string(a), "+", "-") }

func signatureVector(a keys.Algorithm) vector {
	k, d := seedKey(a, "signer"), digest("document")
	s := must(k.Sign(docType, d))
	return vector{
		name: "signature-" + fileName(a), random: a != keys.Ed25519,
		Comment: "A genuine signature by " + string(a) + ".", Kind: "signature", Expect: "success",
		Secret: must(k.MarshalSecret()), Public: k.Public().String(), KeyID: k.Public().ID().String(), Type: docType, Digest: d.String(),
		Message: hex.EncodeToString(keys.Message(docType, a, k.Public().ID(), d)), Signature: &s,
	}
}

// wrong makes a vector of a genuine signature by changing one thing.
func wrong(a keys.Algorithm, name, comment string, change func(*vector, *keys.Signature)) vector {
	v := signatureVector(a)
	v.Secret, v.Message, v.KeyID = "", "", ""
	v.name, v.Comment, v.Expect = "signature-"+fileName(a)+"-"+name, comment, "failure"
	s := *v.Signature
	s.Signature = bytes.Clone(s.Signature)
	change(&v, &s)
	v.Signature = &s
	return v
}

func signatureVectors() []vector {
	var vs []vector
	for _, a := range algorithms {
		vs = append(vs, signatureVector(a),
			wrong(a, "other-type", "Made for another document type.", func(v *vector, _ *keys.Signature) { v.Type = "strongroom/other/v1" }),
			wrong(a, "other-digest", "Made over another document.", func(v *vector, _ *keys.Signature) { v.Digest = digest("other").String() }),
			wrong(a, "changed", "One bit changed.", func(_ *vector, s *keys.Signature) { s.Signature[0] ^= 1 }),
			wrong(a, "last-byte", "The last byte changed.", func(_ *vector, s *keys.Signature) { s.Signature[len(s.Signature)-1] ^= 1 }),
			wrong(a, "short", "The last byte is missing.", func(_ *vector, s *keys.Signature) { s.Signature = s.Signature[:len(s.Signature)-1] }),
			wrong(a, "long", "A byte too many.", func(_ *vector, s *keys.Signature) { s.Signature = append(s.Signature, 0) }),
			wrong(a, "empty", "No signature.", func(_ *vector, s *keys.Signature) { s.Signature = wire.Bytes{} }),
			wrong(a, "other-key", "The id of another key.", func(_ *vector, s *keys.Signature) { s.Key = seedKey(a, "other").Public().ID() }),
		)
	}
	return append(vs,
		wrong(keys.Ed25519, "says-ecdsa", "The algorithm is part of what is signed.", func(_ *vector, s *keys.Signature) { s.Algorithm = keys.ECDSAP256 }),
		wrong(keys.Ed25519MLDSA, "classic-half", "A pair's signature needs both halves.", func(_ *vector, s *keys.Signature) { s.Signature = s.Signature[:64] }),
		wrong(keys.Ed25519MLDSA, "as-ed25519", "The classic half alone, under the classic key's name.", func(v *vector, s *keys.Signature) {
			classic := seedKey(keys.Ed25519, "signer")
			v.Public, s.Algorithm, s.Key, s.Signature = classic.Public().String(), keys.Ed25519, classic.Public().ID(), s.Signature[:64]
		}),
	)
}

func publicKeyVectors() []vector {
	of := func(name, comment, expect, text string) vector {
		v := vector{name: "public-key-" + name, Comment: comment, Kind: "public-key", Expect: expect, Public: text}
		if k, err := keys.ParsePublicKey(text); err == nil {
			v.KeyID = k.ID().String()
		}
		return v
	}
	ed, p256 := seedKey(keys.Ed25519, "signer").Public().String(), seedKey(keys.ECDSAP256, "signer").Public().String()
	off := must(base64.StdEncoding.DecodeString(strings.TrimPrefix(p256, "ecdsa-p256:")))
	off[64] ^= 1
	return []vector{
		of("ed25519", "32 bytes.", "success", ed),
		of("ecdsa-p256", "An uncompressed point of 65 bytes.", "success", p256),
		of("pair", "An Ed25519 key, then an ML-DSA-65 key.", "success", seedKey(keys.Ed25519MLDSA, "signer").Public().String()),
		of("unknown-algorithm", "An algorithm nobody knows.", "failure", strings.Replace(ed, "ed25519", "rsa", 1)),
		of("algorithm-upper", "Algorithms are in lower case.", "failure", strings.Replace(ed, "ed25519", "ED25519", 1)),
		of("short", "31 bytes.", "failure", "ed25519:"+base64.StdEncoding.EncodeToString(make([]byte, 31))),
		of("off-curve", "A point that is not on the curve.", "failure", "ecdsa-p256:"+base64.StdEncoding.EncodeToString(off)),
		of("compressed", "A compressed point.", "failure", "ecdsa-p256:"+base64.StdEncoding.EncodeToString(append([]byte{2}, off[1:33]...))),
		of("infinity", "The point at infinity.", "failure", "ecdsa-p256:"+base64.StdEncoding.EncodeToString(make([]byte, 65))),
		of("pair-classic-half", "Half of a pair.", "failure", "ed25519+ml-dsa-65:"+strings.TrimPrefix(ed, "ed25519:")),
		of("no-colon", "No algorithm.", "failure", strings.TrimPrefix(ed, "ed25519:")),
		of("space", "A space before the key.", "failure", strings.Replace(ed, ":", ": ", 1)),
		of("line-break", "A line break at the end.", "failure", ed+"\n"),
		of("unpadded", "Base64 without its padding.", "failure", strings.TrimRight(ed, "=")),
		of("secret", "A secret is no public key.", "failure", "STRONGROOM-SIGNING-KEY-1:ed25519:AAAA"),
	}
}

type body struct {
	N int64 `json:"n"`
}

func documentVectors() []vector {
	k := seedKey(keys.Ed25519, "signer")
	d := must(keys.NewDocument(docType, body{7}))
	if err := d.Sign(k); err != nil {
		panic(err)
	}
	good := string(must(d.Encode()))
	of := func(name, comment, expect, text string) vector {
		v := vector{name: "document-" + name, Comment: comment, Kind: "document", Expect: expect, Document: text, Type: docType, Public: k.Public().String()}
		if expect == "success" {
			v.Digest = d.Digest().String()
		}
		return v
	}
	two := *d
	two.Signatures = append(two.Signatures, two.Signatures[0])
	many := *d
	many.Signatures = nil
	for i := range keys.MaxSignatures + 1 {
		s := d.Signatures[0]
		s.Key = wire.SHA256("strongroom/test/many", wire.Uint64(uint64(i)))
		many.Signatures = append(many.Signatures, s)
	}
	return []vector{
		of("good", "A document with one signature.", "success", good),
		of("spaced", "White space and order in the file change nothing.", "success", "{ \"type\": \""+docType+"\", "+strings.Replace(strings.Replace(good, `,"type":"`+docType+`"`, "", 1), "{", "\n", 1)),
		of("no-newline", "The newline at the end may be missing.", "success", strings.TrimSuffix(good, "\n")),
		of("body-changed", "The body was changed after signing.", "failure", strings.Replace(good, `"n":7`, `"n":8`, 1)),
		of("unsigned", "No signature.", "failure", string(must(must(keys.NewDocument(docType, body{7})).Encode()))),
		of("other-type", "A document of another type.", "form failure", strings.Replace(good, docType, "strongroom/other/v1", 1)),
		of("signature-twice", "Two signatures by one key.", "form failure", string(must(two.Encode()))),
		of("signatures-65", "At most 64 signatures.", "form failure", string(must(many.Encode()))),
		of("no-signatures-member", "The list of signatures is missing.", "form failure", `{"body":{"n":7},"type":"`+docType+`"}`),
		of("body-unknown-member", "A member the body doesn't have.", "form failure", strings.Replace(good, `"n":7`, `"m":1,"n":7`, 1)),
		of("unknown-member", "A member documents don't have.", "form failure", strings.Replace(good, `"body"`, `"alg":"none","body"`, 1)),
		of("body-twice", "Two bodies.", "form failure", strings.Replace(good, `{"body":{"n":7}`, `{"body":{"n":7},"body":{"n":8}`, 1)),
		of("trailing", "A second document behind it.", "form failure", good+good),
	}
}

func secretVectors() []vector {
	secret := wire.SHA256("strongroom/test/secret")
	s := must(keys.NewSecret(secret[:]))
	fields := [][]byte{[]byte("a"), {}}
	mac, derived := s.MAC("strongroom/test/mac", fields...), s.Derive("strongroom/test/derive", fields...)
	info, message := []byte("info"), []byte("a message of 23 bytes..")
	room := must(keys.NewHPKEKey(secret[:]))
	sealed := must(room.Public().Seal(info, message))
	hpke := func(name, comment, expect string, info, sealed []byte) vector {
		return vector{name: "hpke-" + name, random: true, Comment: comment, Kind: "hpke", Expect: expect, Secret: hex.EncodeToString(secret[:]),
			Public: room.Public().String(), Info: hex.EncodeToString(info), Message: hex.EncodeToString(message), Output: hex.EncodeToString(sealed)}
	}
	flip := func(i int) []byte { c := bytes.Clone(sealed); c[i] ^= 1; return c }
	return []vector{
		{name: "mac", Comment: "HMAC-SHA-256 over a tuple.", Kind: "mac", Expect: "success", Secret: hex.EncodeToString(secret[:]),
			Domain: "strongroom/test/mac", Fields: []string{"61", ""}, Output: hex.EncodeToString(mac[:])},
		{name: "derive", Comment: "HKDF-SHA-256 with a tuple as info.", Kind: "derive", Expect: "success", Secret: hex.EncodeToString(secret[:]),
			Domain: "strongroom/test/derive", Fields: []string{"61", ""}, Output: hex.EncodeToString(derived[:])},
		hpke("good", "Sealed to an X-Wing key.", "success", info, sealed),
		hpke("other-info", "Sealed for another use.", "failure", []byte("other"), sealed),
		hpke("key-changed", "The encapsulated key was changed.", "failure", info, flip(0)),
		hpke("text-changed", "The ciphertext was changed.", "failure", info, flip(1120)),
		hpke("tag-changed", "The tag was changed.", "failure", info, flip(len(sealed)-1)),
		hpke("short", "A byte is missing.", "failure", info, sealed[:len(sealed)-1]),
		hpke("empty", "Nothing.", "failure", info, nil),
	}
}

func TestVectors(t *testing.T) {
	dir := filepath.Join("..", "spec", "vectors", "keys")
	made := append(append(append(signatureVectors(), publicKeyVectors()...), documentVectors()...), secretVectors()...)
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range made {
		data := append(must(json.MarshalIndent(v, "", "  ")), '\n')
		path := filepath.Join(dir, v.name+".json")
		if *update {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		old, err := os.ReadFile(path)
		if err != nil || !v.random && !bytes.Equal(old, data) {
			t.Errorf("%s is not what the code makes (%v); if that is meant, run go test -update", path, err)
		}
	}
	files := must(filepath.Glob(filepath.Join(dir, "*.json")))
	if len(files) != len(made) {
		t.Fatalf("%d files, %d vectors", len(files), len(made))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var v vector
			if err := json.Unmarshal(must(os.ReadFile(file)), &v); err != nil {
				t.Fatal(err)
			}
			runVector(t, v)
		})
	}
}

func runVector(t *testing.T, v vector) {
	var err error
	switch v.Kind {
	case "signature":
		err = runSignature(t, v)
	case "public-key":
		var k keys.PublicKey
		if k, err = keys.ParsePublicKey(v.Public); err == nil && (k.String() != v.Public || k.ID().String() != v.KeyID) {
			t.Errorf("read as %s, id %s", k, k.ID())
		}
	case "document":
		runDocument(t, v)
		return
	case "mac", "derive":
		s := must(keys.NewSecret(unhex(v.Secret)))
		fields := [][]byte{unhex(v.Fields[0]), unhex(v.Fields[1])}
		out := s.Derive(v.Domain, fields...)
		if v.Kind == "mac" {
			out = s.MAC(v.Domain, fields...)
		}
		if hex.EncodeToString(out[:]) != v.Output {
			t.Errorf("gives %x", out)
		}
	case "hpke":
		room := must(keys.NewHPKEKey(unhex(v.Secret)))
		var message []byte
		message, err = room.Open(unhex(v.Info), unhex(v.Output))
		if room.Public().String() != v.Public || err == nil && hex.EncodeToString(message) != v.Message {
			t.Errorf("opened as %x with %s", message, room.Public())
		}
	default:
		t.Fatalf("unknown kind %q", v.Kind)
	}
	if (err == nil) != (v.Expect == "success") {
		t.Errorf("error %v, expected %s", err, v.Expect)
	}
}

func unhex(text string) []byte { return must(hex.DecodeString(text)) }

func runSignature(t *testing.T, v vector) error {
	k, d := must(keys.ParsePublicKey(v.Public)), must(wire.ParseDigest(v.Digest))
	err := k.Verify(v.Type, d, *v.Signature)
	if err != nil && !errors.Is(err, keys.ErrSignature) {
		t.Errorf("another error: %v", err)
	}
	if v.Secret == "" {
		return err
	}
	signer := must(keys.ParseSigningKey(v.Secret))
	if signer.Public() != k || hex.EncodeToString(keys.Message(v.Type, k.Algorithm(), k.ID(), d)) != v.Message {
		t.Error("another public key, or other signed bytes")
	}
	return err
}

func runDocument(t *testing.T, v vector) {
	var b body
	d, err := keys.ParseDocument([]byte(v.Document), v.Type, &b)
	if (err != nil) != (v.Expect == "form failure") {
		t.Errorf("error %v, expected %s", err, v.Expect)
	}
	if err != nil {
		return
	}
	n, err := d.SignedBy([]keys.PublicKey{must(keys.ParsePublicKey(v.Public))})
	if (err == nil && n == 1) != (v.Expect == "success") {
		t.Errorf("%d signatures, error %v, expected %s", n, err, v.Expect)
	}
	if v.Digest != "" && d.Digest().String() != v.Digest {
		t.Errorf("digest %s", d.Digest())
	}
}
