package machine

import "golang.org/x/sys/unix"

// down ends every process and the machine. used says that data may have been in it.
func down(c *console, used bool) {
	c.say("going down")
	unix.Kill(-1, unix.SIGKILL) //nolint:errcheck // none is left, or all are gone
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
			break // no process is left
		}
	}
	if used {
		wipe()
	}
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
func wipe() {
	const chunk, spare = 16 << 20, 48 << 20 // spare is for the kernel: without it, it would panic
	var info unix.Sysinfo_t
	for unix.Sysinfo(&info) == nil && uint64(info.Freeram)*uint64(info.Unit) > spare+chunk {
		if _, err := unix.Mmap(-1, 0, chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE); err != nil {
			return
		}
	}
}
