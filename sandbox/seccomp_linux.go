package sandbox

import (
	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox/seccomp"
)

// Clone may make threads and nothing else.
const (
	threadFlags = unix.CLONE_THREAD | unix.CLONE_VM | unix.CLONE_SIGHAND
	newFlags    = allNamespaces | unix.CLONE_NEWCGROUP | unix.CLONE_PARENT | unix.CLONE_PTRACE | unix.CLONE_VFORK
)

// commonCalls are what any program with threads needs to compute and to talk over the
// descriptors it has.
func commonCalls() []seccomp.Rule {
	rules := seccomp.Always(
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PREADV,
		unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_LSEEK, unix.SYS_FCNTL, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_PIPE2,
		unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
		unix.SYS_FUTEX, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
		unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY,
		unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_TGKILL, unix.SYS_RESTART_SYSCALL,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_EVENTFD2, unix.SYS_PPOLL,
		unix.SYS_GETRANDOM, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	)
	rules = append(rules, seccomp.Always(archCalls...)...)
	return append(rules, seccomp.If(unix.SYS_CLONE, 0, threadFlags|newFlags, threadFlags))
}

// agentCalls adds what the agent needs besides: memory files, messages to its helpers and
// cells, ending connections that come from these one way, and waiting for them and killing
// them. It can open no file, make no socket and start nothing.
func agentCalls() []seccomp.Rule {
	return append(commonCalls(), seccomp.Always(
		unix.SYS_MEMFD_CREATE, unix.SYS_FTRUNCATE, unix.SYS_PWRITE64,
		unix.SYS_SENDMSG, unix.SYS_RECVMSG, unix.SYS_SHUTDOWN,
		unix.SYS_WAITID, unix.SYS_WAIT4, unix.SYS_PIDFD_SEND_SIGNAL,
	)...)
}

// helperCalls adds what a static program of C, C++ or Go needs to start, and reading files
// by name, of which there are none but its own descriptors under /proc/self/fd.
func helperCalls() []seccomp.Rule {
	rules := append(commonCalls(), seccomp.Always(
		unix.SYS_SET_TID_ADDRESS, unix.SYS_SYSINFO, unix.SYS_UNAME, unix.SYS_GETRUSAGE, unix.SYS_TIMES,
		unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_GETCPU,
		unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_GETPARAM, unix.SYS_SCHED_GETSCHEDULER,
		unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_READLINKAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
		unix.SYS_GETDENTS64, unix.SYS_GETCWD, unix.SYS_GETSOCKOPT, unix.SYS_FADVISE64, unix.SYS_FSTATFS, unix.SYS_PRLIMIT64,
	)...)
	rules = append(rules, seccomp.Always(archFileCalls...)...)
	return append(rules,
		seccomp.If(unix.SYS_OPENAT, 2, unix.O_ACCMODE|unix.O_CREAT|unix.O_TRUNC, unix.O_RDONLY),
		seccomp.If(unix.SYS_PRCTL, 0, ^uint32(0), unix.PR_SET_NAME),
		seccomp.If(unix.SYS_PRCTL, 0, ^uint32(0), unix.PR_SET_DUMPABLE),
		seccomp.If(unix.SYS_PRCTL, 0, ^uint32(0), unix.PR_SET_VMA),
		// The helper itself is executed from this descriptor, which close-on-exec then frees; the
		// limit on descriptors keeps anything else from standing there, and nothing else that the
		// process can name is executable.
		seccomp.If(unix.SYS_EXECVEAT, 0, ^uint32(0), helperFD),
	)
}

// keeperCalls adds what a keeper of volumes does with file systems that are handed to it:
// moving their mounts into its place, files and attributes below that, and fscrypt's commands.
// It executes nothing, starts nothing, makes no socket and no namespace.
func keeperCalls() []seccomp.Rule {
	rules := append(commonCalls(), seccomp.Always(
		unix.SYS_SENDMSG, unix.SYS_RECVMSG,
		unix.SYS_OPENAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_READLINKAT, unix.SYS_GETDENTS64, unix.SYS_FSTATFS,
		unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT,
		unix.SYS_FSYNC, unix.SYS_SYNCFS, unix.SYS_LLISTXATTR, unix.SYS_LGETXATTR,
		unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_UMOUNT2,
	)...)
	for _, command := range []uint32{unix.FS_IOC_ADD_ENCRYPTION_KEY, unix.FS_IOC_REMOVE_ENCRYPTION_KEY, unix.FS_IOC_SET_ENCRYPTION_POLICY, unix.FS_IOC_GET_ENCRYPTION_POLICY_EX} {
		rules = append(rules, seccomp.If(unix.SYS_IOCTL, 1, ^uint32(0), command))
	}
	return rules
}
