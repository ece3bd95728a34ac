package main

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHandedConnections takes over what a host hands over as it should, closes the rest, and
// ends with the host or the context.
func TestHandedConnections(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	next, err := handedConnections(fds[1])
	if err != nil {
		t.Fatal(err)
	}
	send := func(port string, files ...int) {
		t.Helper()
		var oob []byte
		if len(files) > 0 {
			oob = unix.UnixRights(files...)
		}
		if err := unix.Sendmsg(fds[0], []byte(port), oob, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	pipe := func() (ours, theirs int) {
		t.Helper()
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return pair[0], pair[1]
	}
	// Nothing of these is a connection for a port; what came with them is closed.
	var refused []*os.File
	for _, port := range []string{"Not A Port", "a-name-that-is-longer-than-any-name-of-a-port-may-be-by-the-rules-of-identifiers-everywhere"} {
		ours, theirs := pipe()
		send(port, theirs)
		unix.Close(theirs)
		refused = append(refused, os.NewFile(uintptr(ours), "ours"))
	}
	send("web")
	one, two := pipe()
	send("web", one, two)
	unix.Close(one)
	unix.Close(two)
	ours, theirs := pipe()
	send("web", theirs)
	unix.Close(theirs)

	port, conn, err := next(t.Context())
	if err != nil || port != "web" {
		t.Fatalf("%s, %v", port, err)
	}
	mine := os.NewFile(uintptr(ours), "ours")
	io.WriteString(mine, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(mine); err != nil || len(rest) != 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
	for _, f := range refused {
		if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("a connection that was not taken is open: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := next(ctx); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("at the end of its context: %v", err)
	}
}

// TestHostGone: when the host has gone there is nothing more to take over.
func TestHostGone(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	next, err := handedConnections(fds[1])
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fds[0])
	if _, conn, err := next(t.Context()); err == nil || conn != nil {
		t.Errorf("%v, %v", conn, err)
	}
}
