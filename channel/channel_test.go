package channel_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom.dev/channel"
	"strongroom.dev/verdict"
)

var update = flag.Bool("update", false, "write the vectors anew")

// pair gives both ends of a session; the test closes them.
func pair(t *testing.T) (room, host *channel.Session) {
	t.Helper()
	a, b := net.Pipe()
	room, err := channel.New(a, channel.Room)
	if err != nil {
		t.Fatal(err)
	}
	if host, err = channel.New(b, channel.Host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { room.Close(); host.Close() })
	return room, host
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// echo answers every stream with its name and what it said.
func echo(ctx context.Context, s *channel.Session) {
	for {
		stream, err := s.Accept(ctx)
		if err != nil {
			return
		}
		go stream.Serve(1<<20, func(path string, body []byte) (int, []byte) {
			if path == "/refuse" {
				return 403, verdict.Encode(verdict.Refuse("a.check", "this", "that", "mend it"))
			}
			return 200, append([]byte(stream.Name()+path+" "), body...)
		})
	}
}

func TestZeroRoleIsRefused(t *testing.T) {
	a, _ := net.Pipe()
	if _, err := channel.New(a, 0); err == nil {
		t.Error("a session of no role was started")
	}
}

func TestCallsRunSideBySide(t *testing.T) {
	room, host := pair(t)
	ctx := deadline(t)
	go echo(ctx, host)
	body := bytes.Repeat([]byte("0123456789abcdef"), 40_000) // more than two windows
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			name := fmt.Sprintf("broker/p%d", i)
			got, err := room.Call(ctx, name, "/v1/x", body, 1<<20)
			if err != nil || string(got) != name+"/v1/x "+string(body) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		})
	}
	all.Wait()
}

