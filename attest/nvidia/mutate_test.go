package nvidia_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/attest/nvidia"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
)

// genuine are reports as they were captured, with their chains.
func genuine() [][2]string {
	return [][2]string{
		{unit + "hopperAttestationReport.txt", unit + "hopperCertChain.txt"},
		{samples + "gpu/hopperAttestationReport.txt", samples + "gpu/hopperCertChain.txt"},
		{samples + "gpu/blackwellAttestationReport.txt", samples + "gpu/blackwellCertChain.txt"},
		{samples + "switch/switchAttestationReport.txt", samples + "switch/switchCertChain.txt"},
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= byte(1 << (i % 8))
	return b
}

// TestMutatedReports flips every byte of genuine reports, signature included.
func TestMutatedReports(t *testing.T) {
	for _, g := range genuine() {
		t.Run(filepath.Base(g[0]), func(t *testing.T) {
			t.Parallel()
			v, report := nvidia.New(evidencetest.Set(t, g[1])), endorse.Decode(evidencetest.Read(t, g[0]))
			if f, err := v.Examine(report, evidencetest.Time("2026-06-01")); err != nil || f.Facts.Root.IsZero() {
				t.Fatalf("unaltered: %v", err)
			}
			for i := range report {
				if testing.Short() && i%7 != 0 {
					continue
				}
				if _, err := v.Examine(flip(report, i), evidencetest.Time("2026-06-01")); err == nil {
					t.Errorf("byte %d altered, and genuine", i)
				}
			}
		})
	}
}

// chosen says which bytes of an endorsement to alter: those around boundaries, where a tag or
// a bracket may stand, and a seeded 2 %, or all with STRONGROOM_LONG set.
func chosen(data []byte, boundary string) []int {
	all := os.Getenv("STRONGROOM_LONG") != ""
	random := rand.New(rand.NewPCG(1, 2))
	var some []int
	for i := range data {
		edge := i < 64 || i >= len(data)-16 || strings.IndexByte(boundary, data[i]) >= 0 && random.IntN(4) == 0
		if all || edge || random.IntN(50) == 0 {
			some = append(some, i)
		}
	}
	return some
}

// TestMutatedChains alters the certificates of a device, in DER, beside its report.
func TestMutatedChains(t *testing.T) {
	for _, g := range genuine()[1:] {
		report := endorse.Decode(evidencetest.Read(t, g[0]))
		var chain [][]byte
		for _, it := range endorse.Parse("", evidencetest.Read(t, g[1])) {
			chain = append(chain, it.Data)
		}
		v := nvidia.New(endorse.Set{})
		evidence := func(n int, altered []byte) []byte {
			m := map[string]any{"evidence": report}
			var list [][]byte
			for i, der := range chain {
				if i == n {
					der = altered
				}
				list = append(list, der)
			}
			m["certificate"] = list
			return must(json.Marshal(m))
		}
		if f, err := v.Examine(evidence(-1, nil), evidencetest.Time("2026-06-01")); err != nil || f.Facts.Root.IsZero() {
			t.Fatalf("unaltered: %v", err)
		}
		for n, der := range chain {
			for _, i := range chosen(der, "\x02\x03\x04\x05\x06\x30") {
				f, err := v.Examine(evidence(n, flip(der, i)), evidencetest.Time("2026-06-01"))
				if err == nil && n < len(chain)-1 {
					t.Errorf("%s: byte %d of certificate %d altered, and genuine", g[0], i, n)
				}
				// Who alters the root's certificate so that it is none takes it away: it is built in.
				if err == nil && len(f.Claims["certificate_chain"].([]any)) != 5 {
					t.Errorf("%s: byte %d of the root altered", g[0], i)
				}
			}
		}
	}
}

// TestMutatedRIMs alters genuine RIMs, signed parts, signature and certificates.
func TestMutatedRIMs(t *testing.T) {
	for _, name := range []string{google + "rim/NV_GPU_DRIVER_GH100_550.90.07.xml", unit + "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml"} {
		rim := bytes.TrimSpace(evidencetest.Read(t, name))
		if _, err := nvidia.VerifyRIM(rim); err != nil {
			t.Fatal(err)
		}
		for _, i := range chosen(rim, "<>/=\"") {
			if _, err := nvidia.VerifyRIM(flip(rim, i)); err == nil {
				t.Errorf("%s: byte %d altered (%q), and genuine", name, i, rim[max(0, i-20):i+20])
			}
		}
	}
}

// TestMutatedResponses alters NVIDIA's OCSP responses.
func TestMutatedResponses(t *testing.T) {
	report := evidencetest.Read(t, google+"test_raw_gpu_attestation_report.dat")
	chain := endorse.Parse("", evidencetest.Read(t, google+"test_gpu_attestation_certificate_chain.dat"))
	for i, name := range []string{"l4", "l3", "l2"} {
		der := endorse.Parse("", evidencetest.Read(t, answers+"certificate_"+name+answer))[0].Data
		known := func(der []byte) bool {
			items := append(chain[:len(chain):len(chain)], endorse.Item{Kind: endorse.OCSPResponse, Data: der})
			f, err := nvidia.New(must(endorse.NewSet(items...))).Examine(report, evidencetest.Time("2025-08-21T12:00:00Z"))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range f.Checks {
				if c.ID == "nvidia.revocation" {
					return true
				}
			}
			return false
		}
		if !known(der) {
			t.Fatalf("%s: unaltered", name)
		}
		// Behind the responder's certificate nothing is signed but that, by its issuer.
		for _, at := range chosen(der, "\x02\x03\x04\x06\x30") {
			if i > 0 && os.Getenv("STRONGROOM_LONG") == "" && at%3 != 0 {
				continue
			}
			if known(flip(der, at)) {
				t.Errorf("%s: byte %d altered", name, at)
			}
		}
	}
}
