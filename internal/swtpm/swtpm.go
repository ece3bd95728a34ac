// Package swtpm starts software TPMs for tests: the program of that name, with endorsement
// keys that an authority of the test's own certified. They prove nothing about any machine.
package swtpm

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TPM is a running software TPM. A write is a command, a read its answer.
type TPM struct {
	net.Conn
	// Root and Issuer are the certificates above its endorsement keys', DER.
	Root, Issuer []byte
}

// Start starts a software TPM with the banks given ("sha1,sha256"). The test is skipped
// without swtpm, and fails under CI=true.
func Start(t testing.TB, banks string) *TPM {
	t.Helper()
	for _, tool := range []string{"swtpm", "swtpm_setup", "swtpm_localca", "swtpm_cert"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("no software TPM, which scripts/setup test installs: %v", err)
			}
			t.Skipf("a software TPM is needed (apt-get install swtpm swtpm-tools): %v", err)
		}
	}
	dir, err := os.MkdirTemp("", "tpm") // a short path: names of sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	state := manufacture(t, dir, banks)
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+state, "--server", "type=unixio,path="+socket, "--flags", "not-need-init,startup-clear")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	tpm := &TPM{Root: certificate(t, filepath.Join(dir, "swtpm-localca-rootca-cert.pem")), Issuer: certificate(t, filepath.Join(dir, "issuercert.pem"))}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if tpm.Conn, err = net.Dial("unix", socket); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("swtpm does not answer: %v", err)
		}
	}
	t.Cleanup(func() { tpm.Close() })
	return tpm
}

// manufacture makes a TPM's state with keys and certificates.
func manufacture(t testing.TB, dir, banks string) (state string) {
	t.Helper()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	localca, err := exec.LookPath("swtpm_localca")
	if err != nil {
		t.Fatal(err)
	}
	ca := write("ca.conf", fmt.Sprintf("statedir = %s\nsigningkey = %[1]s/signkey.pem\nissuercert = %[1]s/issuercert.pem\ncertserial = %[1]s/serial\n", dir))
	setup := write("setup.conf", fmt.Sprintf("create_certs_tool = %s\ncreate_certs_tool_config = %s\ncreate_certs_tool_options = %s\n", localca, ca, write("options", "")))
	state = filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("swtpm_setup", "--tpm2", "--tpmstate", state, "--create-ek-cert", "--pcr-banks", banks, "--config", setup).CombinedOutput(); err != nil {
		t.Fatalf("swtpm_setup: %v\n%s", err, out)
	}
	return state
}

func certificate(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s: no PEM", path)
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return block.Bytes
}
