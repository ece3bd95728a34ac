package attest

import (
	"fmt"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// Binding is everything that evidence is made to speak for (R10, spec/evidence.md, section
// 2). The attester hashes it into the report data; the verifier builds the same one from
// what it knows, and compares.
type Binding struct {
	Purpose Purpose
	// Nonce is the verifier's challenge: see [NonceOf].
	Nonce wire.Hash
	// Signing and HPKE are the room's own keys.
	Signing keys.PublicKey
	HPKE    keys.HPKEPublicKey
	// Agreement is the digest of the agreement, Run that of the run request. Run is zero only
	// where the room serves many runs, never for [ForRelease].
	Agreement wire.Digest
	Run       wire.Digest
}

// ReportData gives the 64 bytes that platforms with room for them carry.
func (b Binding) ReportData() [64]byte {
	return wire.SHA512("strongroom/report-data/v1", []byte(b.Purpose), b.Nonce[:],
		[]byte(b.Signing.String()), []byte(b.HPKE.String()), b.Agreement[:], b.Run[:])
}

// ShortReportData gives the 32 bytes that platforms with less room carry: a hash of the 64,
// nothing is truncated.
func (b Binding) ShortReportData() [32]byte {
	long := b.ReportData()
	return wire.SHA256("strongroom/short-report-data/v1", long[:])
}

// complete reports what is missing for the binding to mean anything.
func (b Binding) complete() error {
	switch {
	case !b.Purpose.Valid():
		return fmt.Errorf("no known purpose: %.40q", string(b.Purpose))
	case b.Nonce.IsZero():
		return fmt.Errorf("no nonce")
	case b.Signing.IsZero():
		return fmt.Errorf("no room signing key")
	case b.HPKE.IsZero():
		return fmt.Errorf("no room HPKE key")
	case b.Agreement.IsZero():
		return fmt.Errorf("no agreement digest")
	case b.Run.IsZero() && b.Purpose == ForRelease:
		return fmt.Errorf("no run digest")
	}
	return nil
}

// purposes lists every purpose there is.
func purposes() []Purpose { return []Purpose{ForRelease, ForIngress, ForJoin, ForDevice} }

// Valid reports whether the purpose is one of those defined here. "" is not.
func (p Purpose) Valid() bool {
	for _, known := range purposes() {
		if p == known {
			return true
		}
	}
	return false
}

// NonceOf gives the nonce that evidence binds for a challenge token. Tokens are longer than
// some platforms' fields, so it is a hash.
func NonceOf(token []byte) wire.Hash { return wire.SHA256("strongroom/nonce/v1", token) }

// InitData gives the 48 bytes that platforms with such a field (TDX MRCONFIGID, dev) carry
// for an agreement; body is its canonical bytes.
func InitData(body []byte) wire.Digest { return wire.SHA384("strongroom/init-data/v1", body) }

// ShortInitData gives the 32 bytes for platforms with a shorter field (SNP HOST_DATA).
func ShortInitData(body []byte) wire.Hash { return wire.SHA256("strongroom/init-data/v1", body) }
