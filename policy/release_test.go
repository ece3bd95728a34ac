package policy_test

import (
	"encoding/json"
	"testing"

	"strongroom.dev/attest"
	"strongroom.dev/policy"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
)

// What is decided here is what the next stage seals: a key leaves for the granted inputs,
// run and room alone, and the room can open it knowing only what it asked.
func TestGrantedKeysOpenInTheRoom(t *testing.T) {
	w := newWorld(t)
	r := w.build()
	g, _, err := policy.Decide(r)
	if err != nil {
		t.Fatal(err)
	}
	redeemed, err := g.Redeem()
	if err != nil {
		t.Fatal(err)
	}
	material := release.NewKeyMaterial([16]byte{1, 2, 3}, [32]byte{4, 5, 6})
	if _, err := release.SealKey(redeemed, "beta-rows", material); verdict.As(err).Check != "grant" {
		t.Errorf("a key of another owner's input: %v", err)
	}
	sealed, err := release.SealKey(redeemed, "alpha-rows", material)
	if err != nil {
		t.Fatal(err)
	}
	// The room's own view of the same release.
	asked := release.Asked{Agreement: r.Agreement.Digest(), Run: r.Run.Digest(), MaxLeaseMS: 3000, Request: &release.SignedRequest{Request: release.Request{
		Broker: "alpha-hospital", Challenge: []byte("token"), ReleaseID: r.ReleaseID, Room: release.RoomKeys{Signing: r.Room.Signing, HPKE: r.Room.HPKE},
		Agreement: json.RawMessage(`{}`), Inputs: []release.InputRequest{{Input: "alpha-rows", Header: []byte("alpha-rows")}}}}}
	address, err := asked.Address("alpha-rows", 3000)
	if err != nil {
		t.Fatal(err)
	}
	address.Evidence = r.Claims.EvidenceDigest() // the request in this test carries no evidence
	if address.Nonce != attest.NonceOf([]byte("token")) {
		t.Error("the nonce is not the token's")
	}
	opened, err := release.OpenKey(w.hpke, address, sealed)
	if err != nil {
		t.Fatal(err)
	}
	if opened.FileKey() != material.FileKey() || opened.RunSecret() != material.RunSecret() {
		t.Error("other key material came out")
	}
	address.LeaseMS = 3001
	if _, err := release.OpenKey(w.hpke, address, sealed); err == nil {
		t.Error("opened under a longer lease")
	}
}
