package ingress

import (
	"encoding/binary"
	"fmt"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// tunnelPreface is what a host sends first on a stream that brings one request of the tunnel;
// TLS begins with another byte.
const tunnelPreface = "strongroom/tunnel/v1\n"

// TunnelPath is where hosts take requests of the tunnel, followed by the port's name.
const TunnelPath = "/.well-known/strongroom/tunnel/"

// Limits of the tunnel.
const (
	// MaxTunnelPiece is how many bytes of a connection one request or answer carries.
	MaxTunnelPiece = 256 << 10
	// MaxTunnelMessage bounds a request or an answer.
	MaxTunnelMessage = MaxTunnelPiece + 8<<10
	// maxSessions is how many sessions of the tunnel a room has at once.
	maxSessions = 256
	// tunnelBuffer is how much of a session waits each way: that, and no more, is held for a
	// client that does not fetch it, or for a container that does not read it.
	tunnelBuffer = MaxTunnelPiece
)

// The kinds of requests. An answer begins with its request's kind, or with tunnelError.
const (
	tunnelKey byte = iota
	tunnelOpen
	tunnelSend
	tunnelReceive
	tunnelClose
	tunnelError byte = 0xff
)

// Flags in front of what is carried.
const (
	flagMore byte = 0
	flagEnd  byte = 1 // nothing follows in this direction
)

// sessionID names a session. It is no secret.
type sessionID [16]byte

// hpkeSize is the size of an HPKE public key (X-Wing).
const hpkeSize = 1216

// headSize is the size of what stands in front of what is sealed: kind, session, number.
const headSize = 1 + 16 + 8

func head(kind byte, id sessionID, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{kind}, id[:]...), n)
}

// parseHead takes a request of a session apart.
func parseHead(message []byte) (id sessionID, n uint64, sealed []byte, err error) {
	if len(message) < headSize+keys.SealerOverhead {
		return id, 0, nil, tunnelForm(fmt.Sprintf("%d bytes", len(message)))
	}
	copy(id[:], message[1:])
	return id, binary.BigEndian.Uint64(message[headSize-8:]), message[headSize:], nil
}

func tunnelForm(got string) error {
	return verdict.NotGenuine("tunnel.form", "a message of the tunnel as spec/ingress.md has it", got, "client and room must be of one version")
}

// tunnelInfo is what the two encapsulations of an opening are bound to: the first to the
// port, the second to the whole request too.
func tunnelInfo(port wire.ID) []byte { return wire.Tuple("strongroom/tunnel-open/v1", []byte(port)) }

func tunnelAnswerInfo(port wire.ID, request []byte) []byte {
	return wire.Tuple("strongroom/tunnel-answer/v1", []byte(port), request)
}

// secrets are what both ends of a session share: nobody else, also not whoever learns the
// room's key later, or repeats what a client sent.
type secrets struct {
	base                      *keys.Secret
	send, ack, ask, down, end *keys.Sealer
}

func newSecrets(first, second *keys.Secret, request, answer []byte) secrets {
	base := first.Combine(second, "strongroom/tunnel-session/v1", request, answer)
	sealer := func(direction string) *keys.Sealer { return base.Sealer("strongroom/tunnel-key/v1", []byte(direction)) }
	return secrets{base, sealer("send"), sealer("sent"), sealer("receive"), sealer("received"), sealer("close")}
}

// binding stands in the place of a TLS connection's.
func (s secrets) binding(nonce wire.Hash, key keys.HPKEPublicKey, work, port wire.ID) channelBinding {
	return channelBinding{nonce: nonce, exporter: s.base.Derive(exporterLabel, nonce[:]), key: wire.HashOf(key.Bytes()), work: work, port: port}
}
