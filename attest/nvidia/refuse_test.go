package nvidia_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/attest/nvidia"
	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
)

// refusal is one thing that is wrong with a good scene, and what must be said of it.
type refusal struct {
	name  string
	spoil func(*scene)
	want  string
}

func first(change func(*dev)) func(*scene) { return func(s *scene) { change(s.devices[0]) } }

func field(t uint16, data ...byte) func(*scene) {
	return first(func(d *dev) { d.fields[t] = data })
}

func without(t uint16) func(*scene) { return first(func(d *dev) { delete(d.fields, t) }) }

func text(data string) []byte { return append([]byte(data), 0) }

func run(t *testing.T, start func() *scene, cases []refusal) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := start()
			c.spoil(s)
			f, err := s.examine()
			if got := judge(f, err); got != c.want {
				t.Errorf("got %q, expected %q (%v)", got, c.want, err)
				for _, x := range f.Checks {
					t.Log(x)
				}
			}
			checkFinding(t, c.name, f, err)
			facts, err := s.verifier().Platform().Verify(s.form(s), s.now)
			if refused := !strings.HasPrefix(c.want, "affirming") && !strings.HasPrefix(c.want, "warning"); refused != (err != nil) || refused && facts.Platform != "" {
				t.Errorf("as a platform: %v", err)
			}
		})
	}
}

// TestReports spoils the report and what is around it.
func TestReports(t *testing.T) {
	byAnother := func(d *dev) { d.key = theWorld().signer.key }
	alter := func(change func([]byte) []byte) func(*scene) { return first(func(d *dev) { d.alter = change }) }
	put := func(at int, v byte) func(*scene) {
		return alter(func(b []byte) []byte { b[at] = v; return b })
	}
	const measured = "contraindicated -measurements -debug"
	run(t, single, []refusal{
		{"signed by another key", first(byAnother), "invalid evidence signature"},
		{"cut off", alter(func(b []byte) []byte { return b[:len(b)-1] }), "invalid evidence form"},
		{"bytes behind the signature", alter(func(b []byte) []byte { return append(b, 0, 1) }), "invalid evidence form"},
		{"zeros behind the signature", alter(func(b []byte) []byte { return append(b, 0, 0) }), "affirming"},
		{"another SPDM version", put(0, 0x12), "invalid evidence form"},
		{"no signature asked for", put(2, 0), "invalid evidence form"},
		{"one measurement asked for", put(3, 1), "invalid evidence form"},
		{"another certificate slot", put(36, 1), "invalid evidence form"},
		{"the response of another request", put(38, 0x6f), "invalid evidence form"},
		{"another number of measurements", put(41, 63), "invalid evidence form"},
		{"another length of the record", put(42, 0xbf), "invalid evidence form"},
		{"a measurement twice", put(45+55, 1), "invalid evidence form"},
		{"another measurement specification", put(46, 2), "invalid evidence form"},
		{"another nonce", put(4, 0), "invalid evidence signature"},
		{"no nonce", first(func(d *dev) { d.nonce = [32]byte{} }), "contraindicated -nonce"},
		{"no measurement", first(func(d *dev) { d.blocks = nil }), "invalid evidence form"},
		{"a measurement missing", first(func(d *dev) { d.blocks = d.blocks[:34] }), measured},
		{"a measurement of another driver", first(func(d *dev) { d.blocks[3] = digest("forged driver") }), measured},
		{"the other of two alternatives", first(func(d *dev) { d.blocks[3] = digest("another driver") }), "affirming"},
		{"a measurement cut to 32 bytes", first(func(d *dev) { d.blocks[3] = d.blocks[3][:32] }), measured},
		{"a measurement that no RIM names", first(func(d *dev) { d.blocks[60] = digest("anything") }), "affirming"},
		{"opaque field twice", first(func(d *dev) { d.tail = []byte{11, 0, 1, 0, 0x55} }), "invalid evidence form"},
		{"half an opaque field", first(func(d *dev) { d.tail = []byte{99, 0, 1} }), "invalid evidence form"},
		{"an opaque field that is too long", first(func(d *dev) { d.tail = []byte{99, 0, 2, 0, 1} }), "invalid evidence form"},
		{"too much opaque data", first(func(d *dev) { d.fields[200] = make([]byte, 1000) }), "invalid evidence form"},
		{"opaque data of the later form", first(func(d *dev) { d.fields, d.tail = nil, []byte("NVDAOD\x01\x00\x00\x00") }), "invalid evidence form"},
		{"another FWID than the certificate's", first(func(d *dev) { d.fields[20] = digest("other firmware") }), "invalid evidence fwid"},
		{"half an FWID", first(func(d *dev) { d.fields[20] = d.fields[20][:32] }), "invalid evidence fwid"},
		{"no FWID", without(20), "warning fwid"},
		{"unknown opaque data", field(200, 1, 2, 3), "affirming"},
		{"opaque data of a later version", field(34, 2, 0), "contraindicated -architecture"},
		{"opaque data of version -1", field(34, bytes.Repeat([]byte{255}, 9)...), "contraindicated -architecture"},
		{"NVDEC0 on", field(11, 0xaa), measured},
		{"NVDEC0 neither on nor off", field(11, 0), measured},
		{"NVDEC0 not stated", without(11), measured},
		{"unknown mode", field(36, 3, 0), "contraindicated -mode"},
		{"protected PCIe neither on nor off", field(21, 1), "contraindicated -mode"},
		{"mode and protected PCIe differ", field(36, 2, 0), "contraindicated -mode"},
		{"protected PCIe without switches", field(21, 0xaa), "contraindicated -topology"},
		{"no driver version", without(3), "contraindicated -collateral -measurements -debug"},
		{"a VBIOS version as driver version", field(3, text("96.00.9F.00.01")...), "contraindicated -collateral -measurements -debug"},
		{"something behind the driver version", field(3, text("550.90.07\x00x")...), "contraindicated -collateral -measurements -debug"},
		{"no VBIOS version", without(6), "contraindicated -collateral -measurements -debug"},
		{"another VBIOS", field(6, 0, 0x9f, 0, 0x96, 2, 0, 0, 0), "contraindicated -collateral -measurements -debug"},
		{"a VBIOS version with more", field(6, 0, 0x9f, 0, 0x96, 1, 0, 0, 1), "contraindicated -collateral -measurements -debug"},
	})
}

