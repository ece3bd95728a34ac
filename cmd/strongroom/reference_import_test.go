package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"strongroom.dev/reference"
)

// The few CBOR items that a CoRIM is made of, each below 65,536 bytes.

func item(major byte, n int, parts ...[]byte) []byte {
	out := []byte{major<<5 | 25, byte(n >> 8), byte(n)}
	switch {
	case n < 24:
		out = []byte{major<<5 | byte(n)}
	case n < 256:
		out = []byte{major<<5 | 24, byte(n)}
	}
	return append(out, bytes.Join(parts, nil)...)
}

func number(n int) []byte               { return item(0, n) }
func octets(b []byte) []byte            { return item(2, len(b), b) }
func chars(s string) []byte             { return item(3, len(s), []byte(s)) }
func listOf(items ...[]byte) []byte     { return item(4, len(items), items...) }
func mapOf(pairs ...[]byte) []byte      { return item(5, len(pairs)/2, pairs...) }
func tagged(n int, inner []byte) []byte { return item(6, n, inner) }

// signedCoRIM is a CoRIM with one triple for each digest's fill.
func signedCoRIM(t *testing.T, key *ecdsa.PrivateKey, fills ...byte) []byte {
	t.Helper()
	var triples [][]byte
	for _, fill := range fills {
		digest := listOf(number(7), octets(bytes.Repeat([]byte{fill}, 48)))
		element := mapOf(number(0), number(641), number(1), mapOf(number(2), listOf(digest), number(1), tagged(553, number(9))))
		triples = append(triples, listOf(mapOf(number(0), mapOf(number(2), chars("Room Firmware"))), listOf(element)))
	}
	comid := mapOf(number(1), mapOf(number(0), chars("room")), number(4), mapOf(number(0), listOf(triples...)))
	payload := tagged(501, mapOf(number(0), chars("example"), number(1), listOf(tagged(506, octets(comid)))))
	header := mapOf(number(1), []byte{0x26}, number(3), chars("application/rim+cbor"), number(8), octets(mapOf(number(0), mapOf(number(0), chars("Example Makers")))))
	digest := sha256.Sum256(listOf(chars("Signature1"), octets(header), octets(nil), octets(payload)))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return tagged(18, listOf(octets(header), mapOf(), octets(payload), octets(signature)))
}

func TestImportCoRIM(t *testing.T) {
	t.Chdir(t.TempDir())
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	changed := signedCoRIM(t, key, 0xaa)
	changed[len(changed)-1] ^= 1
	for name, data := range map[string][]byte{
		"key.pem": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "one.corim": signedCoRIM(t, key, 0xaa), "two.corim": signedCoRIM(t, key, 0xaa, 0xbb), "changed.corim": changed,
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := teller{t, "home", time.Now()}
	with := func(file string, more ...string) []string {
		return append([]string{"reference", "import", file, "--product", "room", "--platform", "snp", "--signer-key", "key.pem", "--register", "641=measurement", "--claim", "641=reported_tcb.snp"}, more...)
	}
	draft, err := reference.ParseDraft("d", []byte(r.run(0, with("one.corim")...)))
	if err != nil {
		t.Fatal(err)
	}
	g := draft.Groups[0]
	if len(draft.Groups) != 1 || g.Name != "room-firmware" || g.Measurements["measurement"] != strings.Repeat("aa", 48) || g.Minimum["reported_tcb.snp"] != 9 {
		t.Errorf("%+v", draft)
	}
	r.run(2, with("two.corim")...) // whether parts or alternatives is for people to say
	draft, err = reference.ParseDraft("d", []byte(r.run(0, with("two.corim", "--together", "triple")...)))
	if err != nil || len(draft.Groups) != 2 {
		t.Errorf("%+v, %v", draft, err)
	}
	r.run(2, with("two.corim", "--together", "file")...)
	r.run(4, with("changed.corim")...)
	r.run(2, "reference", "import", "one.corim", "--product", "room", "--platform", "snp")
	r.run(2, "reference", "import", "one.corim", "--product", "room", "--signer-key", "key.pem")
	r.run(2, "reference", "import", "one.corim", "--product", "room", "--platform", "snp", "--signer-root", "key.pem")
	r.run(0, with("one.corim", "-o", "draft.yaml")...)
	r.run(0, "keygen", "--purpose", "signing", "-o", "release.key")
	r.run(0, "reference", "sign", "draft.yaml", "--key", "release.key", "-o", "room.set")
}
