package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The platforms that a machine can be, as agreements name them.
const (
	SNP wire.ID = "snp"
	TDX wire.ID = "tdx"
	TPM wire.ID = "tpm"
)

// NoByteCode is what a kernel's command line holds beside the image's own on SEV-SNP, where
// nothing measures ACPI's byte code: the first word leaves out the step that takes it in, the
// second finds the PCI bus without it (spec/host-interface.md, section 3).
const NoByteCode = "initcall_blacklist=acpi_init pci=lastbus=1"

// Found is a platform that was found.
type Found struct {
	Platform wire.ID
	// Why says by what, for people.
	Why string
}

// Where the kernel shows evidence devices.
const (
	reports  = "sys/kernel/config/tsm/report" // Documentation/ABI/testing/configfs-tsm-report
	assetTag = "sys/class/dmi/id/chassis_asset_tag"
	// azureTag is the asset tag of every virtual machine on Microsoft Azure.
	azureTag = "7783-7084-3265-9085-8269-3286-77"
)

// Detect says which platform a machine is, by what its kernel shows below root ("/"): a
// processor's evidence first, since a TPM beside it is the host's. It refuses what this
// image makes no evidence of, by name.
func Detect(root string) (Found, error) {
	if there(root, reports) {
		// The kernel makes no entry where no driver found its processor's device (ENXIO).
		if found, err := detectReports(root); !errors.Is(err, syscall.ENXIO) {
			return found, err
		}
	}
	for _, device := range []string{"dev/sev-guest", "dev/tdx_guest"} {
		if there(root, device) {
			return Found{}, unsupported("/"+device+" without /"+reports, "boot a kernel with configfs-tsm: Linux 6.7 or later with its modules configfs and tsm")
		}
	}
	if there(root, "dev/nsm") {
		return Found{}, unsupported("a Nitro enclave (/dev/nsm)", "run rooms in virtual machines: enclaves have no disks and no event log")
	}
	return detectTPM(root)
}

func detectReports(root string) (Found, error) {
	provider, err := newReport(root).provider()
	if err != nil {
		return Found{}, fmt.Errorf("finding out who makes reports: %w", err)
	}
	why := "/" + reports + " by " + provider
	switch provider {
	case "sev_guest":
		return Found{SNP, why}, nil
	case "tdx_guest":
		return Found{TDX, why}, nil
	}
	return Found{}, unsupported(verdict.Printable(verdict.Short(why)), "a room needs AMD SEV-SNP, Intel TDX or a TPM 2.0")
}

func detectTPM(root string) (Found, error) {
	if !there(root, "sys/class/tpm/tpm0") {
		return Found{}, unsupported("none: no configfs-tsm, no /dev/sev-guest, /dev/tdx_guest or /dev/nsm, no TPM", "give the machine a TPM 2.0, or start it on a host with AMD SEV-SNP or Intel TDX")
	}
	version, err := readShort(root, "sys/class/tpm/tpm0/tpm_version_major")
	if err != nil {
		return Found{}, err
	}
	if version != "2" {
		return Found{}, unsupported("a TPM of version "+verdict.Printable(verdict.Short(version)), "give the machine a TPM 2.0")
	}
	if !there(root, "dev/tpm0") {
		return Found{}, unsupported("a TPM without /dev/tpm0", "the kernel and its device file system don't fit: report it")
	}
	if tag, err := readShort(root, assetTag); err == nil && tag == azureTag {
		return Found{}, unsupported("a virtual TPM on Microsoft Azure (by "+assetTag+")", "its evidence needs the paravisor's report, which this image does not show yet: use a host with configfs-tsm")
	}
	return Found{TPM, "/dev/tpm0, and no evidence of a processor's"}, nil
}

func unsupported(got, fix string) error {
	return verdict.Refuse("machine.platform", "a machine that this image makes evidence of: SEV-SNP, TDX or a TPM 2.0", got, fix)
}

func there(root, path string) bool {
	_, err := os.Stat(filepath.Join(root, path))
	return err == nil
}

// readShort reads a file of a line of at most 256 bytes, without its line feed.
func readShort(root, path string) (string, error) {
	data, err := readAll(filepath.Join(root, path), 256)
	return strings.TrimSuffix(string(data), "\n"), err
}

// readAll reads a file of the kernel's, whose size is known only at its end.
func readAll(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(f, most+1))
	if err == nil && n > most {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than %d bytes", most)}
	}
	return b.Bytes(), err
}
