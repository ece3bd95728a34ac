package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// keepSecrets keeps the memory of a program that holds private keys out of core dumps, out of
// other programs' reach, and, where the system lets it, out of swap.
func keepSecrets() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switching off core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("shutting out other programs: %w", err)
	}
	// Without the privilege this changes nothing; whoever needs it grants CAP_IPC_LOCK.
	_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	return nil
}

// descriptorPath reaches a name in an open directory by a short path.
func descriptorPath(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}
