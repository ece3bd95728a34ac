package demo

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/ingress"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// landlord is the operator's host turned evil: it starts rooms of what it likes, and stands
// between rooms and who connects to them.
type landlord struct {
	*site
	programs *host.Programs
}

// attacks tries everything; none may succeed.
func (s *site) attacks(ctx context.Context) error {
	s.chapter("Now the host changes what runs, and others try to get in or between")
	l := &landlord{site: s}
	var err error
	if l.programs, err = s.loadPrograms("strongroom-agent"); err != nil {
		return err
	}
	defer l.programs.Close()
	if _, err := s.quiet(ctx, s.as("stranger", "party", "init", "--name", "stranger", "--title", "Stranger", "--no-data")...); err != nil {
		return err
	}
	if err := s.attack(ctx, s.report, append(append(append(l.onImage(), l.onSection()...), l.onVolumes()...), l.onConnections()...)); err != nil {
		return err
	}
	return s.report.Err()
}

// job is an honest run of the container, signed by the operator, for an attack to spoil.
func (l *landlord) job(change func(*agreement.Run)) (job host.Job, err error) {
	work, _ := l.web.WorkByName("web")
	sealed, err := host.List(l.path(sealedDir))
	if err != nil {
		return job, err
	}
	id := keys.RandomID()
	body := agreement.Run{Agreement: l.web.Digest(), RunID: hex.EncodeToString(id[:]), Requester: alpha, Work: work.Name, Parameters: map[string]string{},
		Expires: wire.At(time.Now().Add(time.Hour))}
	if body.Datasets, err = host.Latest(sealed, l.web, l.parties, work); err != nil {
		return job, err
	}
	if change != nil {
		change(&body)
	}
	run, err := agreement.NewRun(body)
	if err != nil {
		return job, err
	}
	h, err := home.Open(l.path(alpha))
	if err != nil {
		return job, err
	}
	key, err := h.SigningKey()
	if err != nil {
		return job, err
	}
	if err := run.Document.Sign(key); err != nil {
		return job, err
	}
	return l.pack(run)
}

// pack puts the documents and files of a job together.
func (l *landlord) pack(run *agreement.SignedRun) (job host.Job, err error) {
	if job.Agreement, err = l.web.Document.Encode(); err != nil {
		return job, err
	}
	if job.Run, err = run.Document.Encode(); err != nil {
		return job, err
	}
	for _, p := range l.parties {
		doc, err := p.Document.Encode()
		if err != nil {
			return job, err
		}
		job.Parties = append(job.Parties, doc)
	}
	job.Disks = []host.Disk{{Name: "image", Path: l.path(imageDir, "image.disk")}}
	job.Inputs, err = host.Find(l.path(sealedDir), run.Run)
	return job, err
}

// serves is how long a room may go on before it counts as one that serves.
const serves = 30 * time.Second

