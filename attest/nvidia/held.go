package nvidia

import (
	"crypto/x509"
	"fmt"
	"strings"

	"strongroom.dev/endorse"
)

// held are the caller's endorsements.
type held struct {
	links *links
	// leaves are certificates of devices' attestation keys, others those that may issue.
	leaves, others []*x509.Certificate
	rims           []*rim
	// unread says why the first RIM that could not be read was not; "" if all were.
	unread    string
	responses []*response
	// unreadable is the number of OCSP responses that could not be read.
	unreadable int
	crls       []*x509.RevocationList
}

func hold(l *links, set endorse.Set) *held {
	h := &held{links: l, crls: set.CRLs()}
	for _, c := range set.Certificates() {
		if strings.HasSuffix(c.Subject.CommonName, leafSuffix) {
			h.leaves = append(h.leaves, c)
		} else {
			h.others = append(h.others, c)
		}
	}
	for _, it := range set.Of(endorse.NVIDIARIM) {
		r, err := parseRIM(it.Name, it.Data)
		switch {
		case err == nil:
			h.rims = append(h.rims, r)
		case h.unread == "":
			h.unread = fmt.Sprintf("%.80q can't be read: %s", it.Name, err)
		}
	}
	for _, it := range set.Of(endorse.OCSPResponse) {
		r, err := parseResponse(it.Data)
		if err != nil {
			h.unreadable++
			continue
		}
		h.responses = append(h.responses, r)
	}
	return h
}