// TestCertificates spoils the device's certificates.
func TestCertificates(t *testing.T) {
	w := theWorld()
	rom := func(change func(*x509.Certificate)) func(*scene) { return first(func(d *dev) { d.changeROM = change }) }
	leaf := func(change func(*x509.Certificate)) func(*scene) { return first(func(d *dev) { d.other = change }) }
	chain := func(change func([]byte) []byte) func(*scene) { return first(func(d *dev) { d.chainText = change }) }
	drop := func(n int) func(*scene) {
		return chain(func(text []byte) []byte { return bytes.Join(slices.Delete(split(text), n, n+1), nil) })
	}
	flags := func(bits ...byte) func(*scene) {
		return func(s *scene) {
			b := newBlackwell(w, "41b9363d63c95dbe4e")
			b.flags = bits
			s.devices, s.rims = []*dev{b}, []*manifest{driverRIM(w, b), vbiosRIM(w, b)}
		}
	}
	run(t, single, []refusal{
		{"no leaf", drop(0), "invalid evidence chain"},
		{"no boot ROM", drop(1), "invalid evidence chain"},
		{"no intermediate", drop(2), "invalid evidence chain"},
		{"no root", drop(4), "affirming"},
		{"root only", chain(func(text []byte) []byte { return split(text)[4] }), "invalid evidence chain"},
		{"another root of the same name", first(func(d *dev) {
			identity := issue(w.otherRoot, "NVIDIA GH100 Identity", nil)
			d.ica = issue(identity, "NVIDIA GH100 Provisioner ICA 1", nil)
			d.chainText = func([]byte) []byte { return pemChain(append(d.leaf.chain(), w.otherRoot)) }
		}), "invalid evidence chain"},
		{"an intermediate that its issuer did not sign", first(func(d *dev) {
			d.ica = issue(issue(w.otherRoot, "NVIDIA GH100 Identity", nil), "NVIDIA GH100 Provisioner ICA 1", nil)
			d.chainText = func([]byte) []byte { return pemChain(append(d.leaf.chain()[:3], w.identity, w.root)) }
		}), "invalid evidence chain"},
		{"another root's certificate beside the chain", chain(func(text []byte) []byte {
			return append(bytes.Join(split(text)[:4], nil), pemChain([]*authority{w.otherRoot})...)
		}), "invalid evidence chain"},
		{"two leaves", func(s *scene) {
			other := newGPU(w, "410102030405060708")
			other.certify()
			s.devices[0].chainText = func(text []byte) []byte { return append(text, split(pemChain(other.leaf.chain()))[0]...) }
		}, "invalid evidence chain"},
		{"boot ROM of another model", rom(func(c *x509.Certificate) { c.Subject.CommonName = "GH100 B01 GSP BROM" }), "invalid evidence chain"},
		{"boot ROM without a serial number", rom(func(c *x509.Certificate) { c.Subject.SerialNumber = "" }), "invalid evidence chain"},
		{"boot ROM that is no authority", rom(func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = x509.KeyUsageDigitalSignature }), "invalid evidence chain"},
		{"intermediate that may issue no issuers", first(func(d *dev) {
			d.ica = issue(w.identity, "NVIDIA GH100 Provisioner ICA 1", func(c *x509.Certificate) { c.MaxPathLenZero = true })
		}), "invalid evidence chain"},
		{"leaf that is an authority", leaf(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }), "invalid evidence chain"},
		{"leaf for encryption", leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), "invalid evidence chain"},
		{"leaf without FWID", leaf(func(c *x509.Certificate) { c.ExtraExtensions = nil }), "invalid evidence chain"},
		{"leaf with two FWIDs", leaf(func(c *x509.Certificate) {
			d := newBlackwell(w, "41")
			c.ExtraExtensions = append(c.ExtraExtensions, d.extension(nil))
		}), "invalid evidence chain"},
		{"leaf with a broken FWID", leaf(func(c *x509.Certificate) {
			v := &c.ExtraExtensions[0].Value
			*v = append(bytes.Clone(*v), 0)
		}), "invalid evidence chain"},
		{"leaf with an unknown critical extension", leaf(func(c *x509.Certificate) {
			e := c.ExtraExtensions[0]
			e.Id, e.Critical = []int{1, 2, 3, 4}, true
			c.ExtraExtensions = append(c.ExtraExtensions, e)
		}), "invalid evidence chain"},
		{"leaf made for another boot ROM", leaf(func(c *x509.Certificate) {
			d := newGPU(w, "41")
			c.ExtraExtensions[0] = d.extension(w.ica.cert.RawSubjectPublicKeyInfo)
		}), "invalid evidence chain"},
		{"leaf ended", leaf(func(c *x509.Certificate) { c.NotAfter = when(2025) }), "contraindicated -dates"},
		{"leaf not begun", leaf(func(c *x509.Certificate) { c.NotBefore = when(2027) }), "contraindicated -dates"},
		{"unknown chip", first(func(d *dev) { d.model = "GR100 A01 GSP" }), "contraindicated -architecture -collateral -measurements -debug"},
		{"DICE flags as all Blackwell have them", flags(0x80, 0, 0, 1), "affirming"},
		{"DICE flag debug", flags(0x90, 0, 0, 1), "contraindicated -debug"},
		{"DICE flag debug, counted from the end", flags(0x80, 0, 0, 9), "contraindicated -debug"},
		{"DICE flag not secure", flags(0xc0, 0, 0, 1), "contraindicated -debug"},
		{"chain from the caller", func(s *scene) {
			s.devices[0].certify()
			for _, a := range s.devices[0].leaf.chain() {
				s.items = append(s.items, endorse.Item{Kind: endorse.X509Certificate, Data: a.cert.Raw})
			}
			s.devices[0].chainText = func([]byte) []byte { return nil }
		}, "affirming"},
		{"chain from the caller without an intermediate", func(s *scene) {
			s.devices[0].certify()
			for _, a := range s.devices[0].leaf.chain()[:2] {
				s.items = append(s.items, endorse.Item{Kind: endorse.X509Certificate, Data: a.cert.Raw})
			}
			s.devices[0].chainText = func([]byte) []byte { return nil }
		}, "contraindicated -collateral"},
		{"no chain", chain(func([]byte) []byte { return nil }), "contraindicated -collateral"},
		{"one device of two without a chain", func(s *scene) {
			s.devices = append(s.devices, newGPU(w, "410102030405060708"))
			s.devices[1].chainText = func([]byte) []byte { return nil }
		}, "contraindicated -collateral"},
	})
}

