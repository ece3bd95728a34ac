package device

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// local gives the descriptor of a connection that files can come by.
func local(conn any) (syscall.RawConn, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("a connection that no files come by")
	}
	return c.SyscallConn()
}

// sendFile sends a file with one byte (unix(7), SCM_RIGHTS).
func sendFile(conn any, f *os.File) error {
	raw, err := local(conn)
	if err != nil {
		return err
	}
	rights := syscall.UnixRights(int(f.Fd()))
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		failed = syscall.Sendmsg(int(fd), []byte{0}, rights, nil, 0)
		return failed != syscall.EAGAIN
	})
	return errors.Join(err, failed)
}

// takeFile takes what sendFile sent: one file, no more.
func takeFile(conn any) (*os.File, error) {
	raw, err := local(conn)
	if err != nil {
		return nil, err
	}
	rights := make([]byte, syscall.CmsgSpace(4))
	var n, size int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, size, _, _, failed = syscall.Recvmsg(int(fd), make([]byte, 1), rights, syscall.MSG_CMSG_CLOEXEC)
		return failed != syscall.EAGAIN
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	if n != 1 {
		return nil, errNoFile
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:size])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errNoFile, err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errNoFile, err, fmt.Errorf("%d files", len(fds)))
	}
	return os.NewFile(uintptr(fds[0]), "mount"), nil
}
