package verifier

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// challengeDomain is that of the MAC over a challenge.
const challengeDomain = "strongroom/attestation-challenge/v1"

// ForToken is the purpose of evidence that binds a key for a token, made by attesters that are
// no rooms. Rooms' purposes are in package attest.
const ForToken attest.Purpose = "token"

// forITA is the purpose of the nonces that clients of Intel Trust Authority get.
const forITA attest.Purpose = "ita"

// ChallengeRequest asks for a challenge. An audience is needed where a token will be asked for.
type ChallengeRequest struct {
	Audience string         `json:"audience,omitempty"`
	Purpose  attest.Purpose `json:"purpose,omitempty"`
}

// Challenge is what evidence has to answer. Nonce is what the evidence binds of it.
type Challenge struct {
	Challenge wire.Bytes `json:"challenge"`
	Nonce     wire.Bytes `json:"nonce"`
	Expires   wire.Time  `json:"expires"`
}

// Challenge makes a challenge. Nothing is kept of it, so that any instance can recognise it.
func (s *Service) Challenge(asked ChallengeRequest) (Challenge, error) {
	if asked.Purpose == "" {
		asked.Purpose = ForToken
	}
	if asked.Purpose != ForToken && !asked.Purpose.Valid() {
		return Challenge{}, verdict.Misuse("challenge.purpose", "token, or one of the purposes of a room's evidence", verdict.Short(string(asked.Purpose)), "leave it away unless a room asks")
	}
	if err := checkAudience(asked.Audience); err != nil {
		return Challenge{}, err
	}
	expires := s.cfg.Now().Add(ChallengeLifetime)
	token := s.makeChallenge(keys.RandomID(), expires, asked.Audience, asked.Purpose)
	nonce := attest.NonceOf(token)
	s.stats.challenges.Add(1)
	return Challenge{token, nonce[:], wire.At(expires)}, nil
}

func checkAudience(audience string) error {
	if len(audience) > maxAudience || verdict.Printable(audience) != audience {
		return verdict.Misuse("attestation.audience", fmt.Sprintf("at most %d bytes of text", maxAudience), verdict.Short(audience), "name the relying party as it names itself")
	}
	return nil
}

// makeChallenge lays out MAC, id, expiry and purpose. The MAC covers issuer and audience too,
// which whoever shows the challenge has to name.
func (s *Service) makeChallenge(id [16]byte, expires time.Time, audience string, purpose attest.Purpose) []byte {
	rest := append([]byte{}, id[:]...)
	rest = binary.BigEndian.AppendUint64(rest, uint64(expires.UnixMilli()))
	rest = append(rest, purpose...)
	mac := s.secret.MAC(challengeDomain, []byte(s.cfg.Base), []byte(audience), rest)
	return append(mac[:], rest...)
}

// recognised is a challenge of this service that is still good.
type recognised struct {
	id      [16]byte
	expires time.Time
	nonce   wire.Hash
}

// recognise checks a challenge that comes back: made here, for this audience and purpose, and
// not expired.
func (s *Service) recognise(token []byte, audience string, purpose attest.Purpose) (recognised, error) {
	const head, fixed = 32, 32 + 16 + 8
	if len(token) < fixed || len(token) > MaxChallenge || string(token[fixed:]) != string(purpose) ||
		!s.secret.VerifyMAC(token[:head], challengeDomain, []byte(s.cfg.Base), []byte(audience), token[head:]) {
		return recognised{}, verdict.NotGenuine("challenge.known", "a challenge of this service for this audience and purpose", "another", "ask for a challenge, with the audience and purpose that you attest for")
	}
	c := recognised{[16]byte(token[head:]), time.UnixMilli(int64(binary.BigEndian.Uint64(token[head+16:]))), attest.NonceOf(token)}
	if now := s.cfg.Now(); now.After(c.expires) {
		return recognised{}, verdict.Refuse("challenge.expired", fmt.Sprintf("a challenge of the last %v", ChallengeLifetime), fmt.Sprintf("one that expired %v ago", now.Sub(c.expires).Round(time.Second)), "ask for a new one")
	}
	return c, nil
}

// redeem takes a challenge for good, if each may be redeemed once only. The last thing before an
// answer: what fails before it may be tried again.
func (s *Service) redeem(ctx context.Context, c recognised) error {
	if !s.cfg.SingleUse || c.expires.IsZero() {
		return nil
	}
	err := s.cfg.Store.Swap(ctx, TableRedeemed, redeemedKey(c.expires, hex.EncodeToString(c.id[:])), nil, []byte{1})
	if errors.Is(err, ErrChanged) {
		return verdict.Refuse("challenge.used", "a challenge that was not redeemed before", "one that was", "ask for a new one")
	}
	return err
}
