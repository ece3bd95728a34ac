package sevsnp

import (
	"crypto/sha256"
	"fmt"

	"strongroom.dev/scale"
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
	r := scale.Reader(data[4+ReportSize:])
	count, err := r.Compact()
	if err != nil || count > maxCertificates {
		return fmt.Errorf("%d certificates, at most %d", count, maxCertificates)
	}
	for range count {
		b, err := r.Vector()
		if err != nil {
			return err
		}
		if _, err := e.endorsements(b); err != nil {
			return err
		}
	}
	e.config, err = r.Vector()
	return err
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
