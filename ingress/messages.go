package ingress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"strongroom.dev/attest"
	"strongroom.dev/channel"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Version is that of the exchange.
const Version = 1

// Protocol is the name by which clients ask for the exchange (ALPN, RFC 7301).
const Protocol = "strongroom/1"

// exporterLabel and domains of what is hashed and signed (spec/ingress.md, section 3).
const (
	exporterLabel  = "EXPORTER-strongroom-ingress"
	nonceDomain    = "strongroom/ingress-nonce/v1"
	connectionType = "strongroom/ingress-connection/v1"
	// PartyType is the document that a party signs to be let in.
	PartyType = "strongroom/ingress-party/v1"
)

// channelBinding is what there is of one connection and of no other.
type channelBinding struct {
	nonce    wire.Hash // the client's
	exporter [32]byte  // of the TLS connection or the tunnel, for that nonce
	key      wire.Hash // SHA-256 of the far end's public key: SPKI, or the tunnel's HPKE key
	work     wire.ID
	port     wire.ID
}

// evidenceNonce is the nonce that evidence for this connection binds.
func (b channelBinding) evidenceNonce() wire.Hash {
	return wire.SHA256(nonceDomain, b.nonce[:], b.exporter[:], b.key[:])
}

// digest is what the room's key and a party's keys sign.
func (b channelBinding) digest(evidence wire.Digest) wire.Digest {
	return wire.SHA384(connectionType, b.nonce[:], b.exporter[:], b.key[:], []byte(b.work), []byte(b.port), evidence[:])
}

// hello is a client's first message.
type hello struct {
	Version int64     `json:"version"`
	Nonce   wire.Hash `json:"nonce"`
	Port    wire.ID   `json:"port"`
	// Known is evidence that the client has appraised before; absent: none.
	Known *wire.Digest `json:"known,omitempty"`
	// Activators are keys whose word the client takes for where a TPM's key lives.
	Activators []keys.KeyID `json:"activators"`
}

func (h hello) check(port wire.ID) error {
	const fix = "client and room must be of one version"
	switch {
	case h.Version != Version:
		return verdict.Refuse("ingress.version", fmt.Sprint("version ", Version), fmt.Sprint(h.Version), fix)
	case h.Nonce.IsZero():
		return verdict.Refuse("ingress.hello", "a nonce", "zeros", fix)
	case len(h.Activators) > MaxActivators:
		return verdict.Refuse("ingress.hello", fmt.Sprintf("at most %d activators", MaxActivators), fmt.Sprint(len(h.Activators)), fix)
	case h.Port != port:
		return verdict.Refuse("ingress.port", "a connection to port "+string(port), "one that asks for "+string(h.Port), "have the host bring it to the port that it is for")
	}
	return nil
}

// shown is what a room shows of itself.
type shown struct {
	// Evidence is there unless the client knows it.
	Evidence  *attest.Evidence   `json:"evidence,omitempty"`
	Digest    wire.Digest        `json:"evidence_digest"`
	Signing   keys.PublicKey     `json:"signing"`
	HPKE      keys.HPKEPublicKey `json:"hpke"`
	Agreement wire.Digest        `json:"agreement"`
	Run       wire.Digest        `json:"run"`
	Work      wire.ID            `json:"work"`
	Signature keys.Signature     `json:"signature"`
}

// greeting is a room's first message: what it shows, or why it does not.
type greeting struct {
	Shown *shown          `json:"shown,omitempty"`
	Error json.RawMessage `json:"error,omitempty"`
}

// admission is a client's word of who it is: none of the two, or one.
type admission struct {
	Party json.RawMessage `json:"party,omitempty"` // a document of PartyType
	Token string          `json:"token,omitempty"`
}

// partyConnection is the body of a document of PartyType.
type partyConnection struct {
	Party     wire.ID     `json:"party"`
	Agreement wire.Digest `json:"agreement"`
	// Connection is the digest that the room signed, too.
	Connection wire.Digest `json:"connection"`
}

// decision is a room's last message before the bytes.
type decision struct {
	OK    bool            `json:"ok"`
	Error json.RawMessage `json:"error,omitempty"`
}

// send writes a message at once: its length in 4 bytes, then canonical JSON.
func send(w io.Writer, message any) error {
	data, err := wire.Marshal(message)
	if err != nil {
		return err
	}
	var all bytes.Buffer
	if err := channel.WriteMessage(&all, data); err != nil {
		return err
	}
	_, err = w.Write(all.Bytes())
	return err
}

// receive reads a message of at most limit bytes.
func receive(r io.Reader, limit int, what string, into any) error {
	data, err := channel.ReadMessage(r, limit)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if err := wire.Unmarshal(data, into); err != nil {
		return &verdict.Error{Kind: verdict.Invalid, Check: "ingress.form", Expected: what + " as spec/ingress.md has it", Got: verdict.Short(err.Error()),
			Fix: "client and room must be of one version", Err: err}
	}
	return nil
}
