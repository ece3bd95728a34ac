package demo

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/client"
	"strongroom.dev/keys"
	"strongroom.dev/release"
	"strongroom.dev/seal"
	"strongroom.dev/wire"
)

// intruder is no room: a program of the host that speaks to brokers as a room would. On dev
// the host holds the development root, so it can even make genuine evidence; what stops it
// must be something else. Its members are what a host has at hand.
type intruder struct {
	root        *keys.SigningKey // the development root
	measurement dev.Measurement  // of the agreed image
	agreement   *agreement.SignedAgreement
	parties     []*agreement.SignedParty
	run         *agreement.SignedRun
	signing     *keys.SigningKey
	hpke        *keys.HPKEPrivateKey
	releaseID   string
	purpose     attest.Purpose
	// change, where set, alters the request before it is signed.
	change func(*release.Request)
	// token, where set, is used instead of a fresh challenge's; evidence likewise.
	token    []byte
	evidence *attest.Evidence
}

// newIntruder makes an intruder with fresh keys.
func newIntruder(root *keys.SigningKey, m dev.Measurement, a *agreement.SignedAgreement, parties []*agreement.SignedParty, run *agreement.SignedRun) (*intruder, error) {
	x := &intruder{root: root, measurement: m, agreement: a, parties: parties, run: run, purpose: attest.ForRelease}
	id := keys.RandomID()
	x.releaseID = hex.EncodeToString(id[:])
	var err error
	if x.signing, err = keys.GenerateSigningKey(keys.Ed25519); err != nil {
		return nil, err
	}
	x.hpke, err = keys.GenerateHPKEKey()
	return x, err
}

// challenge asks a broker for a challenge.
func (x *intruder) challenge(ctx context.Context, broker *agreement.SignedParty) ([]byte, error) {
	id := keys.RandomID()
	asked := release.ChallengeRequest{Purpose: attest.ForRelease, Agreement: x.agreement.Digest(), Nonce: wire.HashOf(id[:])}
	message, err := release.NewChallengeRequest(asked)
	if err != nil {
		return nil, err
	}
	answer, err := post(ctx, broker, release.PathChallenge, message)
	if err != nil {
		return nil, err
	}
	c, err := release.VerifyChallenge(answer, broker.Broker.ReleaseKey, broker.Name, asked)
	return c.Token, err
}

// ask asks a broker for the keys of the inputs and gives what it says. An error is a refusal
// or a failure of the exchange.
func (x *intruder) ask(ctx context.Context, broker *agreement.SignedParty, inputs []release.InputRequest) error {
	request, err := x.request(ctx, broker, inputs)
	if err != nil {
		return err
	}
	return x.send(ctx, broker, request)
}

// request makes the signed request.
func (x *intruder) request(ctx context.Context, broker *agreement.SignedParty, inputs []release.InputRequest) ([]byte, error) {
	token := x.token
	if token == nil {
		var err error
		if token, err = x.challenge(ctx, broker); err != nil {
			return nil, fmt.Errorf("asking for a challenge: %w", err)
		}
		x.token = token
	}
	r, err := x.fill(broker, token, inputs)
	if err != nil {
		return nil, err
	}
	if x.change != nil {
		x.change(&r)
	}
	message, _, err := release.NewRequest(x.signing, r)
	return message, err
}

func (x *intruder) fill(broker *agreement.SignedParty, token []byte, inputs []release.InputRequest) (release.Request, error) {
	evidence, err := x.attest(token)
	if err != nil {
		return release.Request{}, err
	}
	r := release.Request{Broker: broker.Name, Challenge: token, ReleaseID: x.releaseID, Evidence: evidence, Inputs: inputs,
		Room: release.RoomKeys{Signing: x.signing.Public(), HPKE: x.hpke.Public()}}
	if r.Agreement, err = x.agreement.Document.Encode(); err != nil {
		return r, err
	}
	if r.Run, err = x.run.Document.Encode(); err != nil {
		return r, err
	}
	for _, p := range x.parties {
		doc, err := p.Document.Encode()
		if err != nil {
			return r, err
		}
		r.Parties = append(r.Parties, doc)
	}
	return r, nil
}

// attest makes evidence as the development launcher would for a genuine room.
func (x *intruder) attest(token []byte) (attest.Evidence, error) {
	if x.evidence != nil {
		return *x.evidence, nil
	}
	binding := attest.Binding{Purpose: x.purpose, Nonce: attest.NonceOf(token), Signing: x.signing.Public(), HPKE: x.hpke.Public(),
		Agreement: x.agreement.Digest(), Run: x.run.Digest()}
	return dev.Sign(x.root, x.measurement, attest.InitData(x.agreement.Canonical()), binding.ReportData())
}

// send posts a request and reports a grant as nil.
func (x *intruder) send(ctx context.Context, broker *agreement.SignedParty, request []byte) error {
	answer, err := post(ctx, broker, release.PathRelease, request)
	if err != nil {
		return err
	}
	var grant release.Granted
	if _, err := keys.ParseDocument(answer, release.GrantType, &grant); err != nil {
		return fmt.Errorf("neither a grant nor a refusal: %w", err)
	}
	return nil
}

// post makes one exchange with a broker.
func post(ctx context.Context, broker *agreement.SignedParty, path string, body []byte) ([]byte, error) {
	return client.NewBroker("http://"+broker.Broker.Address, nil).Post(ctx, path, body)
}

// inputRequest reads a sealed file's header and its statement.
func inputRequest(input wire.ID, sealedFile, statementFile string) (release.InputRequest, error) {
	f, err := os.Open(sealedFile)
	if err != nil {
		return release.InputRequest{}, err
	}
	defer f.Close()
	header, err := seal.ReadHeader(f)
	if err != nil {
		return release.InputRequest{}, err
	}
	statement, err := os.ReadFile(statementFile)
	return release.InputRequest{Input: input, Statement: json.RawMessage(bytes.TrimSpace(statement)), Header: header}, err
}

// seenSize asks a broker, by way of a challenge, what size it last accepted of a log.
func (e *enemy) seenSize(ctx context.Context, a *agreement.SignedAgreement, folder, origin string) (int64, error) {
	id := keys.RandomID()
	asked := release.ChallengeRequest{Purpose: attest.ForRelease, Agreement: a.Digest(), Nonce: wire.HashOf(id[:])}
	message, err := release.NewChallengeRequest(asked)
	if err != nil {
		return 0, err
	}
	broker := e.party(folder)
	answer, err := post(ctx, broker, release.PathChallenge, message)
	if err != nil {
		return 0, err
	}
	c, err := release.VerifyChallenge(answer, broker.Broker.ReleaseKey, broker.Name, asked)
	if err != nil {
		return 0, err
	}
	for _, s := range c.Seen {
		if s.Origin == origin {
			return s.Size, nil
		}
	}
	return 0, nil
}
