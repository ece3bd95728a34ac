package device

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/channel"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

const (
	// MaxRequest bounds a request: report data and a record of at most 64 KiB, in base64.
	MaxRequest = 128 << 10
	// MaxAnswer bounds an answer: evidence in base64, with room around it.
	MaxAnswer = 2*attest.MaxEvidence + 4096
	// maxName bounds the name of what is asked for.
	maxName = 16
)

// The bodies of requests and answers, canonical JSON.
type (
	begin struct {
		InitData wire.Digest `json:"init_data"`
		Short    wire.Hash   `json:"short_init_data"`
	}
	activate struct {
		Credential wire.Bytes `json:"credential"`
		Secret     wire.Bytes `json:"secret"`
	}
	activated struct {
		Answer wire.Bytes `json:"answer"`
	}
	attested struct {
		ReportData wire.Bytes `json:"report_data"`
		Record     wire.Bytes `json:"record"`
	}
	separate struct {
		Run wire.Digest `json:"run"`
	}
	nothing struct{}
)

// Serve answers the agent at the other end of conn until it is gone. It asks d for one thing
// at a time. The error is nil if the agent left between two requests.
func Serve(ctx context.Context, conn io.ReadWriter, d Device) error {
	s := server{d: d}
	for {
		name, err := channel.ReadMessage(conn, maxName)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		body, err := channel.ReadMessage(conn, MaxRequest)
		if err != nil {
			return err
		}
		if string(name) == "mount" {
			err = s.mount(ctx, conn, body)
		} else {
			err = reply(conn, func() (any, error) { return s.answer(ctx, string(name), body) })
		}
		if err != nil {
			return err
		}
	}
}

func reply(w io.Writer, ask func() (any, error)) error {
	status, message := "ok", []byte(nil)
	answer, err := ask()
	if err == nil {
		message, err = wire.Marshal(answer)
	}
	if err != nil {
		status, message = "no", verdict.Encode(err)
	}
	if err := channel.WriteMessage(w, []byte(status)); err != nil {
		return err
	}
	return channel.WriteMessage(w, message)
}

// server keeps the order in which a device may be asked.
type server struct {
	d                Device
	began, separated bool
	run              wire.Digest // whose work started; zero if it did not, or nobody knows
}

func outOfOrder(expected, got string) error {
	return verdict.Refuse("device.order", expected, got, "a defect in the agent: report it")
}

func read(body []byte, into any) error {
	if err := wire.Unmarshal(body, into); err != nil {
		return verdict.Refuse("device.form", "a question as spec/room.md has it", verdict.Short(err.Error()), "agent and launcher must be of one version")
	}
	return nil
}

func (s *server) answer(ctx context.Context, name string, body []byte) (any, error) {
	switch {
	case name == "begin" && s.began:
		return nil, outOfOrder("one beginning", "another")
	case name != "begin" && !s.began:
		return nil, outOfOrder("a beginning first", verdict.Short(name))
	case s.separated && name == "ingress":
		return s.ingress(ctx, body)
	case s.separated && name != "activate": // a broker's word on the key ends within the hour, and is no evidence
		return nil, verdict.Refuse("device.separated", "no question but ingress, activate and mount after the work started", verdict.Short(name), "start a new room: this one gets no more evidence")
	}
	switch name {
	case "begin":
		return s.begin(ctx, body)
	case "activate":
		var r activate
		if err := read(body, &r); err != nil {
			return nil, err
		}
		answer, err := s.d.Activate(ctx, r.Credential, r.Secret)
		return activated{answer}, err
	case "attest":
		return s.attest(ctx, body)
	case "separate":
		var r separate
		if err := read(body, &r); err != nil {
			return nil, err
		}
		s.separated = true // also where it fails: nobody knows how far it came
		err := s.d.Separate(ctx, r.Run)
		if err == nil {
			s.run = r.Run
		}
		return nothing{}, err
	case "ingress":
		return nil, outOfOrder("ingress once the work has started", "before")
	}
	return nil, outOfOrder("begin, activate, attest, separate, ingress or mount", verdict.Short(name))
}

