package fetch_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
	"strongroom.dev/dcap"
	"strongroom.dev/endorse"
	"strongroom.dev/endorse/fetch"
	"strongroom.dev/sevsnp"
	"strongroom.dev/verdict"
)

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) // constant: when every test starts

// vendor is a vendor's service with one CRL.
type vendor struct {
	*httptest.Server
	asked  atomic.Int64
	mu     sync.Mutex
	number int64
	issued time.Time
	life   time.Duration
	status int
	body   []byte
	held   chan struct{}
}

func newVendor(t *testing.T) *vendor {
	v := &vendor{number: 1, issued: start.Add(-time.Hour), life: 30 * 24 * time.Hour, status: 200}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		v.asked.Add(1)
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.held != nil {
			<-v.held
		}
		body := v.body
		if body == nil {
			body = crl(t, v.number, v.issued, v.issued.Add(v.life))
		}
		w.Header().Set("Retry-After", "77")
		w.Header().Set("SGX-PCK-CRL-Issuer-Chain", url.QueryEscape("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"))
		w.WriteHeader(v.status)
		w.Write(body)
	}))
	t.Cleanup(v.Close)
	return v
}

func (v *vendor) set(change func(*vendor)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(v)
}

func crl(t *testing.T, number int64, issued, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: issued, NextUpdate: until}, ca, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

var document = fetch.Document{Vendor: fetch.Intel, Path: "/sgx/certification/v4/pckcrl?ca=platform&encoding=der"} // constant: what every test asks for

// world is a cache with a vendor and a clock.
type world struct {
	*fetch.Cache
	vendor *vendor
	dir    string
	now    time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{vendor: newVendor(t), dir: filepath.Join(t.TempDir(), "cache"), now: start}
	w.reopen(t)
	return w
}

func (w *world) reopen(t *testing.T) {
	t.Helper()
	var err error
	w.Cache, err = fetch.Open(fetch.Config{Dir: w.dir, Vendors: fetch.Vendors{Intel: w.vendor.URL, AMD: w.vendor.URL}, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
}

// get gives the number of the CRL that the cache hands out, or the check that failed.
func (w *world) get(t *testing.T) string {
	t.Helper()
	a, err := w.Get(context.Background(), document)
	if err != nil {
		return verdict.As(err).Check
	}
	l, err := x509.ParseRevocationList(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return l.Number.String()
}

func TestCacheKeeps(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		if got := w.get(t); got != "1" {
			t.Fatal(got)
		}
	}
	w.reopen(t)
	w.get(t)
	if n := w.vendor.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	w.vendor.set(func(v *vendor) { v.number = 2 })
	w.now = start.Add(25 * time.Hour)
	if got := w.get(t); got != "2" || w.vendor.asked.Load() != 2 {
		t.Errorf("after a day: %s, asked %d times", got, w.vendor.asked.Load())
	}
}

// TestChain: Intel encodes spaces as "%20", mirrors made with form encoding as "+", and some leave
// the "+" of base64 as it is.
func TestChain(t *testing.T) {
	const chain = "-----BEGIN CERTIFICATE-----\nMII+C/A=\n-----END CERTIFICATE-----\n"
	form := url.QueryEscape(chain)
	for _, encoded := range []string{form, strings.ReplaceAll(form, "+", "%20"), strings.NewReplacer("+", "%20", "%2B", "+").Replace(form)} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("SGX-PCK-CRL-Issuer-Chain", encoded)
		}))
		a, err := fetch.Vendors{Intel: s.URL}.Get(context.Background(), document, start)
		s.Close()
		if err != nil || a.Chain != chain {
			t.Errorf("%s: %q, %v", encoded, a.Chain, err)
		}
	}
}

