package channel_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"strongroom.dev/channel"
)

// TestSmallFrames: a peer that fills a window byte by byte makes the other side hold hardly
// more than one that fills its frames, and what it sent arrives in order.
func TestSmallFrames(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	room, err := channel.New(ours, channel.Room)
	if err != nil {
		t.Fatal(err)
	}
	defer room.Close()
	go io.Copy(io.Discard, theirs)
	frame := func(b []byte, kind byte, payload ...byte) []byte {
		b = append(b, kind, 0, 0, 0, 2)
		b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
		return append(b, payload...)
	}
	all := frame([]byte("strongroom/channel/v1\n"), 1, []byte("ingress/web")...)
	var want []byte
	for i := range channel.Window {
		want = append(want, byte(i*7))
		all = frame(all, 2, byte(i*7))
	}
	all = frame(all, 4)
	go theirs.Write(all)
	stream, err := room.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1)
	if _, err := io.ReadFull(stream, got); err != nil {
		t.Fatal(err)
	}
	for stream.Held() < channel.Window && len(got) < 10_000 { // some arrives while we look
		next := make([]byte, 1)
		if _, err := io.ReadFull(stream, next); err != nil {
			t.Fatal(err)
		}
		got = append(got, next...)
	}
	if held := stream.Held(); held > channel.Window+2*channel.MaxFrame {
		t.Errorf("%d bytes are held for a window of %d", held, channel.Window)
	}
	rest, err := io.ReadAll(stream)
	if got = append(got, rest...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	if held := stream.Held(); held != 0 {
		t.Errorf("%d bytes are held of what was read", held)
	}
}

// TestWriteTo hands everything on, in order, whatever was read before, and waits for no more
// than its window of what nobody takes.
func TestWriteTo(t *testing.T) {
	a, b := net.Pipe()
	host, err := channel.New(a, channel.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	room, err := channel.New(b, channel.Room)
	if err != nil {
		t.Fatal(err)
	}
	defer room.Close()
	out, err := host.Open(t.Context(), "ingress/web")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 3<<20)
	for i := range want {
		want[i] = byte(i * 31 >> 3)
	}
	sent := make(chan int, 1)
	go func() {
		n, _ := out.Write(want)
		out.CloseWrite()
		sent <- n
	}()
	in, err := room.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 1000)
	if _, err := io.ReadFull(in, head); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-sent:
		t.Fatalf("%d bytes were taken that nobody read", n)
	default:
	}
	var rest bytes.Buffer
	n, err := in.WriteTo(&rest)
	if err != nil || int(n) != rest.Len() || !bytes.Equal(append(head, rest.Bytes()...), want) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n := <-sent; n != len(want) {
		t.Errorf("%d bytes were sent", n)
	}
}

// TestWriteToBroken ends with a reset, and with a writer that takes no more.
func TestWriteToBroken(t *testing.T) {
	a, b := net.Pipe()
	host, _ := channel.New(a, channel.Host)
	defer host.Close()
	room, _ := channel.New(b, channel.Room)
	defer room.Close()
	for _, test := range []struct {
		w     io.Writer
		reset bool
	}{{io.Discard, true}, {full{}, false}} {
		out, err := host.Open(t.Context(), "ingress/web")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte("bytes")); err != nil {
			t.Fatal(err)
		}
		in, err := room.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if test.reset {
			out.Reset("enough")
		}
		if _, err := in.WriteTo(test.w); err == nil {
			t.Errorf("reset %v: no error", test.reset)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