// ingress composes what the evidence is for: the agent has a say in everything but the purpose.
func (s *server) ingress(ctx context.Context, body []byte) (any, error) {
	var c Connection
	if err := read(body, &c); err != nil {
		return nil, err
	}
	switch {
	case c.Nonce.IsZero() || c.Signing.IsZero() || c.HPKE.IsZero() || c.Agreement.IsZero():
		return nil, outOfOrder("a nonce, the room's keys and its agreement", "less")
	case s.run.IsZero() || c.Run != s.run:
		return nil, verdict.Refuse("device.run", "the run whose work started in this room", c.Run.Short(), "a defect in the agent: report it")
	}
	return s.d.Ingress(ctx, c)
}

func (s *server) begin(ctx context.Context, body []byte) (any, error) {
	var r begin
	if err := read(body, &r); err != nil {
		return nil, err
	}
	if r.InitData.IsZero() || r.Short.IsZero() {
		return nil, outOfOrder("init data", "zeros")
	}
	s.began = true
	return s.d.Begin(ctx, r.InitData, r.Short)
}

func (s *server) attest(ctx context.Context, body []byte) (any, error) {
	var r attested
	if err := read(body, &r); err != nil {
		return nil, err
	}
	if len(r.ReportData) != 64 {
		return nil, outOfOrder("64 bytes of report data", fmt.Sprint(len(r.ReportData)))
	}
	return s.d.Attest(ctx, [64]byte(r.ReportData), r.Record)
}

// Conn is one end of a connection to a device.
type Conn interface {
	io.ReadWriter
	SetDeadline(time.Time) error
}

// Client asks the device at the other end of a connection. Its methods may be called from
// any goroutine; a call that was cut off ends the client.
type Client struct {
	mu     sync.Mutex // one question at a time
	conn   Conn
	broken error
}

// NewClient makes a client.
func NewClient(conn Conn) *Client { return &Client{conn: conn} }

// Begin implements [Device].
func (c *Client) Begin(ctx context.Context, initData wire.Digest, short wire.Hash) (i Introduction, err error) {
	err = c.ask(ctx, "begin", begin{initData, short}, &i)
	return i, err
}

// Activate implements [Device].
func (c *Client) Activate(ctx context.Context, credential, secret []byte) ([]byte, error) {
	var a activated
	err := c.ask(ctx, "activate", activate{nonNil(credential), nonNil(secret)}, &a)
	return a.Answer, err
}

// Attest implements [Device].
func (c *Client) Attest(ctx context.Context, report [64]byte, record []byte) (e attest.Evidence, err error) {
	err = c.ask(ctx, "attest", attested{report[:], nonNil(record)}, &e)
	return e, err
}

// Separate implements [Device].
func (c *Client) Separate(ctx context.Context, run wire.Digest) error {
	return c.ask(ctx, "separate", separate{run}, &nothing{})
}

// Ingress implements [Device].
func (c *Client) Ingress(ctx context.Context, conn Connection) (e attest.Evidence, err error) {
	conn.Record = nonNil(conn.Record)
	err = c.ask(ctx, "ingress", conn, &e)
	return e, err
}

func nonNil(b []byte) []byte { return append([]byte{}, b...) }

// ask asks for one thing. more takes what follows a good answer.
func (c *Client) ask(ctx context.Context, name string, question, answer any, more ...func() error) error {
	message, err := wire.Marshal(question)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.broken != nil {
		return c.broken
	}
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	status, data, err := c.exchange(name, message)
	clear(message) // it may hold a key
	for _, take := range more {
		if err == nil && bytes.Equal(status, []byte("ok")) {
			err = take()
		}
	}
	if err != nil {
		c.broken = fmt.Errorf("evidence device: %w", err)
		if cut := ctx.Err(); cut != nil { // the deadline is its consequence
			return fmt.Errorf("evidence device: %w", cut)
		}
		return c.broken
	}
	if !bytes.Equal(status, []byte("ok")) {
		return verdict.Decode(data)
	}
	return wire.Unmarshal(data, answer)
}

func (c *Client) exchange(name string, message []byte) (status, data []byte, err error) {
	if err := channel.WriteMessage(c.conn, []byte(name)); err != nil {
		return nil, nil, err
	}
	if err := channel.WriteMessage(c.conn, message); err != nil {
		return nil, nil, err
	}
	if status, err = channel.ReadMessage(c.conn, 2); err == nil {
		data, err = channel.ReadMessage(c.conn, MaxAnswer)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return status, data, err
}
