package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/debianimage"
)

// The rows about containers: a web server in a room against the same files outside with the
// server's own TLS 1.3, both over the loopback.
const (
	ingressCached = "container: new attested connection, appraisal known"
	ingressFresh  = "container: new attested connection, evidence made for it"
	// The ways take many short turns, so that what else the machine does falls on all of them:
	// latencyTurns of latencyRequests after one another, throughputTurns of throughputSpell with
	// throughputClients at once.
	latencyTurns      = 60
	latencyRequests   = 25
	throughputTurns   = 20
	throughputSpell   = 300 * time.Millisecond
	throughputClients = 8
	// connectRounds is how many connections are made each way for a median.
	connectRounds = 60
)

// webSizes are the bodies that are asked for, and the least ratio promised of each.
var webSizes = []struct {
	name  string
	bytes int64
	least float64
}{{"1 KiB", 1 << 10, 0.5}, {"100 KiB", 100 << 10, 0.75}, {"1 MiB", 1 << 20, 0.85}}

func webLatency(size string) string {
	return "container: nginx, latency of " + size + " through attested ingress"
}
func webThroughput(size string) string {
	return "container: nginx, throughput of " + size + " through attested ingress"
}
func webConnect(size string) string {
	return "container: nginx, throughput of " + size + " through strongroom connect"
}

func webRows() []string {
	rows := []string{ingressCached, ingressFresh}
	for _, s := range webSizes {
		rows = append(rows, webLatency(s.name), webThroughput(s.name), webConnect(s.name))
	}
	return rows
}

// missingForContainers says what the machine lacks to run containers of Debian's packages.
func missingForContainers() error {
	if os.Geteuid() != 0 {
		return errors.New("only root makes images of Debian's packages and runs them outside")
	}
	for _, tool := range []string{"mmdebstrap", "pgbench", "psql", "unshare", "mkfs.ext4"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("no %s", tool)
		}
	}
	return nil
}

// containerBench measures containers in rooms of the dev platform.
func containerBench(match func(name string) bool) (rows []row, err error) {
	web, database := slices.ContainsFunc(webRows(), match), slices.ContainsFunc(pgRows(), match)
	if !web && !database {
		return nil, nil
	}
	if err := missingForContainers(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: left out, scripts/setup bench as root installs what is missing:", err)
		return nil, nil
	}
	dir, err := os.MkdirTemp("", "containerbench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	// Who interrupts the bench ends its rooms too, which are in sessions of their own.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if web {
		if rows, err = webBench(ctx, filepath.Join(dir, "web"), match); err != nil {
			return nil, err
		}
	}
	if database {
		more, err := pgBench(ctx, filepath.Join(dir, "pg"), match)
		return append(rows, more...), err
	}
	return rows, nil
}

// webImage is Debian's nginx with pages of the sizes measured.
func webImage() debianimage.Image {
	i := debianimage.Nginx()
	i.Name = "nginx-bench"
	for _, s := range webSizes {
		i.Setup = append(i.Setup, fmt.Sprintf("head -c %d /dev/zero > var/www/html/%d", s.bytes, s.bytes))
	}
	return i
}

// webBench measures nginx in a room and outside.
func webBench(ctx context.Context, dir string, match func(string) bool) ([]row, error) {
	layout, err := webImage().Layout(ctx, io.Discard)
	if err != nil {
		return nil, err
	}
	r, err := startContainer(ctx, containerConfig{Command: filepath.Join("bin", "strongroom"), Dir: filepath.Join(dir, "room"), Layout: layout,
		Edit: func(c *agreement.Container) { c.Ports[0].Name = "web" }})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	plain, end, err := webOutside(ctx, filepath.Join(dir, "outside"), layout)
	if err != nil {
		return nil, err
	}
	defer end()
	way, err := r.way("web", time.Hour)
	if err != nil {
		return nil, err
	}
	local, err := r.connect(ctx, "web")
	if err != nil {
		return nil, err
	}
	b := webBencher{room: webClient{way.Client(), "http://web/"}, plain: plain.client(), connect: webClient{&http.Client{Transport: webTransport()}, "http://" + local + "/"}, match: match}
	var rows []row
	for _, size := range webSizes {
		more, err := b.size(ctx, size.name, size.bytes, size.least)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	if match(ingressCached) || match(ingressFresh) {
		more, err := newConnections(ctx, r, plain)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return slices.DeleteFunc(rows, func(r row) bool { return !match(r.Name) }), nil
}

// webClient is one way to the pages.
type webClient struct {
	*http.Client
	base string
}

// webTransport keeps connections, as the client of a room does.
func webTransport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 60 * time.Second, DisableCompression: true}
}

func (c webClient) get(ctx context.Context, bytes int64) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprint(c.base, bytes), nil)
	if err != nil {
		return err
	}
	answer, err := c.Do(q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || n != bytes) {
		err = fmt.Errorf("%d bytes with status %d, not %d", n, answer.StatusCode, bytes)
	}
	return err
}

// latency times requests one after another, in microseconds.
func (c webClient) latency(ctx context.Context, bytes int64) (took []float64, err error) {
	for range latencyRequests {
		began := time.Now()
		if err := c.get(ctx, bytes); err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(began).Nanoseconds())/1000)
	}
	return took, nil
}

// throughput gives requests a second by several clients at once.
func (c webClient) throughput(ctx context.Context, bytes int64) ([]float64, error) {
	var wait sync.WaitGroup
	var count atomic.Int64
	failed := make(chan error, throughputClients)
	began := time.Now()
	for range throughputClients {
		wait.Go(func() {
			for time.Since(began) < throughputSpell {
				if err := c.get(ctx, bytes); err != nil {
					failed <- err
					return
				}
				count.Add(1)
			}
		})
	}
	wait.Wait()
	select {
	case err := <-failed:
		return nil, err
	default:
		return []float64{float64(count.Load()) / time.Since(began).Seconds()}, nil
	}
}

