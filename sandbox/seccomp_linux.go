package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rule allows a system call, always or if one argument, masked, has one value.
type rule struct {
	call  uintptr
	arg   int // -1: whatever the arguments
	mask  uint32
	value uint32
}

func always(calls ...uintptr) []rule {
	rules := make([]rule, len(calls))
	for i, c := range calls {
		rules[i] = rule{call: c, arg: -1}
	}
	return rules
}

// Clone may make threads and nothing else.
const (
	threadFlags = unix.CLONE_THREAD | unix.CLONE_VM | unix.CLONE_SIGHAND
	newFlags    = allNamespaces | unix.CLONE_NEWCGROUP | unix.CLONE_PARENT | unix.CLONE_PTRACE | unix.CLONE_VFORK
)

// commonCalls are what any program with threads needs to compute and to talk over the
// descriptors it has.
func commonCalls() []rule {
	rules := always(
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
	rules = append(rules, always(archCalls...)...)
	return append(rules, rule{call: unix.SYS_CLONE, arg: 0, mask: threadFlags | newFlags, value: threadFlags})
}

// agentCalls adds what the agent needs besides: memory files, messages to its helpers, and
// waiting for them and killing them. It can open no file, make no socket and start nothing.
func agentCalls() []rule {
	return append(commonCalls(), always(
		unix.SYS_MEMFD_CREATE, unix.SYS_FTRUNCATE, unix.SYS_PWRITE64,
		unix.SYS_SENDMSG, unix.SYS_RECVMSG,
		unix.SYS_WAITID, unix.SYS_WAIT4, unix.SYS_PIDFD_SEND_SIGNAL,
	)...)
}

// helperCalls adds what a static program of C, C++ or Go needs to start, and reading files
// by name, of which there are none but its own descriptors under /proc/self/fd.
func helperCalls() []rule {
	rules := append(commonCalls(), always(
		unix.SYS_SET_TID_ADDRESS, unix.SYS_SYSINFO, unix.SYS_UNAME, unix.SYS_GETRUSAGE, unix.SYS_TIMES,
		unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_GETCPU,
		unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_GETPARAM, unix.SYS_SCHED_GETSCHEDULER,
		unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_READLINKAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
		unix.SYS_GETDENTS64, unix.SYS_GETCWD, unix.SYS_GETSOCKOPT, unix.SYS_FADVISE64, unix.SYS_FSTATFS, unix.SYS_PRLIMIT64,
	)...)
	rules = append(rules, always(archFileCalls...)...)
	return append(rules,
		rule{unix.SYS_OPENAT, 2, unix.O_ACCMODE | unix.O_CREAT | unix.O_TRUNC, unix.O_RDONLY},
		rule{unix.SYS_PRCTL, 0, ^uint32(0), unix.PR_SET_NAME},
		rule{unix.SYS_PRCTL, 0, ^uint32(0), unix.PR_SET_DUMPABLE},
		rule{unix.SYS_PRCTL, 0, ^uint32(0), unix.PR_SET_VMA},
		// The helper itself is executed from this descriptor, which close-on-exec then frees; the
		// limit on descriptors keeps anything else from standing there, and nothing else that the
		// process can name is executable.
		rule{unix.SYS_EXECVEAT, 0, ^uint32(0), helperFD},
	)
}

// program compiles rules to a filter: another architecture's calls kill the process, a call
// without a rule fails with EPERM. clone3, whose flags a filter can't see, fails with ENOSYS,
// which C libraries take as the word to use clone.
func program(rules []rule) []unix.SockFilter {
	const nr, arch = 0, 4 // offsets in struct seccomp_data; arguments follow at 16
	ret := func(v uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v} }
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	p := []unix.SockFilter{
		load(arch), jump(unix.BPF_JEQ, auditArch, 1, 0), ret(unix.SECCOMP_RET_KILL_PROCESS),
		load(nr), jump(unix.BPF_JGE, 0x40000000, 0, 1), ret(unix.SECCOMP_RET_KILL_PROCESS), // x32 calls
		jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), ret(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)),
	}
	for _, r := range rules {
		if r.arg < 0 {
			p = append(p, jump(unix.BPF_JEQ, uint32(r.call), 0, 1), ret(unix.SECCOMP_RET_ALLOW))
			continue
		}
		// Low halves only: the kernel reads these arguments as 32 bits.
		p = append(p, jump(unix.BPF_JEQ, uint32(r.call), 0, 5), load(uint32(16+8*r.arg)),
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: r.mask},
			jump(unix.BPF_JEQ, r.value, 0, 1), ret(unix.SECCOMP_RET_ALLOW), load(nr))
	}
	return append(p, ret(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)))
}

// install puts a filter on the process: on every thread, or on this one alone.
func install(rules []rule, everyThread bool) error {
	filter := program(rules)
	fprog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	var flags uintptr
	if everyThread {
		flags = unix.SECCOMP_FILTER_FLAG_TSYNC
	}
	id, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return errno
	}
	if id != 0 {
		return fmt.Errorf("thread %d could not be given the filter", id)
	}
	return nil
}
