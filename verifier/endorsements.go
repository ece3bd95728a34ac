package verifier

import (
	"bytes"
	"crypto/x509"
	"slices"

	"strongroom.dev/endorse"
)

// fromAttester gives what counts of a file that came with a request, or says what it holds that
// only the service's officers may give: whatever is believed for being given.
func fromAttester(found []endorse.Item) (taken []endorse.Item, refused string) {
	for _, it := range found {
		if it.Kind.Pins() {
			return nil, string(it.Kind) + ", which nobody signs: only the service's officers may give one"
		}
	}
	// Chains as vendors serve them end in a root, so that it is left out and not refused. Platforms
	// know their vendors' roots; any other would be believed to be the officers' own.
	if taken = slices.DeleteFunc(found, isRoot); len(taken) == 0 {
		return nil, "nothing but roots: only the service's officers may give one"
	}
	return taken, ""
}

// isRoot finds certificates of CAs that are their own issuers.
func isRoot(it endorse.Item) bool {
	if it.Kind != endorse.X509Certificate {
		return false
	}
	c, err := x509.ParseCertificate(it.Data)
	return err == nil && c.IsCA && bytes.Equal(c.RawSubject, c.RawIssuer)
}
