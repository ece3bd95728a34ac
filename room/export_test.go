package room

import (
	"crypto/tls"
	"io"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ingress"
	"strongroom.dev/wire"
)

// ShownCertificates gives what serves the ports of a container that has these certificates.
func ShownCertificates(agreed agreement.Container, names, mesh *tls.Certificate, authority []wire.Bytes) ingress.Config {
	var c certificates
	c.set(agreed, names, mesh, authority)
	return c.fill(ingress.Config{})
}

// Container gives the plaintext of a result of an output of at most 4096 bytes, as a room
// makes it.
func Container(h Head, body []byte, salt [32]byte) ([]byte, error) {
	return SizedContainer(h, body, salt, 4096)
}

// SizedContainer is Container for another maximum.
func SizedContainer(h Head, body []byte, salt [32]byte, maxBytes int64) ([]byte, error) {
	part, err := committed(h, body, maxBytes)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plaintext(salt, part))
}

// Format is the formatter of results.
var Format = format

// Leases gives what extends leases, and what checks them.
func Leases(elapsed func() time.Duration) (extend func(wire.ID, time.Duration, time.Duration), check func() error) {
	l := &leases{elapsed: elapsed}
	return l.extend, func() error { _, err := l.check(); return err }
}
