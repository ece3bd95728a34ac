package tpm_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors anew, with new keys")

const specVectors = "../../spec/vectors/tpm"

// specVector is one case of spec/vectors/tpm.
type specVector struct {
	Comment string `json:"comment"`
	// Evidence is the evidence's own bytes as text.
	Evidence string `json:"evidence"`
	// Endorsements are certificates, CRLs and public keys, DER.
	Endorsements []wire.Bytes `json:"endorsements"`
	Activators   []string     `json:"activators"`
	// Maker is the SHA-256 of the SubjectPublicKeyInfo of the root that is to be taken for a
	// maker's; "" for none.
	Maker string    `json:"maker"`
	Now   wire.Time `json:"now"`
	// Expect is "pass", "fail" (Failed lists the checks) or the check by which it is no
	// genuine evidence at all.
	Expect string   `json:"expect"`
	Failed []string `json:"failed"`
	Class  string   `json:"class"`
	// Measurements are all that are named; absent in cases about something else.
	Measurements map[string]string `json:"measurements,omitempty"`
}

// specNames are the rules that become vectors, by the names of their files.
func specNames() map[string]string {
	return map[string]string{
		"good": "good", "activated": "activated", "root of the relying party's own is software": "own-root", "root that only the evidence brings": "root-in-evidence",
		"swtpm under a maker's root is software all the same": "swtpm-name", "certificate of another key": "certificate-of-another-key", "certificate for something else": "certificate-purpose",
		"expired": "expired", "CRL named and missing": "crl-missing", "CRL past its window": "crl-past-its-window", "revoked": "revoked", "no nonce": "nonce-empty", "nonce of 7 bytes": "nonce-too-short",
		"quote with 23 PCRs": "quote-with-23-pcrs", "quote of SHA-1 only": "sha1-only", "quoted PCRs altered": "quoted-pcrs-altered", "register outside the bank": "register-outside-bank", "quote by another key": "owner-key",
		"two quotes over two nonces": "two-nonces", "key that signs anything": "key-not-restricted", "init data": "init-data", "init data behind something else": "init-data-not-first", "no key known": "no-origin",
		"key that the relying party pins": "pinned-key", "activation expired": "activation-expired", "activator that nobody trusts": "activator-unknown", "record about another key": "activation-of-another-key",
		"room under OVMF": "room", "room under OVMF with more memory": "room-of-another-size", "room whose log was edited": "room-log-edited",
		"record altered": "activation-altered", "duplicate member": "duplicate-member", "unknown member": "unknown-member",
	}
}

func (v specVector) run(t *testing.T) {
	t.Helper()
	var set []endorse.Item
	for _, der := range v.Endorsements {
		set = append(set, endorse.Item{Kind: kindOf(der), Name: "vector", Data: der})
	}
	s, err := endorse.NewSet(set...)
	if err != nil {
		t.Fatal(err)
	}
	var activators []keys.PublicKey
	for _, text := range v.Activators {
		k, err := keys.ParsePublicKey(text)
		if err != nil {
			t.Fatal(err)
		}
		activators = append(activators, k)
	}
	verifier := tpm.NewWithActivators(s, activators...)
	for _, c := range s.Certificates() {
		if v.Maker != "" && wire.HashOf(c.RawSubjectPublicKeyInfo).String() == v.Maker {
			verifier = tpm.Pinned(verifier, c.RawSubjectPublicKeyInfo, "Maker", false)
		}
	}
	f, err := verifier.Examine([]byte(v.Evidence), v.Now.Time())
	if v.Expect != "pass" && v.Expect != "fail" {
		if err == nil || verdict.As(err).Check != v.Expect || verdict.As(err).Kind != verdict.Invalid {
			t.Errorf("%v, expected %s", err, v.Expect)
		}
		return
	}
	if err != nil || evidencetest.Failed(f) != strings.Join(v.Failed, " ") || (evidencetest.Failed(f) == "") != (v.Expect == "pass") || string(f.Facts.Class) != v.Class {
		t.Errorf("%v, failed %q, class %s; expected %+v", err, evidencetest.Failed(f), f.Facts.Class, v.Failed)
	}
	if v.Measurements != nil && !maps.Equal(v.Measurements, f.Facts.Measurements) {
		t.Errorf("measurements %v, expected %v", f.Facts.Measurements, v.Measurements)
	}
}

// writeSpec writes the vectors.
func writeSpec(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(specVectors, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, r := range allRules() {
		name, ok := specNames()[r.name]
		if !ok {
			continue
		}
		w := newWorld(t)
		r.change(t, w)
		v := specVector{Comment: strings.ToUpper(r.name[:1]) + r.name[1:] + ".", Evidence: string(w.bytes(t)), Endorsements: []wire.Bytes{}, Activators: []string{}, Failed: []string{}, Now: wire.At(w.now), Expect: "pass"}
		for _, der := range w.set {
			v.Endorsements = append(v.Endorsements, der)
		}
		for _, k := range w.activators {
			v.Activators = append(v.Activators, k.String())
		}
		if w.pinned {
			v.Maker = wire.HashOf(w.root.cert.RawSubjectPublicKeyInfo).String()
		}
		switch {
		case r.err != "":
			v.Expect = r.err
		case r.failed != "":
			v.Expect, v.Failed = "fail", strings.Fields(r.failed)
		}
		if r.err == "" {
			v.Class = r.class
			if v.Class == "" {
				v.Class = "integrity-only"
			}
		}
		if v.Expect == "pass" && len(w.evidence.EventLog) > 0 {
			f, err := w.verifier(t).Examine(w.bytes(t), w.now)
			if err != nil {
				t.Fatal(err)
			}
			v.Measurements = f.Facts.Measurements
		}
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(specVectors, name+".json"), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSpecVectors runs every case of spec/vectors/tpm.
func TestSpecVectors(t *testing.T) {
	if *update {
		writeSpec(t)
	}
	files, err := filepath.Glob(specVectors + "/*.json")
	if err != nil || len(files) != len(specNames()) {
		t.Fatalf("%d vectors, expected %d: run the test with -update (%v)", len(files), len(specNames()), err)
	}
	var known []string
	for _, name := range specNames() {
		known = append(known, name)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			if !slices.Contains(known, name) {
				t.Error("belongs to no case")
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v specVector
			dec := json.NewDecoder(bytes.NewReader(data))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&v); err != nil {
				t.Fatal(err)
			}
			v.run(t)
		})
	}
}