// start starts a room and gives the reason why it serves nothing, nil if it serves.
func (l *landlord) start(ctx context.Context, job host.Job, programs *host.Programs) error {
	ctx, cancel := context.WithTimeout(ctx, serves)
	defer cancel()
	id := keys.RandomID()
	r, err := host.Start(ctx, host.Config{Programs: programs, Root: l.root, Dir: l.path("evil")}, hex.EncodeToString(id[:4]), job)
	if err == nil {
		err = r.Wait(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// inRoom is an attack on a job that its room must refuse.
func (l *landlord) inRoom(name, check string, run func(*agreement.Run), change func(*host.Job) error) attempt {
	return attempt{name, func(ctx context.Context) (string, error, error) {
		job, err := l.job(run)
		if err == nil && change != nil {
			err = change(&job)
		}
		if err != nil {
			return "", nil, err
		}
		refusal := l.start(ctx, job, l.programs)
		return byRoom(refusal), refusal, nil
	}, []string{check}}
}

// onImage are attacks on the files that run.
func (l *landlord) onImage() []attempt {
	return []attempt{
		l.inRoom("one byte of the image's disk changed", "verity.block", nil, func(job *host.Job) error {
			data, err := os.ReadFile(job.Disks[0].Path)
			if err != nil {
				return err
			}
			at := bytes.Index(data, []byte("Welcome to nginx"))
			if at < 0 {
				at = len(data) / 2
			}
			data[at] ^= 1
			job.Disks[0].Path = l.path("altered.disk")
			return os.WriteFile(job.Disks[0].Path, data, 0o600)
		}),
		{"agent executable altered by one byte", func(ctx context.Context) (string, error, error) {
			altered, err := l.alteredAgent()
			if err != nil {
				return "", nil, err
			}
			programs, err := l.loadPrograms(altered)
			if err != nil {
				return "", nil, err
			}
			defer programs.Close()
			job, err := l.job(nil)
			if err != nil {
				return "", nil, err
			}
			refusal := l.start(ctx, job, programs)
			return byRoom(refusal), refusal, nil
		}, []string{"evidence.image"}},
	}
}

// onSection are attacks on what the agreement says of the container, in the copy that the host
// hands over, and on what a request may choose.
func (l *landlord) onSection() []attempt {
	c := l.container()
	digest := c.Image.Manifest.String()
	var all []attempt
	for _, change := range []struct{ name, old, with string }{
		{"argv changed by the host", `"argv":["`, `"argv":["/bin/sh","-c","`},
		{"user changed by the host", fmt.Sprintf(`"uid":%d}`, c.User.UID), fmt.Sprintf(`"uid":%d}`, c.User.UID+1)},
		{"a mount moved by the host", `"path":"` + l.page + `"`, `"path":"` + l.page + `.old"`},
		{"a capability added by the host", list(c.Capabilities), list(withAnother(c.Capabilities))},
		{"system calls denied by the host", `"deny":[]`, `"deny":["ptrace"]`},
		{"another image named by the host", digest, "sha256:" + digest[len(digest)-32:] + digest[len(digest)-32:]},
		{"a variable's rule changed by the host", `"environment":[`, `"environment":[{"kind":"exact","name":"LD","required":false,"value":"1"},`},
	} {
		all = append(all, l.inRoom(change.name, "agreement.signatures", nil, func(job *host.Job) error { return replace(&job.Agreement, change.old, change.with) }))
	}
	return append(all, l.inRoom("a variable outside the rules", "run.environment", func(r *agreement.Run) { r.Environment = map[string]string{"DEBUG": "1"} }, nil))
}

// withAnother adds a capability that is not there, in the agreement's order.
func withAnother(have []string) (more []string) {
	added := false
	for _, name := range agreement.Capabilities() {
		if slices.Contains(have, name) || !added {
			added = added || !slices.Contains(have, name)
			more = append(more, name)
		}
	}
	return more
}

// list is the canonical text of capabilities.
func list(names []string) string { return `"capabilities":["` + strings.Join(names, `","`) + `"]` }

func (l *landlord) container() agreement.Container {
	work, _ := l.web.WorkByName("web")
	return *work.Container
}

func (l *landlord) onVolumes() []attempt {
	return []attempt{{"an older volume put back", l.olderVolume, []string{"volume.generation"}}}
}

// onConnections are attacks of who connects, or stands between.
func (l *landlord) onConnections() []attempt {
	return []attempt{
		{"a stranger connects in the customer's name", func(ctx context.Context) (string, error, error) {
			return "room", l.connect(ctx, l.web, l.address, beta, "stranger"), nil
		}, []string{"ingress.admission", "party.signatures", "ingress.party"}},
		{"the operator connects, whom its own agreement does not let in", func(ctx context.Context) (string, error, error) {
			return "room", l.connect(ctx, l.web, l.address, alpha, alpha), nil
		}, []string{"ingress.admission"}},
		{"an ordinary TLS client connects", l.ordinary, []string{"ingress.protocol"}},
		{"a client that pins no agreement", func(ctx context.Context) (string, error, error) {
			return l.byCommand(ctx, "strongroom connect", l.as(beta, "connect", l.address, "--port", string(l.port), "--as", beta, "--check", "--insecure-allow-software")...)
		}, []string{"--agreement"}},
		{"a client that pins another agreement", func(ctx context.Context) (string, error, error) {
			return "client", l.connect(ctx, l.other, l.address, beta, beta), nil
		}, []string{"relying.agreement"}},
		{"evidence of connection A shown on connection B, by a host that ends TLS", func(ctx context.Context) (string, error, error) {
			address, err := l.between(ctx)
			if err != nil {
				return "", nil, err
			}
			return "client", l.connect(ctx, l.web, address, beta, beta), nil
		}, []string{"evidence.binding"}},
	}
}

// connect gives why a connection is refused, nil if it is let in.
func (l *landlord) connect(ctx context.Context, pinned *agreement.SignedAgreement, address string, party wire.ID, folder string) error {
	way, err := l.way(pinned, address, party, folder)
	if err != nil {
		return err
	}
	conn, _, err := way.Connect(ctx)
	if err == nil {
		conn.Close()
	}
	return err
}

// ordinary asks for the page as a browser would that takes any certificate.
func (l *landlord) ordinary(ctx context.Context) (string, error, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13}}
	conn, err := d.DialContext(ctx, "tcp", l.address)
	if err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		var got []byte
		if _, err = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err == nil {
			got, err = io.ReadAll(io.LimitReader(conn, 1<<20))
		}
		if len(got) > 0 {
			return "nobody", nil, nil
		}
	}
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Op != "remote error" {
		return "", nil, fmt.Errorf("the room sent neither a byte nor an alert: %w", err)
	}
	return "room", verdict.Refuse("ingress.protocol", "a client that verifies the room", "the TLS alert: "+verdict.Short(alert.Err.Error()), ""), nil
}

// between ends the TLS of who connects with a key of the host's own, and carries all that is
// said to the room on a connection of its own.
func (l *landlord) between(ctx context.Context) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	shape := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, shape, shape, key.Public(), key)
	if err != nil {
		return "", err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos: []string{ingress.Protocol}, MinVersion: tls.VersionTLS13})
	if err != nil {
		return "", err
	}
	l.listeners = append(l.listeners, func() { listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ingress.Protocol}, MinVersion: tls.VersionTLS13}}
		room, err := d.DialContext(ctx, "tcp", l.address)
		if err != nil {
			return
		}
		defer room.Close()
		go io.Copy(room, conn)
		io.Copy(conn, room)
	}()
	return listener.Addr().String(), nil
}
