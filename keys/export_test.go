package keys

import (
	"crypto/hpke"
)

// NewHPKEKey makes the key of a 32-byte X-Wing seed: a key that vectors can hold. The
// program has no way to make one, since a room's key never leaves it.
func NewHPKEKey(seed []byte) (*HPKEPrivateKey, error) {
	key, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		return nil, err
	}
	return &HPKEPrivateKey{key: key, public: HPKEPublicKey{string(key.PublicKey().Bytes())}}, nil
}

// Message gives the signed bytes.
var Message = message
