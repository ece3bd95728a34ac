package sevsnp

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// dstack recognises dstack's VersionedAttestation, version 0, of an AMD quote: SCALE
// encoding, a version, the number of the platform, and the report as a vector, whose length
// of 1184 is two bytes in SCALE's compact form.
func dstack(data []byte) bool {
	return len(data) > 4+ReportSize && data[0] == 0 && data[2] == 0x81 && data[3] == 0x12 && looksLike(data[4:])
}

// dstack takes the report, what certificates came with it, and the document (MrConfigV3)
// whose hash is in HOST_DATA. Event log and configuration behind them are dstack's own.
func (e *Envelope) dstack(data []byte) error {
	e.named(formDstack)
	if err := e.report(data[4 : 4+ReportSize]); err != nil {
		return err
	}
	r := scale(data[4+ReportSize:])
	count, err := r.compact()
	if err != nil || count > maxCertificates {
		return fmt.Errorf("%d certificates, at most %d", count, maxCertificates)
	}
	for range count {
		b, err := r.vector()
		if err != nil {
			return err
		}
		if _, err := e.endorsements(b); err != nil {
			return err
		}
	}
	e.config, err = r.vector()
	return err
}

// scale reads SCALE encoding (the "simple concatenated aggregate little-endian" one).
type scale []byte

// compact reads a length: the two low bits of the first byte say how many bytes it has.
func (r *scale) compact() (int, error) {
	b := *r
	if len(b) < 4 { // whatever the length's size, more follows here
		return 0, fmt.Errorf("cut short")
	}
	n, size := int(b[0]>>2), 1
	switch b[0] & 3 {
	case 1:
		n, size = int(binary.LittleEndian.Uint16(b)>>2), 2
	case 2:
		n, size = int(binary.LittleEndian.Uint32(b)>>2), 4
	case 3:
		return 0, fmt.Errorf("a length beyond 1 GiB")
	}
	*r = b[size:]
	return n, nil
}

func (r *scale) vector() ([]byte, error) {
	n, err := r.compact()
	if err != nil {
		return nil, err
	}
	if n > len(*r) {
		return nil, fmt.Errorf("cut short")
	}
	taken := (*r)[:n]
	*r = (*r)[n:]
	return taken, nil
}

// dstackConfig checks that HOST_DATA is the hash of the document that came with the report.
func (x *examination) dstackConfig() error {
	if len(x.envelope.config) == 0 {
		return nil
	}
	want := sha256.Sum256(append([]byte("dstack-mr-config-v3:\x00"), x.envelope.config...))
	const expected = "HOST_DATA that is the hash of dstack's mr_config"
	if want != x.report.HostData {
		return x.invalid("dstack_config", expected, fmt.Sprintf("%x…, and the document's hash is %x…", x.report.HostData[:8], want[:8]), "take evidence and document from the same machine")
	}
	x.pass("dstack_config", expected, "it is")
	x.claim("dstack_mr_config", string(x.envelope.config))
	return nil
}
