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
