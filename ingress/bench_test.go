package ingress_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/agreement"
	"strongroom.dev/channel"
	"strongroom.dev/wire"
)

// nginx starts an nginx with files of these sizes, in the clear and behind its own TLS 1.3. It
// is that of PATH, or of $STRONGROOM_NGINX.
func nginx(b *testing.B, sizes map[string]int) (plain, secure string) {
	b.Helper()
	program := os.Getenv("STRONGROOM_NGINX")
	if program == "" {
		var err error
		if program, err = exec.LookPath("nginx"); err != nil {
			b.Skip("no nginx: install it, or name it in $STRONGROOM_NGINX")
		}
	}
	dir := b.TempDir()
	os.Chmod(dir, 0o755)
	os.Mkdir(filepath.Join(dir, "www"), 0o755)
	for name, size := range sizes {
		data := make([]byte, size)
		rand.Read(data)
		if err := os.WriteFile(filepath.Join(dir, "www", name), data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	writePEM(b, filepath.Join(dir, "pair.pem"))
	plain, secure = free(b), free(b)
	config := fmt.Sprintf(`daemon off; master_process off; worker_processes 1; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; root %[1]s/www;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  server { listen %[2]s; }
  server { listen %[3]s ssl; ssl_protocols TLSv1.3; ssl_certificate %[1]s/pair.pem; ssl_certificate_key %[1]s/pair.pem; }
}`, dir, plain, secure)
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(program, "-c", path, "-p", dir, "-e", filepath.Join(dir, "error.log"))
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if conn, err := net.Dial("tcp", secure); err == nil {
			conn.Close()
			return plain, secure
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatalf("nginx does not listen: %s", &said)
	return "", ""
}

func writePEM(b *testing.B, path string) {
	b.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"nginx"}}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.Fatal(err)
	}
}

func free(b *testing.B) string {
	b.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	return l.Addr().String()
}

// channels gives both ends of a channel over a socket pair, as host and agent have it.
func channels(b *testing.B) (host, room *channel.Session) {
	b.Helper()
	fds := must(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0))
	end := func(fd int, role channel.Role) *channel.Session {
		f := os.NewFile(uintptr(fd), "channel")
		s := must(channel.New(f, role))
		b.Cleanup(func() { s.Close() })
		return s
	}
	return end(fds[0], channel.Host), end(fds[1], channel.Room)
}

// relayed publishes a room's port as a host does: each TCP connection is a stream.
func relayed(b *testing.B, host *channel.Session) string {
	b.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				stream, err := host.Open(context.Background(), "ingress/web")
				if err != nil {
					return
				}
				defer stream.Close()
				go func() {
					io.CopyBuffer(stream, struct{ io.Reader }{conn}, make([]byte, 64<<10))
					stream.CloseWrite()
				}()
				stream.WriteTo(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// BenchmarkServe asks nginx for files of three sizes over connections that are kept, behind its
// own TLS 1.3, and in the clear behind a room's: client, host's relay, channel, agent's TLS;
// and without relay and channel, as where the host hands connections over.
func BenchmarkServe(b *testing.B) {
	sizes := map[string]int{"1KiB": 1 << 10, "100KiB": 100 << 10, "1MiB": 1 << 20}
	plain, secure := nginx(b, sizes)
	w := world(b, agreement.Allow{Anyone: true})
	r := must(w.Room(func(ctx context.Context, _ wire.ID) (io.ReadWriteCloser, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", plain)
	}, nil))
	b.Cleanup(r.Close)
	host, room := channels(b)
	go func() {
		for {
			stream, err := room.Accept(context.Background())
			if err != nil {
				return
			}
			go r.Serve(context.Background(), "web", stream)
		}
	}()
	address := relayed(b, host)
	direct := must(r.Listen(b.Context(), "web", nil))
	j := &judge{w: w, remember: true}
	attested := func(address string) (net.Conn, error) {
		c := served{Room: r, w: w, address: address}.client()
		c.Judge = j
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		return c.Connect(context.Background(), conn)
	}
	ways := []struct {
		name string
		dial func() (net.Conn, error)
	}{
		{"nginx", func() (net.Conn, error) {
			return tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		}},
		{"channel", func() (net.Conn, error) { return attested(address) }},
		{"handed", func() (net.Conn, error) { return attested(direct) }},
	}
	for _, size := range []string{"1KiB", "100KiB", "1MiB"} {
		for _, way := range ways {
			b.Run(size+"/"+way.name, func(b *testing.B) { ask(b, way.dial, size, sizes[size]) })
		}
	}
}

// ask makes b.N requests over eight connections.
func ask(b *testing.B, dial func() (net.Conn, error), name string, size int) {
	const connections = 8
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	var ready sync.WaitGroup
	ready.Add(connections)
	begin := make(chan bool)
	for range connections {
		conn, err := dial()
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		all.Go(func() {
			r := bufio.NewReaderSize(conn, 64<<10)
			ready.Done()
			<-begin
			for left.Add(-1) >= 0 {
				fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", name)
				answer, err := http.ReadResponse(r, nil)
				if err != nil {
					b.Error(err)
					return
				}
				if n, err := io.Copy(io.Discard, answer.Body); err != nil || n != int64(size) {
					b.Errorf("%d bytes, %v", n, err)
					return
				}
			}
		})
	}
	ready.Wait()
	b.SetBytes(int64(size))
	b.ResetTimer()
	close(begin)
	all.Wait()
}
