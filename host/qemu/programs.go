package qemu

import (
	"os/exec"
	"path/filepath"

	"strongroom.dev/verdict"
)

// Programs are the paths of the programs behind a machine. Use [FindPrograms].
type Programs struct {
	// QEMU is qemu-system-x86_64.
	QEMU string
	// SWTPM, Setup and LocalCA are swtpm, swtpm_setup and swtpm_localca; a TPM's machine needs
	// them.
	SWTPM   string
	Setup   string
	LocalCA string
}

// FindPrograms looks for the programs in the directories of $PATH. What it does not find
// stays empty, and is an error once a machine needs it.
func FindPrograms() Programs {
	find := func(name string) string {
		path, err := exec.LookPath(name)
		if err != nil {
			return ""
		}
		if path, err = filepath.Abs(path); err != nil {
			return ""
		}
		return path
	}
	return Programs{QEMU: find("qemu-system-x86_64"), SWTPM: find("swtpm"), Setup: find("swtpm_setup"), LocalCA: find("swtpm_localca")}
}

// CheckQEMU reports that QEMU is missing.
func (p Programs) CheckQEMU() error {
	return needs("qemu-system-x86_64", p.QEMU, "install QEMU (on Debian: qemu-system-x86)")
}

// CheckTPM reports the first program of a software TPM that is missing.
func (p Programs) CheckTPM() error {
	for _, t := range []struct{ name, path string }{{"swtpm", p.SWTPM}, {"swtpm_setup", p.Setup}, {"swtpm_localca", p.LocalCA}} {
		if err := needs(t.name, t.path, "install swtpm and its tools (on Debian: swtpm, swtpm-tools)"); err != nil {
			return err
		}
	}
	return nil
}

func needs(name, path, fix string) error {
	if path == "" {
		return verdict.Misuse("vm.program", name, "none in $PATH", fix+"; strongroom doctor host shows what else is missing")
	}
	return nil
}
