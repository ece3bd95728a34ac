package machine

import (
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
