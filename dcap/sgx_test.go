package dcap_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"strongroom.dev/dcap"
	"strongroom.dev/verdict"
)

// sgxWorld is the world of an SGX machine.
func sgxWorld(t *testing.T) *world {
	w := newWorld(t)
	w.info["id"], w.identity["id"] = "SGX", "QE"
	delete(w.info, "tdxModule")
	delete(w.info, "tdxModuleIdentities")
	for _, l := range w.info["tcbLevels"].([]any) {
		delete(l.(map[string]any)["tcb"].(map[string]any), "tdxtcbcomponents")
	}
	return w
}

// enclave makes an enclave's report with report data.
func enclave(reportData []byte) []byte {
	b := make([]byte, 384)
	b[48] = 5
	for i := 64; i < 96; i++ {
		b[i] = 0xee
	}
	copy(b[320:], reportData)
	return b
}

func (w *world) sgxQuote(version int, body []byte) []byte {
	return w.quote(func(p *q) { p.version, p.tee, p.bodyType, p.body = version, 0, 1, body })
}

func TestSGX(t *testing.T) {
	for _, version := range []int{3, 4, 5} {
		w := sgxWorld(t)
		r, err := w.verifier().Examine(w.sgxQuote(version, enclave(nil)), dcap.SGX, now)
		if err != nil {
			t.Fatal(err)
		}
		if text := failed(r); text != "" || r.Status != dcap.UpToDate || r.Claims["mrenclave"] != strings.Repeat("ee", 32) || r.Checks[0].ID != "sgx.quote" {
			t.Errorf("version %d: status %s, failed:\n%s", version, r.Status, text)
		}
	}
}

func TestSGXDoubts(t *testing.T) {
	for _, c := range []struct {
		name, failed string
		flags        byte
		pcesvn       int
	}{
		{"debugging", "sgx.debug: enclave attributes 07", 7, 13},
		{"never initialised", "sgx.debug: an enclave that was never initialised", 4, 13},
		{"out of date", "sgx.tcb.platform: OutOfDate, level of 2018-01-04: PCESVN 10, needs 13", 5, 10},
		{"no level", "sgx.tcb.platform: no TCB level matches", 5, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := sgxWorld(t)
			w.machine.pcesvn = c.pcesvn
			body := enclave(nil)
			body[48] = c.flags
			r, err := w.verifier().Examine(w.sgxQuote(3, body), dcap.SGX, now)
			if err != nil || !strings.HasPrefix(failed(r), c.failed) {
				t.Errorf("%v, failed:\n%s", err, failed(r))
			}
		})
	}
}

