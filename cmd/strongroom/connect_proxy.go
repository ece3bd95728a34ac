package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest/dev"
	"strongroom.dev/ingress"
	"strongroom.dev/relying"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// nameIsNoRoom is what no certificate says (R21).
const nameIsNoRoom = "by evidence, not by a certificate: that would prove a name, not a room"

// proxy carries connections from an address of this machine to the room.
func (a *app) proxy(ctx context.Context, c *connecting, found relying.Accepted) error {
	l, err := listenLocally(c.listen, c.share)
	if err != nil {
		return err
	}
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	if err := a.printRoom(c, found, l.Addr().String()); err != nil {
		return err
	}
	p := &proxying{app: a, connecting: c, last: found.Evidence}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		all.Go(func() { p.carry(ctx, conn) })
	}
}

// listenLocally listens where nobody else reaches, unless the user wants it.
func listenLocally(address string, share bool) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, verdict.Misuse("--listen", "an address of this machine that is free", verdict.Short(err.Error()), "as in --listen 127.0.0.1:8080")
	}
	at, ok := l.Addr().(*net.TCPAddr)
	if (!ok || !at.IP.IsLoopback()) && !share {
		l.Close()
		return nil, verdict.Refuse("--listen", "an address that this machine alone reaches", l.Addr().String(), "listen on 127.0.0.1, or add --insecure-share: whoever reaches it connects as you")
	}
	return l, nil
}

// proxying says what is new about the room, once.
type proxying struct {
	*app
	*connecting
	mu   sync.Mutex // owns last, and the order of what is said
	last wire.Digest
}

func (p *proxying) carry(ctx context.Context, local net.Conn) {
	defer local.Close()
	conn, found, err := p.reach(ctx, func(string, ...any) {})
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if ctx.Err() == nil {
			p.say("refused: %v", p.inMyWords(err))
		}
		return
	}
	p.mu.Lock()
	if found.Evidence != p.last {
		p.last = found.Evidence
		p.sayRoom(p.connecting, found)
	}
	p.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { conn.Close(); local.Close() })
	defer stop()
	_ = carry(conn, local.(*net.TCPConn)) // how a connection ends is its two ends' business
}

// reach connects, and waits a while for a container that does not listen yet: the room has
// proven itself by then, and each try proves it again.
func (c *connecting) reach(ctx context.Context, say func(string, ...any)) (*ingress.Conn, relying.Accepted, error) {
	waiting, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		conn, found, err := c.room.Connect(ctx)
		if err == nil || ctx.Err() != nil || verdict.As(err).Check != "ingress.container" {
			return conn, found, err
		}
		if pause == 100*time.Millisecond && c.wait > 0 {
			say("The room is accepted, and its container does not listen at port %s yet: waiting for up to %s", c.port, c.wait)
		}
		select {
		case <-waiting.Done():
			return nil, found, err
		case <-time.After(pause):
		}
	}
}

// half is a connection that can end in one direction.
type half interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// carry copies both ways until both have ended.
func carry(room, local half) error {
	defer room.Close()
	up := make(chan error, 1)
	go func() {
		_, err := io.Copy(room, local)
		if err == nil {
			err = room.CloseWrite()
		}
		if err != nil {
			room.Close()
		}
		up <- err
	}()
	_, err := io.Copy(local, room)
	if err == nil {
		err = local.CloseWrite()
	}
	if err != nil {
		local.Close()
		room.Close()
	}
	if _, once := local.(stdio); once {
		return err // what is still typed has nobody to read it
	}
	return errors.Join(err, <-up)
}

// connectedView is what `connect` found, in JSON.
type connectedView struct {
	Verdict string           `json:"verdict"`
	Listen  string           `json:"listen,omitempty"`
	Port    string           `json:"port"`
	Proven  string           `json:"proven"`
	Anyone  bool             `json:"anyone"` // the port lets in whoever reaches it
	Names   []string         `json:"names"`  // that certificates of the port prove, which are no rooms
	Room    relying.Accepted `json:"room"`
}

