package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/appraise"
	"strongroom.dev/internal/evidencetest"
)

// teller runs the command at a time of the test's choosing, in a home of its own.
type teller struct {
	t    *testing.T
	home string
	now  time.Time
}

func (r teller) run(code int, args ...string) string {
	r.t.Helper()
	var out, errs bytes.Buffer
	a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: func() time.Time { return r.now }}
	if got := a.run(append([]string{"--home", r.home}, args...)); got != code {
		r.t.Fatalf("%v: exit code %d, expected %d: %s%s", args, got, code, errs.String(), out.String())
	}
	return out.String()
}

func (r teller) verify(code int, args ...string) appraise.Result {
	r.t.Helper()
	var result appraise.Result
	if err := json.Unmarshal([]byte(r.run(code, append([]string{"verify", "--output", "json", "--insecure-any-nonce"}, args...)...)), &result); err != nil {
		r.t.Fatal(err)
	}
	return result
}

func failedOf(r appraise.Result) string {
	var ids []string
	for _, c := range r.Failed() {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, ", ")
}

// TestVerifyByReference goes the whole way with a genuine report: its makers draft, sign and
// log what it measures; a verifier takes it by policy, and never goes back.
func TestVerifyByReference(t *testing.T) {
	dir := filepath.Join(evidencetest.Dir(t), "snp")
	report := filepath.Join(dir, "confidential-containers+trustee/deps/verifier/test_data/snp/test-report.bin")
	t.Chdir(t.TempDir())
	r := teller{t, "home", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	public := func(out string) string {
		_, key, _ := strings.Cut(strings.TrimSpace(out), "Public key: ")
		return key
	}
	alice := public(r.run(0, "keygen", "--purpose", "signing", "-o", "alice.key"))
	bob := public(r.run(0, "keygen", "--purpose", "signing", "-o", "bob.key"))
	r.run(3, "reference", "init", report, "--product", "room") // without the vendor's certificates nothing in it counts
	publish := func(version, set string) string {
		r.run(0, "reference", "init", report, "--product", "room", "--version", version, "-o", version+".yaml", "--endorsements", dir)
		r.run(0, "reference", "sign", version+".yaml", "--key", "alice.key", "--key", "bob.key", "-o", set)
		out := r.run(0, "reference", "publish", set, "--log", "log", "--origin", "releases.example")
		_, key, _ := strings.Cut(out, "Verifiers name this log as ")
		return strings.TrimSpace(key)
	}
	log := publish("1", "1.set")
	policy := strings.NewReplacer("ALICE", alice, "BOB", bob, "LOG", log).Replace(`id: p
version: 1
platforms:
  snp:
    registers: [measurement]
    reference: {product: room, keys: ["ALICE", "BOB"], threshold: 2, least_security_version: 1, log: "LOG"}
tests:
  - {name: good, evidence: EVIDENCE, at: 2026-01-01T00:00:00Z, endorsements: [DIR], reference: [1.set], expect: warning}
  - {name: no set, evidence: EVIDENCE, at: 2026-01-01T00:00:00Z, endorsements: [DIR], expect: contraindicated, failing: [policy.reference.product]}
`)
	policy = strings.NewReplacer("EVIDENCE", report, "DIR", dir).Replace(policy)
	if err := os.WriteFile("p.yaml", []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(more ...string) []string {
		return append([]string{report, "--endorsements", dir, "--policy", "p.yaml"}, more...)
	}
	if got := r.verify(3, with()...); failedOf(got) != "policy.reference.product" || got.Reference != nil {
		t.Error(failedOf(got))
	}
	if _, err := os.Stat("home"); err == nil {
		t.Error("a home was made for nothing")
	}
	got := r.verify(0, with("--reference", "1.set")...)
	if got.Reference == nil || got.Reference.Version != 1 || got.Reference.Group != "test-report" || slices.Contains(got.Warnings, "policy.reference.rollback") {
		t.Fatalf("%+v", got.Reference)
	}
	r.run(0, "policy", "test", "p.yaml")
	publish("2", "2.set")
	if got := r.verify(0, with("--reference", ".")...); got.Reference.Version != 2 {
		t.Errorf("version %d of a directory with two", got.Reference.Version)
	}
	if got := r.verify(3, with("--reference", "1.set")...); failedOf(got) != "policy.reference.rollback" {
		t.Error(failedOf(got))
	}
	if got := r.verify(0, with("--reference", "1.set", "--at", "2026-01-01T00:00:00Z")...); !slices.Contains(got.Warnings, "policy.reference.rollback") {
		t.Error(got.Warnings)
	}
	r.run(0, "reference", "add", "2.set", "--policy", "p.yaml")
	if got := r.verify(0, with()...); got.Reference.Version != 2 {
		t.Error(got.Reference)
	}
	if err := os.WriteFile("home/reference/seen/room.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run(1, append([]string{"verify", "--insecure-any-nonce"}, with()...)...)
	late := teller{t, "other", r.now.AddDate(0, 0, 91)}
	if got := failedOf(late.verify(3, with("--reference", "2.set")...)); !strings.Contains(got, "policy.reference.dates") {
		t.Error(got)
	}
}
