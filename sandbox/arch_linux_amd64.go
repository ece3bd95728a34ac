package sandbox

import "golang.org/x/sys/unix"

// archCalls are the calls that C libraries and the Go run-time make on this architecture only.
var archCalls = []uintptr{unix.SYS_ARCH_PRCTL, unix.SYS_EPOLL_WAIT, unix.SYS_POLL, unix.SYS_TIME}

// archFileCalls are older forms of the calls by which helpers look at files by name.
var archFileCalls = []uintptr{unix.SYS_ACCESS, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_READLINK, unix.SYS_GETDENTS, unix.SYS_GETRLIMIT}
