package machine

import (
	"time"

	"golang.org/x/sys/unix"
)

// down ends every process and the machine. Freed memory is overwritten by the kernel
// (init_on_free=1 on its command line): with the processes all that they held is gone.
func down(c console) {
	c.say("going down")
	unix.Kill(-1, unix.SIGKILL) //nolint:errcheck // none is left, or all are gone
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
			break // no process is left
		}
	}
	unix.Sync()
	// Without ACPI's words a machine can't be switched off, but any can be reset; its host starts
	// it once only. If neither works, the kernel panics as this process ends.
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) //nolint:errcheck // see above
	time.Sleep(time.Second)
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) //nolint:errcheck // see above
}
