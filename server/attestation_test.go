package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/lineage"
	"strongroom.dev/server"
	"strongroom.dev/store/attestation"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

const vaultAudience = "https://vault.example.org"

// attestationWorld is a service for the dev platform, over HTTP.
type attestationWorld struct {
	t             *testing.T
	public, admin *httptest.Server
	api           *server.Attestation
	service       *verifier.Service
	root          *keys.SigningKey
}

func newAttestation(t *testing.T, limits server.AttestationLimits) *attestationWorld {
	t.Helper()
	store, err := attestation.Open(filepath.Join(t.TempDir(), "state.db"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	root, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	w := &attestationWorld{t: t, root: root}
	w.service, err = verifier.Open(context.Background(), verifier.Config{
		Base: "https://attest.example.org", Store: store, Table: func(endorse.Set) []attest.Examiner { return []attest.Examiner{dev.Examiner()} },
		Gates: []verifier.Gate{{Shape: ear.MAA(), Audience: vaultAudience, Policy: "dev"}, {Shape: ear.ITA(), Audience: vaultAudience, Policy: "dev"}},
		EAR:   ear.ES256, Rotation: ear.Usual(), Build: "test", Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.api = server.NewAttestation(w.service, limits, nil)
	w.public, w.admin = httptest.NewServer(w.api.Handler()), httptest.NewServer(w.api.Admin())
	t.Cleanup(w.public.Close)
	t.Cleanup(w.admin.Close)
	return w
}

// call sends a request and reads the answer into v, which must come with the status.
func (w *attestationWorld) call(at *httptest.Server, method, path string, body any, status int, v any) http.Header {
	w.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		data, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, at.URL+path, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != status {
		w.t.Errorf("%s %s: status %d, expected %d: %.300s", method, path, resp.StatusCode, status, data)
	}
	if text, plain := v.(*string); plain {
		*text = string(data)
	} else if v != nil {
		if err := json.Unmarshal(data, v); err != nil {
			w.t.Errorf("%s %s: %v: %.300s", method, path, err, data)
		}
	}
	return resp.Header
}

// refused expects an error about a check.
func (w *attestationWorld) refused(at *httptest.Server, method, path string, body any, status int, check string) http.Header {
	w.t.Helper()
	var text string
	header := w.call(at, method, path, body, status, &text)
	if e := verdict.Decode([]byte(text)); e.Check != check || e.Expected == "" || e.Got == "" || e.Fix == "" {
		w.t.Errorf("%s %s: %s, expected an error about %s that says what to do", method, path, text, check)
	}
	return header
}

func (w *attestationWorld) policy() string {
	return "id: dev\nversion: 1\nplatforms:\n  dev:\n    roots: ['" + w.root.Public().ID().String() + "']\n"
}

func (w *attestationWorld) inForce() {
	w.t.Helper()
	w.call(w.admin, "PUT", "/v1/policies/dev", w.policy(), 200, nil)
	w.call(w.admin, "POST", "/v1/policies/dev/activate", map[string]any{"version": 1}, 200, nil)
}

// request has a room of the dev platform answer a challenge.
func (w *attestationWorld) request() verifier.Request {
	w.t.Helper()
	var c verifier.Challenge
	w.call(w.public, "POST", "/v1/challenge", map[string]any{"audience": vaultAudience, "purpose": "join"}, 200, &c)
	signing, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		w.t.Fatal(err)
	}
	hpke, err := keys.GenerateHPKEKey()
	if err != nil {
		w.t.Fatal(err)
	}
	body := []byte(`{}`)
	b := attest.Binding{Purpose: attest.ForJoin, Nonce: attest.NonceOf(c.Challenge), Signing: signing.Public(), HPKE: hpke.Public(), Agreement: wire.SHA384(agreement.AgreementType, body)}
	e, err := dev.Sign(w.root, dev.Measurement{Agent: wire.DigestOf([]byte("agent"))}, attest.InitData(body), b.ReportData())
	if err != nil {
		w.t.Fatal(err)
	}
	evidence, err := wire.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	return verifier.Request{Evidence: evidence, Challenge: c.Challenge, Policy: "dev", Audience: vaultAudience,
		Room: &verifier.Room{Purpose: b.Purpose, Signing: b.Signing, HPKE: b.HPKE, Agreement: body}}
}

func TestAttestation(t *testing.T) {
	w := newAttestation(t, server.AttestationLimits{})
	w.inForce()
	r := w.request()
	var answer verifier.Answer
	w.call(w.public, "POST", "/v1/attest", r, 200, &answer)
	var set string
	header := w.call(w.public, "GET", "/ear/certs", nil, 200, &set)
	if header.Get("Cache-Control") != "public, max-age=3600" {
		t.Errorf("key sets: %v", header)
	}
	known, err := ear.ParseKeySet([]byte(set))
	if err != nil {
		t.Fatal(err)
	}
	x := ear.Expect{Shape: ear.EAR(), Base: "https://attest.example.org", Audience: vaultAudience, Keys: known, Now: time.Now(), AcceptWarning: true, InsecureAcceptSoftware: true}
	token, err := ear.Verify(answer.Token, x)
	if err != nil || !token.Confirmation.Binds(r.Room.Signing) {
		t.Errorf("%+v: %v", token, err)
	}
	var discovery struct{ Issuer, Jwks_uri string }
	w.call(w.public, "GET", "/ear/.well-known/openid-configuration", nil, 200, &discovery)
	if discovery.Issuer != token.Issuer || discovery.Jwks_uri != token.Issuer+"/certs" {
		t.Errorf("%+v", discovery)
	}

	var metrics string
	w.call(w.admin, "GET", "/metrics", nil, 200, &metrics)
	for _, line := range []string{
		"strongroom_attestation_challenges_total 1\n", `strongroom_attestation_verdicts_total{platform="dev",verdict="warning"} 1`, `strongroom_attestation_tokens_total{shape="ear"} 1`,
		`strongroom_http_requests_total{route="POST /v1/attest",status="200"} 1`, `strongroom_http_request_seconds_bucket{route="POST /v1/attest",le="+Inf"} 1`,
		`strongroom_http_request_seconds_count{route="POST /v1/attest"} 1`, `strongroom_attestation_key_expiry_timestamp_seconds{shape="maa"} `,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("metrics lack %s", line)
		}
	}
	w.call(w.public, "GET", "/healthz", nil, 200, new(string))
	w.call(w.public, "GET", "/readyz", nil, 200, new(string))
	w.refused(w.public, "GET", "/federation/certs", nil, 404, "attestation.audience")
	w.refused(w.public, "GET", "/nothing/certs", nil, 404, "attestation.audience")
	w.call(w.public, "GET", "/metrics", nil, 404, new(string))
	w.call(w.public, "PUT", "/v1/policies/dev", w.policy(), 404, new(string))
}

func TestAttestationErrors(t *testing.T) {
	w := newAttestation(t, server.AttestationLimits{})
	w.refused(w.public, "GET", "/readyz", nil, 503, "appraisal.policies")
	w.inForce()
	change := func(f func(*verifier.Request)) verifier.Request {
		r := w.request()
		f(&r)
		return r
	}
	for _, c := range []struct {
		method, path string
		body         any
		status       int
		check        string
	}{
		{"POST", "/v1/challenge", "", 400, "request"},
		{"POST", "/v1/challenge", `{"audience":"a","other":1}`, 400, "request"},
		{"POST", "/v1/challenge", `{"audience":"a","audience":"b"}`, 400, "request"},
		{"POST", "/v1/challenge", `{"audience":"` + strings.Repeat("a", 5000) + `"}`, 400, "request"},
		{"POST", "/v1/attest", `{}`, 400, "request"},
		{"POST", "/v1/attest", strings.Repeat(" ", verifier.MaxRequest+1), 400, "request"},
		{"POST", "/v1/attest", change(func(r *verifier.Request) { r.Room = nil }), 400, "attestation.key"},
		{"POST", "/v1/attest", change(func(r *verifier.Request) { r.Room.Run[0] = 1 }), 403, "freshness"},
		{"POST", "/v1/attest", change(func(r *verifier.Request) { r.Challenge[0] ^= 1 }), 422, "challenge.known"},
		{"POST", "/v1/attest", change(func(r *verifier.Request) { r.Evidence = []byte("x") }), 422, "evidence.form"},
		{"POST", "/attest/SevSnpVm?api-version=2022-08-01", `{}`, 400, "maa.request"},
		{"POST", "/maa/attest/SevSnpVm", `{}`, 400, "maa.api-version"},
		{"POST", "/maa/attest/Other?api-version=2022-08-01", `{}`, 400, "maa.operation"},
		{"POST", "/appraisal/v2/attest", `{}`, 400, "ita.request"},
		{"POST", "/ita/appraisal/v2/attest", `{"nvgpu":{}}`, 400, "ita.request"},
	} {
		w.refused(w.public, c.method, c.path, c.body, c.status, c.check)
	}
	var theirs struct {
		Error struct{ Code, Message string }
	}
	w.call(w.public, "POST", "/maa/attest/SevSnpVm", `{}`, 400, &theirs)
	if theirs.Error.Code != "InvalidParameter" || !strings.Contains(theirs.Error.Message, "api-version") {
		t.Errorf("an error as Microsoft's clients read it: %+v", theirs)
	}
	var nonce verifier.ITANonce
	w.call(w.public, "GET", "/appraisal/v2/nonce", nil, 200, &nonce)
	if len(nonce.Value) == 0 || len(nonce.Issued) == 0 || len(nonce.Signature) == 0 {
		t.Errorf("%+v", nonce)
	}
}

func TestAttestationOfficers(t *testing.T) {
	w := newAttestation(t, server.AttestationLimits{})
	w.refused(w.admin, "PUT", "/v1/policies/Bad", w.policy(), 400, "appraisal.policies")
	w.refused(w.admin, "PUT", "/v1/policies/dev", "id: dev\n", 400, "appraisal.policy")
	w.refused(w.admin, "GET", "/v1/policies/dev", nil, 403, "appraisal.policies")
	w.refused(w.admin, "DELETE", "/v1/policies/dev", nil, 403, "appraisal.policies")
	w.inForce()
	w.refused(w.admin, "PUT", "/v1/policies/dev", w.policy(), 403, "appraisal.version")
	w.refused(w.admin, "GET", "/v1/policies/dev/x", nil, 400, "appraisal.version")
	w.refused(w.admin, "GET", "/v1/policies/dev/2", nil, 403, "appraisal.version")
	w.refused(w.admin, "POST", "/v1/policies/dev/activate", `{"version":7}`, 403, "appraisal.version")
	var one verifier.PolicyVersion
	w.call(w.admin, "GET", "/v1/policies/dev/1", nil, 200, &one)
	var list verifier.PolicyList
	w.call(w.admin, "GET", "/v1/policies", nil, 200, &list)
	var versions verifier.VersionList
	w.call(w.admin, "GET", "/v1/policies/dev", nil, 200, &versions)
	if one.Text != w.policy() || !one.Active || len(list.Policies) != 1 || list.Policies[0].Active != 1 || len(versions.Versions) != 1 {
		t.Errorf("%+v %+v %+v", one, list, versions)
	}
	trial := verifier.Trial{Version: 1, Evidence: []verifier.Recorded{{Evidence: w.request().Evidence}}}
	var tried verifier.Tried
	w.call(w.admin, "POST", "/v1/policies/dev/try", trial, 200, &tried)
	if len(tried.Results) != 1 || tried.Results[0].Verdict != "warning" || tried.Results[0].Today != "warning" {
		t.Errorf("%+v", tried)
	}
	w.call(w.admin, "DELETE", "/v1/policies/dev", nil, 200, nil)
	w.refused(w.public, "POST", "/v1/attest", w.request(), 403, "appraisal.policies")
}

func TestAttestationLimitsClients(t *testing.T) {
	w := newAttestation(t, server.AttestationLimits{PerClient: 1})
	limited := 0
	for range 20 {
		resp, err := http.Post(w.public.URL+"/v1/challenge", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited < 8 {
		t.Errorf("%d of 20 were held up, with 10 at once and one a second", limited)
	}
	if h := w.refused(w.public, "POST", "/v1/challenge", "{}", 429, "attestation.rate"); h.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	w.call(w.public, "GET", "/healthz", nil, 200, new(string))
	w.call(w.public, "GET", "/ear/certs", nil, 200, nil)

	w = newAttestation(t, server.AttestationLimits{PerClient: 1})
	large := strings.Repeat(" ", verifier.MaxRequest)
	w.refused(w.public, "POST", "/v1/attest", large, 400, "request")
	w.refused(w.public, "POST", "/v1/attest", large, 429, "attestation.rate")
}

func TestClientLimits(t *testing.T) {
	l, now := server.NewClientLimits(2), time.Now()
	spend := func(from string, at time.Time) (n int) {
		for l.TakeAt(from, 1, at) == 0 {
			n++
		}
		return n
	}
	for _, c := range []struct {
		from  string
		after time.Duration
		want  int
	}{
		{"192.0.2.1:1000", 0, 20}, {"192.0.2.1:2000", 0, 0}, {"192.0.2.2:1000", 0, 20}, {"[::ffff:192.0.2.2]:1", 0, 0}, {"192.0.2.1:1", time.Second, 2},
		{"[2001:db8::1]:1", time.Second, 20}, {"[2001:db8::2]:1", time.Second, 0}, {"[2001:db8:0:1::1]:1", time.Second, 20}, {"@", time.Second, 20}, {"", time.Second, 0},
		{"192.0.2.1:1", time.Hour, 20},
	} {
		if got := spend(c.from, now.Add(c.after)); got != c.want {
			t.Errorf("%s after %v: %d, expected %d", c.from, c.after, got, c.want)
		}
	}
	if wait := l.TakeAt("198.51.100.1:1", 15, now); wait != 0 {
		t.Errorf("a large one: wait %v", wait)
	}
	if wait := l.TakeAt("198.51.100.1:1", 15, now); wait != 5*time.Second {
		t.Errorf("another large one: wait %v", wait)
	}
	if wait := l.TakeAt("198.51.100.2:1", 1000, now); wait != 0 {
		t.Errorf("one above all allowance comes through once: wait %v", wait)
	}
	for i := range 1 << 17 {
		l.TakeAt(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), 1, now.Add(time.Hour))
	}
	if l.Known() > 1<<16 {
		t.Errorf("%d addresses are remembered", l.Known())
	}
}

// TestAttestationIsDescribed holds the OpenAPI document against the routes and the types.
func TestAttestationIsDescribed(t *testing.T) {
	w := newAttestation(t, server.AttestationLimits{})
	var doc struct {
		OpenAPI    string                               `json:"openapi"`
		Paths      map[string]map[string]map[string]any `json:"paths"`
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any `json:"properties"`
				Required   []string       `json:"required"`
			} `json:"schemas"`
		} `json:"components"`
	}
	var text string
	w.call(w.public, "GET", "/openapi.json", nil, 200, &text)
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.OpenAPI != "3.1.0" {
		t.Fatal(doc.OpenAPI, err)
	}
	var described []string
	for path, operations := range doc.Paths {
		for method := range operations {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	routes := w.api.Routes()
	slices.Sort(routes)
	slices.Sort(described)
	if diff := cmp.Diff(slices.Compact(routes), described); diff != "" {
		t.Errorf("routes (-) and description (+): %s", diff)
	}
	for name, v := range map[string]any{
		"AttestRequest": verifier.Request{}, "AttestAnswer": verifier.Answer{}, "Room": verifier.Room{}, "ChallengeRequest": verifier.ChallengeRequest{}, "Challenge": verifier.Challenge{},
		"Result": appraise.Result{}, "Vector": ear.Vector{}, "SealedToken": ear.Sealed{}, "PolicyName": appraise.PolicyName{}, "ReferenceUsed": appraise.ReferenceUsed{}, "EndorsementVersion": lineage.Version{}, "Check": verdict.Check{}, "Token": verifier.MAAAnswer{},
		"ITANonce": verifier.ITANonce{}, "PolicyState": verifier.PolicyState{}, "PolicyAdded": verifier.PolicyAdded{}, "PolicyVersion": verifier.PolicyVersion{},
		"Activation": verifier.Activation{}, "Trial": verifier.Trial{}, "Tried": verifier.Tried{},
	} {
		schema, all, needed := doc.Components.Schemas[name], []string{}, []string{}
		members(reflect.TypeOf(v), &all, &needed)
		var properties []string
		for p := range schema.Properties {
			properties = append(properties, p)
		}
		slices.Sort(all)
		slices.Sort(needed)
		slices.Sort(properties)
		slices.Sort(schema.Required)
		if diff := cmp.Diff(all, properties); diff != "" {
			t.Errorf("%s: members (-) and properties (+): %s", name, diff)
		}
		if diff := cmp.Diff(strings.Join(needed, " "), strings.Join(schema.Required, " ")); diff != "" {
			t.Errorf("%s: members that are always there (-) and required (+): %s", name, diff)
		}
	}
}

func members(t reflect.Type, all, needed *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			members(f.Type, all, needed)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		*all = append(*all, name)
		if options == "" {
			*needed = append(*needed, name)
		}
	}
}
