package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/client"
	"strongroom.dev/ear"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// attestationProcess is the real program serving; the test binary is it under that name.
type attestationProcess struct {
	*exec.Cmd
	stderr lockedBuffer
	ready  struct {
		Address string `json:"address"`
		Issuer  string `json:"issuer"`
		Admin   string `json:"admin"`
		Watch   string `json:"watch"`
	}
}

// lockedBuffer may be read while a process writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func attestationCall(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"--output", "json", "attestation"}, args...)...)
	cmd.Args[0] = "strongroom"
	return cmd
}

func startAttestation(t *testing.T, dir string, args ...string) *attestationProcess {
	t.Helper()
	p := &attestationProcess{Cmd: attestationCall(append([]string{"serve", "--dir", dir, "--listen", "127.0.0.1:0"}, args...)...)}
	p.Cmd.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() })
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&p.ready); err != nil {
		t.Fatalf("no ready document: %v, %s", err, p.stderr.String())
	}
	return p
}

func (p *attestationProcess) url() string { return "http://" + p.ready.Address }

// stop tells the program to end, as an operator does.
func (p *attestationProcess) stop(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("told to stop, it ended with %v: %s", err, p.stderr.String())
	}
}

// failing runs a call that must fail, and gives its error.
func failing(t *testing.T, code int, args ...string) *verdict.Error {
	t.Helper()
	cmd := attestationCall(args...)
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }) // one that serves never ends
	defer timer.Stop()
	out, _ := cmd.Output()
	var doc struct{ Error *verdict.Error }
	if err := json.Unmarshal(out, &doc); err != nil || doc.Error == nil || cmd.ProcessState.ExitCode() != code {
		t.Fatalf("%v: exit code %d, %q: %v", args, cmd.ProcessState.ExitCode(), out, err)
	}
	return doc.Error
}

// devRoom is a room of the dev platform that attests itself.
type devRoom struct {
	root, signing *keys.SigningKey
	hpke          *keys.HPKEPrivateKey
}

