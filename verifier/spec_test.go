package verifier_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/store/attestation"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// TestChallengesAreAsSpecified makes out of spec/attestation.md, sections 2, 7 and 8, what the
// service must have made.
func TestChallengesAreAsSpecified(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	store := must(attestation.Open(filepath.Join(t.TempDir(), "state.db"), time.Second))
	t.Cleanup(func() { store.Close() })
	if err := store.Swap(context.Background(), verifier.TableSecret, "challenge", nil, secret); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *verifier.Config) { gates(c); c.Store = store })
	mac := func(audience string, rest []byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(wire.Tuple("strongroom/attestation-challenge/v1", []byte(base), []byte(audience), rest))
		return h.Sum(nil)
	}
	c := must(w.Challenge(verifier.ChallengeRequest{Audience: vault, Purpose: attest.ForJoin}))
	rest := c.Challenge[32:]
	if !bytes.Equal(c.Challenge[:32], mac(vault, rest)) || binary.BigEndian.Uint64(rest[16:24]) != uint64(w.now.Add(5*time.Minute).UnixMilli()) || string(rest[24:]) != "join" {
		t.Errorf("challenge %x", c.Challenge)
	}
	if nonce := wire.SHA256("strongroom/nonce/v1", c.Challenge); !bytes.Equal(nonce[:], c.Nonce) {
		t.Errorf("nonce %x", c.Nonce)
	}
	n := must(w.ITANonce())
	if !bytes.Equal(n.Signature, mac(vault, n.Value)) || string(n.Value[24:]) != "ita" || string(n.Issued) != "1795521600" {
		t.Errorf("nonce %+v at %d", n, w.now.Unix())
	}
	h := wire.SHA256("strongroom/policy-uuid/v1", []byte("rooms"))
	id := strings.ReplaceAll(verifier.PolicyUUID("rooms"), "-", "")
	if len(id) != 32 || id[12] != '8' || !strings.ContainsRune("89ab", rune(id[16])) || id[:8] != wire.Hash(h).String()[7:15] {
		t.Errorf("policy %s", id)
	}
}

// FuzzAttest: whatever is asked, the answer is a result or an explained error.
func FuzzAttest(f *testing.F) {
	w := newWorld(f, nil)
	w.inForce(rooms)
	r, _ := good(w)
	f.Add([]byte(must(json.Marshal(r))))
	f.Add([]byte(`{"evidence":"AAAA","report_data":"AAAA","policy":"rooms"}`))
	f.Add([]byte(`{"audience":"a","shape":"federation"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r verifier.Request
		if json.Unmarshal(data, &r) != nil {
			return
		}
		answer, err := w.Attest(context.Background(), r)
		if err != nil && verdict.As(err).Check == "internal" || err == nil && len(answer.Result.Checks) == 0 {
			t.Errorf("%s: %+v %v", data, answer, err)
		}
	})
}
