package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Post carries one request of the tunnel to the host of a room, and its answer back: a POST of
// bytes to [TunnelPath] and the port's name.
type Post func(ctx context.Context, request []byte) ([]byte, error)

// tries is how often a request is repeated that did not get through.
const tries = 4

// ConnectTunnel is [Client.Connect] by way of requests over plain HTTP, for paths on which
// somebody else ends TLS. A client's certificate has no place in it.
func (c Client) ConnectTunnel(ctx context.Context, post Post) (*Conn, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	ctx, cancel := c.timely(ctx)
	defer cancel()
	t, err := openTunnel(ctx, post, c.Port)
	if err != nil {
		return nil, because(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { t.Close() })
	done, err := c.exchange(ctx, t, func(nonce wire.Hash) (channelBinding, error) {
		return t.keys.binding(nonce, t.key, c.Work, c.Port), nil
	})
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		t.Close()
		return nil, because(ctx, err)
	}
	done.Conn, done.half = t, t.CloseWrite
	return done, nil
}

// tunnel is a client's end of a session: a connection whose bytes travel in requests.
type tunnel struct {
	post   Post
	id     sessionID
	key    keys.HPKEPublicKey
	keys   secrets
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	once   sync.Once

	writing sync.Mutex // owns sent, half and broken
	sent    uint64
	half    bool
	broken  error

	reading  sync.Mutex // owns received, rest and ended
	received uint64
	rest     []byte
	ended    bool

	readBy, writeBy deadline
}

// openTunnel starts a session with whoever has the key that the host names: the exchange
// inside finds out whether that is the room's.
func openTunnel(ctx context.Context, post Post, port wire.ID) (*tunnel, error) {
	t := &tunnel{post: post}
	answer, err := t.ask(ctx, []byte{tunnelKey})
	if err != nil {
		return nil, err
	}
	if t.key, err = parseHPKE(answer[1:]); err != nil {
		return nil, tunnelForm("no HPKE key")
	}
	mine, err := keys.GenerateHPKEKey()
	if err != nil {
		return nil, err
	}
	encapsulated, first, err := t.key.Encapsulate(tunnelInfo(port))
	if err != nil {
		return nil, err
	}
	request := append(append([]byte{tunnelOpen}, encapsulated...), mine.Public().Bytes()...)
	if answer, err = t.ask(ctx, request); err != nil {
		return nil, err
	}
	if len(answer) != 1+len(t.id)+keys.Encapsulation {
		return nil, tunnelForm("an answer of another size")
	}
	copy(t.id[:], answer[1:])
	second, err := mine.Decapsulate(tunnelAnswerInfo(port, request), answer[1+len(t.id):])
	if err != nil {
		return nil, unsealed()
	}
	t.keys = newSecrets(first, second, request, answer)
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return t, nil
}

