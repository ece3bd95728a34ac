package ear_test

import (
	"encoding/hex"
	"testing"

	"strongroom.dev/ear"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// aJWK is a public key whose RFC 7638 thumbprint stands in spec/ear.md.
const aJWK = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`

func TestBinding(t *testing.T) {
	key := must(ear.ConfirmJWK([]byte(aJWK)))
	if key.ID() != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" { // RFC 8037, appendix A.3
		t.Fatalf("thumbprint %s", key.ID())
	}
	nonce := wire.HashOf([]byte("nonce"))
	plain := ear.Binding{Nonce: nonce, Key: key}
	sealed := plain
	sealed.HPKE = must(keys.GenerateHPKEKey()).Public()
	a, b := must(plain.ReportData()), must(sealed.ReportData())
	if a == b {
		t.Error("the HPKE key is not bound")
	}
	const want = "585db9c60ad389f087e9ca67d693116f3270f585048de02adfd106e84cf86d06003b6563ec6d45ca80e706ecb9e4c5122e51ddac61a5605cab9f3e5e1169b6e6"
	if got := hex.EncodeToString(a[:]); got != want {
		t.Errorf("report data %s, as the specification has it: %s", got, want)
	}
	for what, bad := range map[string]ear.Binding{"no nonce": {Key: key}, "no key": {Nonce: nonce}, "a room's key": {Nonce: nonce, Key: must(ear.ConfirmRoom(roomKey(t).Public()))}} {
		if _, err := bad.ReportData(); err == nil {
			t.Errorf("%s: bound", what)
		}
		if _, err := bad.ShortReportData(); err == nil {
			t.Errorf("%s: bound in short", what)
		}
	}
}
