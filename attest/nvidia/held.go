package nvidia

import (
	"bytes"
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
	// unread are RIMs that could not be read.
	unread    []unread
	responses []*response
	// unreadable is the number of OCSP responses that could not be read.
	unreadable int
	crls       []*x509.RevocationList
}

// unread is a RIM that could not be read, and why.
type unread struct {
	name string
	data []byte
	err  error
}

// meant gives those of the unread RIMs that seem to be for a version, for people.
func (h *held) meant(version string) (all []string) {
	for _, u := range h.unread {
		if version != "" && bytes.Contains(bytes.ToUpper(u.data), []byte(`"`+strings.ToUpper(version)+`"`)) {
			all = append(all, fmt.Sprintf("%.80q, which can't be read: %s", u.name, u.err))
		}
	}
	return all
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
		case len(h.unread) < maxFitting:
			h.unread = append(h.unread, unread{it.Name, it.Data, err})
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