func newDevRoom(t *testing.T) devRoom {
	t.Helper()
	r := devRoom{}
	var err error
	for _, k := range []**keys.SigningKey{&r.root, &r.signing} {
		if *k, err = keys.GenerateSigningKey(keys.Ed25519); err != nil {
			t.Fatal(err)
		}
	}
	if r.hpke, err = keys.GenerateHPKEKey(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r devRoom) policy(version int, more string) string {
	return fmt.Sprintf("id: dev\nversion: %d\nplatforms:\n  dev:\n    roots: ['%s']\n%s", version, r.root.Public().ID(), more)
}

// attest has the room answer a challenge of the service.
func (r devRoom) attest(t *testing.T, url, shape, audience string) (verifier.Answer, verifier.Request, error) {
	t.Helper()
	ctx, c := context.Background(), client.NewAttestation(url, nil)
	challenge, err := c.Challenge(ctx, verifier.ChallengeRequest{Audience: audience, Purpose: attest.ForJoin})
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"some":"agreement"}`)
	b := attest.Binding{Purpose: attest.ForJoin, Nonce: attest.NonceOf(challenge.Challenge), Signing: r.signing.Public(), HPKE: r.hpke.Public(), Agreement: wire.SHA384(agreement.AgreementType, body)}
	e, err := dev.Sign(r.root, dev.Measurement{Agent: wire.DigestOf([]byte("agent"))}, attest.InitData(body), b.ReportData())
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := wire.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	request := verifier.Request{Evidence: evidence, Challenge: challenge.Challenge, Audience: audience, Shape: shape,
		Room: &verifier.Room{Purpose: b.Purpose, Signing: b.Signing, HPKE: b.HPKE, Agreement: body}}
	answer, err := c.Attest(ctx, request)
	return answer, request, err
}

// fetched is what curl does.
func fetched(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestAttestationServes(t *testing.T) {
	dir, room := filepath.Join(t.TempDir(), "attestation"), newDevRoom(t)
	policy := filepath.Join(t.TempDir(), "dev.yaml")
	writeText(t, policy, room.policy(1, ""))
	const vault = "https://vault.example.org"
	args := []string{"--policy", policy, "--issuer", "https://attest.example.org", "--watch", "127.0.0.1:0", "--gate", "federation:dev=" + vault}
	p := startAttestation(t, dir, args...)

	answer, request, err := room.attest(t, p.url(), "", vault)
	if err != nil {
		t.Fatal(err)
	}
	set, err := client.NewAttestation(p.url(), nil).KeySet(context.Background(), ear.EAR())
	if err != nil {
		t.Fatal(err)
	}
	x := ear.Expect{Shape: ear.EAR(), Base: "https://attest.example.org", Audience: vault, Keys: set, Now: time.Now(), AcceptWarning: true, InsecureAcceptSoftware: true}
	if token, err := ear.Verify(answer.Token, x); err != nil || !token.Confirmation.Binds(room.signing.Public()) || token.Policy != "dev" {
		t.Errorf("%+v: %v", token, err)
	}
	checkTokenCommand(t, p.url(), answer.Token, vault)
	bearer, _, err := room.attest(t, p.url(), "federation", vault)
	if err != nil || bearer.Sealed == nil || bearer.Token != "" {
		t.Fatalf("%+v: %v", bearer, err)
	}
	if _, err := bearer.Sealed.Open(room.hpke); err != nil {
		t.Error(err)
	}

	for url, want := range map[string]string{
		p.url() + "/healthz": "ok", p.url() + "/readyz": "ready", p.url() + "/openapi.json": `"openapi": "3.1.0"`, p.url() + "/ear/certs": `"kid"`,
		p.url() + "/federation/.well-known/openid-configuration": `"issuer":"https://attest.example.org/federation"`,
		"http://" + p.ready.Watch + "/metrics":                   `strongroom_attestation_tokens_total{shape="ear"} 1`,
	} {
		if status, body := fetched(t, url); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", url, status, body)
		}
	}
	for _, path := range []string{"/metrics", "/v1/policies"} {
		if status, _ := fetched(t, p.url()+path); status != 404 {
			t.Errorf("%s is on the public listener: %d", path, status)
		}
	}
	attestationFilesArePrivate(t, dir)

	for _, want := range []string{`msg="policy in force" policy=dev version=1 by=--policy`, `msg="evidence judged" audience=` + vault + ` platform=dev verdict=warning policy=dev version=1 check="" token=ear`} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("the log lacks %s: %s", want, p.stderr.String())
		}
	}

	// A second process on the directory, or on the port, is refused and changes nothing.
	if e := failing(t, 1, "serve", "--dir", dir, "--listen", "127.0.0.1:0"); e.Check != "attestation.state" {
		t.Errorf("%+v", e)
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	if e := failing(t, 2, "serve", "--dir", fresh, "--listen", p.ready.Address); e.Check != "--listen" {
		t.Errorf("%+v", e)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a busy port, and yet a directory was made")
	}

	// Killed and started again, it knows its challenges, and its tokens still verify.
	p.Process.Kill()
	p.Wait()
	p = startAttestation(t, dir, args...)
	if _, err := client.NewAttestation(p.url(), nil).Attest(context.Background(), request); err != nil {
		t.Errorf("a challenge from before: %v", err)
	}
	if x.Keys, err = client.NewAttestation(p.url(), nil).KeySet(context.Background(), ear.EAR()); err != nil {
		t.Fatal(err)
	}
	if _, err := ear.Verify(answer.Token, x); err != nil {
		t.Errorf("a token from before: %v", err)
	}
	p.stop(t)
	if _, err := net.DialTimeout("tcp", p.ready.Address, time.Second); err == nil {
		t.Error("the port still answers")
	}
}

// TestAttestationLacksPolicies: a gate whose policy is not there is said at the start, since
// nothing but an officer's next step mends it.
func TestAttestationLacksPolicies(t *testing.T) {
	p := startAttestation(t, filepath.Join(t.TempDir(), "attestation"), "--gate", "federation:nosuch=aud")
	if status, _ := fetched(t, p.url()+"/readyz"); status != 503 || !strings.Contains(p.stderr.String(), "no version of policy nosuch is in force") {
		t.Errorf("%d: %s", status, p.stderr.String())
	}
	p.stop(t)
}

// checkTokenCommand has the program check a token, with a key set in a file.
func checkTokenCommand(t *testing.T, url, token, audience string) {
	t.Helper()
	_, set := fetched(t, url+"/ear/certs")
	dir := t.TempDir()
	file, keySet, other := filepath.Join(dir, "token"), filepath.Join(dir, "keys"), filepath.Join(dir, "altered")
	writeText(t, file, token+"\n")
	writeText(t, keySet, set)
	writeText(t, other, token[:len(token)-20]+"AAAA"+token[len(token)-16:])
	args := func(file string, more ...string) []string {
		return append([]string{"token", file, "--issuer", "https://attest.example.org", "--audience", audience, "--keys", keySet}, more...)
	}
	out, err := attestationCall(args(file, "--accept-warning", "--insecure-allow-software")...).Output()
	var view tokenView
	if err != nil || json.Unmarshal(out, &view) != nil || view.Verdict != attest.Warning || view.Policy != "dev" || !strings.Contains(string(view.Claims), "strongroom_insecure") {
		t.Errorf("%s: %v", out, err)
	}
	for check, c := range map[string]struct {
		code int
		args []string
	}{
		"token.verdict": {3, args(file)}, "token.class": {3, args(file, "--accept-warning")}, "token.expired": {3, args(file, "--at", "2020-01-01")},
		"token.signature": {4, args(other)}, "token.type": {4, args(file, "--shape", "maa")}, "token.nonce": {4, args(file, "--nonce", "00")}, "--shape": {2, args(file, "--shape", "jwt")},
	} {
		if e := failing(t, c.code, c.args...); e.Check != check {
			t.Errorf("%v: %+v, expected %s", c.args, e, check)
		}
	}
}

func attestationFilesArePrivate(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"", attestationState, attestationSocket} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be opened by others: %v %v", name, info.Mode(), err)
		}
	}
}

func TestAttestationOfficersActWhileItServes(t *testing.T) {
	dir, room := filepath.Join(t.TempDir(), "attestation"), newDevRoom(t)
	files := t.TempDir()
	policy := func(version int, more string) string {
		path := filepath.Join(files, fmt.Sprintf("dev-%d.yaml", version))
		writeText(t, path, room.policy(version, more))
		return path
	}
	p := startAttestation(t, dir, "--policy", policy(1, ""))
	call := func(into any, args ...string) {
		t.Helper()
		out, err := attestationCall(append([]string{"policy"}, append(args, "--dir", dir)...)...).Output()
		if err != nil {
			t.Fatalf("%v: %s", args, out)
		}
		if err := json.Unmarshal(out, into); err != nil {
			t.Fatalf("%v: %q: %v", args, out, err)
		}
	}
	_, request, err := room.attest(t, p.url(), "", "relying-party")
	if err != nil {
		t.Fatal(err)
	}
	evidence := filepath.Join(files, "evidence.json")
	writeText(t, evidence, string(request.Evidence))

	strict := policy(2, "    measurements:\n      agent: [aa11]\n")
	var tried verifier.Tried
	call(&tried, "try", strict, evidence)
	if tried.Refused != 1 || tried.Active == nil || tried.Active.Version != 1 || tried.Results[0].Failed[0].ID != "policy.measurement.agent" {
		t.Errorf("%+v", tried)
	}
	var added verifier.PolicyAdded
	call(&added, "add", strict)
	var state verifier.PolicyState
	call(&state, "activate", "dev", "2")
	if added.Active != 1 || state.Active != 2 {
		t.Errorf("%+v %+v", added, state)
	}
	if _, _, err := room.attest(t, p.url(), "", "relying-party"); err == nil || verdict.As(err).Check != "policy.measurement.agent" || verdict.As(err).Kind != verdict.Refused {
		t.Errorf("the new policy: %v", err)
	}
	call(&state, "retire", "dev")
	var list verifier.PolicyList
	call(&list, "list")
	if len(list.Policies) != 1 || list.Policies[0].Active != 0 || list.Policies[0].Highest != 2 {
		t.Errorf("%+v", list)
	}
	if status, body := fetched(t, p.url()+"/readyz"); status != 503 || !strings.Contains(body, "appraisal.policies") {
		t.Errorf("ready without its policy: %d %s", status, body)
	}
	var versions verifier.VersionList
	call(&versions, "show", "dev")
	var second verifier.PolicyVersion
	call(&second, "show", "dev", "2")
	if len(versions.Versions) != 2 || versions.Versions[0].Version != 1 || second.Text != room.policy(2, "    measurements:\n      agent: [aa11]\n") {
		t.Errorf("%+v %+v", versions, second)
	}
	if e := failing(t, 3, "policy", "add", strict, "--dir", dir); e.Check != "appraisal.version" {
		t.Errorf("%+v", e)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if strings.Contains(p.stderr.String(), "endorsements read") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !strings.Contains(p.stderr.String(), "0 endorsements read") {
		t.Errorf("SIGHUP: %s", p.stderr.String())
	}
	p.stop(t)

	// Started again, what officers did holds, whatever files the call names.
	p = startAttestation(t, dir, "--policy", strict)
	if call(&list, "list"); list.Policies[0].Active != 0 {
		t.Errorf("a retired policy is in force again: %+v", list)
	}
	p.stop(t)
	// A file that says something else under a version that is known is an error.
	changed := policy(1, "    measurements:\n      agent: [bb22]\n")
	if e := failing(t, 3, "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--policy", changed); e.Check != "appraisal.version" {
		t.Errorf("%+v", e)
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
