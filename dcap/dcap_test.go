package dcap_test

import (
	"errors"
	"strings"
	"testing"

	"strongroom.dev/dcap"
	"strongroom.dev/verdict"
)

// failed lists ids and texts of the failed checks.
func failed(r *dcap.Result) string {
	var all []string
	for _, c := range r.Checks {
		if !c.OK {
			all = append(all, c.ID+": "+c.Got)
		}
	}
	return strings.Join(all, "\n")
}

func TestGood(t *testing.T) {
	w := newWorld(t)
	r, err := w.verifier().Examine(w.quote(), dcap.TDX, now)
	if err != nil {
		t.Fatal(err)
	}
	if text := failed(r); text != "" || r.Status != dcap.UpToDate || len(r.Warnings) > 0 {
		t.Fatalf("status %s, warnings %v, failed:\n%s", r.Status, r.Warnings, text)
	}
	for name, want := range map[string]any{
		"tcb_status": "UpToDate", "tdx_module": "TDX_01", "fmspc": "90c06f000000", "ppid": strings.Repeat("ab", 16), "piid": strings.Repeat("cd", 16),
		"pce_svn": 13, "sept_ve_disable": true, "debug": false, "cached_keys": false, "smt_enabled": true, "tcb_evaluation_data_number": 18, "quote_version": 4,
	} {
		if got := r.Claims[name]; got != want {
			t.Errorf("claim %s is %v, expected %v", name, got, want)
		}
	}
	for _, c := range r.Checks {
		if c.Fix != "" || c.Expected == "" || c.Got == "" || !strings.HasPrefix(c.ID, "tdx.") {
			t.Errorf("check %+v", c)
		}
	}
}