// split takes PEM text apart.
func split(text []byte) (blocks [][]byte) {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return blocks
		}
		blocks = append(blocks, pem.EncodeToMemory(b))
	}
}

// TestMachines spoils machines of several devices.
func TestMachines(t *testing.T) {
	w := theWorld()
	const fwid = " fwid"
	run(t, hgx2, []refusal{
		{"two nonces", func(s *scene) { s.devices[1].nonce = [32]byte{1} }, "contraindicated -nonce" + fwid},
		{"a device twice", func(s *scene) { s.devices = append(s.devices, s.devices[1]) }, "contraindicated -devices" + fwid},
		{"two architectures", func(s *scene) { s.devices[0] = newBlackwell(w, "41b9363d63c95dbe4e") },
			"contraindicated -architecture -collateral -measurements -debug -mode" + fwid},
		{"a switch missing", func(s *scene) { s.devices = s.devices[:4] }, "contraindicated -topology" + fwid},
		{"all switches missing", func(s *scene) { s.devices = s.devices[:3] }, "contraindicated -topology"},
		{"a GPU missing", func(s *scene) { s.devices = s.devices[1:] }, "contraindicated -topology" + fwid},
		{"switches only", func(s *scene) { s.devices = s.devices[3:] }, "warning fwid topology"},
		{"a GPU that sees another switch", func(s *scene) { s.devices[0].fields[22][0] ^= 1 }, "contraindicated -topology" + fwid},
		{"a GPU that does not see a switch", func(s *scene) { clear(s.devices[0].fields[22][:16]) }, "contraindicated -topology" + fwid},
		{"a GPU that says nothing of switches", func(s *scene) { delete(s.devices[0].fields, 22) }, "contraindicated -topology" + fwid},
		{"half a PDI", func(s *scene) { s.devices[0].fields[22] = s.devices[0].fields[22][:12] }, "contraindicated -topology" + fwid},
		{"a switch that sees another GPU", func(s *scene) { s.devices[3].fields[26][0] ^= 1 }, "contraindicated -topology" + fwid},
		{"a switch that does not see a GPU", func(s *scene) { clear(s.devices[3].fields[26][:8]) }, "contraindicated -topology" + fwid},
		{"a switch that says nothing of GPUs", func(s *scene) { delete(s.devices[3].fields, 26) }, "contraindicated -topology" + fwid},
		{"a switch that gives another PDI as its own", func(s *scene) { s.devices[3].fields[22][0] ^= 1 }, "invalid evidence identity"},
		{"a GPU in another mode", func(s *scene) { s.devices[0].fields[21] = []byte{0x55} }, "contraindicated -mode" + fwid},
		{"switches beside GPUs that do not need them", func(s *scene) {
			for _, d := range s.devices[:3] {
				d.fields[21] = []byte{0x55}
			}
		}, "contraindicated -topology" + fwid},
		{"a switch that measures otherwise", func(s *scene) { s.devices[4].blocks[7] = digest("x") }, "contraindicated -measurements -debug" + fwid},
		{"one GPU with another VBIOS", func(s *scene) { s.devices[2].fields[6][4] = 7 }, "contraindicated -collateral -measurements -debug" + fwid},
	})
}

