package nvidia

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// architecture is a family of chips, named as NVIDIA's tools do.
type architecture string

const (
	hopper    architecture = "HOPPER"
	blackwell architecture = "BLACKWELL"
	ls10      architecture = "LS10"
)

func architectureOf(chip string) architecture {
	switch {
	case strings.HasPrefix(chip, "GH1"):
		return hopper
	case strings.HasPrefix(chip, "GB1"), strings.HasPrefix(chip, "GB2"):
		return blackwell
	case chip == "LS_10":
		return ls10
	}
	return ""
}

// The names of certificates: "GH100 A01 GSP FMC LF" is issued by "GH100 A01 GSP BROM".
const (
	leafSuffix = " FMC LF"
	romSuffix  = " BROM"
)

// device is a device whose report is genuine.
type device struct {
	name   string // gpu0, switch3: by its place in the evidence
	hints  Hints
	report *Report
	chain  []*x509.Certificate // leaf, boot ROM, ..., root
	identity
	chip         string
	architecture architecture // "" if not known
	serial       string       // of the chip, lower-case hex, from the boot ROM's certificate
	pdi          PDI
	// driver and vbios are the RIMs for the device, nil if there is none that is genuine.
	driver, vbios *rim
	matched       bool // the measurements are as the RIMs say
}

func (d *device) isSwitch() bool { return d.architecture == ls10 }

// leaf finds the certificate of the key that signed a report: the one that came with it, or
// one of the caller's. It gives nil if there is none to try.
func (x *examination) leaf(r *Report, came []*x509.Certificate) (*x509.Certificate, error) {
	const expected, fix = "a report signed by the device's attestation key", "take a new report; one that was altered on its way cannot be mended"
	var leaves []*x509.Certificate
	for _, c := range came {
		if !c.IsCA {
			leaves = append(leaves, c)
		}
	}
	switch {
	case len(leaves) > 1:
		return nil, invalid("chain", "one device certificate with a report", fmt.Sprintf("%d", len(leaves)), "send each report with its own chain only")
	case len(came) > 0 && leaves == nil:
		return nil, invalid("chain", "the device certificate with its report", "authorities only", "send the whole chain as the collecting tool gives it")
	case leaves == nil && x.tries+len(x.leaves) > maxTries:
		x.lacking = fmt.Sprintf("none with the reports, and %d device certificates at hand, too many to try", len(x.leaves))
		return nil, nil
	case leaves == nil:
		leaves = x.leaves
		x.tries += len(leaves)
	}
	for _, c := range leaves {
		if key, ok := c.PublicKey.(*ecdsa.PublicKey); ok && onP384(c) && r.signedBy(key) {
			return c, nil
		}
	}
	if len(leaves) == 0 {
		return nil, nil
	}
	return nil, invalid("signature", expected, "a signature that does not verify under "+known(leaves), fix)
}

func known(leaves []*x509.Certificate) string {
	if len(leaves) == 1 {
		return common(leaves[0])
	}
	return fmt.Sprintf("any of %d device certificates", len(leaves))
}

// verify verifies one device up to NVIDIA's root. It gives nil if a certificate is missing
// that the evidence need not carry.
func (x *examination) verify(r *Report, found Device) (*device, error) {
	leaf, err := x.leaf(r, found.Certificates)
	if leaf == nil || err != nil {
		return nil, err
	}
	const expected, fix = "a certificate chain from NVIDIA Device Identity CA", "send the chain that the device itself gives"
	if err := checkLeaf(leaf); err != nil {
		return nil, invalid("chain", expected, err.Error(), fix)
	}
	chain, err := x.links.chain(leaf, append(found.Certificates[:len(found.Certificates):len(found.Certificates)], x.others...), x.links.devices)
	var missing missingIssuer
	if errors.As(err, &missing) && len(found.Certificates) == 0 {
		x.lacking = err.Error()
		return nil, nil
	}
	if err != nil {
		return nil, invalid("chain", expected, err.Error(), fix)
	}
	if c := stranger(found.Certificates, chain); c != nil {
		return nil, invalid("chain", expected, common(c)+", which is not in the device's chain", fix)
	}
	d := &device{hints: found.Hints, report: r, chain: chain}
	if err := d.identify(); err != nil {
		return nil, invalid("chain", "certificates of a device's firmware and boot ROM", err.Error(), fix)
	}
	return d, d.bound()
}

// identify reads what the certificates say of the device.
func (d *device) identify() error {
	leaf, rom := d.chain[0], d.chain[1]
	model, ok := strings.CutSuffix(leaf.Subject.CommonName, leafSuffix)
	if romModel, romOK := strings.CutSuffix(rom.Subject.CommonName, romSuffix); !ok || !romOK || model != romModel {
		return fmt.Errorf("a leaf %s issued by %s", common(leaf), common(rom))
	}
	d.chip, _, _ = strings.Cut(model, " ")
	d.architecture = architectureOf(d.chip)
	const length = 1 + len(PDI{})
	serial, err := hex.DecodeString(rom.Subject.SerialNumber)
	if err != nil || len(serial) != length {
		return fmt.Errorf("a boot ROM with the serial number %.40q, expected %d bytes in hex", rom.Subject.SerialNumber, length)
	}
	d.serial, d.pdi = hex.EncodeToString(serial), PDI(serial[1:])
	if d.identity, err = parseIdentity(leaf); err != nil {
		return err
	}
	if d.device != nil && !bytes.Equal(d.device, rom.RawSubjectPublicKeyInfo) {
		return errors.New("a leaf made for another boot ROM than its issuer")
	}
	return nil
}

// bound checks what the report says of firmware and identity against the certificates.
func (d *device) bound() error {
	const fix = "take the report and its chain from the same device, at the same time"
	if fwid, ok := d.report.field(fieldFWID); ok && !bytes.Equal(fwid, d.fwid) {
		return invalid("fwid", fmt.Sprintf("firmware %x…, for which the certificate was made", d.fwid[:8]), fmt.Sprintf("firmware %.16x…", fwid), fix)
	}
	if own, ok := d.report.own(); d.isSwitch() && ok && own != d.pdi {
		return invalid("identity", fmt.Sprintf("the switch %x of the certificate", d.pdi), fmt.Sprintf("a report of %x", own), fix)
	}
	return nil
}

// product gives the chip as RIMs name it.
func (d *device) product() string {
	if chip := d.report.text(fieldChip); chip != "" {
		return chip
	}
	return strings.ReplaceAll(d.chip, "_", "")
}

// driverRIM gives the identifier of the RIM for a GPU's driver.
func (d *device) driverRIM() string {
	version := d.report.driver()
	if version == "" {
		version = "?"
	}
	if d.architecture == hopper {
		return "NV_GPU_DRIVER_" + d.product() + "_" + version
	}
	return "NV_GPU_CC_DRIVER_" + d.product() + "_" + version
}

// vbiosRIM gives the identifier of the RIM for the VBIOS or a switch's firmware.
func (d *device) vbiosRIM() string {
	version := strings.ReplaceAll(d.report.vbios(), ".", "")
	if version == "" {
		version = "?"
	}
	if d.isSwitch() { // the board is the same in all LS10
		return "NV_SWITCH_BIOS_5612_0002_890_" + version
	}
	board := d.report.text(fieldProject) + "_" + d.report.text(fieldProjectSKU) + "_" + d.report.text(fieldChipSKU)
	return strings.ToUpper("NV_GPU_VBIOS_" + board + "_" + version)
}