func TestStreamsAreFreedForThousandsOfCalls(t *testing.T) {
	room, host := pair(t)
	ctx := deadline(t)
	go echo(ctx, host)
	for i := range 3000 {
		if _, err := room.Call(ctx, "ledger/shared", "/", nil, 100); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

func TestRefusalKeepsItsKind(t *testing.T) {
	room, host := pair(t)
	ctx := deadline(t)
	go echo(ctx, host)
	_, err := room.Call(ctx, "broker/alpha", "/refuse", nil, 1000)
	if verdict.Exit(err) != int(verdict.Refused) || verdict.As(err).Check != "a.check" {
		t.Errorf("got %v", err)
	}
}

func TestAnswerOverTheLimit(t *testing.T) {
	room, host := pair(t)
	ctx := deadline(t)
	go echo(ctx, host)
	if _, err := room.Call(ctx, "broker/alpha", "/", make([]byte, 2000), 100); err == nil {
		t.Error("an answer over the limit was taken")
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		role channel.Role
		name string
		want bool
	}{
		{channel.Room, "broker/alpha", true}, {channel.Room, "ledger/a-1", true}, {channel.Room, "egress/x", true},
		{channel.Room, "control", false}, {channel.Room, "ingress/x", false}, {channel.Room, "broker", false},
		{channel.Room, "broker/", false}, {channel.Room, "broker/A", false}, {channel.Room, "broker/a/b", false},
		{channel.Room, "broker/../x", false}, {channel.Room, "", false}, {channel.Room, "other/x", false},
		{channel.Room, "broker/" + strings.Repeat("a", 64), false},
		{channel.Host, "control", true}, {channel.Host, "ingress/web", true}, {channel.Host, "control/x", false},
		{channel.Host, "broker/alpha", false}, {channel.Host, "egress/x", false}, {0, "control", false},
	} {
		if got := c.role.MayOpen(c.name); got != c.want {
			t.Errorf("%v may open %q: %v", c.role, c.name, got)
		}
	}
	room, _ := pair(t)
	if _, err := room.Open(deadline(t), "control"); err == nil {
		t.Error("a room opened control")
	}
}

func TestUnreadStreamHoldsUpNobody(t *testing.T) {
	room, host := pair(t)
	ctx := deadline(t)
	control, err := host.Open(ctx, "control")
	if err != nil {
		t.Fatal(err)
	}
	stuck := make(chan error, 1)
	go func() {
		_, err := control.Write(make([]byte, 4*channel.Window)) // nobody reads it
		stuck <- err
	}()
	go echo(ctx, host)
	for range 50 {
		if _, err := room.Call(ctx, "broker/alpha", "/", make([]byte, 1000), 2000); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-stuck:
		t.Fatalf("writing past the window ended: %v", err)
	default:
	}
	control.Reset("enough")
	if err := <-stuck; !errors.Is(err, channel.ErrReset) {
		t.Errorf("got %v", err)
	}
}

func TestOwnLimitOfStreams(t *testing.T) {
	room, _ := pair(t)
	ctx := deadline(t)
	for range channel.MaxStreams {
		if _, err := room.Open(ctx, "broker/alpha"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := room.Open(ctx, "broker/alpha"); err == nil {
		t.Error("one stream too many was opened")
	}
}

func TestCancelEndsACall(t *testing.T) {
	room, host := pair(t)
	ctx, cancel := context.WithCancelCause(deadline(t))
	go func() {
		if _, err := host.Accept(ctx); err == nil {
			cancel(errors.New("lease lapsed"))
		}
	}()
	_, err := room.Call(ctx, "broker/alpha", "/", nil, 10)
	if err == nil || !strings.Contains(err.Error(), "lease lapsed") {
		t.Errorf("got %v", err)
	}
}

func TestPeerGoingAwayIsNoEnd(t *testing.T) {
	room, host := pair(t)
	ctx := deadline(t)
	control, _ := host.Open(ctx, "control")
	control.Write([]byte("half a mess"))
	got, err := room.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(got, make([]byte, 11))
	host.Close()
	if _, err := got.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("got %v", err)
	}
	<-room.Done()
	if _, err := room.Open(ctx, "broker/x"); err == nil {
		t.Error("a stream was opened on a session that has ended")
	}
}

func TestCloseEndsEverything(t *testing.T) {
	room, host := pair(t)
	ctx := deadline(t)
	failed := make(chan error, 3)
	go func() { _, err := room.Accept(ctx); failed <- err }()
	stream, _ := room.Open(ctx, "broker/x")
	go func() { _, err := stream.Read(make([]byte, 1)); failed <- err }()
	go func() { _, err := stream.Write(make([]byte, 2*channel.Window)); failed <- err }()
	time.Sleep(10 * time.Millisecond)
	room.Close()
	for range 3 {
		if err := <-failed; !errors.Is(err, channel.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	<-host.Done()
}

// A host that sends as fast as it can and never reads must not make the room stand still:
// the room's reader never waits for its writer.
func TestPeerThatNeverReads(t *testing.T) {
	a, b := net.Pipe()
	room, _ := channel.New(a, channel.Room)
	defer room.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := b.Write([]byte("strongroom/channel/v1\n"))
		for i := range 5000 {
			if err != nil {
				break
			}
			id := uint32(2 * (i + 1))
			_, err = b.Write(append(raw(1, id, []byte("control")), raw(5, id, []byte("x"))...))
		}
		if err == nil {
			// The room reads on only when it has dealt with what it has.
			_, err = b.Write(raw(2, 2, []byte("late")))
		}
		sent <- err
	}()
	select {
	case err := <-sent:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the room stopped reading")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if stream, err := room.Accept(ctx); err == nil {
		t.Errorf("a stream that is over was kept: %s", stream.Name())
	}
}

func raw(kind byte, id uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{kind}, id)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(payload))), payload...)
}

// vector is a case of spec/vectors/channel: bytes a host sends, and what the room makes of them.
type vector struct {
	Comment string `json:"comment"`
	Role    string `json:"role"`  // of the side that reads Bytes
	Bytes   string `json:"bytes"` // hex
	// Expect is "ok" (the session lives until the bytes end between frames), "cut" (they end
	// inside the preface or a frame) or "violation".
	Expect string `json:"expect"`
}