// TestHints spoils what stands beside reports.
func TestHints(t *testing.T) {
	hint := func(pairs ...any) func(*scene) {
		return first(func(d *dev) {
			d.hints = make(map[string]any)
			for i := 0; i < len(pairs); i += 2 {
				d.hints[pairs[i].(string)] = pairs[i+1]
			}
		})
	}
	nonce := hex.EncodeToString(digest("nonce")[:32])
	run(t, single, []refusal{
		{"right", hint("arch", "HOPPER", "nonce", nonce, "driver_version", "550.90.07", "vbios_version", "96.00.9f.00.01", "uuid", "GPU-1", "version", "1.0"), "affirming"},
		{"right, otherwise written", hint("arch", "Hopper", "nonce", "0x"+strings.ToUpper(nonce)), "affirming"},
		{"NVML's number", hint("GPUArchitecture", 9), "affirming"},
		{"NVML's number of another architecture", hint("GPUArchitecture", 10), "contraindicated -hints"},
		{"another architecture", hint("arch", "BLACKWELL"), "contraindicated -hints"},
		{"unknown architecture", hint("arch", "X"), "contraindicated -hints"},
		{"another nonce", hint("nonce", strings.Repeat("00", 32)), "contraindicated -hints"},
		{"another driver", hint("driver_version", "550.90.08"), "contraindicated -hints"},
		{"another VBIOS", hint("vbios_version", "96.00.9F.00.02"), "contraindicated -hints"},
		{"another nonce around it", func(s *scene) {
			s.form = func(s *scene) []byte {
				return must(json.Marshal(map[string]any{"nonce": strings.Repeat("11", 32), "evidence_list": []any{s.devices[0].object()}}))
			}
		}, "contraindicated -hints"},
	})
}