// ask carries one request, again if it did not get through: the room takes each once.
func (t *tunnel) ask(ctx context.Context, request []byte) ([]byte, error) {
	wait := 100 * time.Millisecond
	for try := 1; ; try++ {
		answer, err := t.post(ctx, request)
		if err == nil && len(answer) > 0 && answer[0] == tunnelError {
			e := verdict.Decode(answer[1:])
			if e.Check != "ingress.busy" || try == tries {
				return nil, said(answer[1:])
			}
			err = e
		} else if err == nil && (len(answer) == 0 || len(answer) > MaxTunnelMessage || answer[0] != request[0]) {
			err = tunnelForm("something else")
		}
		if err == nil {
			return answer, nil
		}
		if try == tries || ctx.Err() != nil {
			return nil, broken(err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// sealed asks with a sealed request, and opens the answer.
func (t *tunnel) sealed(ctx context.Context, kind byte, n uint64, with, by *keys.Sealer, plain []byte) ([]byte, error) {
	h := head(kind, t.id, n)
	answer, err := t.ask(ctx, with.Seal(append([]byte(nil), h...), n, plain, h))
	if err != nil {
		return nil, err
	}
	if len(answer) < headSize || string(answer[:headSize]) != string(h) {
		return nil, tunnelForm("an answer to something else")
	}
	out, err := by.Open(n, answer[headSize:], h)
	if err != nil {
		return nil, unsealed()
	}
	return out, nil
}

func (t *tunnel) Write(p []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.half || t.broken != nil {
		return 0, errors.Join(net.ErrClosed, t.broken)
	}
	written := 0
	for written < len(p) {
		n := min(len(p)-written, MaxTunnelPiece)
		if err := t.push(flagMore, p[written:written+n]); err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

func (t *tunnel) push(flag byte, data []byte) error {
	ctx, stop := t.writeBy.within(t.ctx)
	defer stop()
	_, err := t.sealed(ctx, tunnelSend, t.sent, t.keys.send, t.keys.ack, append([]byte{flag}, data...))
	t.sent++
	if err != nil { // its number is used, whether or not it came through
		t.broken = t.writeBy.explain(err)
	}
	return t.broken
}

// CloseWrite says that nothing more will be written.
func (t *tunnel) CloseWrite() error {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.half || t.broken != nil {
		return t.broken
	}
	t.half = true
	return t.push(flagEnd, nil)
}

func (t *tunnel) Read(p []byte) (int, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	for len(t.rest) == 0 {
		if t.ended {
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
		if err := t.pull(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

func (t *tunnel) pull() error {
	ctx, stop := t.readBy.within(t.ctx)
	defer stop()
	plain, err := t.sealed(ctx, tunnelReceive, t.received, t.keys.ask, t.keys.down, nil)
	if err != nil {
		return t.readBy.explain(err)
	}
	if len(plain) == 0 || plain[0] > flagEnd {
		return tunnelForm("no flag")
	}
	t.received++
	t.rest, t.ended = plain[1:], plain[0] == flagEnd
	return nil
}

// Close ends the session; the room is told if it can be.
func (t *tunnel) Close() error {
	t.once.Do(func() {
		t.cancel()
		go func() {
			ctx, stop := context.WithTimeout(context.WithoutCancel(t.ctx), lingerTime)
			defer stop()
			h := head(tunnelClose, t.id, 0)
			_, _ = t.post(ctx, t.keys.end.Seal(append([]byte(nil), h...), 0, nil, h))
		}()
	})
	return nil
}

func (t *tunnel) LocalAddr() net.Addr                 { return nowhere{} }
func (t *tunnel) RemoteAddr() net.Addr                { return nowhere{} }
func (t *tunnel) SetReadDeadline(at time.Time) error  { t.readBy.set(at); return nil }
func (t *tunnel) SetWriteDeadline(at time.Time) error { t.writeBy.set(at); return nil }
func (t *tunnel) SetDeadline(at time.Time) error {
	t.readBy.set(at)
	t.writeBy.set(at)
	return nil
}

// deadline is when calls of one direction end, those under way too.
type deadline struct {
	mu     sync.Mutex // owns all
	at     time.Time
	cancel context.CancelFunc // of the call under way
	timer  *time.Timer
}

func (d *deadline) set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	d.arm()
}

// arm makes the call under way end in time. The caller holds the mutex.
func (d *deadline) arm() {
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.cancel != nil && !d.at.IsZero() {
		d.timer = time.AfterFunc(time.Until(d.at), d.cancel)
	}
}

func (d *deadline) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cancel = cancel
	d.arm()
	return ctx, func() {
		d.mu.Lock()
		d.cancel = nil
		d.arm()
		d.mu.Unlock()
		cancel()
	}
}

// explain makes what broke after the deadline what users of connections look for.
func (d *deadline) explain(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && !d.at.IsZero() && !time.Now().Before(d.at) {
		return os.ErrDeadlineExceeded
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", net.ErrClosed, err)
	}
	return err
}