// TestForms: every form a quote comes in gives the same.
func TestForms(t *testing.T) {
	w := sgxWorld(t)
	held := []byte("held by the enclave")
	sum := sha256.Sum256(held)
	raw := w.sgxQuote(3, enclave(sum[:]))
	long := sha512.Sum512(held)
	other := w.sgxQuote(3, enclave(long[:]))
	b64, b64url := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	v := w.verifier()
	for name, form := range map[string]string{
		"raw":               string(raw),
		"Open Enclave":      "\x01\x00\x00\x00\x02\x00\x00\x00" + string([]byte{byte(len(raw)), byte(len(raw) >> 8), 0, 0, 0, 0, 0, 0}) + string(raw),
		"hex":               hex.EncodeToString(raw),
		"hex with 0x":       "0x" + strings.ToUpper(hex.EncodeToString(raw)) + "\n",
		"base64":            b64(raw),
		"base64url":         b64url(raw),
		"PEM":               "some words\n-----BEGIN REPORT-----\n" + b64(raw) + "\n-----END REPORT-----\n",
		"Trustee":           fmt.Sprintf(`{"quote":%q}`, b64(raw)),
		"nested":            fmt.Sprintf(`{"tee":"sgx","evidence":{"cc_eventlog":null,"quote":%q}}`, b64(raw)),
		"Azure, older":      fmt.Sprintf(`{"Quote":%q,"EnclaveHeldData":%q}`, b64url(raw), b64url(held)),
		"Azure":             fmt.Sprintf(`{"quote":%q,"runtimeData":{"data":%q,"dataType":"Binary"}}`, b64url(raw), b64(held)),
		"Azure, by SHA-512": fmt.Sprintf(`{"quote":%q,"runtimeData":{"data":%q,"dataType":"JSON"}}`, b64url(other), b64url(held)),
	} {
		if tee, ok := dcap.Detect([]byte(form)); !ok || tee != dcap.SGX {
			t.Errorf("%s: not detected", name)
		}
		r, err := v.Examine([]byte(form), dcap.SGX, now)
		if err != nil || failed(r) != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string][2]string{
		"held data altered":     {"sgx.held_data", fmt.Sprintf(`{"quote":%q,"runtimeData":{"data":%q}}`, b64url(raw), b64url([]byte("else")))},
		"held data twice":       {"sgx.quote", fmt.Sprintf(`{"quote":%q,"runtimeData":{"data":"aGk"},"EnclaveHeldData":"aGk"}`, b64url(raw))},
		"held data no string":   {"sgx.quote", fmt.Sprintf(`{"quote":%q,"EnclaveHeldData":1}`, b64url(raw))},
		"held data null":        {"sgx.quote", fmt.Sprintf(`{"quote":%q,"EnclaveHeldData":null}`, b64url(raw))},
		"runtime data empty":    {"sgx.quote", fmt.Sprintf(`{"quote":%q,"runtimeData":{}}`, b64url(raw))},
		"base64 not canonical":  {"sgx.quote", fmt.Sprintf(`{"quote":%q,"EnclaveHeldData":"aGl="}`, b64url(raw))},
		"two quotes":            {"sgx.quote", fmt.Sprintf(`{"quote":%q,"a":{"quote":%q}}`, b64(raw), b64(raw))},
		"duplicate member":      {"sgx.quote", fmt.Sprintf(`{"quote":%q,"quote":%q}`, b64(raw), b64(raw))},
		"duplicate in capitals": {"sgx.quote", fmt.Sprintf(`{"quote":%q,"QUOTE":%q}`, b64(raw), b64(raw))},
		"bytes behind":          {"sgx.quote", fmt.Sprintf(`{"quote":%q}x`, b64(raw))},
		"nested too deep":       {"sgx.quote", strings.Repeat(`{"a":`, 20) + `{"quote":1}` + strings.Repeat("}", 20)},
		"base64 twice":          {"sgx.quote", b64([]byte(b64(raw)))},
		"no quote":              {"sgx.quote", `{"quote":"aGVsbG8"}`},
		"other PEM":             {"sgx.quote", "-----BEGIN REPORT-----\naGVsbG8=\n-----END REPORT-----\n"},
		"nothing":               {"sgx.quote", ""},
		"white space":           {"sgx.quote", " \n"},
		"too long":              {"sgx.quote", strings.Repeat("0", dcap.MaxEnvelope+1)},
		"too long a quote":      {"sgx.quote", string(raw) + strings.Repeat("\x00", dcap.MaxQuote)},
	} {
		_, err := v.Examine([]byte(c[1]), dcap.SGX, now)
		var e *verdict.Error
		if !errors.As(err, &e) || e.Check != c[0] || e.Kind != verdict.Invalid {
			t.Errorf("%s: %v, expected %s", name, err, c[0])
		}
	}
}

// TestCutOff: no prefix of a quote is one.
func TestCutOff(t *testing.T) {
	w := newWorld(t)
	for _, version := range []int{4, 5} {
		raw := w.quote(func(p *q) { p.version, p.bodyType = version, 2 })
		for n := range raw {
			if _, err := dcap.ParseQuote(raw[:n]); err == nil {
				t.Fatalf("version %d: the first %d of %d bytes parse", version, n, len(raw))
			}
		}
	}
}

// TestSignedBytes flips every byte that a signature covers: all are refused, by an error or,
// for the parts that only collateral judges, never with another answer.
func TestSignedBytes(t *testing.T) {
	w := newWorld(t)
	v := w.verifier()
	for _, version := range []int{4, 5} {
		raw := w.quote(func(p *q) { p.version, p.bodyType = version, 2 })
		end := len(raw) - strings.Index(string(raw), "-----BEGIN")
		for i := range len(raw) - end {
			if testing.Short() && i%7 != 0 {
				continue
			}
			for _, bit := range []byte{1, 0x80} {
				raw[i] ^= bit
				if _, err := v.Examine(raw, dcap.TDX, now); err == nil {
					t.Errorf("version %d: byte %d flipped by %02x verifies", version, i, bit)
				}
				raw[i] ^= bit
			}
		}
	}
}
