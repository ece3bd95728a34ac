// Package fetch gets endorsements from vendors' services: AMD's key server (KDS), Intel's
// provisioning certification service (PCS), NVIDIA's RIM and OCSP services; and keeps them in a [Cache].
//
// It asks for nothing but documents of known shape ([Document]), once for all who wait, and
// not faster than a vendor allows. It never hands out what is outside its dates, and never
// goes back to an older version than it has had. It verifies no signatures: whoever uses an
// endorsement does.
package fetch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
)

// Vendors says where vendors' services are, and how to reach them. Empty addresses are the
// vendors' own; another one is a mirror of the same shape, such as an own cache.
type Vendors struct {
	AMD, Intel, IntelCertificates, NVIDIA, NVIDIAStatus string
	// Client is used for all requests; nil is one with [Patience] as its limit.
	Client *http.Client
}

// The vendors' own services.
const (
	amdKDS            = "https://kdsintf.amd.com"
	intelPCS          = "https://api.trustedservices.intel.com"
	intelCertificates = "https://certificates.trustedservices.intel.com"
	nvidiaRIM         = "https://rim.attestation.nvidia.com"
	nvidiaOCSP        = "https://ocsp.ndis.nvidia.com"
)

// Answer is a document as its vendor served it.
type Answer struct {
	Document Document
	Body     []byte
	// Chain is the certificate chain that Intel sends in a header, in PEM.
	Chain   string
	Fetched time.Time
}

// Items gives the endorsements in the answer.
func (a Answer) Items() []endorse.Item {
	items := endorse.Parse(a.Document.Name(), a.Body)
	for _, it := range endorse.Parse(a.Document.Name()+" chain", []byte(a.Chain)) {
		if it.Kind == endorse.X509Certificate {
			items = append(items, it)
		}
	}
	return items
}

// dates gives the dates that matter: of the document itself, not of the chain beside it.
func (a Answer) dates() (endorse.Dates, bool) {
	items := endorse.Parse(a.Document.Name(), a.Body)
	if !a.Document.holds(items) {
		return endorse.Dates{}, false
	}
	first := items[0].Dates()
	for _, it := range items[1:] { // a chain is current while all of it is
		if d := it.Dates(); !d.Until.IsZero() && (first.Until.IsZero() || d.Until.Before(first.Until)) {
			first.Until = d.Until
		}
	}
	return first, true
}

// errWait is a vendor's word that one asks too often.
type errWait struct{ after time.Duration }

func (e errWait) Error() string { return "the vendor asks for patience: " + e.after.String() }

// Wait gives how long to wait before asking again, if that is all that an error says.
func Wait(err error) (time.Duration, bool) {
	var wait errWait
	ok := errors.As(err, &wait)
	return wait.after, ok
}

// Get asks the vendor, once. Errors are of kind Refused for a document that the vendor does
// not have, else Broken.
func (v Vendors) Get(ctx context.Context, d Document, now time.Time) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	address := v.Address(d)
	req, err := ask(ctx, d, address)
	if err != nil {
		return Answer{}, unreachable(d, address, err)
	}
	req.Header.Set("User-Agent", "strongroom")
	client := v.Client
	if client == nil {
		// Nobody's document is elsewhere; a mirror must not make this machine ask its neighbours.
		client = &http.Client{Timeout: Patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, unreachable(d, address, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
		return Answer{}, errWait{retryAfter(resp.Header.Get("Retry-After"))}
	case resp.StatusCode >= 400 && resp.StatusCode < 500:
		return Answer{}, verdict.Refuse("endorsements.fetch", d.Name(), fmt.Sprintf("status %d from %s: %s", resp.StatusCode, host(address), cmp.Or(told(resp.Body), "it has no such document")), "check that the evidence is of a machine that its vendor knows")
	case resp.StatusCode != http.StatusOK:
		text := fmt.Sprintf("status %d", resp.StatusCode)
		if why := told(resp.Body); why != "" {
			text += ", which says: " + why
		}
		return Answer{}, unreachable(d, address, errors.New(text))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err != nil {
		return Answer{}, unreachable(d, address, err)
	}
	if len(body) > MaxAnswer {
		return Answer{}, unreachable(d, address, fmt.Errorf("more than %d bytes", MaxAnswer))
	}
	return Answer{Document: d, Body: body, Chain: chainHeader(d, resp.Header), Fetched: now}, nil
}

// ask makes the request: a GET, but for OCSP a POST (RFC 6960, appendix A.1).
func ask(ctx context.Context, d Document, address string) (*http.Request, error) {
	request := d.request()
	if request == nil {
		return http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(request))
	if err == nil {
		req.Header.Set("Content-Type", "application/ocsp-request")
	}
	return req, err
}

// chainHeader gives the chain that signs Intel's document, which it sends percent-encoded
// (Intel PCS API version 4). Mirrors encode spaces as "%20" or as forms do, as "+".
func chainHeader(d Document, h http.Header) string {
	name := d.ChainHeader()
	if name == "" {
		return ""
	}
	encoded := h.Get(name)
	if !strings.Contains(encoded, "BEGIN+CERTIFICATE") { // then "+" is no space, but one of base64's
		encoded = strings.ReplaceAll(encoded, "+", "%2B")
	}
	text, err := url.QueryUnescape(encoded)
	if err != nil || len(text) > MaxChain {
		return ""
	}
	return text
}

// Address gives the whole address that a document is asked for at. A certificate's status is
// asked for with a POST, whose body the document's path holds.
func (v Vendors) Address(d Document) string {
	base, own := "", ""
	switch d.Vendor {
	case AMD:
		base, own = v.AMD, amdKDS
	case Intel:
		base, own = v.Intel, intelPCS
	case IntelRoot:
		base, own = v.IntelCertificates, intelCertificates
	case NVIDIA:
		base, own = v.NVIDIA, nvidiaRIM
	case NVIDIAStatus: // the request is posted, see ask
		return strings.TrimSuffix(cmp.Or(v.NVIDIAStatus, nvidiaOCSP), "/") + "/"
	}
	return strings.TrimSuffix(cmp.Or(base, own), "/") + d.Path
}

// told gives what a cache of ours says about a failure, "" for anything else.
func told(body io.Reader) string {
	data, err := io.ReadAll(io.LimitReader(body, maxTold))
	if err != nil {
		return ""
	}
	e := verdict.Decode(data)
	if !strings.HasPrefix(e.Check, "endorsements.") {
		return ""
	}
	return verdict.Short(e.Got)
}

// reason gives what went wrong on the way, without addresses of this machine's network.
func reason(err error) string {
	var name *net.DNSError
	var op *net.OpError
	var u *url.Error
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return "its name does not resolve"
	case errors.As(err, &name):
		return "its name can't be looked up: " + name.Err
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	case errors.As(err, &u):
		return u.Err.Error()
	}
	return err.Error()
}

func unreachable(d Document, address string, err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "endorsements.fetch", Expected: d.Name(), Got: host(address) + ": " + verdict.Short(reason(err)), Fix: "try again later, or from a machine with a network, and carry them over as a bundle", Err: err}
}

func host(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Host
	}
	return address
}

// retryAfter reads the header's seconds; a date, or nothing, counts as ten seconds, AMD's pace.
func retryAfter(text string) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= 3600 {
		return time.Duration(n) * time.Second
	}
	return 10 * time.Second
}
