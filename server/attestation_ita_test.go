package server_test

import (
	"context"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/intel/trustauthority-client/go-connector"
	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/server"
	"strongroom.dev/store/attestation"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// theirKey is what an attester binds: a public key, with more of its own beside it.
const theirKey = `{"keys":[{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

// trusting is a platform that takes whatever is said to be in a quote's report data: genuine
// quotes for a nonce of ours are made by machines only.
func trusting(name wire.ID) attest.Examiner {
	type quote struct {
		Told       wire.ID
		ReportData []byte
	}
	parse := func(data []byte) (q quote, ok bool) { return q, json.Unmarshal(data, &q) == nil && q.Told == name }
	return attest.Examiner{Name: name, Detect: func(data []byte) bool { _, ok := parse(data); return ok }, Examine: func(data []byte, _ time.Time) (attest.Finding, error) {
		q, ok := parse(data)
		if !ok {
			return attest.Finding{}, verdict.NotGenuine(string(name)+".signature", "a quote", "none", "send one")
		}
		return attest.Finding{Claims: map[string]any{"mrtd": "bb", "mrenclave": "cc", "measurement": "dd", "debug": false}, Checks: []verdict.Check{{ID: string(name) + ".signature", OK: true}},
			Facts: attest.Facts{Platform: name, Class: agreement.Confidential, Root: wire.HashOf([]byte("root")), ReportData: q.ReportData, InitData: []byte{7}, Measurements: map[string]string{"m": "aa"}}}, nil
	}}
}

// itaAdapter makes evidence as the client's own adapters do.
type itaAdapter struct {
	kind connector.EvidenceType
	told string
	hash func(nonce, held []byte) []byte
}

func (a itaAdapter) CollectEvidence(nonce []byte) (*connector.Evidence, error) {
	quote, err := json.Marshal(map[string]any{"Told": a.told, "ReportData": a.hash(nonce, []byte(theirKey))})
	return &connector.Evidence{Type: a.kind, Evidence: quote, RuntimeData: []byte(theirKey)}, err
}

func sha512Of(nonce, held []byte) []byte {
	sum := sha512.Sum512(append(append([]byte{}, nonce...), held...))
	return sum[:]
}

// itaWorld is a service for that client: it speaks https only, and fetches lists from wherever
// certificates say.
func itaWorld(t *testing.T, wrap func(http.Handler) http.Handler) connector.Connector {
	t.Helper()
	ctx := context.Background()
	var handler http.Handler
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) })
	plain, secure := httptest.NewServer(serve), httptest.NewTLSServer(serve)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	store := must(attestation.Open(filepath.Join(t.TempDir(), "state.db"), time.Second))
	t.Cleanup(func() { store.Close() })
	s := must(verifier.Open(ctx, verifier.Config{Base: plain.URL, Store: store, EAR: ear.ES256, Rotation: ear.Usual(), Build: "test", Now: time.Now,
		Table: func(endorse.Set) []attest.Examiner { return []attest.Examiner{trusting("tdx"), trusting("sgx"), trusting("snp")} },
		Gates: []verifier.Gate{{Shape: ear.ITA(), Audience: vaultAudience, Policy: "rooms"}}}))
	must(s.AddPolicy(ctx, "rooms", []byte("id: rooms\nversion: 1\nplatforms:\n  tdx: {}\n  sgx: {}\n  snp: {}\n")))
	must(s.Activate(ctx, "rooms", 1))
	handler = wrap(server.NewAttestation(s, server.AttestationLimits{}, nil).Handler())
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	return must(connector.New(&connector.Config{BaseUrl: secure.URL + "/ita", ApiUrl: secure.URL + "/ita", ApiKey: "any", TlsCfg: &tls.Config{RootCAs: roots}}))
}

func asItIs(h http.Handler) http.Handler { return h }

// TestClientOfIntelTrustAuthority has Intel's own client ask for a nonce and a token, and verify
// the token with its chain of certificates and both lists, knowing nothing of us.
func TestClientOfIntelTrustAuthority(t *testing.T) {
	c := itaWorld(t, asItIs)
	answer, err := c.Attest(connector.AttestArgs{Adapter: itaAdapter{connector.Tdx, "tdx", sha512Of}, PolicyMustMatch: true})
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.VerifyToken(answer.Token)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(must(json.Marshal(token.Claims)), &claims); err != nil {
		t.Fatal(err)
	}
	if claims["tdx_mrtd"] != "bb" || claims["attester_type"] != "TDX" || claims["strongroom_policy"] != "rooms" {
		t.Errorf("%v", claims)
	}
	_, err = c.Attest(connector.AttestArgs{Adapter: itaAdapter{connector.Tdx, "tdx", func(nonce, _ []byte) []byte { return sha512Of(nonce, nil) }}})
	if err == nil || !strings.Contains(err.Error(), "freshness") {
		t.Errorf("a quote that does not bind the key: %v", err)
	}
	forged := answer.Token[:len(answer.Token)-8] + "AAAAAAAA"
	if _, err := c.VerifyToken(forged); err == nil {
		t.Error("a token with another signature is taken")
	}
}

// TestClientOfIntelTrustAuthorityRefuses shows that its checks are made: without our lists it
// takes nothing.
func TestClientOfIntelTrustAuthorityRefuses(t *testing.T) {
	c := itaWorld(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/crl/") {
				http.NotFound(w, r)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	answer, err := c.Attest(connector.AttestArgs{Adapter: itaAdapter{connector.Tdx, "tdx", sha512Of}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.VerifyToken(answer.Token); err == nil || !strings.Contains(err.Error(), "CRL") {
		t.Errorf("%v", err)
	}
}
