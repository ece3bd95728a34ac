package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// link is one end of a socket pair that carries messages with descriptors, between the agent
// and the first process of a cell. Neither believes the other to be of bounded length.
type link struct {
	file    *os.File // polled
	sending sync.Mutex
}

// message is what either end says.
type message struct {
	ID int64 `json:"id,omitempty"` // of a request, and of its answer
	// Do is what the agent asks: start, dial, signal, restart, result.
	Do     string `json:"do,omitempty"`
	Port   int    `json:"port,omitempty"`
	Signal int    `json:"signal,omitempty"`
	Path   string `json:"path,omitempty"`
	Data   []byte `json:"data,omitempty"` // a keeper's request or answer
	// What the cell says: an answer, or news without an ID.
	Error    string `json:"error,omitempty"`
	Lacks    []Lack `json:"lacks,omitempty"`
	Accepted string `json:"accepted,omitempty"` // the address, with a connection
	Ended    *Exit  `json:"ended,omitempty"`
}

const maxText = 4 << 10 // bytes of an error: a path of an image and a few words

// send sends a message and the descriptors that go with it, which the caller keeps open.
func (l *link) send(m message, fds ...int) error {
	m.Error = m.Error[:min(len(m.Error), maxText)]
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(data) > maxMessage || len(fds) > maxPassed {
		return fmt.Errorf("a message of %d bytes and %d descriptors", len(data), len(fds))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	l.sending.Lock()
	defer l.sending.Unlock()
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	werr := raw.Write(func(fd uintptr) bool {
		err = unix.Sendmsg(int(fd), data, rights, nil, unix.MSG_NOSIGNAL)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	return errors.Join(werr, err)
}

// receive waits for a message. io.EOF: the other end is closed.
func (l *link) receive() (message, []*os.File, error) {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return message{}, nil, err
	}
	data, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*maxPassed))
	var n, oobn, flags int
	rerr := raw.Read(func(fd uintptr) bool {
		n, oobn, flags, _, err = unix.Recvmsg(int(fd), data, oob, unix.MSG_CMSG_CLOEXEC)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if err = errors.Join(rerr, err); err != nil {
		return message{}, nil, err
	}
	files, err := received(oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("a message that was cut")
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	var m message
	if err == nil {
		err = json.Unmarshal(data[:n], &m)
	}
	if err != nil {
		closeAll(files)
		return message{}, nil, err
	}
	return m, files, nil
}

// received makes files of the descriptors that came with a message.
func received(oob []byte) (files []*os.File, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	parts, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range parts {
		fds, err := unix.ParseUnixRights(&parts[i])
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
