//go:build linux

package container_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

// farEnd answers one HTTP request over TLS at the other end of the file that it gives.
func farEnd(t *testing.T) (*os.File, wire.Hash) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"api.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { theirs.Close() })
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	go func() {
		s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
		defer s.Close()
		request := make([]byte, 4096)
		n, err := s.Read(request)
		if err == nil && bytes.HasPrefix(request[:n], []byte("GET /path HTTP/1.1\r\nHost: api.example:8080\r\n")) {
			fmt.Fprint(s, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nanswer")
		}
	}()
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return theirs, wire.Hash(sha256.Sum256(leaf.RawSubjectPublicKeyInfo))
}

func TestEgress(t *testing.T) {
	for _, wrong := range []bool{true, false} {
		theirs, key := farEnd(t)
		if wrong {
			key[0]++
		}
		s, files := work(t, "get", "http://api.example:8080/path")
		s.Container.Egress = []agreement.Egress{{Name: "api", Host: "api.example", Port: 8080, Keys: []wire.Hash{key}}}
		s.Egress = true
		r := run(t, s, append(files, theirs)...)
		if r.err() != nil || (r.said() == "answer\n") == wrong {
			t.Errorf("wrong key %v: %v, ending %+v, said %q, events %q", wrong, r.err(), r.Ending, r.said(), r.Events)
		}
		if strings.Contains(strings.Join(r.Events, "\n"), container.EventEgress+" api: egress.key") != wrong {
			t.Errorf("events %q", r.Events)
		}
	}
}

func TestEgressElsewhere(t *testing.T) {
	s, files := work(t, "get", "http://198.51.100.1/")
	if r := run(t, s, files...); r.err() != nil || r.Ending.Code != 3 || !strings.Contains(r.said(), "network is unreachable") {
		t.Errorf("%v, ending %+v, said %q", r.err(), r.Ending, r.said())
	}
}

func TestTransitInside(t *testing.T) {
	s, files := work(t, "transit", "sign/signer", `{"input":"AA=="}`, "encrypt/signer", `{"plaintext":"AA=="}`)
	s.Container.Transit = &agreement.Transit{Port: 8200, Keys: []agreement.TransitKey{{Name: "signer", Input: "key", Uses: []wire.ID{"sign"}}}}
	s.Inputs = map[wire.ID][]byte{"key": bytes.Repeat([]byte{9}, 32)}
	r := well(t, s, files...)
	if got := r.said(); !strings.Contains(got, "200 ") || !strings.Contains(got, `"signature":"vault:v1:`) || !strings.Contains(got, "403 ") {
		t.Errorf("said %q", got)
	}
}
