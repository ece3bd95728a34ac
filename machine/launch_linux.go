package machine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/device"
	"strongroom.dev/machine/chip"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// open opens the evidence device of a platform, for this process alone.
func open(found Found) (device.Device, error) {
	if found.Platform != TPM {
		return newProcessor("/", found)
	}
	f, err := openBlocking("/dev/tpm0") // the kernel opens it once only
	if err != nil {
		return nil, err
	}
	log, err := readAll("/sys/kernel/security/tpm0/binary_bios_measurements", maxLog)
	if err != nil {
		return nil, verdict.Refuse("machine.event_log", "the log of what the firmware measured", err.Error(), "boot with UEFI firmware that measures into the TPM")
	}
	var salt [32]byte
	rand.Read(salt[:]) // never fails
	return newTrusted(found, chip.New(f), salt, log)
}

// silencing is the evidence device as the agent sees it: when the work starts, the first
// process falls silent. It mounts the disks of containers besides.
type silencing struct {
	device.Device
	*mounter
	console *console
}

func (s silencing) Begin(ctx context.Context, initData wire.Digest, short wire.Hash) (device.Introduction, error) {
	i, err := s.Device.Begin(ctx, initData, short)
	i.Mounts = true
	return i, err
}

func (s silencing) Separate(ctx context.Context, run wire.Digest) error {
	s.console.say("the work starts; nothing more is said here")
	if err := s.console.silence(); err != nil {
		return err
	}
	return s.Device.Separate(ctx, run)
}

// launch starts the agent with its descriptors as a host would (spec/room.md, section 2),
// serves it, and waits for its end.
func launch(ctx context.Context, c *console, d device.Device, portPath string, files []*os.File) error {
	port, err := openBlocking(portPath)
	if err != nil {
		return err
	}
	channel, theirChannel, err := socketPair()
	if err != nil {
		return err
	}
	asking, theirDevice, err := socketPair()
	if err != nil {
		return err
	}
	all := append([]*os.File{os.Stdin, os.Stdout, os.Stderr, theirChannel, theirDevice}, files...)
	agent, err := os.StartProcess("/proc/self/exe", []string{"strongroom-agent"}, &os.ProcAttr{Dir: "/", Env: []string{}, Files: all, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	for _, f := range all[3:] {
		f.Close() // what the agent holds is its own: an input that it lets go of is gone
	}
	go device.Serve(ctx, asking, silencing{d, &mounter{}, c})
	gone := make(chan bool)
	go func() { pump(port, channel); close(gone) }()
	go func() {
		<-gone // a host that goes away ends the room
		time.Sleep(5 * time.Second)
		agent.Kill()
	}()
	return reap(agent.Pid)
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "channel"), os.NewFile(uintptr(fds[1]), "channel"), nil
}

// reap waits for the agent, and for every process that lost its parent.
func reap(agent int) error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("waiting for the agent: %w", err)
		case pid == agent && status.Exited() && status.ExitStatus() == 0:
			return nil
		case pid == agent:
			return &verdict.Error{Kind: verdict.Broken, Check: "room.ended", Expected: "an agent that ends well", Got: ending(status)}
		}
	}
}

func ending(status unix.WaitStatus) string {
	if status.Signaled() {
		return "ended by signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}
