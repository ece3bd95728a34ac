package qemu

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// TPMConfig is a software TPM. The zero value is refused.
type TPMConfig struct {
	// State is the path of the directory that the TPM's state is in, its own.
	State string
	// Control is the socket that QEMU controls the TPM through; Commands is one that takes TPM
	// commands instead, from a TPM that is started up already. One of them is given.
	Control  Socket
	Commands Socket
}

// Args gives the arguments of swtpm for a TPM that ends when its connection does.
func (c TPMConfig) Args() ([]string, error) {
	if err := (named{"the TPM's state", c.State}).check(); err != nil {
		return nil, err
	}
	args := []string{"socket", "--tpm2", "--terminate", "--tpmstate", "dir=" + c.State}
	if strings.Contains(c.State, ",") {
		return nil, misuse("a path without commas, which swtpm can't read", c.State)
	}
	switch {
	case c.Commands != (Socket{}) && c.Control == (Socket{}) && c.Commands.FD > 2:
		return append(args, "--fd", strconv.Itoa(c.Commands.FD), "--flags", "not-need-init,startup-clear"), nil
	case c.Commands != (Socket{}):
		return nil, misuse("one socket of a TPM", "two, or a path")
	}
	if err := c.Control.check("the TPM"); err != nil {
		return nil, err
	}
	if c.Control.FD != 0 {
		return append(args, "--ctrl", fmt.Sprintf("type=unixio,clientfd=%d", c.Control.FD)), nil
	}
	return append(args, "--ctrl", "type=unixio,path="+c.Control.Path), nil
}

// setupArgs gives the arguments of swtpm_setup that make a TPM with endorsement keys and
// their certificates, and with nothing but the SHA-256 bank, which is the one that is quoted.
func setupArgs(state, config string) []string {
	return []string{"--tpm2", "--tpmstate", state, "--config", config, "--create-ek-cert", "--lock-nvram", "--overwrite"}
}

// The files of a CA's directory; swtpm_localca chose the last two names.
const (
	signKey    = "signkey.pem"
	issuerCert = "issuercert.pem"
	serialFile = "certserial"
	rootCert   = "swtpm-localca-rootca-cert.pem"
	rootKey    = "swtpm-localca-rootca-privkey.pem"
)

// setupFiles gives the configuration that swtpm_setup and swtpm_localca read, by name. It is
// written anew for each TPM, so that nothing of the system's own is read and a CA's directory
// can be moved.
func setupFiles(dir, ca, localca string) map[string]string {
	in := func(name string) string { return filepath.Join(ca, name) }
	return map[string]string{
		"localca.conf":    fmt.Sprintf("statedir = %s\nsigningkey = %s\nissuercert = %s\ncertserial = %s\n", ca, in(signKey), in(issuerCert), in(serialFile)),
		"localca.options": "",
		"setup.conf": fmt.Sprintf("create_certs_tool = %s\ncreate_certs_tool_config = %s\ncreate_certs_tool_options = %s\nactive_pcr_banks = sha256\n",
			localca, filepath.Join(dir, "localca.conf"), filepath.Join(dir, "localca.options")),
	}
}
