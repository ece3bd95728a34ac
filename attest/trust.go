package attest

import (
	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// Trust is whom evidence may rest on because the relying party's agreement says so, beyond the
// makers of machines that verifiers know. The zero Trust adds nobody.
type Trust struct {
	// Activators may vouch that an attestation key lives in a TPM.
	Activators []keys.PublicKey
	// Started is the run whose work the evidence must say has started; nil: evidence from before.
	// [Verify] sets it, whatever it is given.
	Started *wire.Digest
	// Platforms are what the agreement says of machines. A root that an entry pins counts for
	// machines of its kind, as the class that such a root has.
	Platforms []agreement.Platform
}

// TrustOf gives whom the broker of a party may rely on under an agreement: itself, to have
// asked a room's TPM where its key lives, and the roots that the agreement pins. Other parties'
// brokers are not among them: they may work together with whoever runs the machine (R6). It is
// also what anyone else goes by who checks what that broker relied on.
func TrustOf(a agreement.Agreement, broker *agreement.SignedParty) Trust {
	t := Trust{Platforms: a.Platforms}
	if broker != nil && broker.Broker != nil {
		t.Activators = []keys.PublicKey{broker.Broker.ReleaseKey}
	}
	return t
}