// TestNotGenuine has one case for every way in which a quote is none: the error is of kind
// Invalid and names the check.
func TestNotGenuine(t *testing.T) {
	for _, c := range []struct {
		name, check, got string
		edit             func(w *world, p *q)
	}{
		{"version 2", "tdx.quote", "no quote", func(_ *world, p *q) { p.version = 2 }},
		{"version 6", "tdx.quote", "no quote", func(_ *world, p *q) { p.version = 6 }},
		{"TDX in version 3", "tdx.quote", "no quote", func(_ *world, p *q) { p.version = 3 }},
		{"unknown TEE", "tdx.quote", "no quote", func(_ *world, p *q) { p.tee = 0x82 }},
		{"key of P-384", "tdx.quote", "key type 3", func(_ *world, p *q) { p.keyType = 3 }},
		{"another vendor's quoting enclave", "tdx.quote", "no quote", func(_ *world, p *q) { p.vendor = strings.Repeat("00", 16) }},
		{"SGX quote", "tdx.quote", "a quote for SGX", func(_ *world, p *q) { p.tee, p.body = 0, qeReport() }},
		{"non-zero bytes behind", "tdx.quote", "not zero padding", func(_ *world, p *q) { p.behind = []byte{0, 0, 1} }},
		{"body type 1 for TDX", "tdx.quote", "body type 1", func(_ *world, p *q) { p.version, p.bodyType = 5, 1 }},
		{"body type 4", "tdx.quote", "body type 4", func(_ *world, p *q) { p.version, p.bodyType = 5, 4 }},
		{"TD 1.5 of the size of 1.0", "tdx.quote", "type 3 has 648", func(_ *world, p *q) { p.version, p.bodyType = 5, 3 }},
		{"certification data of type 3", "tdx.certification_data", "encrypted platform id", func(_ *world, p *q) { p.inner = 3 }},
		{"certification data of type 1", "tdx.certification_data", "platform id", func(_ *world, p *q) { p.inner = 1 }},
		{"certification data of type 4", "tdx.certification_data", "without its chain", func(_ *world, p *q) { p.inner = 4 }},
		{"certification data of type 7", "tdx.certification_data", "type 7", func(_ *world, p *q) { p.inner = 7 }},
		{"chain not nested", "tdx.certification_data", "type 5", func(_ *world, p *q) { p.outer = 5 }},
		{"signed by another key", "tdx.signature", "", func(_ *world, p *q) { p.attestWith = newKey(t) }},
		{"QE report signed by another key", "tdx.qe_report", "", func(_ *world, p *q) { p.pckWith = newKey(t) }},
		{"QE report about another key", "tdx.qe_binding", "", func(_ *world, p *q) { p.bind = make([]byte, 32) }},
		{"QE report data with something behind", "tdx.qe_binding", "", func(_ *world, p *q) { p.qe[383] = 1 }},
		{"QE of another signer", "tdx.qe_identity", "MRSIGNER", func(_ *world, p *q) { p.qe[128]++ }},
		{"QE of another product", "tdx.qe_identity", "ISVPRODID 3", func(_ *world, p *q) { p.qe[256]++ }},
		{"QE with MISCSELECT", "tdx.qe_identity", "MISCSELECT 00000001", func(_ *world, p *q) { p.qe[16] = 1 }},
		{"QE for debugging", "tdx.qe_identity", "ATTRIBUTES", func(_ *world, p *q) { p.qe[48] |= 2 }},
		{"one certificate", "tdx.chain", "1 certificates", func(_ *world, p *q) { p.chain = p.chain[:strings.Index(string(p.chain[1:]), "-----BEGIN")+1] }},
		{"four certificates", "tdx.chain", "more than three", func(_ *world, p *q) { p.chain = append(p.chain, p.chain...) }},
		{"text between certificates", "tdx.chain", "plain PEM", func(_ *world, p *q) { p.chain = append([]byte("hello\n"), p.chain...) }},
		{"no certificates", "tdx.chain", "0 certificates", func(_ *world, p *q) { p.chain = nil }},
		{"a chain of another root", "tdx.chain", "has the key", func(w *world, p *q) {
			other := newWorld(w.t)
			other.quote(func(o *q) { p.chain = o.chain })
		}},
		{"chain in another order", "tdx.chain", "", func(w *world, p *q) {
			i := strings.Index(string(p.chain[1:]), "-----BEGIN") + 1
			p.chain = append(p.chain[i:], p.chain[:i]...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.verifier().Examine(w.quote(func(p *q) { c.edit(w, p) }), dcap.TDX, now)
			var e *verdict.Error
			if !errors.As(err, &e) || e.Kind != verdict.Invalid || e.Check != c.check || !strings.Contains(e.Got, c.got) || e.Fix == "" {
				t.Errorf("got %v, expected %s: %s", err, c.check, c.got)
			}
		})
	}
}

// TestDoubts has one case for every reason not to trust a genuine quote: the result names
// the check, says how far behind it is, and keeps its claims.
func TestDoubts(t *testing.T) {
	for _, c := range []struct {
		name   string
		edit   func(w *world, p *q)
		status dcap.Status
		failed []string // parts of the failed checks' lines, in order
	}{
		{"debugging", func(_ *world, p *q) { p.body[120] = 1 }, dcap.UpToDate, []string{"tdx.debug: TD attributes 0100001000000000"}},
		{"any bit of TD under debug", func(_ *world, p *q) { p.body[120] = 0x80 }, dcap.UpToDate, []string{"tdx.debug"}},
		{"no TCB information", func(w *world, _ *q) { w.omitInfo = true }, "", []string{"tdx.collateral: missing: TCB information for TDX, FMSPC 90C06F000000"}},
		{"TCB information of another platform", func(w *world, _ *q) { w.info["fmspc"] = "00606a000000" }, "", []string{"(there is some for 00606A000000)"}},
		{"TCB information of another PCE", func(w *world, _ *q) { w.info["pceId"] = "0001" }, "", []string{"tdx.collateral: missing: TCB information"}},
		{"no identity", func(w *world, _ *q) { w.omitIdentity = true }, "", []string{"tdx.collateral: missing: the identity of the quoting enclave for TDX"}},
		{"identity of SGX's quoting enclave", func(w *world, _ *q) { w.identity["id"] = "QE" }, "", []string{"missing: the identity"}},
		{"no CRLs", func(w *world, _ *q) { w.omitCRLs = true }, dcap.UpToDate, []string{"tdx.collateral: missing: the CRL of Intel SGX Root CA; the CRL of Intel SGX PCK Platform CA", "tdx.revocation: not known"}},
		{"no signer's certificate", func(w *world, _ *q) { w.omitSigner = true }, "", []string{`no certificate of "Intel SGX TCB Signing"`}},
		{"TCB information altered", func(w *world, _ *q) {
			w.tamperInfo = func(b []byte) []byte { return []byte(strings.Replace(string(b), `"OutOfDate"`, `"UpToDate"`, 1)) }
		}, "", []string{"not used: TCB information: not signed by Intel's TCB signing key"}},
		{"TCB information with white space added", func(w *world, _ *q) {
			w.tamperInfo = func(b []byte) []byte { return []byte(strings.Replace(string(b), ",", ", ", 1)) }
		}, "", []string{"not signed"}},
		{"identity altered", func(w *world, _ *q) {
			w.tamperIdentity = func(b []byte) []byte { return []byte(strings.Replace(string(b), `"isvprodid":2`, `"isvprodid":3`, 1)) }
		}, "", []string{"not used: enclave identity: not signed"}},
		{"TCB information with a duplicate member", func(w *world, _ *q) {
			w.omitInfo = true
			w.extra = [][]byte{[]byte(`{"tcbInfo":{},"TCBINFO":{},"signature":"00"}`)}
		}, "", []string{"duplicate member"}},
		{"TCB information of version 2", func(w *world, _ *q) { w.info["version"] = 2 }, "", []string{"version 2, known is 3"}},
		{"TCB information with an unknown member", func(w *world, _ *q) { w.info["exceptFor"] = "this" }, "", []string{"unknown field"}},
		{"TCB information of an unknown type", func(w *world, _ *q) { w.info["tcbType"] = 1 }, "", []string{"unknown tcbType"}},
		{"unknown status", func(w *world, _ *q) { w.info["tcbLevels"].([]any)[0].(map[string]any)["tcbStatus"] = "Fine" }, "", []string{"unknown TCB status"}},
		{"a component without its number", func(w *world, _ *q) {
			delete(w.info["tcbLevels"].([]any)[0].(map[string]any)["tcb"].(map[string]any)["tdxtcbcomponents"].([]any)[4].(map[string]any), "svn")
		}, "", []string{"tdxtcbcomponents 5 has no svn"}},
		{"TCB information expired", func(w *world, _ *q) { w.info["nextUpdate"] = now.Add(-50 * 60 * 1e9).Format(stampForm) }, dcap.UpToDate,
			[]string{"tdx.collateral_dates: TCB information expired on 2026-11-24, less than a day ago"}},
		{"TCB information of the future", func(w *world, _ *q) { w.info["issueDate"] = now.Add(1e9).Format(stampForm) }, dcap.UpToDate, []string{"TCB information was issued only on"}},
		{"identity expired", func(w *world, _ *q) {
			w.identity["issueDate"], w.identity["nextUpdate"] = "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z"
		}, dcap.UpToDate, []string{"the identity of the quoting enclave expired on 2026-10-01, 54 days ago"}},
		{"CRLs expired", func(w *world, _ *q) { w.crlNext = w.crlIssued.Add(1e9) }, dcap.UpToDate, []string{"the CRL of Intel SGX Root CA expired"}},
		{"CRLs of the future", func(w *world, _ *q) { w.crlIssued = now.Add(60e9) }, dcap.UpToDate, []string{"was issued only on"}},
		{"signer's certificate expired", func(w *world, _ *q) { w.signerNotAfter = now.AddDate(0, 0, -3) }, dcap.UpToDate, []string{`"Intel SGX TCB Signing" expired on 2026-11-21, 3 days ago`}},
		{"PCK certificate not yet valid", func(w *world, _ *q) { w.pckNotBefore = now.Add(1e9) }, dcap.UpToDate, []string{"tdx.certificates"}},
		{"PCK revoked", func(w *world, _ *q) { w.revokedByCA = append(w.revokedByCA, w.pck.SerialNumber) }, dcap.UpToDate, []string{`tdx.revocation: revoked: "Intel SGX PCK Certificate", serial 3`}},
		{"CA revoked", func(w *world, _ *q) { w.revokedByRoot = append(w.revokedByRoot, w.ca.SerialNumber) }, dcap.UpToDate, []string{`revoked: "Intel SGX PCK Platform CA"`}},
		{"signer revoked", func(w *world, _ *q) { w.revokedByRoot = append(w.revokedByRoot, w.sign.SerialNumber) }, dcap.UpToDate, []string{`revoked: "Intel SGX TCB Signing"`}},
		{"platform out of date under a current module, the regression", func(w *world, _ *q) { w.reissue(machine{w.machine.components, 10, w.machine.fmspc}) }, dcap.OutOfDate,
			[]string{"tdx.tcb.platform: OutOfDate, level of 2018-01-04: PCESVN 10, needs 13 (level of 2024-11-13); advisories INTEL-SA-00106, INTEL-SA-01036", "tdx.tcb: OutOfDate"}},
		{"late microcode out of date", func(_ *world, p *q) { p.body[2] = 2 }, dcap.OutOfDate, []string{"TDX component 3 2, needs 3", "tdx.tcb"}},
		{"no level", func(w *world, _ *q) { w.reissue(machine{w.machine.components, 4, w.machine.fmspc}) }, dcap.NotSupported,
			[]string{"tdx.tcb.platform: no TCB level matches; of the lowest it lacks: PCESVN 4, needs 5", "tdx.tcb: TCBLevelNotSupported"}},
		{"module out of date", func(_ *world, p *q) { p.body[0] = 5 }, dcap.OutOfDate, []string{"tdx.tcb.module: OutOfDate, level of 2024-03-13: ISVSVN 5, needs 6", "tdx.tcb"}},
		{"module revoked", func(_ *world, p *q) { p.body[0] = 2 }, dcap.Revoked, []string{"tdx.tcb.module: Revoked", "tdx.tcb: Revoked"}},
		{"module below every level", func(_ *world, p *q) { p.body[0] = 1 }, dcap.NotSupported, []string{"tdx.tcb.module: no TCB level matches", "tdx.tcb"}},
		{"module of unknown version", func(_ *world, p *q) { p.body[1] = 7 }, dcap.NotSupported, []string{"tdx.module: no identity TDX_07", "tdx.tcb"}},
		{"module of another signer", func(_ *world, p *q) { p.body[64] = 1 }, dcap.UpToDate, []string{"tdx.module: MRSIGNERSEAM 01"}},
		{"module for debugging", func(_ *world, p *q) { p.body[112] = 1 }, dcap.UpToDate, []string{"tdx.module: SEAMATTRIBUTES 01"}},
		{"old module judged by the platform's numbers", func(_ *world, p *q) { p.body[0], p.body[1] = 4, 0 }, dcap.NotSupported, []string{"TDX component 1 4, needs 5", "tdx.tcb"}},
		{"quoting enclave out of date", func(_ *world, p *q) { p.qe[258] = 3 }, dcap.OutOfDate, []string{"tdx.tcb.qe: OutOfDate, level of 2024-03-13: ISVSVN 3, needs 4", "tdx.tcb"}},
		{"quoting enclave revoked", func(_ *world, p *q) { p.qe[258] = 2 }, dcap.Revoked, []string{"tdx.tcb.qe: Revoked", "tdx.tcb"}},
		{"quoting enclave below every level", func(_ *world, p *q) { p.qe[258] = 1 }, dcap.NotSupported, []string{"tdx.tcb.qe: no TCB level matches", "tdx.tcb"}},
		{"below the caller's evaluation floor", func(w *world, _ *q) { w.least = 19 }, dcap.UpToDate, []string{"tdx.tcb_evaluation: 18"}},
		{"below what Intel still serves", func(w *world, _ *q) { w.evaluations = []int{21, 20, 19} }, dcap.UpToDate, []string{"tdx.tcb_evaluation: 18, Intel's newest is 21"}},
		{"relaunch advised", func(_ *world, p *q) { p.version, p.bodyType, p.body = 5, 3, td([3]byte{5, 1, 3}, 6, 1, 3) }, dcap.RelaunchAdvised, []string{"tdx.tcb.module", "tdx.tcb: RelaunchAdvised"}},
		{"relaunch under a module that is not the latest", func(_ *world, p *q) { p.version, p.bodyType, p.body = 5, 3, td([3]byte{4, 1, 3}, 5, 1, 3) }, dcap.OutOfDate, []string{"tdx.tcb.module", "tdx.tcb"}},
		{"relaunch under an unknown module", func(_ *world, p *q) { p.version, p.bodyType, p.body = 5, 3, td([3]byte{4, 1, 3}, 9, 9, 3) }, dcap.OutOfDate, []string{"tdx.tcb.module", "tdx.tcb"}},
		{"relaunch would not mend the microcode", func(_ *world, p *q) { p.version, p.bodyType, p.body = 5, 3, td([3]byte{5, 1, 3}, 6, 1, 2) }, dcap.OutOfDate, []string{"tdx.tcb.module", "tdx.tcb"}},
		{"relaunch would not mend the quoting enclave", func(_ *world, p *q) {
			p.version, p.bodyType, p.body, p.qe[258] = 5, 3, td([3]byte{5, 1, 3}, 6, 1, 3), 3
		}, dcap.OutOfDate, []string{"tdx.tcb.qe", "tdx.tcb.module", "tdx.tcb"}},
		{"relaunch, configuration needed", func(w *world, p *q) {
			w.info["tcbLevels"].([]any)[0].(map[string]any)["tcbStatus"] = "ConfigurationNeeded"
			p.version, p.bodyType, p.body = 5, 3, td([3]byte{5, 1, 3}, 6, 1, 3)
		}, dcap.RelaunchAdvisedConfigurationNeeded, []string{"tdx.tcb.module", "tdx.tcb"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			quote := w.edited(c.edit)
			r, err := w.verifier().Examine(quote, dcap.TDX, now)
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != c.status || r.Claims["mrtd"] == nil || r.Claims["ppid"] == nil {
				t.Errorf("status %q, expected %q; %d claims", r.Status, c.status, len(r.Claims))
			}
			lines := strings.Split(failed(r), "\n")
			if len(lines) != len(c.failed) {
				t.Fatalf("failed:\n%s\nexpected %q", strings.Join(lines, "\n"), c.failed)
			}
			for i, want := range c.failed {
				if !strings.Contains(lines[i], want) {
					t.Errorf("failed: %s, expected %q", lines[i], want)
				}
			}
			for _, check := range r.Checks {
				if !check.OK && check.Fix == "" {
					t.Errorf("no way to mend %s", check.ID)
				}
			}
		})
	}
}

// TestUnusual: what must pass though it looks unusual.
func TestUnusual(t *testing.T) {
	for _, c := range []struct {
		name     string
		edit     func(w *world, p *q)
		status   dcap.Status
		warnings string
	}{
		{"zero padding", func(_ *world, p *q) { p.behind = make([]byte, 3061) }, dcap.UpToDate, ""},
		{"chain ends in a zero byte", func(_ *world, p *q) { p.chain = append(p.chain, 0) }, dcap.UpToDate, ""},
		{"chain without its root", func(_ *world, p *q) { p.chain = p.chain[:strings.LastIndex(string(p.chain), "-----BEGIN")] }, dcap.UpToDate, ""},
		{"version 5, TD 1.0", func(_ *world, p *q) { p.version, p.bodyType = 5, 2 }, dcap.UpToDate, ""},
		{"version 5, TD 1.5", func(_ *world, p *q) { p.version, p.bodyType, p.body = 5, 3, td([3]byte{6, 1, 3}, 6, 1, 3) }, dcap.UpToDate, ""},
		{"module 3", func(_ *world, p *q) { p.body = td([3]byte{3, 3, 3}) }, dcap.UpToDate, ""},
		{"old module", func(_ *world, p *q) { p.body = td([3]byte{5, 0, 3}) }, dcap.UpToDate, ""},
		{"hardening needed", func(w *world, _ *q) { w.reissue(machine{w.machine.components, 12, w.machine.fmspc}) }, dcap.SWHardeningNeeded, "tdx.tcb.platform tdx.tcb"},
		{"configuration needed", func(w *world, _ *q) {
			w.info["tcbLevels"].([]any)[0].(map[string]any)["tcbStatus"] = "ConfigurationNeeded"
		}, dcap.ConfigurationNeeded, "tdx.tcb.platform tdx.tcb"},
		{"both needed", func(w *world, _ *q) {
			w.info["tcbLevels"].([]any)[0].(map[string]any)["tcbStatus"] = "ConfigurationAndSWHardeningNeeded"
		}, dcap.ConfigurationAndSWHardeningNeeded, "tdx.tcb.platform tdx.tcb"},
		{"evaluation floor reached", func(w *world, _ *q) { w.least, w.evaluations = 18, []int{19, 18, 17} }, dcap.UpToDate, ""},
		{"auth data of another size", func(_ *world, p *q) { p.auth = nil }, dcap.UpToDate, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			quote := w.edited(c.edit)
			r, err := w.verifier().Examine(quote, dcap.TDX, now)
			if err != nil {
				t.Fatal(err)
			}
			if text := failed(r); text != "" || r.Status != c.status || strings.Join(r.Warnings, " ") != c.warnings {
				t.Errorf("status %s, warnings %v, failed:\n%s", r.Status, r.Warnings, text)
			}
		})
	}
}

