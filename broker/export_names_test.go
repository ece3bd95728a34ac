package broker

import (
	"time"

	"strongroom.dev/release"
)

// CheckNames judges a request and a chain as they are judged for one name.
func CheckNames(spki, csr, leaf, issuer []byte, name string, now time.Time) (request, made error) {
	request = checkCSR(release.CertifyRequest{SPKI: spki, CSR: csr}, []string{name})
	_, made = checkMade([][]byte{leaf, issuer}, spki, []string{name}, now)
	return request, made
}
