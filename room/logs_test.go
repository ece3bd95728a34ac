package room_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/channel"
	"strongroom.dev/proof"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/sandbox"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/verity"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

// printer is a cell whose container prints a text and then does what a test wants.
type printer struct {
	text   string
	then   func()
	stdout *io.PipeReader
	writer *io.PipeWriter
	printed,
	killed chan struct{}
	once sync.Once
}

func newPrinter(text string, then func()) *printer {
	p := &printer{text: text, then: then, printed: make(chan struct{}), killed: make(chan struct{})}
	p.stdout, p.writer = io.Pipe()
	go func() {
		io.WriteString(p.writer, p.text)
		close(p.printed)
	}()
	return p
}

func (p *printer) Dial(context.Context, int) (container.Stream, error) { return nil, os.ErrClosed }
func (p *printer) Accept(context.Context, string) (container.Stream, error) {
	return nil, os.ErrClosed
}
func (p *printer) Output() (stdout, stderr io.Reader) { return p.stdout, strings.NewReader("") }
func (p *printer) Signal(syscall.Signal) error        { return nil }
func (p *printer) Restart(context.Context) error      { return nil }
func (p *printer) Kill()                              { p.once.Do(func() { close(p.killed); p.writer.Close() }) }
func (p *printer) Result(context.Context, string, int64) (*os.File, int64, error) {
	return nil, 0, os.ErrNotExist
}

func (p *printer) Wait(ctx context.Context) (sandbox.Exit, error) {
	select {
	case <-p.printed:
	case <-p.killed:
	}
	p.then()
	return sandbox.Exit{}, ctx.Err()
}

// diskFD is that of the container's image, in a start message.
const diskFD = 9

// newService is a world whose work is a container that prints for the study.
func newService(t *testing.T, text string, then func()) (*world, room.Config, room.Start, string) {
	disk, root, blocks, err := verity.Disk(make([]byte, 4096), make([]byte, 32))
	must(t, err)
	path := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(path, disk, 0o600))
	w := newWorld(t, func(a *agreement.Agreement) {
		for i := range a.Inputs {
			a.Inputs[i].Format, a.Inputs[i].Schema, a.Inputs[i].Rules = agreement.Opaque, []agreement.Column{}, nil
		}
		a.Tables, a.Outputs = []agreement.Table{}, []agreement.Output{}
		work := &a.Work[0]
		work.Kind, work.Query, work.Tables, work.Output, work.Parameters = "container", "", []string{}, "", []agreement.Parameter{}
		work.Container = &agreement.Container{
			Image: agreement.ContainerImage{Reference: "job", Manifest: wire.HashOf([]byte("m")), Disk: agreement.VerityDisk{Blocks: blocks, Root: root}},
			Argv:  []string{"/bin/job"}, User: agreement.User{Groups: []int64{}}, Directory: "/", Mounts: []agreement.Mount{},
			Environment:  []agreement.Environment{{Name: "A", Kind: agreement.FromFile, Input: "alpha-rows"}, {Name: "B", Kind: agreement.FromFile, Input: "beta-rows"}},
			Capabilities: []string{}, Seccomp: agreement.Seccomp{Profile: "default", Deny: []string{}}, Ports: []agreement.Port{}, Egress: []agreement.Egress{},
			Logs: agreement.Logs{Receivers: []wire.ID{"study"}, MaxBytes: 5000}, Restart: agreement.Restart{Policy: "never"},
			Limits: agreement.Limits{Memory: 64 << 20, Processes: 8, Files: 64},
		}
	})
	for _, id := range []wire.ID{"alpha", "beta"} {
		w.secret(w.parties[id])
	}
	config := w.config()
	input := config.Input
	config.Input = func(fd int) (*os.File, error) {
		if fd == diskFD {
			return os.Open(path)
		}
		return input(fd)
	}
	config.Containers = &room.Containers{
		Cell: func(context.Context, sandbox.Cell) (container.Cell, error) { return newPrinter(text, then), nil },
		Accept: func(ctx context.Context) (*channel.Stream, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		Open:    func(context.Context, string) (*channel.Stream, error) { return nil, os.ErrClosed },
		Command: func() (room.Command, error) { return room.Command{}, io.EOF },
	}
	request := w.request(func(r *agreement.Run) { r.Parameters = map[string]string{} })
	start := w.start(request)
	start.Disks = []room.StartDisk{{Disk: "image", FD: diskFD}}
	return w, config, start, "logs-study-" + request.RunID[:8] + "-1"
}

