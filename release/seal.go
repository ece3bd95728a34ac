package release

import (
	"fmt"

	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Address is whom, what and how long a sealed key is for (R12). It is the info of HPKE: a
// key opens only for the very same address.
type Address struct {
	Broker    wire.ID
	Nonce     wire.Hash // [attest.NonceOf] the challenge token
	Evidence  wire.Digest
	Agreement wire.Digest
	Run       wire.Digest
	Input     wire.ID
	Header    wire.Hash
	ReleaseID string
	LeaseMS   int64
}

// Info gives the HPKE info (spec/release.md, section 6).
func (a Address) Info() []byte {
	return wire.Tuple("strongroom/release-info/v1", []byte(Version), []byte(keys.Suite), []byte(a.Broker), a.Nonce[:], a.Evidence[:],
		a.Agreement[:], a.Run[:], []byte(a.Input), a.Header[:], []byte(a.ReleaseID), wire.Uint64(uint64(a.LeaseMS)))
}

// addressOf gives the address of what is granted, of no input yet.
func addressOf(t policy.Terms) Address {
	return Address{Broker: t.Broker, Nonce: t.Nonce, Evidence: t.Evidence, Agreement: t.Agreement, Run: t.Run, ReleaseID: t.ReleaseID, LeaseMS: t.LeaseMS}
}

// KeyMaterial is what a release carries for one input: the file key, 16 bytes, and the
// broker's secret for the run, 32 bytes (R14). It prints as redacted. It is held by pointer,
// so that [KeyMaterial.Wipe] reaches the only copy.
type KeyMaterial struct {
	_         [0]func()
	fileKey   [16]byte
	runSecret [32]byte
}

// NewKeyMaterial takes the two secrets.
func NewKeyMaterial(fileKey [16]byte, runSecret [32]byte) *KeyMaterial {
	return &KeyMaterial{fileKey: fileKey, runSecret: runSecret}
}

// FileKey gives the key of the sealed file.
func (m *KeyMaterial) FileKey() [16]byte { return m.fileKey }

// RunSecret gives the broker's secret for the run: see [RunSeed].
func (m *KeyMaterial) RunSecret() [32]byte { return m.runSecret }

// Wipe overwrites both.
func (m *KeyMaterial) Wipe() { clear(m.fileKey[:]); clear(m.runSecret[:]) }

// Format redacts the secrets under every verb.
func (m *KeyMaterial) Format(f fmt.State, _ rune) { fmt.Fprint(f, "key material (redacted)") }

// MarshalText refuses, so that the secrets can't slip into a document.
func (m *KeyMaterial) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("key material has no text")
}

// materialSize is 16 + 32 bytes; sealedSize adds HPKE's encapsulated key and tag.
const (
	materialSize = 48
	sealedSize   = 1120 + materialSize + 16
)

// SealKey seals the key material of one granted input to the granted room. Everything the
// key is addressed to comes from the redeemed grant; an input that is not in it is refused.
func SealKey(r policy.Redeemed, input wire.ID, m *KeyMaterial) (SealedKey, error) {
	terms, ok := r.Terms()
	if !ok {
		return SealedKey{}, verdict.Refuse("grant", "a redeemed grant", "none", "redeem a grant first")
	}
	for _, granted := range terms.Inputs {
		if granted.Input == input {
			sealed, err := seal(terms, granted, m)
			return SealedKey{Input: input, Header: granted.Header, Sealed: sealed}, err
		}
	}
	return SealedKey{}, verdict.Refuse("grant", "an input of the grant", string(input), "decide about this input first")
}

// SealSecret seals the run secret alone to the granted room, under a grant without inputs. A
// grant with some is refused: their keys bring the secret.
func SealSecret(r policy.Redeemed, secret [32]byte) ([]byte, error) {
	terms, ok := r.Terms()
	if !ok || len(terms.Inputs) > 0 {
		return nil, verdict.Refuse("grant", "a redeemed grant without inputs", "none", "redeem a grant first")
	}
	m := NewKeyMaterial([16]byte{}, secret)
	defer m.Wipe()
	return seal(terms, policy.GrantedInput{}, m)
}

func seal(terms policy.Terms, in policy.GrantedInput, m *KeyMaterial) ([]byte, error) {
	address := addressOf(terms)
	address.Input, address.Header = in.Input, in.Header
	plain := append(append(make([]byte, 0, materialSize), m.fileKey[:]...), m.runSecret[:]...)
	defer clear(plain)
	sealed, err := terms.Room.HPKE.Seal(address.Info(), plain)
	if err != nil {
		return nil, fmt.Errorf("sealing the key of %q: %w", string(in.Input), err)
	}
	return sealed, nil
}

// OpenKey opens a sealed key with the room's HPKE key, for the address the room asked for
// (see [Asked.Address]).
func OpenKey(room *keys.HPKEPrivateKey, a Address, s SealedKey) (*KeyMaterial, error) {
	if room == nil || s.Input != a.Input || s.Header != a.Header || len(s.Sealed) != sealedSize {
		return nil, verdict.NotGenuine("grant.key", fmt.Sprintf("a key of %d bytes for input %s", sealedSize, a.Input),
			fmt.Sprintf("%d bytes for %.70q", len(s.Sealed), string(s.Input)), "ask the broker again")
	}
	plain, err := room.Open(a.Info(), s.Sealed)
	if err != nil || len(plain) != materialSize {
		return nil, verdict.NotGenuine("grant.key", "a key sealed for this room, run, input and lease", "one that does not open", "ask the broker again")
	}
	defer clear(plain)
	return NewKeyMaterial([16]byte(plain[:16]), [32]byte(plain[16:])), nil
}