func vectors() map[string]vector {
	hello := []byte("strongroom/channel/v1\n")
	make := func(comment, expect string, parts ...[]byte) vector {
		return vector{comment, "room", hex.EncodeToString(bytes.Join(parts, nil)), expect}
	}
	control := raw(1, 2, []byte("control"))
	full := bytes.Repeat(raw(2, 2, bytes.Repeat([]byte{7}, channel.MaxFrame)), channel.Window/channel.MaxFrame)
	var many []byte
	for i := range channel.MaxStreams + 1 {
		many = append(many, raw(1, uint32(2*i+2), []byte("ingress/a"))...)
	}
	return map[string]vector{
		"ok-control":          make("one stream, data, end", "ok", hello, control, raw(2, 2, []byte("hi")), raw(4, 2, nil)),
		"ok-full-window":      make("a whole window of data", "ok", hello, control, full),
		"ok-after-reset":      make("frames of a stream that is over are ignored", "ok", hello, control, raw(5, 2, []byte("no")), raw(2, 2, []byte("late")), raw(4, 2, nil)),
		"ok-skipped-id":       make("identifiers may leave gaps", "ok", hello, raw(1, 8, []byte("control"))),
		"bad-preface":         make("another protocol", "violation", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
		"bad-version":         make("another version", "violation", []byte("strongroom/channel/v2\n")),
		"bad-kind":            make("unknown kind of frame", "violation", hello, raw(9, 2, nil)),
		"bad-kind-zero":       make("kind 0", "violation", hello, raw(0, 0, nil)),
		"bad-size":            make("a frame declared as 4 GiB", "violation", hello, control, []byte{2, 0, 0, 0, 2, 255, 255, 255, 255}),
		"bad-size-one-over":   make("a data frame of one byte too many", "violation", hello, control, []byte{2, 0, 0, 0, 2, 0, 0, 128, 1}),
		"bad-empty-data":      make("data without data", "violation", hello, control, raw(2, 2, nil)),
		"bad-empty-name":      make("a stream without a name", "violation", hello, raw(1, 2, nil)),
		"bad-name":            make("a stream that a host may not open", "violation", hello, raw(1, 2, []byte("broker/alpha"))),
		"bad-parity":          make("an identifier of the room's", "violation", hello, raw(1, 1, []byte("control"))),
		"bad-id-zero":         make("identifier 0", "violation", hello, raw(1, 0, []byte("control"))),
		"bad-id-high":         make("identifier above 2^31-1", "violation", hello, raw(1, 1<<31, []byte("control"))),
		"bad-id-again":        make("an identifier used twice", "violation", hello, control, control),
		"bad-id-falling":      make("a falling identifier", "violation", hello, raw(1, 8, []byte("control")), raw(1, 6, []byte("ingress/a"))),
		"bad-unknown-stream":  make("data on a stream never opened", "violation", hello, raw(2, 2, []byte("x"))),
		"bad-unknown-own":     make("data on a stream the room never opened", "violation", hello, raw(2, 1, []byte("x"))),
		"bad-window":          make("one byte over the window", "violation", hello, control, full, raw(2, 2, []byte{1})),
		"bad-credit":          make("credit for bytes never sent", "violation", hello, control, raw(3, 2, []byte{0, 0, 0, 1})),
		"bad-credit-zero":     make("credit of 0", "violation", hello, control, raw(3, 2, []byte{0, 0, 0, 0})),
		"bad-credit-size":     make("credit of 3 bytes", "violation", hello, control, raw(3, 2, []byte{0, 0, 1})),
		"bad-data-after-end":  make("data after the end", "violation", hello, control, raw(4, 2, nil), raw(2, 2, []byte("x"))),
		"bad-second-end":      make("a second end", "violation", hello, control, raw(4, 2, nil), raw(4, 2, nil)),
		"bad-end-payload":     make("an end with a payload", "violation", hello, control, raw(4, 2, []byte("x"))),
		"bad-too-many":        make("more streams than allowed", "violation", hello, many),
		"cut-preface":         make("the preface cut short", "cut", hello[:7]),
		"cut-header":          make("a header cut short", "cut", hello, control[:4]),
		"cut-payload":         make("a payload cut short", "cut", hello, control[:12]),
		"bad-reset-no-reason": make("a reset without a reason", "violation", hello, control, raw(5, 2, nil)),
	}
}

const vectorDir = "../spec/vectors/channel"

func TestVectors(t *testing.T) {
	if *update {
		os.MkdirAll(vectorDir, 0o755)
		for name, v := range vectors() {
			data, _ := json.MarshalIndent(v, "", "  ")
			if err := os.WriteFile(filepath.Join(vectorDir, name+".json"), append(data, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, _ := filepath.Glob(filepath.Join(vectorDir, "*.json"))
	if len(files) != len(vectors()) {
		t.Fatalf("%d vectors, expected %d", len(files), len(vectors()))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			if err := json.Unmarshal(data, &v); err != nil {
				t.Fatal(err)
			}
			sent, err := hex.DecodeString(v.Bytes)
			if err != nil || v.Role != "room" {
				t.Fatal("bad vector", err)
			}
			got, text := outcome(t, sent)
			if got != v.Expect {
				t.Errorf("%s: got %s (%s), expected %s", v.Comment, got, text, v.Expect)
			}
		})
	}
}

// outcome feeds bytes to a room and says how its session ended.
func outcome(t testing.TB, sent []byte) (class, text string) {
	room, err := channel.New(&script{Reader: bytes.NewReader(sent), closed: make(chan struct{})}, channel.Room)
	if err != nil {
		t.Fatal(err)
	}
	defer room.Close()
	select {
	case <-room.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the session did not end")
	}
	err = room.Err()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "cut", err.Error()
	case err == io.EOF:
		return "ok", ""
	case verdict.As(err).Check == "channel.protocol":
		return "violation", err.Error()
	}
	return "other", err.Error()
}

// script is a connection that reads fixed bytes and swallows what is written.
type script struct {
	io.Reader
	once   sync.Once
	closed chan struct{}
}

func (s *script) Write(p []byte) (int, error) { return len(p), nil }
func (s *script) Close() error                { s.once.Do(func() { close(s.closed) }); return nil }

func TestMessages(t *testing.T) {
	var b bytes.Buffer
	channel.WriteMessage(&b, []byte("abc"))
	channel.WriteMessage(&b, nil)
	for _, want := range []string{"abc", ""} {
		if got, err := channel.ReadMessage(&b, 3); err != nil || string(got) != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if _, err := channel.ReadMessage(&b, 3); err != io.EOF {
		t.Errorf("after the last message: %v", err)
	}
	for name, c := range map[string][]byte{
		"over the limit": {0, 0, 0, 4, 1, 2, 3, 4}, "cut": {0, 0, 0, 3, 1, 2}, "cut length": {0, 0}, "huge": {255, 255, 255, 255},
	} {
		if _, err := channel.ReadMessage(bytes.NewReader(c), 3); err == nil || err == io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSession(f *testing.F) {
	for _, v := range vectors() {
		data, _ := hex.DecodeString(v.Bytes)
		if len(data) < 4096 { // the long ones make mutation slow
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if class, text := outcome(t, data); class == "other" {
			t.Errorf("ended with %s", text)
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := channel.ReadMessage(bytes.NewReader(data), 1000)
		if err == nil && (len(m) > 1000 || len(m)+4 > len(data)) {
			t.Errorf("%d bytes out of %d", len(m), len(data))
		}
	})
}

func BenchmarkStream(b *testing.B) {
	fds, _ := net.Listen("tcp", "127.0.0.1:0")
	defer fds.Close()
	go func() {
		conn, _ := fds.Accept()
		host, _ := channel.New(conn, channel.Host)
		stream, _ := host.Accept(context.Background())
		io.Copy(io.Discard, stream)
		host.Close()
	}()
	conn, err := net.Dial("tcp", fds.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	room, _ := channel.New(conn, channel.Room)
	defer room.Close()
	stream, _ := room.Open(context.Background(), "egress/x")
	chunk := make([]byte, 1<<20)
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if _, err := stream.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
}
