package predict_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/predict"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors anew")

const specVectors = "../spec/vectors/measurements"

// specVector is one case of spec/vectors/measurements.
type specVector struct {
	Comment  string     `json:"comment"`
	Platform string     `json:"platform"`
	Firmware wire.Bytes `json:"firmware"`
	// Kernel is absent where none is handed over.
	Kernel wire.Bytes `json:"kernel,omitempty"`
	Initrd wire.Bytes `json:"initrd,omitempty"`
	Append string     `json:"append,omitempty"`
	// SEV-SNP.
	VCPUs    int    `json:"vcpus,omitempty"`
	CPU      string `json:"vcpu_type,omitempty"`
	Features uint64 `json:"guest_features,omitempty"`
	VMM      string `json:"vmm,omitempty"`
	// TDX.
	Memory uint64     `json:"memory,omitempty"`
	Loader wire.Bytes `json:"table_loader,omitempty"`
	RSDP   wire.Bytes `json:"rsdp,omitempty"`
	Tables wire.Bytes `json:"tables,omitempty"`
	// Values are what must come of it; else Refused is the check that fails.
	Values  map[string]string `json:"values,omitempty"`
	Refused string            `json:"refused,omitempty"`
}

func (v specVector) run() (map[string]string, error) {
	var boot *predict.DirectBoot
	if len(v.Kernel) > 0 {
		boot = &predict.DirectBoot{Kernel: v.Kernel, Initrd: v.Initrd, Append: v.Append}
	}
	switch v.Platform {
	case "snp":
		d, err := predict.SNP{Firmware: v.Firmware, Boot: boot, VCPUs: v.VCPUs, CPU: v.CPU, Features: v.Features, VMM: predict.VMM(v.VMM)}.LaunchDigest()
		return map[string]string{"launch_digest": hexOf(d[:])}, err
	case "tdx":
		t := predict.TDX{Firmware: v.Firmware, Boot: boot, Memory: v.Memory}
		if len(v.Tables) > 0 {
			t.ACPI = &predict.ACPI{Loader: v.Loader, RSDP: v.RSDP, Tables: v.Tables}
		}
		p, err := t.Registers()
		return p.Values, err
	default:
		p, err := predict.TPM{Firmware: v.Firmware, Boot: boot, Memory: v.Memory}.PCRs()
		return p.Values, err
	}
}

func TestSpecVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	files, err := filepath.Glob(filepath.Join(specVectors, "*.json"))
	if err != nil || len(files) != len(newVectors(t)) {
		t.Fatalf("%d vectors: %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v specVector
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got, err := v.run()
		if v.Refused != "" {
			if err == nil || verdict.As(err).Check != v.Refused {
				t.Errorf("%s: got %v, expected %s", file, err, v.Refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		} else if diff := cmp.Diff(v.Values, got); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

// newVectors gives the cases, by the names of their files, without what comes of them.
func newVectors(t *testing.T) map[string]specVector {
	sev := sevFirmware(t)
	snp := specVector{Platform: "snp", Firmware: sev, VCPUs: 2, CPU: "EPYC-Milan", Features: 1, VMM: "QEMU"}
	with := func(comment string, v specVector, change func(*specVector)) specVector {
		v.Comment = comment
		change(&v)
		return v
	}
	kernel := func(v *specVector) {
		v.Kernel, v.Initrd, v.Append = wire.Bytes(kernelImage()), wire.Bytes("an initrd"), "quiet"
	}
	tdx := specVector{Platform: "tdx", Firmware: tdxFirmware(t, tdxDriver, nil), Memory: 2 << 30, Loader: wire.Bytes("loader"), RSDP: wire.Bytes("rsdp"), Tables: wire.Bytes("tables")}
	drivers := volume(t, 0xc00000, file(t, "fdff263d-5f68-4591-87ba-b768f445a9af", 7, []byte("Tcg2Dxe")))
	tpm := specVector{Platform: "tpm", Firmware: aligned4K(compactVolume(t, volume(t, 0xe0000), drivers))}
	return map[string]specVector{
		"snp":                  with("Two processors, no kernel.", snp, func(*specVector) {}),
		"snp-ec2":              with("The same on EC2.", snp, func(v *specVector) { v.VMM = "ec2" }),
		"snp-gce":              with("The same on Google's Compute Engine.", snp, func(v *specVector) { v.VMM = "gce" }),
		"snp-kernel":           with("A kernel with initrd and command line.", snp, kernel),
		"snp-kernel-alone":     with("A kernel with nothing beside it.", snp, func(v *specVector) { v.Kernel = wire.Bytes(kernelImage()) }),
		"snp-kernel-unhashed":  with("A kernel, and firmware without an area for its hash.", snp, func(v *specVector) { kernel(v); v.Firmware = plainFirmware(t) }),
		"snp-no-features":      with("Features without SEV-SNP itself.", snp, func(v *specVector) { v.Features = 0x20 }),
		"tdx":                  with("All that RTMR 0 depends on is given.", tdx, kernel),
		"tdx-4-gib":            with("Memory on both sides of 4 GiB.", tdx, func(v *specVector) { v.Memory = 4 << 30 }),
		"tdx-no-tables":        with("No ACPI tables: RTMR 0 has no value.", tdx, func(v *specVector) { kernel(v); v.Loader, v.RSDP, v.Tables = nil, nil, nil }),
		"tdx-measures-nothing": with("Firmware that measures nothing into RTMRs.", tdx, func(v *specVector) { kernel(v); v.Firmware = tdxFirmware(t, ffs2, nil) }),
		"tdx-end-of-firmware":  with("The last page of firmware.", tdx, func(v *specVector) { v.Firmware = v.Firmware[len(v.Firmware)-4096:] }),
		"tpm":                  with("A kernel beside firmware whose version is not known.", tpm, kernel),
		"tpm-no-kernel":        with("No kernel.", tpm, func(*specVector) {}),
		"tpm-unknown-stub":     with("A unified kernel image whose stub is not known.", tpm, func(v *specVector) { v.Kernel = wire.Bytes(roomImage()) }),
	}
}

func writeVectors(t *testing.T) {
	if err := os.MkdirAll(specVectors, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, v := range newVectors(t) {
		values, err := v.run()
		if err != nil {
			v.Refused = verdict.As(err).Check
		} else {
			v.Values = values
		}
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(specVectors, name+".json"), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
