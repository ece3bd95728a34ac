// Package device is what a room's agent asks the evidence device for, and the protocol
// between them (spec/room.md, section 2.1): the device is whoever launched the agent and
// measured it, the launcher on the dev platform, the first process inside a virtual machine.
//
// The agent can do five things with it, in this order: begin with the init data of its
// agreement, have a broker vouch for the device's key where it has one, get evidence, say
// that work starts, and from then on get evidence for whoever connects to the room and for
// nothing else: the device itself writes that purpose into it. Its key can be vouched for
// again then, since rooms may serve for long. Its key can be vouched for anew
// at any time, since a broker's word ends within the hour. What runs in the room besides
// the agent reaches no device (R10).
package device

import (
	"context"

	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// Device makes evidence of the machine that an agent runs on.
type Device interface {
	// Begin tells the device what the room's agreement is, in the two lengths that platforms
	// have fields for ([attest.InitData], [attest.ShortInitData]). The device refuses an
	// agreement that the machine was not started for; where the platform has no field that is
	// set at launch, it measures the init data now. It is called once, first.
	Begin(ctx context.Context, initData wire.Digest, short wire.Hash) (Introduction, error)
	// Activate answers a challenge that only the TPM with the introduced endorsement key can
	// answer (TPM 2.0, part 1, section 24).
	Activate(ctx context.Context, credential, secret []byte) ([]byte, error)
	// Attest gives evidence with this report data. record is what the verifier signed to vouch
	// for the device's key, empty where the platform has none.
	Attest(ctx context.Context, report [64]byte, record []byte) (attest.Evidence, error)
	// Separate measures which run's work starts now, and ends the evidence: what comes after it
	// gets none but Ingress's (R10). It is called once.
	Separate(ctx context.Context, run wire.Digest) error
	// Ingress gives evidence for somebody who connects to the room, once its work has started.
	// Its report data is that of the connection's binding, whose purpose the caller can't choose.
	Ingress(ctx context.Context, c Connection) (attest.Evidence, error)
}

// Connection is what evidence for a connection speaks for.
type Connection struct {
	// Nonce is that of this one connection (spec/ingress.md, section 3).
	Nonce wire.Hash `json:"nonce"`
	// Signing and HPKE are the room's own keys.
	Signing keys.PublicKey     `json:"signing"`
	HPKE    keys.HPKEPublicKey `json:"hpke"`
	// Agreement and Run are the digests of the agreement and of the run request; the device
	// refuses another run than the one whose work started.
	Agreement wire.Digest `json:"agreement"`
	Run       wire.Digest `json:"run"`
	// Record is what somebody signed to vouch for the device's key; empty where the platform
	// has none.
	Record wire.Bytes `json:"record"`
}

// Binding gives what the evidence is made for.
func (c Connection) Binding() attest.Binding {
	return attest.Binding{Purpose: attest.ForIngress, Nonce: c.Nonce, Signing: c.Signing, HPKE: c.HPKE, Agreement: c.Agreement, Run: c.Run}
}

// Introduction says what kind of device it is.
type Introduction struct {
	// Platform is the machine's kind, as agreements name it.
	Platform wire.ID `json:"platform"`
	// Why says how the platform was found, for people.
	Why string `json:"why"`
	// Mounts says that the device is a [Mounter].
	Mounts bool `json:"mounts,omitempty"`
	// Key is the key that signs evidence, where somebody must vouch for it; nil where the
	// hardware's maker does.
	Key *Key `json:"key,omitempty"`
}

// Key is a TPM's attestation key and the endorsement key that it lives beside.
type Key struct {
	// EKCertificate is the endorsement key's certificate, DER; Certificates lead to its root,
	// as far as the device has them.
	EKCertificate wire.Bytes   `json:"ek_certificate"`
	Certificates  []wire.Bytes `json:"certificates"`
	// AKPublic is the attestation key's TPMT_PUBLIC.
	AKPublic wire.Bytes `json:"ak_public"`
}
