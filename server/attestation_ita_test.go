package server_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
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
	// paravisor is the runtime data of a machine on Azure, up to what it binds; "" elsewhere.
	paravisor string
}

func (a itaAdapter) CollectEvidence(nonce []byte) (*connector.Evidence, error) {
	reportData := a.hash(nonce, []byte(theirKey))
	e := &connector.Evidence{Type: a.kind, RuntimeData: []byte(theirKey)}
	if a.paravisor != "" {
		e.UserData, e.RuntimeData = e.RuntimeData, []byte(a.paravisor+hex.EncodeToString(reportData)+`"}`)
		reportData = sha256Of(e.RuntimeData, nil)
	}
	var err error
	e.Evidence, err = json.Marshal(map[string]any{"Told": a.told, "ReportData": reportData})
	return e, err
}

func sha256Of(nonce, held []byte) []byte {
	sum := sha256.Sum256(append(append([]byte{}, nonce...), held...))
	return append(sum[:], make([]byte, 32)...)
}

func sha512Of(nonce, held []byte) []byte {
	sum := sha512.Sum512(append(append([]byte{}, nonce...), held...))
	return sum[:]
}

// composite is evidence of SEV-SNP in a member of its own, as later clients send it.
type composite struct{}

func (composite) GetEvidenceIdentifier() string { return "sevsnp" }

func (composite) GetEvidence(n *connector.VerifierNonce, held []byte) (any, error) {
	report, err := json.Marshal(map[string]any{"Told": "snp", "ReportData": sha512Of(append(append([]byte{}, n.Val...), n.Iat...), held)})
	return map[string]any{"report": report, "runtime_data": held, "verifier_nonce": n}, err
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
		Table: func(endorse.Set) []attest.Examiner {
			return []attest.Examiner{trusting("tdx"), trusting("sgx"), trusting("snp")}
		},
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
	ak := must(rsa.GenerateKey(rand.Reader, 2048))
	paravisor := `{"keys":[{"kid":"HCLAkPub","kty":"RSA","key_ops":["sign"],"e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString(ak.N.Bytes()) + `"}],"vm-configuration":{},"user-data":"`
	var answer connector.AttestResponse
	for _, a := range []struct {
		itaAdapter
		claims map[string]any
	}{
		{itaAdapter{connector.Tdx, "tdx", sha512Of, ""}, map[string]any{"attester_type": "TDX", "tdx_mrtd": "bb"}},
		{itaAdapter{connector.Sgx, "sgx", sha256Of, ""}, map[string]any{"attester_type": "SGX", "sgx_mrenclave": "cc"}},
		{itaAdapter{connector.AzTdx, "tdx", sha512Of, paravisor}, map[string]any{"attester_type": "TDX", "tdx_mrtd": "bb"}},
	} {
		var err error
		if answer, err = c.Attest(connector.AttestArgs{Adapter: a.itaAdapter, PolicyMustMatch: true}); err != nil {
			t.Fatalf("%v: %v", a.kind, err)
		}
		token, err := c.VerifyToken(answer.Token)
		if err != nil {
			t.Fatalf("%v: %v", a.kind, err)
		}
		var claims map[string]any
		if err := json.Unmarshal(must(json.Marshal(token.Claims)), &claims); err != nil {
			t.Fatal(err)
		}
		for name, want := range a.claims {
			if claims[name] != want || claims["strongroom_policy"] != "rooms" {
				t.Errorf("%v: %s is %v in %v", a.kind, name, claims[name], claims)
			}
		}
	}
	parts := must(must(connector.NewEvidenceBuilder(connector.WithVerifierNonce(c), connector.WithUserData([]byte(theirKey)), connector.WithEvidenceAdapter(composite{}))).Build())
	several, err := c.AttestEvidence(parts, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.VerifyToken(several.Token); err != nil {
		t.Error(err)
	}
	_, err = c.Attest(connector.AttestArgs{Adapter: itaAdapter{connector.Tdx, "tdx", func(nonce, _ []byte) []byte { return sha512Of(nonce, nil) }, ""}})
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
	answer, err := c.Attest(connector.AttestArgs{Adapter: itaAdapter{connector.Tdx, "tdx", sha512Of, ""}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.VerifyToken(answer.Token); err == nil || !strings.Contains(err.Error(), "CRL") {
		t.Errorf("%v", err)
	}
}
