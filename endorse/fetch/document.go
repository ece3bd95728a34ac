package fetch

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ocsp"
	"strongroom.dev/dcap"
	"strongroom.dev/endorse"
	"strongroom.dev/sevsnp"
	"strongroom.dev/verdict"
)

// Vendor is a service that endorsements come from.
type Vendor string

// The vendors.
const (
	AMD       Vendor = "amd"
	Intel     Vendor = "intel"
	IntelRoot Vendor = "intel-root"
	NVIDIA    Vendor = "nvidia"
	// NVIDIAStatus answers OCSP requests (RFC 6960).
	NVIDIAStatus Vendor = "nvidia-status"
)

// Document is one document of a vendor's service. Path, with its query, is of a shape that
// this package knows; nothing else is ever asked for.
type Document struct {
	Vendor Vendor `json:"vendor"`
	Path   string `json:"path"`
}

// Name says what the document is, for people.
func (d Document) Name() string { return verdict.Short(d.key()) }

func (d Document) key() string { return string(d.Vendor) + d.Path }

// ChainHeader names the HTTP header in which the certificate chain of the document comes, ""
// for documents that have none.
func (d Document) ChainHeader() string {
	path, _, _ := strings.Cut(d.Path, "?")
	switch {
	case d.Vendor != Intel:
		return ""
	case strings.HasSuffix(path, "/tcb"):
		return "TCB-Info-Issuer-Chain"
	case strings.HasSuffix(path, "/identity"):
		return "SGX-Enclave-Identity-Issuer-Chain"
	case strings.HasSuffix(path, "/pckcrl"):
		return "SGX-PCK-CRL-Issuer-Chain"
	}
	return "TCB-Evaluation-Data-Numbers-Issuer-Chain"
}

// shape is what paths of one kind of document look like, and what may be in it.
type shape struct {
	vendor Vendor
	path   *regexp.Regexp
	holds  endorse.Kind
}

// shapes lists every document there is to ask for: AMD 57230, chapter 4; Intel PCS API
// version 4; NVIDIA's RIM service, version 1. None holds a kind that pins.
func shapes() []shape {
	const svn = `(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[0-9]{2})`
	return []shape{
		{AMD, regexp.MustCompile(`^/vcek/v1/(Milan|Genoa)/[0-9a-f]{128}\?blSPL=` + svn + `&teeSPL=` + svn + `&snpSPL=` + svn + `&ucodeSPL=` + svn + `$`), endorse.X509Certificate},
		{AMD, regexp.MustCompile(`^/vcek/v1/Turin/[0-9a-f]{16}\?fmcSPL=` + svn + `&blSPL=` + svn + `&teeSPL=` + svn + `&snpSPL=` + svn + `&ucodeSPL=` + svn + `$`), endorse.X509Certificate},
		{AMD, regexp.MustCompile(`^/(vcek|vlek)/v1/(Milan|Genoa|Turin)/cert_chain$`), endorse.X509Certificate},
		{AMD, regexp.MustCompile(`^/(vcek|vlek)/v1/(Milan|Genoa|Turin)/crl$`), endorse.X509CRL},
		{Intel, regexp.MustCompile(`^/(sgx|tdx)/certification/v4/tcb\?fmspc=[0-9a-f]{12}&update=(standard|early)$`), endorse.IntelTCBInfo},
		{Intel, regexp.MustCompile(`^/(sgx|tdx)/certification/v4/qe/identity\?update=(standard|early)$`), endorse.IntelQEIdentity},
		{Intel, regexp.MustCompile(`^/(sgx|tdx)/certification/v4/tcbevaluationdatanumbers$`), endorse.IntelTCBEvaluation},
		{Intel, regexp.MustCompile(`^/sgx/certification/v4/pckcrl\?ca=(processor|platform)&encoding=der$`), endorse.X509CRL},
		{IntelRoot, regexp.MustCompile(`^/IntelSGXRootCA\.der$`), endorse.X509CRL},
		{NVIDIA, regexp.MustCompile(`^/v1/rim/NV_(GPU|SWITCH)_[0-9A-Za-z_.-]{1,96}$`), endorse.NVIDIARIM},
		{NVIDIAStatus, regexp.MustCompile(`^` + ocspPath + `[0-9A-Za-z_-]{100,400}$`), endorse.OCSPResponse},
	}
}

// Parse finds the document behind a request's path and query, in whatever order the query's
// members stand. It refuses every shape that is not known.
func Parse(path, query string) (Document, error) {
	values, err := url.ParseQuery(query)
	asked := path
	if err == nil {
		asked += canonicalQuery(path, values)
	}
	if s, ok := shapeOf(asked); err == nil && ok {
		return Document{s.vendor, asked}, nil
	}
	return Document{}, verdict.Misuse("endorsements.path", "a document of AMD's, Intel's or NVIDIA's service", verdict.Short(path), "see docs/verifying.md")
}

func shapeOf(path string) (shape, bool) {
	for _, s := range shapes() {
		if s.path.MatchString(path) {
			return s, true
		}
	}
	return shape{}, false
}

