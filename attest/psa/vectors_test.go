package psa_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/psa"
	"strongroom.dev/internal/evidencetest"
)

const (
	trustee  = "arm-synthetic/confidential-containers+trustee/deps/verifier/test_data/cca/misc/"
	veraison = "arm-synthetic/veraison+services/perf/data/"
)

// veraisonKey is the key that veraison's test suites register for their devices
// (scheme/arm-cca/test/corim/src/comid-cca-platform-ta.json).
const veraisonKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMKBCTNIcKUSDii11ySs3526iDZ8A
iTo7Tu6KPAqv7D7gS2XpJFbZiItSs3m9+9Ue6GnvHw/GW2ZZaVtszggXIw==
-----END PUBLIC KEY-----`

// TestVectors verifies the token there is with the key its makers publish.
func TestVectors(t *testing.T) {
	cpak := string(evidencetest.Read(t, trustee+"cpak-pub.json"))
	token := evidencetest.Read(t, veraison+"psa.good.cbor")
	for _, c := range []struct {
		keys []string
		want string
	}{
		{[]string{veraisonKey}, "affirming"},
		{[]string{cpak, veraisonKey}, "affirming"},
		{nil, "contraindicated -psa.key"},
		{[]string{cpak}, "contraindicated -psa.key"}, // of another curve: it can't be its
	} {
		f, err := psa.New(evidencetest.SetOf(t, c.keys...)).Examine(token, time.Time{})
		got := evidencetest.Judge(f, err)
		t.Logf("psa.good.cbor with %d keys: %s", len(c.keys), got)
		if got != c.want || !psa.Detect(token) {
			t.Errorf("got %q, expected %q (%v)", got, c.want, err)
		}
		if f.Facts.Root.IsZero() != (len(f.Claims) == 0) || f.Facts.Root.IsZero() != f.Facts.Debug || f.Facts.Class != agreement.IntegrityOnly {
			t.Errorf("%+v", f)
		}
	}
}

func TestFacts(t *testing.T) {
	v := psa.New(evidencetest.SetOf(t, veraisonKey))
	token := evidencetest.Read(t, veraison+"psa.good.cbor")
	facts, err := v.Platform().Verify(token, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if facts.Platform != psa.Name || len(facts.ReportData) != 32 || facts.InitData != nil || len(facts.Measurements) != 3 || facts.Debug || len(facts.Trusts) == 0 ||
		facts.Measurements["prot"] != "0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f" || facts.Machine != "01ceebae7b8927a3227e5303cf5e0f1f7b34bb542ad7250ac03fbcde36ec2f1508" {
		t.Errorf("%+v", facts)
	}
	f, err := v.Examine([]byte(`{"evidence":"`+base64.StdEncoding.EncodeToString(token)+`"}`), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"profile": "http://arm.com/psa/2.0.0", "lifecycle": int64(12288), "lifecycle_name": "secured", "client_id": int64(1), "algorithm": "ES256",
		"nonce": "414a7c174141b3d0e9a1d28af31520f0d42299feac4007ded89d68ae6cd92f19", "verification_service": "https://psa-verifier.org", "boot_seed": strings.Repeat("deadbeef", 8)} {
		if f.Claims[name] != want {
			t.Errorf("%s is %v, expected %v", name, f.Claims[name], want)
		}
	}
	if got := evidencetest.Judge(psa.Verifier{}.Examine(token, time.Time{})); got != "contraindicated -psa.key" {
		t.Errorf("the zero verifier: %q", got)
	}
	if got := evidencetest.Judge(v.Examine([]byte("{}"), time.Time{})); got != "invalid evidence psa.form" {
		t.Errorf("nothing: %q", got)
	}
}

// TestMutatedVectors flips every byte of the token.
func TestMutatedVectors(t *testing.T) {
	token, v := evidencetest.Read(t, veraison+"psa.good.cbor"), psa.New(evidencetest.SetOf(t, veraisonKey))
	evidencetest.Flip(token, func(i int) {
		if f, err := v.Examine(token, time.Time{}); err == nil && f.Standing() != attest.Contraindicated {
			t.Errorf("byte %d flipped verifies", i)
		}
	})
}

// TestOthersAreNotOurs checks that evidence of other platforms is not taken for a token.
func TestOthersAreNotOurs(t *testing.T) {
	evidencetest.Others(t, psa.Detect, "azure", "tdx", "sgx", "snp", "nvidia", "tpm", "dice", "nitro", "arm-synthetic/veraison+services/scheme")
}