// secret publishes a file instead of an owner's table.
func (w *world) secret(p *party) {
	var sealed bytes.Buffer
	sum, err := seal.Seal(&sealed, strings.NewReader("secret"), []seal.Recipient{p.data.Recipient()}, seal.Options{Root: true})
	must(w.t, err)
	before := p.statement.Digest()
	p.sealed = sealed.Bytes()
	p.statement, err = agreement.NewDataset(agreement.Dataset{Owner: p.signed.Name, Dataset: "patients", Version: 2, Supersedes: &before, Header: sum.HeaderHash, Root: sum.Root,
		Size: sum.Size, Recipients: int64(sum.Recipients), Format: agreement.Opaque, Schema: agreement.SchemaDigest([]agreement.Column{}), Created: wire.At(time.Now())})
	must(w.t, err)
	must(w.t, p.statement.Document.Sign(p.signing))
	w.publish(p)
}

// TestLogsWithoutALease: what a container printed stays inside once a lease has lapsed or a
// broker has said no, whenever that is, the last word included.
func TestLogsWithoutALease(t *testing.T) {
	no := verdict.Refuse("broker.suspended", "an agreement in force", "one that its owner suspended", "ask its owner")
	for name, c := range map[string]struct {
		check string
		ended func(*world, *room.Config, *atomic.Bool) // what happens once the container has printed
	}{
		"a broker says no at the end": {"lease.refused", func(w *world, _ *room.Config, printed *atomic.Bool) {
			w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				if path == release.PathLive && stream == "broker/beta-org" && printed.Load() {
					return nil, no
				}
				return next(body)
			}
		}},
		"a broker is not heard of at the end": {"", func(w *world, _ *room.Config, printed *atomic.Bool) {
			w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				if path == release.PathLive && stream == "broker/alpha-org" && printed.Load() {
					return nil, errors.New("connection refused")
				}
				return next(body)
			}
		}},
		"a lease has lapsed": {"lease.lapsed", func(w *world, c *room.Config, printed *atomic.Bool) {
			elapsed := c.Elapsed
			c.Elapsed = func() time.Duration {
				if printed.Load() {
					return elapsed() + time.Hour
				}
				return elapsed()
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var printed atomic.Bool
			w, config, start, _ := newService(t, "planted\n", func() { printed.Store(true) })
			c.ended(w, &config, &printed)
			err := room.Run(t.Context(), config, start)
			if !printed.Load() {
				t.Fatalf("the container did not run: %v", err)
			}
			if c.check != "" && (err == nil || verdict.As(err).Check != c.check) {
				t.Errorf("the run ended with %v, expected %s", err, c.check)
			}
			if len(w.files) != 0 {
				t.Errorf("%d files left", len(w.files))
			}
		})
	}
}

// TestLogsLeave: pieces have one size, whatever was printed, and lines come out of them.
func TestLogsLeave(t *testing.T) {
	sizes := map[int]bool{}
	for _, text := range []string{"", "planted\nwith \x00 in it\x00\n", strings.Repeat("much\n", 2000)} {
		w, config, start, name := newService(t, text, func() {})
		if err := room.Run(t.Context(), config, start); err != nil {
			t.Fatal(err)
		}
		bundle, err := proof.ParseBundle(w.files[name+".proof"])
		must(t, err)
		proven, err := proof.VerifyLogs(bundle, w.trust(), w.now())
		must(t, err)
		sealed := w.files[name+".age"]
		must(t, proven.CheckFile(wire.HashOf(sealed), int64(len(sealed))))
		var plain, lines bytes.Buffer
		_, err = seal.Open(&plain, bytes.NewReader(sealed), []*seal.Identity{w.parties["study"].result}, seal.Options{})
		must(t, err)
		sizes[plain.Len()] = true
		must(t, room.ReadLogs(&lines, &slow{&plain}))
		said := ""
		for line := range strings.Lines(lines.String()) {
			_, rest, _ := strings.Cut(line, " stdout F ")
			said += rest
		}
		if !strings.HasPrefix(text, said) || said == "" && text != "" || said != text && proven.Logs.Dropped == 0 {
			t.Errorf("the container printed %.40q, its receiver reads %.40q", text, said)
		}
		if d := proven.Logs.Dropped; d&(d-1) != 0 {
			t.Errorf("the host reads that %d bytes were dropped", d)
		}
	}
	if len(sizes) != 1 || !sizes[8192] {
		t.Errorf("pieces have the sizes %v", sizes)
	}
}

// slow reads a few bytes at a time, so that zeros come apart.
type slow struct{ io.Reader }

func (s *slow) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(len(p), 3)]) }

func TestReadLogsRefuses(t *testing.T) {
	for name, text := range map[string]string{"a line without an end": "line\nline\x00\x00", "something behind": "line\n\x00x"} {
		if err := room.ReadLogs(io.Discard, strings.NewReader(text)); err == nil || verdict.As(err).Check != "logs.piece" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
