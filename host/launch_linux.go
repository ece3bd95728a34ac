package host

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/channel"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Start starts a room for one run, on the platform of c. It ends with ctx. id names its
// folder under Config.Dir, made when the first result comes.
func Start(ctx context.Context, c Config, id string, job Job) (*Room, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if id == "" {
		return nil, verdict.Misuse("host.config", "a name for the room", "none", "a defect in the caller: report it")
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	targets, err := c.targets(job)
	if err != nil {
		return nil, err
	}
	if c.VM != nil {
		if job, err = job.forMachine(); err != nil {
			return nil, err
		}
	}
	message, err := job.start(c.helpers(), c.VM == nil && len(job.Publish) > 0)
	if err != nil {
		return nil, err
	}
	a, err := agreement.ParseAgreement(job.Agreement)
	if err != nil {
		return nil, err
	}
	ports, err := openPorts(a.Agreement, job)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := newRoom(c, targets, filepath.Join(c.Dir, id), cancel)
	r.ports, r.places = ports, places(a.Agreement, job, c.Egress)
	l := &launch{Room: r}
	launch := l.startDev
	if c.VM != nil {
		launch = l.startVM
	}
	if l.body, err = launch(ctx, job, a.Canonical()); err != nil {
		cancel()
		ports.close()
		return nil, err
	}
	go l.run(ctx, message)
	return r, nil
}

// check finds what a configuration lacks.
func (c *Config) check() error {
	if c.Dir == "" || c.VM == nil && (c.Programs == nil || c.Root == nil) {
		return verdict.Misuse("host.config", "a virtual machine, or programs and a development root; and a folder", "less", "a defect in the caller: report it")
	}
	return nil
}

// helpers gives the names of the image's helper programs, in the order of their descriptors.
func (c *Config) helpers() []wire.ID {
	if c.VM == nil {
		return c.Programs.names
	}
	var names []wire.ID
	for _, e := range c.VM.Engines {
		names = append(names, e.Name)
	}
	return names
}

// launch is a room and what it runs in.
type launch struct {
	*Room
	body body
	slow atomic.Bool // it did not say a word in time
}

// body is the processes behind a room.
type body struct {
	// channel is our end of the room's one connection.
	channel net.Conn
	// hand is what connections are handed over by; nil where the room shares no kernel with us.
	hand *net.UnixConn
	// exited gives, once, how the processes ended: nil if well. They end when the context that
	// they were started with does.
	exited <-chan error
	// wake is how long the room may take to its first word, grace how long to its end after its
	// last.
	wake, grace time.Duration
}

// run serves the room to its end.
func (l *launch) run(ctx context.Context, message []byte) {
	defer l.cancel()
	go l.rouse(ctx)
	err := unsaid(l.converse(ctx, message))
	l.body.channel.Close()
	// The room has nothing more to say; what lingers is killed.
	timer := time.AfterFunc(l.body.grace, l.cancel)
	waitErr := <-l.body.exited
	lingered := !timer.Stop()
	switch {
	case l.slow.Load() && !isVerdict(err):
		err = &verdict.Error{Kind: verdict.Broken, Check: "room.silent", Expected: "a room that speaks within " + l.body.wake.String(), Got: "nothing", Fix: "see the host's log"}
	case err != nil && ctx.Err() != nil && !isVerdict(err) && !lingered:
		err = &verdict.Error{Kind: verdict.Broken, Check: "room.stopped", Expected: "a room that runs to its end", Got: "it was stopped", Fix: "sign a new request: what it held is gone", Err: ctx.Err()}
	case waitErr != nil && !isVerdict(err) && (err != nil || !lingered): // what a room let out stands, however slowly it goes
		err = ended(err, waitErr)
	}
	l.end(err)
}

// unsaid gives an end without a last event its name.
func unsaid(err error) error {
	var e *verdict.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	got := err.Error()
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			got = "it ended without a word"
		}
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "room.ended", Expected: "a result or a reason", Got: verdict.Short(got), Fix: "see the host's log", Err: err}
}

// ended says why a room ended that gave neither a result nor a reason, or gave a result and
// did not end well.
func ended(err, waitErr error) error {
	var e *verdict.Error
	switch {
	case errors.As(waitErr, &e):
		return waitErr // the machine's own reason says more than that nothing came
	case err != nil:
		return err
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "room.ended", Expected: "a room that ends well", Got: waitErr.Error(), Err: waitErr}
}

// isVerdict reports a reason that the room itself gave.
func isVerdict(err error) bool {
	var e *verdict.Error
	return errors.As(err, &e) && e.Check != "room.ended"
}

// rouse gives up a room that does not say a word in time.
func (l *launch) rouse(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.body.wake)
	defer cancel()
	if events, ended := l.Events(ctx, 0); len(events) == 0 && !ended && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		l.slow.Store(true)
		l.cancel()
		l.body.channel.Close()
	}
}

// converse sends the start message, relays the room's calls and reads its events.
func (l *launch) converse(ctx context.Context, message []byte) error {
	session, err := channel.New(l.body.channel, channel.Host)
	if err != nil {
		return err
	}
	defer session.Close()
	go l.relayAll(ctx, session)
	control, err := session.Open(ctx, "control")
	if err != nil {
		return err
	}
	if err := channel.WriteMessage(control, message); err != nil {
		return err
	}
	defer l.ports.close()
	go l.publish(ctx, session)
	go l.obey(ctx, control)
	return l.listen(control)
}

// obey passes the wish to end on to the room, once.
func (l *launch) obey(ctx context.Context, control *channel.Stream) {
	select {
	case <-ctx.Done():
	case <-l.done:
	case <-l.stopping:
		room.WriteCommand(control, room.Command{Command: room.Stop}) //nolint:errcheck // a room that is gone has ended
	}
}

// relayAll answers the room's calls until the session ends.
func (l *launch) relayAll(ctx context.Context, session *channel.Session) {
	for {
		stream, err := session.Accept(ctx)
		if err != nil {
			return
		}
		if strings.HasPrefix(stream.Name(), "egress/") {
			go l.carry(ctx, stream)
			continue
		}
		go stream.Serve(release.MaxRequest, func(path string, body []byte) (int, []byte) {
			return l.relay(ctx, stream.Name(), path, body)
		})
	}
}
