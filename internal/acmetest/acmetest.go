// Package acmetest starts an ACME authority for tests: pebble, the one that Let's Encrypt
// makes for testing clients, with a DNS server of its own. scripts/setup test builds both.
package acmetest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BindingID and BindingKey are the account outside that [Options.Demand] demands, the key as
// authorities show it: base64url.
const (
	BindingID  = "kid-1"
	BindingKey = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
)

// Options are what an authority does that is not usual.
type Options struct {
	// Demand has it demand an account outside.
	Demand bool
	// BadNonces is how many of a hundred requests it refuses for their nonce, as it may.
	BadNonces int
	// Seconds is how long its certificates live; zero is 90 days.
	Seconds int
}

// Server is a running authority.
type Server struct {
	Directory string // its directory's URL
	Files     string // HOST:PORT where it looks for proofs of kind http-01, for every name
	DNS       string // the URL that changes what its DNS server says
	TLS       []byte // the authority of its own TLS, PEM
	Root      []byte // the authority of the certificates that it makes, PEM
}

// Start starts an authority. The test is skipped without pebble, and fails under CI=true.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	pebble, names := program(t, "pebble"), program(t, "pebble-challtestsrv")
	dir := t.TempDir()
	ports := free(t, 5)
	s := &Server{Directory: "https://" + ports[0] + "/dir", Files: ports[2], DNS: "http://" + ports[4]}
	s.TLS = certificate(t, dir)
	_, port, _ := net.SplitHostPort(s.Files)
	config := fmt.Sprintf(`{"pebble": {"listenAddress": %q, "managementListenAddress": %q, "certificate": %q, "privateKey": %q, "httpPort": %s, "tlsPort": 1,
		"externalAccountBindingRequired": %v, "externalAccountMACKeys": {%q: %q}, "retryAfter": {"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa", "domainBlocklist": ["blocked.example"],
		"profiles": {"default": {"description": "usual", "validityPeriod": %d}}}}`, ports[0], ports[1], filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), port, o.Demand, BindingID, BindingKey, o.Seconds)
	write(t, filepath.Join(dir, "config.json"), []byte(config))
	run(t, names, nil, "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-dnsserver", ports[3], "-management", ports[4], "-defaultIPv6", "", "-defaultIPv4", "127.0.0.1")
	run(t, pebble, []string{"PEBBLE_VA_NOSLEEP=1", fmt.Sprintf("PEBBLE_WFE_NONCEREJECT=%d", o.BadNonces), "PEBBLE_AUTHZREUSE=0"}, "-config", filepath.Join(dir, "config.json"), "-dnsserver", ports[3])
	for _, address := range []string{ports[0], ports[1], ports[4]} {
		await(t, address)
	}
	s.Root = s.get(t, "https://"+ports[1]+"/roots/0")
	return s
}

// Client trusts the authority's own TLS.
func (s *Server) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.TLS)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: 20 * time.Second}
}

func (s *Server) get(t testing.TB, url string) []byte {
	t.Helper()
	resp, err := s.Client().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return data
}

// Serve shows proofs at Files by a handler, until the test ends.
func (s *Server) Serve(t testing.TB, h http.Handler) {
	t.Helper()
	l, err := net.Listen("tcp", s.Files)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

// Hook writes a hook for dns-01 that changes the authority's DNS, and gives its path. It
// needs curl.
func (s *Server) Hook(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	write(t, path, []byte(`#!/bin/sh
set -eu
case "$1" in
present) curl -sf -d "{\"host\": \"$2\", \"value\": \"$3\"}" `+s.DNS+`/set-txt ;;
cleanup) curl -sf -d "{\"host\": \"$2\"}" `+s.DNS+`/clear-txt ;;
esac
`))
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// Say tells the DNS server something: an operation of its management interface, and what it
// is about.
func (s *Server) Say(t testing.TB, operation string, about any) {
	t.Helper()
	data, err := json.Marshal(about)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(s.DNS+"/"+operation, "application/json", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", operation, resp.Status)
	}
}

// program finds a program that scripts/setup test builds into .pebble of the project.
func program(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	root, err := exec.Command("go", "env", "GOMOD").Output()
	path := filepath.Join(filepath.Dir(strings.TrimSpace(string(root))), ".pebble", name)
	if _, missing := os.Stat(path); err != nil || missing != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no %s, which scripts/setup test builds", name)
		}
		t.Skipf("%s is needed: scripts/setup test builds it", name)
	}
	return path
}

func run(t testing.TB, program string, environment []string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = environment
	output := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(program), output)
		}
	})
}

// free finds ports of this machine.
func free(t testing.TB, n int) (addresses []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

func await(t testing.TB, address string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nothing at %s: %v", address, err)
		}
	}
}

// certificate makes the certificate of the authority's own TLS, in cert.pem and key.pem.
func certificate(t testing.TB, dir string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority's TLS"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, filepath.Join(dir, "cert.pem"), cert)
	write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	return cert
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
