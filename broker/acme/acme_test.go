package acme_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	xacme "golang.org/x/crypto/acme"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/broker/acme"
	"strongroom.dev/internal/acmetest"
	"strongroom.dev/verdict"
)

func key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func request(t testing.TB, names ...string) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	k := key(t)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, k)
	if err != nil {
		t.Fatal(err)
	}
	return csr, k
}

func config(s *acmetest.Server, p acme.Prover) acme.Config {
	return acme.Config{Directory: s.Directory, AcceptTerms: true, Contact: []string{"mailto:pki@alpha.example"}, Prover: p, Client: s.Client()}
}

func refusedBy(t *testing.T, err error, check string) {
	t.Helper()
	if e := verdict.As(err); err == nil || e.Check != check || e.Expected == "" || e.Fix == "" {
		t.Errorf("%v, expected %s", err, check)
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// certified has a certificate made and looks at it as a client does.
func certified(t *testing.T, s *acmetest.Server, p acme.Prover, names ...string) {
	t.Helper()
	a, err := acme.New(config(s, p))
	if err != nil {
		t.Fatal(err)
	}
	csr, k := request(t, names...)
	chain, err := a.Certify(within(t), key(t), csr)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil || !k.PublicKey.Equal(leaf.PublicKey) || !slices.Equal(leaf.DNSNames, names) {
		t.Fatalf("names %v, %v", leaf.DNSNames, err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(s.Root)
	for _, der := range chain[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(c)
	}
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between}); err != nil {
			t.Error(err)
		}
	}
}

func get(h http.Handler, method, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

// TestFiles proves names by http-01 to an authority that refuses one nonce in ten.
func TestFiles(t *testing.T) {
	s := acmetest.Start(t, acmetest.Options{BadNonces: 10})
	files := new(acme.Files)
	seen := make(chan string, 16)
	s.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.URL.Path
		files.ServeHTTP(w, r)
	}))
	certified(t, s, files, "a.alpha.example", "b.alpha.example")
	if len(seen) < 2 {
		t.Errorf("%d proofs looked at", len(seen))
	}
	if code, _ := get(files, http.MethodGet, <-seen); code != http.StatusNotFound {
		t.Error("a proof is still shown")
	}
}

// TestHook proves a name by dns-01.
func TestHook(t *testing.T) {
	s := acmetest.Start(t, acmetest.Options{})
	certified(t, s, acme.Hook{Program: s.Hook(t), Environment: []string{"PATH=" + os.Getenv("PATH")}}, "a.alpha.example")
}

