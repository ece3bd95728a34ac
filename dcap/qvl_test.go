package dcap_test

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"strongroom.dev/dcap"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
)

// qvlScript hands cases to the npm package @phala/dcap-qvl 0.3.9 and prints its verdicts.
const qvlScript = `
const { QuoteVerifier, verify } = require('@phala/dcap-qvl');
const root = Buffer.from(process.argv[1], 'hex');
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(cases.map(c => {
  try {
    const quote = Buffer.from(c.quote, 'hex');
    const r = root.length ? QuoteVerifier.newWithRootCa(root).verify(quote, c.collateral, c.now) : verify(quote, c.collateral, c.now);
    return { status: r.status, advisories: r.advisory_ids };
  } catch (e) { return { error: e.message }; }
})));`

type qvlCase struct {
	Quote      string            `json:"quote"`
	Collateral map[string]string `json:"collateral"`
	Now        int64             `json:"now"`
}

type qvlVerdict struct {
	Status     string   `json:"status"`
	Advisories []string `json:"advisories"`
	Error      string   `json:"error"`
}

// qvl asks the oracle, with Intel's root or another.
func qvl(t *testing.T, root []byte, cases []qvlCase) []qvlVerdict {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		noOracle(t, "no node here")
	}
	cmd := exec.Command(node, "-e", "require('@phala/dcap-qvl')")
	cmd.Env = append(os.Environ(), "NODE_PATH="+os.Getenv("STRONGROOM_NODE_MODULES"))
	if cmd.Run() != nil {
		noOracle(t, "no @phala/dcap-qvl 0.3.9 in the folder STRONGROOM_NODE_MODULES")
	}
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(node, "-e", qvlScript, hex.EncodeToString(root))
	cmd.Env = append(os.Environ(), "NODE_PATH="+os.Getenv("STRONGROOM_NODE_MODULES"))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []qvlVerdict
	if err := json.Unmarshal(out, &verdicts); err != nil || len(verdicts) != len(cases) {
		t.Fatalf("%v: %.300s", err, out)
	}
	return verdicts
}

// noOracle leaves the comparison out; in CI, where scripts/setup test installs all it takes, that
// is a failure, since nothing else would tell that it never ran.
func noOracle(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s, which scripts/setup test installs: the comparison with @phala/dcap-qvl can't be made", why)
	}
	t.Skipf("%s: the comparison with @phala/dcap-qvl is left out", why)
}

func pemOf(certs ...*x509.Certificate) string {
	var text bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // to memory
	}
	return text.String()
}

// qvlCollateral brings collateral into the oracle's form.
func (s service) qvlCollateral(t *testing.T) map[string]string {
	t.Helper()
	part := func(response []byte, member string) (body, signature string) {
		var outer map[string]json.RawMessage
		if err := json.Unmarshal(response, &outer); err != nil {
			t.Fatal(err)
		}
		return string(outer[member]), strings.Trim(string(outer["signature"]), `"`)
	}
	c := map[string]string{
		"pck_crl_issuer_chain": pemOf(s.ca, s.root), "root_ca_crl": hex.EncodeToString(s.rootCRL), "pck_crl": hex.EncodeToString(s.caCRL),
		"tcb_info_issuer_chain": pemOf(s.sign, s.root), "qe_identity_issuer_chain": pemOf(s.sign, s.root),
	}
	c["tcb_info"], c["tcb_info_signature"] = part(s.info, "tcbInfo")
	c["qe_identity"], c["qe_identity_signature"] = part(s.identity, "enclaveIdentity")
	return c
}