// TestForms reads the same device in every form.
func TestForms(t *testing.T) {
	s := single()
	d := s.devices[0]
	object := d.object()
	report := must(base64.StdEncoding.DecodeString(object["evidence"].(string)))
	chain := pemChain(d.leaf.chain())
	js := func(v any) []byte { return must(json.Marshal(v)) }
	trustee := map[string]any{"arch": "Hopper", "uuid": "GPU-1", "evidence": hex.EncodeToString(report), "certificate": object["certificate"]}
	pickle := map[string]any{"py/object": "x", "GPUArchitecture": 9, "AttestationReport": map[string]any{"py/b64": object["evidence"]},
		"CertificateChains": map[string]any{"GpuAttestationCertificateChain": []any{map[string]any{"pem": object["certificate"]}}}}
	for name, evidence := range map[string][]byte{
		"hex and PEM":             append(append([]byte(hex.EncodeToString(report)), '\n'), chain...),
		"hex in lines and PEM":    append(append([]byte(hex.EncodeToString(report[:100])+"\n"+hex.EncodeToString(report[100:])), '\n'), chain...),
		"base64 and PEM":          append(append([]byte(base64.StdEncoding.EncodeToString(report)), '\n'), chain...),
		"nvattest":                js([]any{object}),
		"nvattest, one":           js(object),
		"remote service":          js(map[string]any{"arch": "HOPPER", "evidence_list": []any{object}, "claims_version": "3.0"}),
		"Trustee":                 js(map[string]any{"device_evidence_list": []any{trustee}}),
		"a text in JSON":          js(map[string]any{"nvidia_payload": string(js(map[string]any{"evidence_list": []any{object}}))}),
		"jsonpickle of nvtrust":   js(map[string]any{"gpus": []any{pickle}, "nvswitches": []any{}}),
		"two texts in a row":      append(js([]any{}), js(object)...),
		"numbers and null beside": js(map[string]any{"a": nil, "b": 1.5, "c": true, "d": []any{object}}),
	} {
		if !nvidia.Detect(evidence) {
			t.Errorf("%s: not recognised", name)
		}
		if got := judge(s.verifier().Examine(evidence, s.now)); got != "affirming" {
			t.Errorf("%s: %s", name, got)
		}
	}
	url := base64.RawURLEncoding.EncodeToString
	record := func(kind string, data []byte) []any { return []any{kind, url(data)} }
	wrapper := js(map[string]any{"__cmwc_t": "tag", "nonce": record("application/octet-stream", d.nonce[:]), "gpu-0": map[string]any{"__cmwc_t": "tag",
		"evidence": record("application/vnd.x", report), "certificate": record("application/pem-certificate-chain", chain)}})
	if got := judge(s.verifier().Examine(wrapper, s.now)); got != "affirming" {
		t.Errorf("message wrapper: %s", got)
	}
	two := map[string]any{"evidence": object["evidence"], "attestation_report": object["evidence"]}
	for name, evidence := range map[string][]byte{
		"nothing": nil, "space": []byte(" \n"), "empty list": []byte("[]"), "another object": []byte(`{"evidence":"AAAA"}`), "two reports in one": js(two),
		"a member twice":   []byte(`{"evidence":"","evidence":"` + object["evidence"].(string) + `"}`),
		"text behind":      append(js(object), '1'),
		"not canonical":    []byte(`{"evidence":"` + object["evidence"].(string) + `!"}`),
		"deep":             []byte(strings.Repeat("[", 20) + strings.Repeat("]", 20)),
		"many":             []byte("[" + strings.Repeat("1,", 10000) + "1]"),
		"too many devices": js(slices.Repeat([]any{map[string]any{"evidence": object["evidence"]}}, 140)),
		"too large":        bytes.Repeat([]byte(" "), 2<<20),
	} {
		if nvidia.Detect(evidence) {
			t.Errorf("%s: recognised", name)
		}
		var e *verdict.Error
		if _, err := s.verifier().Examine(evidence, s.now); !errors.As(err, &e) || e.Kind != verdict.Invalid || e.Check != "nvidia.form" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