func TestCacheAsksOnceForAll(t *testing.T) {
	w := newWorld(t)
	w.vendor.held = make(chan struct{})
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if got := w.get(t); got != "1" {
				t.Error(got)
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	close(w.vendor.held)
	group.Wait()
	if n := w.vendor.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestCacheNeverServesExpired(t *testing.T) {
	w := newWorld(t)
	w.get(t)
	w.vendor.set(func(v *vendor) { v.status = 500 })
	w.now = start.Add(20 * 24 * time.Hour)
	if got := w.get(t); got != "1" {
		t.Errorf("within its dates, vendor down: %s", got)
	}
	w.now = start.Add(31 * 24 * time.Hour)
	if got := w.get(t); got != "endorsements.fetch" {
		t.Errorf("after its dates, vendor down: %s", got)
	}
	w.vendor.set(func(v *vendor) { v.status = 200 })
	w.now = w.now.Add(time.Hour)
	if got := w.get(t); got != "endorsements.dates" {
		t.Errorf("vendor serves an expired one: %s", got)
	}
}

func TestCacheNeverGoesBack(t *testing.T) {
	w := newWorld(t)
	w.vendor.set(func(v *vendor) { v.number = 5 })
	w.get(t)
	w.vendor.set(func(v *vendor) { v.number = 4 })
	w.now = start.Add(25 * time.Hour)
	if got := w.get(t); got != "5" { // the one it has is still good
		t.Errorf("got number %s", got)
	}
	w.reopen(t)
	w.now = start.Add(31 * 24 * time.Hour)
	w.vendor.set(func(v *vendor) { v.issued = w.now })
	if got := w.get(t); got != "endorsements.rollback" {
		t.Errorf("got %s", got)
	}
}

func TestCachePace(t *testing.T) {
	w := newWorld(t)
	w.vendor.set(func(v *vendor) { v.status = 429 })
	if got := w.get(t); got != "endorsements.pace" {
		t.Fatal(got)
	}
	w.vendor.set(func(v *vendor) { v.status = 200 })
	w.now = start.Add(76 * time.Second)
	if got := w.get(t); got != "endorsements.pace" || w.vendor.asked.Load() != 1 {
		t.Errorf("before its time: %s, asked %d times", got, w.vendor.asked.Load())
	}
	w.now = start.Add(78 * time.Second)
	if got := w.get(t); got != "1" {
		t.Errorf("after its time: %s", got)
	}
}

func TestCacheBacksOff(t *testing.T) {
	w := newWorld(t)
	w.vendor.set(func(v *vendor) { v.status = 500 })
	asked := int64(0)
	for second := range 120 {
		w.now = start.Add(time.Duration(second) * time.Second)
		w.get(t)
		asked = w.vendor.asked.Load()
	}
	if asked < 4 || asked > 8 { // at 0, 1, 3, 7, 15, 31, 63 s
		t.Errorf("asked %d times in two minutes", asked)
	}
}

func TestCacheLimitsAMD(t *testing.T) {
	w := newWorld(t)
	w.vendor.set(func(v *vendor) { v.status = 404 })
	for i := range 50 {
		d := fetch.Document{Vendor: fetch.AMD, Path: fmt.Sprintf("/vcek/v1/Milan/%0128x?blSPL=01&teeSPL=00&snpSPL=01&ucodeSPL=01", i)}
		if _, err := w.Get(context.Background(), d); err == nil {
			t.Fatal("no such certificate, and no error")
		}
	}
	if n := w.vendor.asked.Load(); n != 4 {
		t.Errorf("asked %d times at once", n)
	}
}

func TestCacheRefusesJunk(t *testing.T) {
	w := newWorld(t)
	w.vendor.set(func(v *vendor) { v.body = []byte("<html>log in to the hotel's network</html>") })
	if got := w.get(t); got != "endorsements.form" {
		t.Error(got)
	}
	w.vendor.set(func(v *vendor) { v.body = make([]byte, fetch.MaxAnswer+1) })
	w.now = start.Add(time.Hour)
	if got := w.get(t); got != "endorsements.fetch" {
		t.Error(got)
	}
	w.vendor.set(func(v *vendor) { v.body = nil })
	w.now = start.Add(2 * time.Hour)
	if got := w.get(t); got != "1" {
		t.Fatal(got)
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := w.get(t); got != "endorsements.cache" {
		t.Errorf("damaged file: %s", got)
	}
}

// TestCacheRefusesOtherKinds: what stands between may not slip in what is trusted for being
// there, nor what never ends.
func TestCacheRefusesOtherKinds(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: start.Add(-time.Hour), NotAfter: start.AddDate(50, 0, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	in := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	good := in("X509 CRL", crl(t, 1, start.Add(-time.Hour), start.Add(time.Hour)))
	for name, body := range map[string][]byte{
		"public key": in("PUBLIC KEY", spki), "request": request, "certificate": cert,
		"CRL and a key": append(slices.Clone(good), in("PUBLIC KEY", spki)...),
	} {
		w := newWorld(t)
		w.vendor.set(func(v *vendor) { v.body = body })
		if got := w.get(t); got != "endorsements.form" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestParse(t *testing.T) {
	id := strings.Repeat("ab", 64)
	for asked, want := range map[string]string{
		"/vcek/v1/Milan/" + id + "?ucodeSPL=115&blSPL=03&teeSPL=00&snpSPL=08":                "amd/vcek/v1/Milan/" + id + "?blSPL=03&teeSPL=00&snpSPL=08&ucodeSPL=115",
		"/vcek/v1/Turin/0011223344556677?fmcSPL=01&blSPL=01&teeSPL=01&snpSPL=01&ucodeSPL=01": "amd/vcek/v1/Turin/0011223344556677?fmcSPL=01&blSPL=01&teeSPL=01&snpSPL=01&ucodeSPL=01",
		"/vlek/v1/Genoa/crl":                                                           "amd/vlek/v1/Genoa/crl",
		"/tdx/certification/v4/tcb?fmspc=00A06D080000":                                 "intel/tdx/certification/v4/tcb?fmspc=00a06d080000&update=standard",
		"/sgx/certification/v4/qe/identity":                                            "intel/sgx/certification/v4/qe/identity?update=standard",
		"/sgx/certification/v4/pckcrl?encoding=pem&ca=platform":                        "intel/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
		"/IntelSGXRootCA.der":                                                          "intel-root/IntelSGXRootCA.der",
		"/v1/rim/NV_GPU_DRIVER_GH100_550.144.03":                                       "nvidia/v1/rim/NV_GPU_DRIVER_GH100_550.144.03",
		"/vcek/v1/Milan/" + id:                                                         "",
		"/vcek/v1/Milan/" + id[2:] + "?blSPL=01&teeSPL=01&snpSPL=01&ucodeSPL=01":       "",
		"/vcek/v1/Milan/" + id + "?blSPL=256&teeSPL=00&snpSPL=08&ucodeSPL=115":         "",
		"/vcek/v1/Milan/" + id + "?blSPL=01&blSPL=02&teeSPL=00&snpSPL=08&ucodeSPL=115": "",
		"/vcek/v1/Rome/cert_chain":                                                     "",
		"/vcek/v1/../admin":                                                            "",
		"/v1/rim/NV_GPU_../../x":                                                       "",
		"/tdx/certification/v4/tcb?fmspc=zz":                                           "",
		"/":                                                                            "",
		"//evil.example/vcek/v1/Milan/crl":                                             "",
	} {
		path, query, _ := strings.Cut(asked, "?")
		d, err := fetch.Parse(path, query)
		if got := string(d.Vendor) + d.Path; (err != nil) != (want == "") || got != want {
			t.Errorf("%s: %s, %v", asked, got, err)
		}
	}
}

// TestDocumentsHaveKnownShapes: what is asked for evidence is what a cache would serve.
func TestDocumentsHaveKnownShapes(t *testing.T) {
	var docs []fetch.Document
	for _, p := range []sevsnp.Product{sevsnp.Milan, sevsnp.Genoa, sevsnp.Turin} {
		docs = append(docs, fetch.AMDDocuments(&sevsnp.Report{ReportedTCB: sevsnp.TCB{1, 2, 3, 4, 0, 0, 255, 7}}, p)...)
		docs = append(docs, fetch.AMDDocuments(&sevsnp.Report{Flags: sevsnp.Flags(sevsnp.VLEK) << 2}, p)...)
	}
	docs = append(docs, fetch.ForQuote(dcap.TDX, dcap.PCK{Platform: true})...)
	docs = append(docs, fetch.ForQuote(dcap.SGX, dcap.PCK{FMSPC: [6]byte{0xab}})...)
	for _, d := range docs {
		path, query, _ := strings.Cut(d.Path, "?")
		if again, err := fetch.Parse(path, query); err != nil || again != d {
			t.Errorf("%s: %v", d.Name(), err)
		}
	}
	if len(docs) != 23 {
		t.Errorf("%d documents", len(docs))
	}
	if _, err := fetch.ForReport(&sevsnp.Report{Version: 2}); err == nil {
		t.Error("guessed a product")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/tdx/certification/v4/tcb", "fmspc=00A06D080000")
	f.Add("/vcek/v1/Milan/cert_chain", "")
	f.Fuzz(func(t *testing.T, path, query string) {
		d, err := fetch.Parse(path, query)
		if err == nil && (!strings.HasPrefix(d.Path, "/") || strings.HasPrefix(d.Path, "//") || strings.Contains(d.Path, "..")) {
			t.Error(d.Path)
		}
	})
}

// TestStatus asks an OCSP responder as RFC 6960 has it, and keeps what it said.
func TestStatus(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "ca"}, NotBefore: start, NotAfter: start.Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != "application/ocsp-request" {
			t.Errorf("%s %s, %v", r.Method, r.URL.Path, err)
		}
		q, err := ocsp.ParseRequest(body)
		if err != nil || q.SerialNumber.Int64() != 7 || q.HashAlgorithm != crypto.SHA384 {
			t.Errorf("%v, %v", q, err)
		}
		answer, err := ocsp.CreateResponse(ca, ca, ocsp.Response{Status: ocsp.Good, SerialNumber: ca.SerialNumber, ThisUpdate: start.Add(-time.Hour), NextUpdate: start.Add(10 * time.Hour), IssuerHash: crypto.SHA384}, key)
		if err != nil {
			t.Error(err)
		}
		w.Write(answer)
	}))
	defer responder.Close()
	now := start
	c, err := fetch.Open(fetch.Config{Dir: t.TempDir(), Vendors: fetch.Vendors{NVIDIAStatus: responder.URL}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	d, err := fetch.Status(ca, ca)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a, err := c.Get(context.Background(), d)
		if err != nil || len(a.Items()) != 1 || a.Items()[0].Kind != endorse.OCSPResponse {
			t.Fatalf("%v, %v", a.Items(), err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	now = start.Add(11 * time.Hour) // the responder goes on saying the same
	if _, err := c.Get(context.Background(), d); verdict.As(err).Check != "endorsements.dates" {
		t.Error(err)
	}

	// A request that another tool posts is for the same document, its nonce left out.
	posted, err := ocsp.CreateRequest(ca, ca, &ocsp.RequestOptions{Hash: crypto.SHA384})
	if err != nil {
		t.Fatal(err)
	}
	if same, err := fetch.ParseStatus(posted); err != nil || same != d {
		t.Errorf("%v, %v", same, err)
	}
	if _, err := fetch.ParseStatus([]byte("junk")); verdict.As(err).Check != "endorsements.status" {
		t.Error(err)
	}
}
