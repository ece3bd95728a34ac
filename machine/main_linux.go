package machine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/verdict"
)

// Started reports whether this process is the first of a room's virtual machine, as the
// kernel starts /init: nothing else is process 1 with the configuration of a machine beside
// it, and a process inside a sandbox sees no such file.
func Started() bool {
	if os.Getpid() != 1 || len(os.Args) == 0 || os.Args[0] != "/init" {
		return false
	}
	_, err := os.Stat(configPath)
	return err == nil
}

// Main is the first process of a machine. It never returns: whatever happens, the machine
// goes down after it.
func Main() {
	c := &console{}
	defer func() {
		if r := recover(); r != nil {
			stack := make([]byte, 8<<10)
			c.say("stopped by a defect: %v\n%s", r, stack[:runtime.Stack(stack, false)])
		}
		var wiping time.Duration
		if c.silent.Load() { // data may have been here
			wiping = longestWipe()
		}
		down(c, wiping)
	}()
	if err := run(c); err != nil {
		c.say("stopped: %s", verdict.As(err).Error())
	}
}

// console is where the first process says what it does, for whoever looks at the machine's
// serial port, until data may be in the machine: then it has taken it away from itself.
type console struct{ silent atomic.Bool }

// say writes a line with the time since the kernel started.
func (c *console) say(format string, args ...any) {
	if !c.silent.Load() {
		fmt.Fprintf(os.Stderr, "strongroom: %6.2fs %s\n", uptime().Seconds(), fmt.Sprintf(format, args...))
	}
}

// silence takes the console away, for good: nothing that follows is for the host, not even
// the run-time's last words.
func (c *console) silence() error {
	c.silent.Store(true)
	if err := silenceKernel("/"); err != nil {
		return err
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for _, fd := range []int{0, 1, 2} {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	return nil
}

// silenceKernel takes the consoles away from the kernel: one that fails prints registers, of
// whatever ran, whatever it was told to keep quiet about.
func silenceKernel(root string) error {
	consoles, err := filepath.Glob(filepath.Join(root, "sys/class/tty/*/console"))
	if err != nil {
		return err
	}
	for _, path := range consoles {
		if state, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(state)) != "Y" {
			continue // no console, or one that can't be asked, such as a terminal of no device
		}
		if err := os.WriteFile(path, []byte("N"), 0); err != nil {
			return fmt.Errorf("silencing the kernel: %w", err)
		}
		if state, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(state)) != "N" {
			return verdict.Refuse("machine.console", "a kernel that prints nothing any more", verdict.Printable(string(state)), "a defect of the image: report it")
		}
	}
	return nil
}

func uptime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// run takes the machine from the kernel's hands to the end of its agent.
func run(c *console) error {
	c.say("room starts")
	config, err := prepare()
	if err != nil {
		return err
	}
	c.say("kernel is set: %d modules", len(config.Modules))
	found, err := Detect("/")
	if err != nil {
		return err
	}
	c.say("platform %s: %s", found.Platform, found.Why)
	if err := refuseByteCode("/", found); err != nil {
		return err
	}
	log, err := kernelLog()
	if err != nil {
		return fmt.Errorf("reading the kernel's log: %w", err)
	}
	if err := refuseHypervisor(log, found); err != nil {
		return err
	}
	if err := entropy(found); err != nil {
		return err
	}
	engines := make(chan loaded, 1)
	go func() { engines <- loadEngines(config.Engines) }()
	d, err := open(found)
	if err != nil {
		return err
	}
	c.say("evidence device is ready")
	port, err := waitForPort()
	if err != nil {
		return err
	}
	l := <-engines
	if l.err != nil {
		return l.err
	}
	c.say("%d engines are checked", len(l.programs))
	inputs, err := openDisks("input")
	if err != nil {
		return err
	}
	disks, err := openDisks("disk")
	if err != nil {
		return err
	}
	c.say("%d inputs, %d disks; starting the agent", len(inputs), len(disks))
	return launch(context.Background(), c, d, port, slices.Concat(l.programs, inputs, disks))
}