// TestBestCollateral: of several documents the one in date counts, of these the one of the
// latest TCB recovery, so that an older one beside it changes nothing.
func TestBestCollateral(t *testing.T) {
	w := newWorld(t)
	w.build()
	older := defaultInfo()
	older["tcbEvaluationDataNumber"] = 17
	older["tcbLevels"] = []any{level(1, "Revoked", "2018-01-04T00:00:00Z", components(), components())}
	expired := defaultInfo()
	expired["tcbEvaluationDataNumber"], expired["nextUpdate"] = 30, now.Add(-60e9).Format(stampForm)
	w.extra = [][]byte{w.respond("tcbInfo", older, nil), w.respond("tcbInfo", expired, nil)}
	r, err := w.verifier().Examine(w.quote(), dcap.TDX, now)
	if err != nil || failed(r) != "" || r.Claims["tcb_evaluation_data_number"] != 18 {
		t.Errorf("%v, %v", err, r)
	}
}

// TestNoCollateral: the nil verifier and the empty collateral say what is missing.
func TestNoCollateral(t *testing.T) {
	w := newWorld(t)
	r, err := dcap.NewWithRoot(dcap.Collateral{}, func() []byte { w.build(); return w.root.RawSubjectPublicKeyInfo }()).Examine(w.quote(), dcap.TDX, now)
	if err != nil || r.Status != "" || !strings.Contains(failed(r), "tdx.collateral: missing: TCB information for TDX, FMSPC 90C06F000000; the identity of the quoting enclave for TDX; the CRL of") {
		t.Errorf("%v, %v", err, r)
	}
	var none *dcap.Verifier
	if _, err := none.Examine(w.quote(), dcap.TDX, now); err == nil || !strings.Contains(err.Error(), "has the key") {
		t.Errorf("a chain of another root: %v", err)
	}
}