// TestAccount finds the same account by the same key, also one bound to an account outside.
func TestAccount(t *testing.T) {
	s := acmetest.Start(t, acmetest.Options{Demand: true})
	c := config(s, new(acme.Files))
	a, err := acme.New(c)
	if err != nil {
		t.Fatal(err)
	}
	account := key(t)
	_, err = a.Account(within(t), account)
	refusedBy(t, err, "acme.account")

	c.Account = &acme.Binding{KeyID: acmetest.BindingID, Key: []byte("another key of sixteen bytes")}
	a, err = acme.New(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Account(within(t), account)
	refusedBy(t, err, "acme.authority")

	c.Account.Key, err = base64.RawURLEncoding.DecodeString(acmetest.BindingKey)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = acme.New(c); err != nil {
		t.Fatal(err)
	}
	first, err := a.Account(within(t), account)
	if err != nil || !strings.HasPrefix(first, "https://") {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := a.Account(within(t), account); err != nil || again != first {
		t.Errorf("%q and %q, %v", first, again, err)
	}
	if other, err := a.Account(within(t), key(t)); err != nil || other == first {
		t.Errorf("another key: %q, %v", other, err)
	}
}

func TestRefused(t *testing.T) {
	s := acmetest.Start(t, acmetest.Options{})
	files := new(acme.Files)
	wrong := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("something else")) })
	s.Serve(t, wrong)
	broken := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho no such zone >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*acme.Config)
		names  []string
		check  string
		says   string
	}{
		"no terms":          {func(c *acme.Config) { c.AcceptTerms = false }, []string{"a.alpha.example"}, "acme.terms", "accepted"},
		"another file":      {func(*acme.Config) {}, []string{"a.alpha.example"}, "acme.authority", "unauthorized"},
		"a blocked name":    {func(*acme.Config) {}, []string{"blocked.example"}, "acme.authority", "rejectedIdentifier"},
		"no names":          {func(*acme.Config) {}, nil, "acme.names", "0"},
		"too many names":    {func(*acme.Config) {}, slices.Repeat([]string{"a.alpha.example"}, acme.MaxNames+1), "acme.names", "101"},
		"a hook that fails": {func(c *acme.Config) { c.Prover = acme.Hook{Program: broken} }, []string{"a.alpha.example"}, "acme.proof", "no such zone"},
		"no hook":           {func(c *acme.Config) { c.Prover = acme.Hook{Program: broken + "2"} }, []string{"a.alpha.example"}, "acme.proof", "no such file"},
		"another TLS":       {func(c *acme.Config) { c.Client = &http.Client{} }, []string{"a.alpha.example"}, "acme.authority", "certificate"},
	} {
		cfg := config(s, files)
		c.change(&cfg)
		a, err := acme.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		csr, _ := request(t, c.names...)
		_, err = a.Certify(within(t), key(t), csr)
		refusedBy(t, err, c.check)
		if err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is proven are the names asked for, each once, whatever the authority says.
func TestTakeName(t *testing.T) {
	left := []string{"a.alpha.example", "b.alpha.example"}
	for _, id := range []struct {
		kind, name string
		taken      bool
	}{
		{"dns", "evil.example", false}, {"dns", "../a.alpha.example", false}, {"ip", "a.alpha.example", false}, {"dns", "a.alpha.example\n", false},
		{"dns", "b.alpha.example", true}, {"dns", "b.alpha.example", false}, {"dns", "a.alpha.example", true}, {"dns", "a.alpha.example", false},
	} {
		err := acme.TakeName(&left, xacme.AuthzID{Type: id.kind, Value: id.name})
		if (err == nil) != id.taken {
			t.Errorf("%s %q: %v", id.kind, id.name, err)
		}
	}
}

func TestNew(t *testing.T) {
	for name, c := range map[string]struct {
		config acme.Config
		check  string
	}{
		"zero":          {acme.Config{}, "acme.directory"},
		"plain HTTP":    {acme.Config{Directory: "http://ca.example/dir", Prover: new(acme.Files)}, "acme.directory"},
		"a password":    {acme.Config{Directory: "https://a:b@ca.example/dir", Prover: new(acme.Files)}, "acme.directory"},
		"too long":      {acme.Config{Directory: "https://ca.example/" + strings.Repeat("a", 256), Prover: new(acme.Files)}, "acme.directory"},
		"no proof":      {acme.Config{Directory: "https://ca.example/dir"}, "acme.proof"},
		"a short key":   {acme.Config{Directory: "https://ca.example/dir", Prover: new(acme.Files), Account: &acme.Binding{KeyID: "a", Key: make([]byte, 15)}}, "acme.account"},
		"a key, no one": {acme.Config{Directory: "https://ca.example/dir", Prover: new(acme.Files), Account: &acme.Binding{Key: make([]byte, 16)}}, "acme.account"},
	} {
		_, err := acme.New(c.config)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		refusedBy(t, err, c.check)
	}
}

// TestOnlyTLS: a directory cannot send us to plain HTTP.
func TestOnlyTLS(t *testing.T) {
	asked := 0
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Replay-Nonce", "nonce")
	}))
	defer plain.Close()
	directory := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"newNonce": "` + plain.URL + `", "newAccount": "` + plain.URL + `", "newOrder": "` + plain.URL + `"}`))
	}))
	defer directory.Close()
	a, err := acme.New(acme.Config{Directory: directory.URL, AcceptTerms: true, Prover: new(acme.Files), Client: directory.Client()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Account(within(t), key(t))
	refusedBy(t, err, "acme.authority")
	if asked != 0 || err == nil || !strings.Contains(err.Error(), "not https") {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestFilesShow(t *testing.T) {
	f := new(acme.Files)
	path := "/.well-known/acme-challenge/token"
	p := acme.Proof{Name: "a.example", Token: "token", Value: "token.thumb"}
	if code, _ := get(f, http.MethodGet, path); code != http.StatusNotFound {
		t.Error("shows what nobody showed")
	}
	if err := f.Show(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if code, body := get(f, http.MethodGet, path); code != http.StatusOK || body != p.Value {
		t.Errorf("%d %q", code, body)
	}
	for method, path := range map[string]string{http.MethodPost: path, http.MethodGet: "/token", http.MethodHead: "/"} {
		if code, body := get(f, method, path); code != http.StatusNotFound || strings.Contains(body, p.Value) {
			t.Errorf("%s %s: %d", method, path, code)
		}
	}
	if err := f.Hide(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if code, _ := get(f, http.MethodGet, path); code != http.StatusNotFound {
		t.Error("still shown")
	}
}

// TestHookEnds: a hook that hangs is ended with its caller.
func TestHookEnds(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	err := acme.Hook{Program: program, Environment: []string{"PATH=" + os.Getenv("PATH")}}.Show(ctx, acme.Proof{Name: "a.example", Value: "v"})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
}
