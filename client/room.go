package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ingress"
	"strongroom.dev/keys"
	"strongroom.dev/relying"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// RoomConfig says which room to reach, how, and as whom. Address or Via, Judge and Port are
// required: the zero RoomConfig refuses.
type RoomConfig struct {
	// Address is host:port of a port that a host publishes. It is trusted for nothing.
	Address string
	// Via is the URL of a host or proxy that takes requests of the tunnel, instead of Address:
	// for paths on which somebody else ends TLS.
	Via string
	// Judge accepts rooms or refuses them.
	Judge *relying.Client
	// Port is the port's name in the agreement, Work that of the work it belongs to; "" where
	// one work alone has a port of that name.
	Port, Work wire.ID
	// Party and Signers, Token or Certificate say who connects; see [ingress.Client].
	Party       wire.ID
	Signers     []keys.Signer
	Token       func(ctx context.Context) (string, error)
	Certificate *tls.Certificate
	// Dial connects to Address, nil: over TCP. HTTP asks Via, nil: [New].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	HTTP *http.Client
}

// Room is a way to one port of a room. No byte is sent on it before the room at the other end
// was accepted. Its methods may be called from several goroutines.
type Room struct {
	config RoomConfig
	client ingress.Client
	http   *http.Client // of Via
}

// NewRoom makes a way to a room. It connects to nothing yet.
func NewRoom(c RoomConfig) (*Room, error) {
	if c.Judge == nil {
		return nil, verdict.Misuse("client.room", "a judge of rooms", "none", "pin an agreement (relying.New): without one no room is accepted")
	}
	if (c.Address == "") == (c.Via == "") {
		return nil, verdict.Misuse("client.room", "the address of a port, or the URL of a tunnel", "neither or both", "give one of them")
	}
	work, err := workOf(c.Judge.Agreement.Agreement, c.Work, c.Port)
	if err != nil {
		return nil, err
	}
	r := &Room{config: c, client: ingress.Client{Work: work, Port: c.Port, Judge: c.Judge, Party: c.Party, Signers: c.Signers, Token: c.Token, Certificate: c.Certificate, Now: c.Judge.Now}}
	if r.config.Dial == nil {
		r.config.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if r.http = c.HTTP; r.http == nil {
		r.http = New()
	}
	if host, _, err := net.SplitHostPort(c.Address); err == nil && net.ParseIP(host) == nil {
		r.client.ServerName = host
	}
	return r, nil
}

// workOf finds the work that a port belongs to.
func workOf(a agreement.Agreement, work, port wire.ID) (wire.ID, error) {
	var found, ports []string
	for _, w := range a.Work {
		if w.Container == nil || work != "" && w.Name != work {
			continue
		}
		for _, p := range w.Container.Ports {
			ports = append(ports, string(w.Name)+"/"+string(p.Name))
			if p.Name == port {
				found = append(found, string(w.Name))
			}
		}
	}
	switch len(found) {
	case 1:
		return wire.ID(found[0]), nil
	case 0:
		return "", verdict.Misuse("client.port", "a port of the agreement's work: "+strings.Join(ports, ", "), verdict.Short(string(port)), "name one of them")
	}
	return "", verdict.Misuse("client.port", "the work whose port it is, one of "+strings.Join(found, ", "), "none", "name the work too")
}

// Connect connects, and gives what was accepted at the other end beside the connection.
func (r *Room) Connect(ctx context.Context) (*ingress.Conn, relying.Accepted, error) {
	conn, err := r.connect(ctx)
	if verdictIs(err, "relying.age") { // what was known lapsed in between
		conn, err = r.connect(ctx)
	}
	if err != nil {
		return nil, relying.Accepted{}, err
	}
	accepted, _ := r.config.Judge.Accepted(conn.Evidence)
	return conn, accepted, nil
}

func verdictIs(err error, check string) bool { return err != nil && verdict.As(err).Check == check }

func (r *Room) connect(ctx context.Context) (*ingress.Conn, error) {
	if r.config.Via != "" {
		return r.client.ConnectTunnel(ctx, r.post)
	}
	conn, err := r.config.Dial(ctx, "tcp", r.config.Address)
	if err != nil {
		return nil, endpoint{url: r.config.Address}.unreachable(err)
	}
	return r.client.Connect(ctx, conn)
}

// post carries a request of the tunnel.
func (r *Room) post(ctx context.Context, request []byte) ([]byte, error) {
	url := strings.TrimSuffix(r.config.Via, "/") + ingress.TunnelPath + string(r.config.Port)
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(request))
	if err != nil {
		return nil, verdict.Misuse("client.via", "a URL like https://host", verdict.Short(r.config.Via), "correct it")
	}
	q.Header.Set("Content-Type", "application/octet-stream")
	answer, err := r.http.Do(q)
	if err != nil {
		return nil, endpoint{url: r.config.Via}.unreachable(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, ingress.MaxTunnelMessage+1))
	switch {
	case err != nil:
		return nil, endpoint{url: r.config.Via}.unreachable(err)
	case len(data) > ingress.MaxTunnelMessage:
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "answer", Expected: fmt.Sprintf("at most %d bytes from %s", ingress.MaxTunnelMessage, r.config.Via), Got: "more", Fix: "check the URL"}
	case answer.StatusCode != http.StatusOK:
		return nil, statusError{answer.StatusCode, data}.verdict(r.config.Via)
	}
	return data, nil
}

// DialContext connects to the room's port, whatever network and address it is asked for: it
// has the form that [http.Transport] and many drivers take.
func (r *Room) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, _, err := r.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// Client gives an HTTP client whose every request goes to the room and nowhere else, whatever
// the host of its URL; http: and https: are the same, since the connection below is TLS to the
// room either way. Connections are kept and used again.
func (r *Room) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: r.DialContext, DialTLSContext: r.DialContext, MaxIdleConnsPerHost: 16, IdleConnTimeout: 60 * time.Second, DisableCompression: true}}
}
