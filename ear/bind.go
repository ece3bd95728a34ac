package ear

import (
	"fmt"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// Binding is what evidence is made to speak for when the attester is no room: a challenge of the
// attestation service and a key of the attester's own (spec/ear.md, section 4). Rooms use
// [attest.Binding].
type Binding struct {
	// Nonce is the hash of the service's challenge ([attest.NonceOf]).
	Nonce wire.Hash
	// Key is the attester's key, as [ConfirmJWK] gave it.
	Key Confirmation
	// HPKE is the key that bearer tokens are sealed to; zero if none is asked for.
	HPKE keys.HPKEPublicKey
}

// ReportData gives the 64 bytes that platforms with room for them carry.
func (b Binding) ReportData() ([64]byte, error) {
	print := b.Key.Thumbprint()
	if b.Nonce.IsZero() || print.IsZero() {
		return [64]byte{}, fmt.Errorf("ear: a binding without nonce or key")
	}
	var hpke []byte
	if !b.HPKE.IsZero() {
		hpke = []byte(b.HPKE.String())
	}
	return wire.SHA512("strongroom/token-report-data/v1", b.Nonce[:], print[:], hpke), nil
}

// ShortReportData gives the 32 bytes that platforms with less room carry.
func (b Binding) ShortReportData() ([32]byte, error) {
	long, err := b.ReportData()
	return wire.SHA256("strongroom/short-report-data/v1", long[:]), err
}
