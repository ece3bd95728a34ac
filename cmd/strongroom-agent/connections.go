package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox"
	"strongroom.dev/wire"
)

// handedConnections takes the connections that a host hands over by a descriptor: each message
// is a port's name, with one stream socket. What a host hands over it could have carried.
func handedConnections(fd int) (func(context.Context) (wire.ID, io.ReadWriteCloser, error), error) {
	from, err := polled(fd, "connections")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (wire.ID, io.ReadWriteCloser, error) {
		stop := context.AfterFunc(ctx, func() { from.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		for {
			port, conn, err := takeConnection(from)
			if err != nil || conn != nil {
				return port, conn, err
			}
		}
	}, nil
}

// takeConnection takes one over; nil if the message was none.
func takeConnection(from *os.File) (wire.ID, io.ReadWriteCloser, error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return "", nil, err
	}
	name, oob := make([]byte, 64), make([]byte, unix.CmsgSpace(4*4))
	var n, oobn, flags int
	rerr := raw.Read(func(fd uintptr) bool {
		n, oobn, flags, _, err = unix.Recvmsg(int(fd), name, oob, unix.MSG_CMSG_CLOEXEC)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if err = errors.Join(rerr, err); err != nil {
		return "", nil, err
	}
	fds := passed(oob[:oobn])
	if n == 0 && len(fds) == 0 {
		return "", nil, io.EOF // the host is gone
	}
	port := wire.ID(name[:n])
	if len(fds) != 1 || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || !port.Valid() {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return "", nil, nil
	}
	conn, err := polled(fds[0], "connection")
	if err != nil {
		unix.Close(fds[0])
		return "", nil, nil
	}
	return port, &sandbox.Conn{File: conn}, nil
}

// passed gives the descriptors of a message.
func passed(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if more, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, more...)
		}
	}
	return fds
}
