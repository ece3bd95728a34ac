package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"strongroom.dev/internal/cbortest"
	"strongroom.dev/reference/draft"
)

// signedCoRIM is a CoRIM with one triple for each digest's fill.
func signedCoRIM(t *testing.T, key *ecdsa.PrivateKey, fills ...byte) []byte {
	t.Helper()
	type pairs = cbortest.Map
	var triples []any
	for _, fill := range fills {
		digest := []any{7, bytes.Repeat([]byte{fill}, 48)}
		element := pairs{0, 641, 1, pairs{2, []any{digest}, 1, cbortest.Tag{553, 9}}}
		triples = append(triples, []any{pairs{0, pairs{2, "Room Firmware"}}, []any{element}})
	}
	comid := cbortest.Encode(pairs{1, pairs{0, "room"}, 4, pairs{0, triples}})
	payload := cbortest.Encode(cbortest.Tag{501, pairs{0, "example", 1, []any{cbortest.Tag{506, comid}}}})
	header := cbortest.Encode(pairs{1, -7, 3, "application/rim+cbor", 8, cbortest.Encode(pairs{0, pairs{0, "Example Makers"}})})
	return cbortest.Encode(cbortest.Tag{18, cbortest.Raw(cbortest.Sign1(header, pairs{}, payload, key))})
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
	d, err := draft.Parse("d", []byte(r.run(0, with("one.corim")...)))
	if err != nil {
		t.Fatal(err)
	}
	g := d.Groups[0]
	if len(d.Groups) != 1 || g.Name != "room-firmware" || g.Measurements["measurement"] != strings.Repeat("aa", 48) || g.Minimum["reported_tcb.snp"] != 9 {
		t.Errorf("%+v", d)
	}
	r.run(2, with("two.corim")...) // whether parts or alternatives is for people to say
	d, err = draft.Parse("d", []byte(r.run(0, with("two.corim", "--together", "triple")...)))
	if err != nil || len(d.Groups) != 2 {
		t.Errorf("%+v, %v", d, err)
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
