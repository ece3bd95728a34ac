package agreement

import (
	"encoding/hex"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// RoomURI names the rooms of one work of an agreement in certificates of the agreement's mesh
// (spec/ingress.md, section 6): a SPIFFE ID whose trust domain is the agreement's digest.
func RoomURI(agreement wire.Digest, work wire.ID) string {
	return "spiffe://" + hex.EncodeToString(agreement[:]) + "/work/" + string(work)
}

// Signed checks that a document of any kind is this party's: that the threshold of its keys
// valid at now has signed it, and nobody else. check is what the error is called. The
// descriptor itself is verified apart.
func (p *SignedParty) Signed(check string, doc *keys.Document, now time.Time) error {
	s := p.signers(string(p.Name))
	if err := noStrangers(check, doc, s); err != nil {
		return err
	}
	return s.signed(check, doc, now)
}