func (a *app) printRoom(c *connecting, found relying.Accepted, listen string) error {
	view := connectedView{Verdict: "accepted", Listen: listen, Port: c.port, Proven: nameIsNoRoom, Names: []string{}, Room: found}
	if port, found := c.agreedPort(); found {
		view.Anyone, view.Names = port.Allow.Anyone, append(view.Names, port.Names...)
	}
	return a.print(view, func(w io.Writer) {
		c.describe(w, found)
		if listen != "" {
			fmt.Fprintf(w, "Listening on %s: what connects there reaches port %s of the room\n", listen, c.port)
		}
	})
}

func (a *app) sayRoom(c *connecting, found relying.Accepted) {
	if !a.json { // a document was printed, or standard output carries the connection
		c.describe(a.err, found)
	}
}

// describe says what was verified.
func (c *connecting) describe(w io.Writer, r relying.Accepted) {
	ag := c.judge.Agreement
	fmt.Fprintf(w, "The room is genuine %s\n", nameIsNoRoom)
	fmt.Fprintf(w, "  agreement  %s version %d, %s: %s\n", ag.ID, ag.Version, ag.Digest().Short(), verdict.Printable(ag.Title))
	insecure := ""
	if r.Insecure {
		insecure = " (" + dev.Insecure + ": whoever runs this machine can read everything in the room)"
	}
	fmt.Fprintf(w, "  machine    platform %s, class %s%s\n", r.Platform, r.Class, insecure)
	for _, text := range r.Excludes {
		fmt.Fprintf(w, "    keeps out %s\n", verdict.Printable(text))
	}
	for _, text := range r.Trusts {
		fmt.Fprintf(w, "    you trust %s\n", verdict.Printable(text))
	}
	if r.Listed != nil {
		fmt.Fprintf(w, "  image      %s, in version %d of %s\n", r.Listed.Group, r.Listed.Version, r.Listed.Product)
	}
	fmt.Fprintf(w, "  run        %s\n", r.Run)
	fmt.Fprintf(w, "  key        %s, the room's own\n", r.Key)
	if port, found := c.agreedPort(); found {
		if port.Allow.Anyone {
			fmt.Fprintf(w, "  %s\n", anyoneConnects(port.Name))
		}
		for _, name := range port.Names {
			fmt.Fprintf(w, "  %s\n", nameOnly(name))
		}
	}
	fmt.Fprintf(w, "  evidence   %s of %s, which counts until %s\n", r.Evidence.Short(), r.At, r.Until)
}

// inMyWords mends a room's short answer with what the agreement says, which strangers are not
// told.
func (c *connecting) inMyWords(err error) error {
	e := verdict.As(err)
	mended := *e
	if e.Check == "tpm.activation" && len(c.judge.Activators()) == 0 {
		mended.Fix = "a TPM's key needs somebody's word: name a party of the agreement whose broker you believe, --trust-broker PARTY"
		return &mended
	}
	if e.Check != "ingress.admission" {
		return err
	}
	if port, found := c.agreedPort(); found {
		mended.Fix = "the agreement lets in " + whoMay(port.Allow)
	}
	return &mended
}

// agreedPort is the port as the agreement has it.
func (c *connecting) agreedPort() (agreement.Port, bool) {
	for _, w := range c.judge.Agreement.Work {
		if w.Container == nil || c.work != "" && string(w.Name) != c.work {
			continue
		}
		for _, p := range w.Container.Ports {
			if string(p.Name) == c.port {
				return p, true
			}
		}
	}
	return agreement.Port{}, false
}

// whoMay says who may connect, and how to say that one is it.
func whoMay(allow agreement.Allow) string {
	text := ""
	add := func(part string) {
		if text != "" {
			text += "; "
		}
		text += part
	}
	for _, id := range allow.Parties {
		add("party " + string(id) + " (--as " + string(id) + ")")
	}
	for _, i := range allow.Issuers {
		add("holders of tokens of " + i.Issuer + " for " + i.Audience + " (--token FILE)")
	}
	if n := len(allow.Authorities); n > 0 {
		authorities := "one authority"
		if n > 1 {
			authorities = fmt.Sprintf("%d authorities", n)
		}
		add("holders of certificates by " + authorities + " (--certificate FILE)")
	}
	for _, id := range allow.Rooms {
		add("rooms of its work " + string(id))
	}
	if allow.Anyone {
		add("ANYONE")
	}
	if text == "" {
		return "nobody"
	}
	return text
}
