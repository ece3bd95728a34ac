package machine

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/verdict"
)

// Port is the name of the virtio-serial port that is the room's channel.
const Port = "strongroom"

// waitForPort finds the port: the kernel learns its name some time after its driver started.
func waitForPort() (string, error) {
	var path string
	var err error
	await(patience, func() bool { path, err = findPort("/"); return path != "" || err != nil })
	if path == "" && err == nil {
		err = verdict.Refuse("machine.channel", "a virtio-serial port named "+Port, "none within "+patience.String(), "give the machine one: it is its only way out")
	}
	return path, err
}

// findPort looks for the port below root; "" means that it is not there yet.
func findPort(root string) (string, error) {
	names, err := filepath.Glob(filepath.Join(root, "sys/class/virtio-ports/*/name"))
	if err != nil {
		return "", err
	}
	var found string
	for _, name := range names {
		if got, err := readShort("", name); err != nil || got != Port {
			continue
		}
		if found != "" {
			return "", verdict.Refuse("machine.channel", "one virtio-serial port named "+Port, "two", "give the machine one")
		}
		found = filepath.Join("/dev", filepath.Base(filepath.Dir(name)))
	}
	return found, nil
}

// pump carries bytes between the port and the agent's end of the channel until either ends.
// It reads nothing in them.
func pump(port, channel *os.File) {
	ended := make(chan bool, 2)
	go func() { fromHost(channel, port); unix.Shutdown(int(channel.Fd()), unix.SHUT_WR); ended <- true }()
	go func() { io.Copy(onlyWriter{port}, onlyReader{channel}); ended <- true }()
	<-ended
}

// fromHost copies until the host goes away. Before it came, the port reads as ended.
func fromHost(channel io.Writer, port io.Reader) {
	buffer := make([]byte, 64<<10)
	for came, end := false, time.Now().Add(patience); ; {
		n, err := port.Read(buffer)
		if n > 0 {
			came = true
			if _, err := channel.Write(buffer[:n]); err != nil {
				return
			}
			continue
		}
		if came || err != nil && err != io.EOF || time.Now().After(end) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

type onlyReader struct{ io.Reader }

// openBlocking opens a device whose reads wait, holding a thread: asked not to wait, ports
// and TPMs answer with nothing.
func openBlocking(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
