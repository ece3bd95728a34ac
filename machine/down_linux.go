package machine

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// down ends every process and the machine, and overwrites memory for so long at most.
func down(c *console, wiping time.Duration) {
	c.say("going down")
	unix.Kill(-1, unix.SIGKILL) //nolint:errcheck // none is left, or all are gone
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
			break // no process is left
		}
	}
	wipe(wiping)
	// Without ACPI's byte code a machine can't be switched off, it halts; any can be reset, and
	// its host starts it once only. If that fails, the kernel panics as this process ends.
	if there("/", acpiInterpreter) {
		unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) //nolint:errcheck // see above
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) //nolint:errcheck // see above
}

// wipe overwrites the memory that nobody holds any more, what the agent and its engines left
// behind: the kernel zeroes pages as it hands them out. (init_on_free=1 would do it as pages
// are freed, for seconds of every start.)
func wipe(most time.Duration) {
	var all sync.WaitGroup
	end := time.Now().Add(most)
	for range min(runtime.NumCPU(), 4) {
		all.Go(func() {
			for time.Now().Before(end) && take() {
			}
		})
	}
	all.Wait()
}

// longestWipe is how long wiping may take, by the size of memory: processors overwrite 16 GiB
// in a second. Emulated in software they need several seconds for one, and leave some; but
// whoever emulates a machine has seen its memory anyway.
func longestWipe() time.Duration {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return 3*time.Second + time.Duration(uint64(info.Totalram)*uint64(info.Unit)>>34)*time.Second
}

// take takes a piece of free memory for good, and reports whether there may be more.
func take() bool {
	const piece, spare = 4 << 20, 24 << 20 // spare is for the kernel: without it, it would panic
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil || uint64(info.Freeram)*uint64(info.Unit) < spare+4*piece {
		return false
	}
	b, err := unix.Mmap(-1, 0, piece, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return false
	}
	unix.Madvise(b, unix.MADV_HUGEPAGE) //nolint:errcheck // faster where it works
	return unix.Madvise(b, unix.MADV_POPULATE_WRITE) == nil
}
