//go:build linux

package qemu_test

import (
	"bytes"
	"crypto/x509"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	peer "github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
	"strongroom.dev/host/qemu"
)

// TestTPMHoldsItsChain reads a new TPM's certificates as a machine would, with nothing but
// what is in it, and verifies them up to the pinned root.
func TestTPMHoldsItsChain(t *testing.T) {
	programs := qemu.FindPrograms()
	needs(t, programs, false)
	ca, dir := newCA(t, programs), t.TempDir()
	if err := qemu.NewTPM(ca, t.Context(), dir, programs); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.CommandContext(t.Context(), programs.SWTPM, "socket", "--tpm2", "--tpmstate", "dir="+filepath.Join(dir, "tpm"), "--server", "type=unixio,path="+socket, "--flags", "not-need-init,startup-clear")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	tpm, err := linuxudstpm.Open(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer tpm.Close()
	chain := append(read(t, tpm, qemu.ChainIndex), read(t, tpm, qemu.ChainIndex+1)...)
	if want := bytes.Join(ca.Certificates(), nil); !bytes.Equal(chain, want) {
		t.Fatalf("the TPM holds %d bytes of certificates, %d expected", len(chain), len(want))
	}
	certificates, err := x509.ParseCertificates(chain)
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []peer.TPMHandle{0x1c00002, 0x1c00016} {
		ek, err := x509.ParseCertificate(read(t, tpm, index))
		if err != nil {
			t.Fatal(err)
		}
		if err := ek.CheckSignatureFrom(certificates[0]); err != nil {
			t.Errorf("index %#x: %v", index, err)
		}
	}
	// Locked: what runs in the machine can't put other certificates there.
	_, err = peer.NVWrite{AuthHandle: owner(), NVIndex: named(t, tpm, qemu.ChainIndex), Data: peer.TPM2BMaxNVBuffer{Buffer: []byte("other")}}.Execute(tpm)
	if err == nil {
		t.Error("certificates can be overwritten")
	}
}

func owner() peer.AuthHandle {
	return peer.AuthHandle{Handle: peer.TPMRHOwner, Auth: peer.PasswordAuth(nil)}
}

func named(t *testing.T, tpm transport.TPM, index peer.TPMHandle) peer.NamedHandle {
	t.Helper()
	public, err := peer.NVReadPublic{NVIndex: index}.Execute(tpm)
	if err != nil {
		t.Fatal(err)
	}
	return peer.NamedHandle{Handle: index, Name: public.NVName}
}

func read(t *testing.T, tpm transport.TPM, index peer.TPMHandle) []byte {
	t.Helper()
	public, err := peer.NVReadPublic{NVIndex: index}.Execute(tpm)
	if err != nil {
		t.Fatal(err)
	}
	contents, err := public.NVPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for len(out) < int(contents.DataSize) {
		part, err := peer.NVRead{AuthHandle: owner(), NVIndex: peer.NamedHandle{Handle: index, Name: public.NVName}, Size: min(512, contents.DataSize-uint16(len(out))), Offset: uint16(len(out))}.Execute(tpm)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, part.Data.Buffer...)
	}
	return out
}