// webBencher has the ways to the pages: a room's port, the server outside, and strongroom
// connect.
type webBencher struct {
	room, plain, connect webClient
	match                func(string) bool
}

// size measures one size each way in turn.
func (b webBencher) size(ctx context.Context, name string, bytes int64, least float64) (rows []row, err error) {
	goal := fmt.Sprintf("at least %.2fx", least)
	if b.match(webLatency(name)) {
		v, err := medians(ctx, latencyTurns, bytes, webClient.latency, b.room, b.plain)
		if err != nil {
			return nil, err
		}
		ratio := v[1] / v[0]
		rows = append(rows, row{Name: webLatency(name), Value: v[0], Unit: "us", Against: v[1], Ratio: ratio, Goal: goal, Met: ratio >= least})
	}
	if !b.match(webThroughput(name)) && !b.match(webConnect(name)) {
		return rows, nil
	}
	v, err := medians(ctx, throughputTurns, bytes, webClient.throughput, b.room, b.plain, b.connect)
	if err != nil {
		return nil, err
	}
	ratio := v[0] / v[1]
	return append(rows, row{Name: webThroughput(name), Value: v[0], Unit: "requests/s", Against: v[1], Ratio: ratio, Goal: goal, Met: ratio >= least},
		row{Name: webConnect(name), Value: v[2], Unit: "requests/s", Against: v[1], Ratio: v[2] / v[1]}), nil
}

// medians measures each way in turn, after a first turn that is not counted, and gives the
// median of each.
func medians(ctx context.Context, turns int, bytes int64, of func(webClient, context.Context, int64) ([]float64, error), ways ...webClient) ([]float64, error) {
	took, v := make([][]float64, len(ways)), make([]float64, len(ways))
	for turn := range turns + 1 {
		for i, way := range ways {
			more, err := of(way, ctx, bytes)
			if err != nil {
				return nil, fmt.Errorf("%d bytes from %s: %w", bytes, way.base, err)
			}
			if turn > 0 {
				took[i] = append(took[i], more...)
			}
		}
	}
	for i := range ways {
		v[i] = roomMedian(took[i])
	}
	return v, nil
}

// newConnections measures connections made anew, to the room and outside in turn.
func newConnections(ctx context.Context, r *containerRoom, plain webPlain) ([]row, error) {
	known, err := r.way("web", time.Hour)
	if err != nil {
		return nil, err
	}
	fresh, err := r.way("web", 0)
	if err != nil {
		return nil, err
	}
	attested := func(connect func(context.Context, string, string) (net.Conn, error)) func() (net.Conn, error) {
		return func() (net.Conn, error) { return connect(ctx, "", "") }
	}
	ways := []func() (net.Conn, error){attested(known.DialContext), plain.dial, attested(fresh.DialContext)}
	took := make([][]float64, len(ways))
	for i := range connectRounds + 1 {
		for w, connect := range ways {
			began := time.Now()
			conn, err := connect()
			if err != nil {
				return nil, err
			}
			if i > 0 {
				took[w] = append(took[w], ms(time.Since(began)))
			}
			conn.Close()
		}
	}
	k, p, f := roomMedian(took[0]), roomMedian(took[1]), roomMedian(took[2])
	return []row{
		{Name: ingressCached, Value: k, Unit: "ms", Against: p, Ratio: p / k, Goal: "under 5 ms more", Met: k-p < 5},
		{Name: ingressFresh, Value: f, Unit: "ms", Against: p, Ratio: p / f},
	}, nil
}

// webPlain is the server outside, which speaks TLS 1.3 itself.
type webPlain struct {
	address string
	tls     *tls.Config
}

func (p webPlain) client() webClient {
	t := webTransport()
	t.TLSClientConfig = p.tls
	return webClient{&http.Client{Transport: t}, "https://" + p.address + "/"}
}

func (p webPlain) dial() (net.Conn, error) { return tls.Dial("tcp", p.address, p.tls) }

// webOutside runs the image's nginx outside, with Debian's configuration but for TLS.
func webOutside(ctx context.Context, dir, layout string) (p webPlain, end func(), err error) {
	if p.address, err = freeAddress(); err != nil {
		return p, nil, err
	}
	certificate, key, config, err := plainCertificate()
	if err != nil {
		return p, nil, err
	}
	p.tls = config
	site := fmt.Sprintf("server { listen %s ssl; ssl_protocols TLSv1.3; ssl_certificate /etc/nginx/cert.pem; ssl_certificate_key /etc/nginx/key.pem; root /var/www/html; server_name _; location / { try_files $uri $uri/ =404; } }\n", p.address)
	var processes []process
	err = startOutside(outsideConfig{Dir: dir, Layout: layout, DataPath: "/var/lib/nginx", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Argv: []string{"nginx", "-g", "daemon off;"},
		Files: map[string]string{"etc/nginx/cert.pem": certificate, "etc/nginx/key.pem": key, "etc/nginx/sites-available/default": site}}, &processes)
	if err != nil {
		return p, nil, err
	}
	if err := listening(ctx, p.address); err != nil {
		endAll(processes)
		said, _ := os.ReadFile(filepath.Join(dir, "log"))
		return p, nil, fmt.Errorf("%w\n%s", err, said)
	}
	return p, func() { endAll(processes) }, nil
}

// plainCertificate makes a certificate of the kind that rooms make, its key, and what a client
// that knows it needs.
func plainCertificate() (certificate, key string, config *tls.Config, err error) {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return "", "", nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return "", "", nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return "", "", nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, nil
}