// holds reports whether all items are of the one kind that the document is made of.
func (d Document) holds(items []endorse.Item) bool {
	s, ok := shapeOf(d.Path)
	return ok && s.vendor == d.Vendor && len(items) > 0 && !slices.ContainsFunc(items, func(it endorse.Item) bool { return it.Kind != s.holds })
}

// canonicalQuery puts a query's members into the order of [shapes], with Intel's defaults.
func canonicalQuery(path string, q url.Values) string {
	var order []string
	switch {
	case strings.HasPrefix(path, "/vcek/v1/") && q.Has("blSPL"):
		order = []string{"fmcSPL", "blSPL", "teeSPL", "snpSPL", "ucodeSPL"}
	case strings.HasSuffix(path, "/tcb"):
		order = []string{"fmspc", "update"}
	case strings.HasSuffix(path, "/qe/identity"):
		order = []string{"update"}
	case strings.HasSuffix(path, "/pckcrl"):
		order = []string{"ca", "encoding"}
	}
	var parts []string
	for _, name := range order {
		value := strings.ToLower(q.Get(name))
		if len(q[name]) > 1 {
			return "?"
		}
		switch {
		case value == "" && name == "update":
			value = "standard"
		case name == "encoding":
			value = "der" // the one form that is kept
		case value == "":
			continue
		case strings.HasSuffix(name, "SPL"):
			if n, err := strconv.ParseUint(value, 10, 8); err == nil {
				value = fmt.Sprintf("%02d", n)
			}
		}
		parts = append(parts, name+"="+value)
	}
	if len(parts) == 0 {
		return ""
	}
	return "?" + strings.Join(parts, "&")
}

// ForReport lists the documents needed to judge an AMD report.
func ForReport(r *sevsnp.Report) ([]Document, error) {
	product := r.Product()
	if product == "" {
		return nil, verdict.Refuse("endorsements.product", "a report that names its processor (version 3 or later), or --product", fmt.Sprintf("version %d", r.Version), "give --product Milan or Genoa")
	}
	return AMDDocuments(r, product), nil
}

// AMDDocuments lists the documents for a report of a known product.
func AMDDocuments(r *sevsnp.Report, product sevsnp.Product) []Document {
	kind := "vcek"
	if r.Flags.Key() == sevsnp.VLEK {
		kind = "vlek"
	}
	base := "/" + kind + "/v1/" + string(product)
	docs := []Document{{AMD, base + "/cert_chain"}, {AMD, base + "/crl"}}
	if kind == "vlek" { // its certificate comes with the evidence: only the cloud can ask for it
		return docs
	}
	path := fmt.Sprintf("%s/%x?%s", base, product.ChipID(r), product.KeyQuery(r.ReportedTCB))
	return append(docs, Document{AMD, path})
}

// ForQuote lists the documents needed to judge a quote of Intel's.
func ForQuote(tee dcap.TEE, p dcap.PCK) []Document {
	kind, ca := "sgx", "processor"
	if tee == dcap.TDX {
		kind = "tdx"
	}
	if p.Platform {
		ca = "platform"
	}
	return []Document{
		{Intel, fmt.Sprintf("/%s/certification/v4/tcb?fmspc=%x&update=standard", kind, p.FMSPC)},
		{Intel, "/" + kind + "/certification/v4/qe/identity?update=standard"},
		{Intel, "/sgx/certification/v4/pckcrl?ca=" + ca + "&encoding=der"},
		{IntelRoot, "/IntelSGXRootCA.der"},
	}
}

// Status is the OCSP response about a certificate. Its path holds the request, without a
// nonce, so that the response can be kept until its next update.
func Status(certificate, issuer *x509.Certificate) (Document, error) {
	request, err := ocsp.CreateRequest(certificate, issuer, &ocsp.RequestOptions{Hash: crypto.SHA384})
	if err != nil {
		return Document{}, verdict.NotGenuine("endorsements.status", "a certificate and its issuer's", verdict.Short(err.Error()), "send the evidence with its whole chain")
	}
	return Parse(ocspPath+base64.RawURLEncoding.EncodeToString(request), "")
}

// ParseStatus finds the document behind an OCSP request that somebody posted. A nonce in it is
// left out: the response is one that may be kept.
func ParseStatus(request []byte) (Document, error) {
	r, err := ocsp.ParseRequest(request)
	if err == nil {
		request, err = r.Marshal()
	}
	if err != nil {
		return Document{}, verdict.Misuse("endorsements.status", "an OCSP request (RFC 6960)", verdict.Short(err.Error()), "see docs/verifying.md")
	}
	return Parse(ocspPath+base64.RawURLEncoding.EncodeToString(request), "")
}

// ocspPath is below what an OCSP request stands in a path.
const ocspPath = "/ocsp/"

// request gives the OCSP request that the path holds, nil for documents that are no status.
func (d Document) request() []byte {
	text, is := strings.CutPrefix(d.Path, ocspPath)
	if d.Vendor != NVIDIAStatus || !is {
		return nil
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return data
}

// RIM is the document of a RIM by its id.
func RIM(id string) (Document, error) { return Parse("/v1/rim/"+id, "") }
