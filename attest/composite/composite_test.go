package composite_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/composite"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) // constant: the time of every test

// part is what a pretended platform "signs": its evidence is this in JSON, and its hash.
type part struct {
	Machine    string          `json:"machine"`
	ReportData []byte          `json:"report_data"`
	Class      agreement.Class `json:"class"`
	Debug      bool            `json:"debug"`
	Fails      bool            `json:"fails"`
	Forged     bool            `json:"forged"`
}

func pretended(name wire.ID) attest.Examiner {
	return attest.Examiner{Name: name, Examine: func(evidence []byte, _ time.Time) (attest.Finding, error) {
		var p part
		signed, sum := evidence[:max(0, len(evidence)-32)], evidence[max(0, len(evidence)-32):]
		if want := wire.HashOf(signed); !bytes.Equal(sum, want[:]) || json.Unmarshal(signed, &p) != nil || p.Forged {
			return attest.Finding{}, verdict.NotGenuine(string(name)+".signature", "a signature", "none", "take another")
		}
		return attest.Finding{
			Facts:  attest.Facts{Platform: name, Class: p.Class, Root: wire.HashOf([]byte(name)), Machine: p.Machine, ReportData: p.ReportData, InitData: []byte("init"), Measurements: map[string]string{"image": "aa"}, Debug: p.Debug, Trusts: []string{string(name) + "'s maker"}},
			Claims: map[string]any{"x": 1}, Checks: []verdict.Check{{ID: string(name) + ".tcb", OK: !p.Fails, Expected: "e", Got: "g"}}, Warnings: []string{string(name) + ".old"},
		}, nil
	}}
}

func verifier() composite.Verifier {
	return composite.Verifier{CPUs: []attest.Examiner{pretended("cpu")}, Devices: []attest.Examiner{pretended("gpu")}}
}

func encode(t testing.TB, platform wire.ID, p part) attest.Evidence {
	t.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	sum := wire.HashOf(data)
	return attest.Evidence{Platform: platform, Evidence: append(data, sum[:]...)}
}

// change says where evidence differs from a good one of two devices.
type change struct {
	body   func(*composite.Body) // before anybody is asked
	device func(i int, p *part)
	cpu    func(*part)
	after  func(*composite.Body) // by the host, afterwards
}

func made(t testing.TB, c change) composite.Body {
	b := composite.Body{Nonce: bytes.Repeat([]byte{7}, 32), Bound: bytes.Repeat([]byte{9}, 64)}
	if c.body != nil {
		c.body(&b)
	}
	nonce := b.DeviceNonce()
	for i := range 2 {
		p := part{Machine: fmt.Sprint("gpu-", i), ReportData: nonce[:], Class: agreement.Confidential}
		if c.device != nil {
			c.device(i, &p)
		}
		b.Devices = append(b.Devices, encode(t, "gpu", p))
	}
	data := b.ReportData()
	p := part{Machine: "cpu-1", ReportData: data[:], Class: agreement.Confidential}
	if c.cpu != nil {
		c.cpu(&p)
	}
	b.CPU = encode(t, "cpu", p)
	if c.after != nil {
		c.after(&b)
	}
	return b
}