// TestAgreesWithQVL compares with @phala/dcap-qvl over genuine quotes and collateral that is
// complete at a time. It differs from Intel's library, and from us, in one thing: it knows
// no TDX module identities and compares the module's own security version, TEE_TCB_SVN[0],
// with the platform's number even where that is of another major version.
func TestAgreesWithQVL(t *testing.T) {
	const teepot, google, rs = "tdx/matter-labs+teepot/crates/intel-dcap-api/tests/test_data/", "tdx/google+go-tdx-guest/testing/testdata/",
		"tdx/confidential-dot-ai+attestation-rs/crates/attestation/test_data/collateral/"
	const ownWay = "the oracle compares the module's own version with the platform's numbers"
	may := []string{teepot + "tdx_tcb_info_00806F050000.json", teepot + "tdx_qe_identity.json", teepot + "pck_crl_platform.json", "tdx/Phala-Network+dcap-qvl/sample/tdx_quote_collateral.json"}
	march := []string{rs + "tcb_info_90c06f000000.json", rs + "td_qe_identity.json", rs + "pck_crl_platform.der", rs + "root_ca_crl.der", rs + "tcb_signing_chain.pem", teepot + "pck_crl_platform.json"}
	cases := []struct {
		quote      string
		collateral []string
		at         string
		differs    string
	}{
		{"tdx/Phala-Network+dcap-qvl/sample/tdx_quote", []string{"tdx/Phala-Network+dcap-qvl/sample/tdx_quote_collateral.json"}, "2025-07-01", ""},
		{"tdx/Phala-Network+dcap-qvl/sample/tdx-quote.hex", []string{"tdx/Phala-Network+dcap-qvl/sample/tdx_quote_collateral.json"}, "2025-07-01", ""},
		{"tdx/Phala-Network+dcap-qvl/sample/quote-from-tappd.hex", []string{"tdx/Phala-Network+dcap-qvl/sample/tdx_quote_collateral.json"}, "2025-07-01", ""},
		{"azure/confidential-containers+trustee/deps/verifier/test_data/az-tdx-vtpm/td-quote.bin", may, "2025-06-20", ownWay},
		{google + "ccel/cos-113-tdx-quote.dat", may, "2025-06-20", ownWay},
		{"tdx/openpcc+openpcc/attestation/attest/testdata/gce_tdx_report.txt", may, "2025-06-20", ""},
		{"sgx/Azure-Samples+microsoft-azure-attestation/sgx.attest.sample.oe.sdk/validatequotes.net/samples/post.attest.body.json",
			[]string{teepot + "sgx_tcb_info_00906ED50000.json", teepot + "sgx_qe_identity.json", teepot + "pck_crl_processor.json", "tdx/Phala-Network+dcap-qvl/sample/tdx_quote_collateral.json"}, "2025-06-20", ""},
		{google + "quote_v5_sample.dat", march, "2026-03-20", ""},
	}
	var asked []qvlCase
	var ours []string
	for _, c := range cases {
		var items []endorse.Item
		for _, name := range c.collateral {
			items = append(items, endorse.Parse(name, evidencetest.Read(t, name))...)
		}
		at, err := time.Parse(time.DateOnly, c.at)
		if err != nil {
			t.Fatal(err)
		}
		set, err := endorse.NewSet(items...)
		if err != nil {
			t.Fatal(err)
		}
		e, err := dcap.Open(evidencetest.Read(t, c.quote))
		if err != nil {
			t.Fatal(err)
		}
		tee, _ := dcap.Detect(e.Quote)
		r, err := dcap.New(dcap.CollateralOf(set)).Examine(e.Quote, tee, at)
		if err != nil {
			t.Fatal(err)
		}
		ours = append(ours, string(r.Status))
		asked = append(asked, qvlCase{hex.EncodeToString(e.Quote), currentService(t, set, r.Claims["pck_issuer"].(string), at).qvlCollateral(t), at.Unix()})
	}
	for i, v := range qvl(t, nil, asked) {
		theirs := v.Status
		if v.Error == "No matching TCB level found" {
			theirs = string(dcap.NotSupported)
		} else if v.Error != "" {
			theirs = v.Error
		}
		agrees := theirs == ours[i]
		t.Logf("%-75s ours %s, theirs %s", cases[i].quote, ours[i], theirs)
		if agrees == (cases[i].differs != "") {
			t.Errorf("agreement %t, explained by %q", agrees, cases[i].differs)
		}
	}
}

// currentService picks from a set what is current at a time, as a service would.
func currentService(t *testing.T, set endorse.Set, ca string, at time.Time) service {
	t.Helper()
	s := genuineService(t, set, ca)
	for _, l := range set.CRLs() {
		if at.Before(l.ThisUpdate) || at.After(l.NextUpdate) {
			continue
		}
		switch l.Issuer.CommonName {
		case "Intel SGX Root CA":
			s.rootCRL = l.Raw
		case ca:
			s.caCRL = l.Raw
		}
	}
	return s
}

// TestAgreesWithQVLOnOurs compares on quotes of the tests' own world, where statuses occur
// that no genuine quote has.
func TestAgreesWithQVLOnOurs(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(w *world, p *q)
	}{
		{"good", func(*world, *q) {}},
		{"hardening needed", func(w *world, _ *q) { w.reissue(machine{w.machine.components, 12, w.machine.fmspc}) }},
		{"out of date", func(w *world, _ *q) { w.reissue(machine{w.machine.components, 10, w.machine.fmspc}) }},
		{"no level", func(w *world, _ *q) { w.reissue(machine{w.machine.components, 4, w.machine.fmspc}) }},
		{"quoting enclave out of date", func(_ *world, p *q) { p.qe[258] = 3 }},
		{"TD 1.5", func(_ *world, p *q) { p.version, p.bodyType, p.body = 5, 3, td([3]byte{6, 1, 3}, 6, 1, 3) }},
	} {
		w := newWorld(t)
		quote := w.edited(c.edit)
		k := w.collateral()
		s := service{k.TCBInfos[0], k.Identities[0], k.CRLs[0].Raw, k.CRLs[1].Raw, w.root, w.ca, w.sign}
		r, err := dcap.NewWithRoot(k, w.root.RawSubjectPublicKeyInfo).Examine(quote, dcap.TDX, now)
		if err != nil {
			t.Fatal(err)
		}
		v := qvl(t, w.root.Raw, []qvlCase{{hex.EncodeToString(quote), s.qvlCollateral(t), now.Unix()}})[0]
		if v.Error == "No matching TCB level found" {
			v.Status = string(dcap.NotSupported)
		}
		if v.Status != string(r.Status) {
			t.Errorf("%s: ours %s, theirs %+v", c.name, r.Status, v)
		}
	}
}