// TestConverge is Intel's table (quote verification library, convergence of statuses).
func TestConverge(t *testing.T) {
	for _, c := range [][3]dcap.Status{
		{"UpToDate", "UpToDate", "UpToDate"},
		{"UpToDate", "", "UpToDate"},
		{"UpToDate", "OutOfDate", "OutOfDate"},
		{"SWHardeningNeeded", "OutOfDate", "OutOfDate"},
		{"ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"},
		{"ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"},
		{"OutOfDate", "UpToDate", "OutOfDate"},
		{"OutOfDate", "OutOfDate", "OutOfDate"},
		{"OutOfDateConfigurationNeeded", "UpToDate", "OutOfDateConfigurationNeeded"},
		{"OutOfDateConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"},
		{"UpToDate", "Revoked", "Revoked"},
		{"Revoked", "UpToDate", "Revoked"},
		{"UpToDate", "TCBLevelNotSupported", "TCBLevelNotSupported"},
		{"TCBLevelNotSupported", "OutOfDate", "TCBLevelNotSupported"},
		{"RelaunchAdvised", "UpToDate", "RelaunchAdvised"},
	} {
		if got := dcap.Converge(c[0], c[1]); got != c[2] {
			t.Errorf("%s with %s gives %s, expected %s", c[0], c[1], got, c[2])
		}
	}
}