func TestExamine(t *testing.T) {
	for _, c := range []struct {
		name   string
		change change
		want   string // the error's check, else failed checks
	}{
		{"good", change{}, ""},
		{"short bound data", change{body: func(b *composite.Body) { b.Bound = b.Bound[:32] }}, ""},
		{"device exchanged", change{after: func(b *composite.Body) {
			nonce := b.DeviceNonce()
			b.Devices[1] = encode(t, "gpu", part{Machine: "gpu-9", ReportData: nonce[:], Class: agreement.Confidential})
		}}, "composite.binding"},
		{"device dropped", change{after: func(b *composite.Body) { b.Devices = b.Devices[:1] }}, "composite.binding"},
		{"devices in another order", change{after: func(b *composite.Body) { slices.Reverse(b.Devices) }}, "composite.binding"},
		{"nonce exchanged", change{after: func(b *composite.Body) { b.Nonce = bytes.Repeat([]byte{8}, 32) }}, "composite.binding"},
		{"bound data exchanged", change{after: func(b *composite.Body) { b.Bound = bytes.Repeat([]byte{8}, 64) }}, "composite.binding"},
		{"CPU asked for something else", change{cpu: func(p *part) { p.ReportData = make([]byte, 64) }}, "composite.binding"},
		{"device answered another nonce", change{device: func(i int, p *part) {
			if i == 1 {
				p.ReportData = bytes.Repeat([]byte{7}, 32)
			}
		}}, "composite.nonce"},
		{"forged CPU", change{cpu: func(p *part) { p.Forged = true }}, "cpu.cpu.signature"},
		{"forged device", change{device: func(i int, p *part) { p.Forged = i == 1 }}, "device1.gpu.signature"},
		{"CPU as a device", change{after: func(b *composite.Body) { b.Devices[0].Platform = "cpu" }}, "composite.device0"},
		{"device as the CPU", change{after: func(b *composite.Body) { b.CPU.Platform = "gpu" }}, "composite.cpu"},
		{"composite in composite", change{after: func(b *composite.Body) { b.CPU.Platform = "composite" }}, "composite.cpu"},
		{"no device", change{after: func(b *composite.Body) { b.Devices = nil }}, "composite.form"},
		{"evidence twice", change{after: func(b *composite.Body) { b.Devices[1] = b.Devices[0] }}, "composite.form"},
		{"one device twice", change{device: func(i int, p *part) { p.Machine, p.Debug = "gpu-0", i == 1 }}, "composite.devices"},
		{"one of two chips twice", change{device: func(i int, p *part) { p.Machine = []string{"chip-a", "chip-b+chip-a"}[i] }}, "composite.devices"},
		{"short nonce", change{body: func(b *composite.Body) { b.Nonce = b.Nonce[:15] }}, "composite.form"},
		{"bound data of another size", change{body: func(b *composite.Body) { b.Bound = b.Bound[:48] }}, "composite.form"},
		{"failed check of a device", change{device: func(i int, p *part) { p.Fails = i == 0 }}, "device0.gpu.tcb"},
		{"failed check of the CPU", change{cpu: func(p *part) { p.Fails = true }}, "cpu.cpu.tcb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, err := wire.Marshal(made(t, c.change))
			if err != nil && c.want == "composite.form" {
				return // no devices is null, which no document holds
			}
			if err != nil {
				t.Fatal(err)
			}
			f, err := verifier().Examine(data, now)
			var failed []string
			for _, k := range f.Checks {
				if !k.OK {
					failed = append(failed, k.ID)
				}
			}
			got := strings.Join(failed, ", ")
			var e *verdict.Error
			if errors.As(err, &e) {
				got = e.Check
				if e.Kind != verdict.Invalid || e.Fix == "" {
					t.Errorf("%v", e)
				}
			}
			if got != c.want {
				t.Errorf("got %q, expected %q (%v)", got, c.want, err)
			}
		})
	}
}

func TestFinding(t *testing.T) {
	b := made(t, change{device: func(i int, p *part) {
		if i == 1 {
			p.Class, p.Debug = agreement.Software, true
		}
	}})
	e, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	x, inner, err := attest.Recognise([]attest.Examiner{verifier().Examiner()}, e.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	f, err := x.Examine(inner, now)
	if err != nil {
		t.Fatal(err)
	}
	facts := f.Facts
	if facts.Platform != "composite" || facts.Class != agreement.Software || !facts.Debug || facts.Machine != "cpu-1" || !bytes.Equal(facts.ReportData, b.Bound) || string(facts.InitData) != "init" {
		t.Errorf("%+v", facts)
	}
	if len(facts.Measurements) != 3 || facts.Measurements["device1.image"] != "aa" || len(facts.Trusts) != 2 {
		t.Errorf("%v, %v", facts.Measurements, facts.Trusts)
	}
	if want := []string{"cpu.cpu.old", "device0.gpu.old", "device1.gpu.old", "composite.attachment"}; !slices.Equal(f.Warnings, want) {
		t.Errorf("warnings %v", f.Warnings)
	}
	if f.Standing() != attest.Warning {
		t.Errorf("%s", f.Standing())
	}
}

func TestZeroVerifierRefuses(t *testing.T) {
	data, err := wire.Marshal(made(t, change{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (composite.Verifier{}).Examine(data, now); verdict.As(err).Check != "composite.cpu" {
		t.Error(err)
	}
}

// TestEveryByte alters every byte of evidence: nothing altered passes.
func TestEveryByte(t *testing.T) {
	data, err := wire.Marshal(made(t, change{}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		altered := slices.Clone(data)
		altered[i] ^= 1
		if f, err := verifier().Examine(altered, now); err == nil && f.Standing() != attest.Contraindicated {
			t.Fatalf("byte %d of %d altered: %s", i, len(data), f.Standing())
		}
	}
}

func FuzzExamine(f *testing.F) {
	data, err := wire.Marshal(made(f, change{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(_ *testing.T, data []byte) { verifier().Examine(data, now) })
}
