package seccomp

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// profile are the calls that unmodified programs in containers have: what container
// run-times allow by default, without what a room never has. Not here are key rings, bpf,
// perf events, userfaultfd, io_uring, mounts, tracing and reading of other processes, namespaces,
// kernel modules and kexec, clocks and host names, swap, quotas, accounting, the kernel's log,
// file handles, ports and segments of old processors. Some names exist on one architecture only.
const profile = `
accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chroot
clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3
epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit
exit_group faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl
fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue
futex_wait futex_waitv futex_wake futimesat get_mempolicy get_robust_list getcpu getcwd getdents getdents64 getegid
geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr getxattrat
inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents
io_setup io_submit ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
lchown lgetxattr link linkat listen listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise
map_shadow_stack mbind membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall
mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget
msgrcv msgsnd msync munlock munlockall munmap nanosleep newfstatat open openat openat2 pause pidfd_open
pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64
process_mrelease pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg
remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select
semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto set_mempolicy set_mempolicy_home_node
set_robust_list set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid
setresuid setreuid setrlimit setsid setsockopt setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown
sigaltstack signalfd signalfd4 splice stat statfs statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo
tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat utimes vfork vmsplice wait4 waitid
write writev`

// conditional are the calls of the profile that are allowed in part.
const conditional = "clone ioctl personality socket socketpair"

// namespaces are the flags of clone(2) that make any.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// conditions gives the rules of the calls that are allowed in part.
func conditions() map[string][]Rule {
	exactly := func(call uintptr, argument int, values ...uint32) (rules []Rule) {
		for _, v := range values {
			rules = append(rules, If(call, argument, ^uint32(0), v))
		}
		return rules
	}
	sockets := exactly(unix.SYS_SOCKET, 0, unix.AF_UNIX)
	for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
		for _, kind := range []uint32{unix.SOCK_STREAM, unix.SOCK_DGRAM} { // none that reads or writes raw packets
			sockets = append(sockets, Rule{Call: unix.SYS_SOCKET, When: []Condition{{Argument: 0, Mask: ^uint32(0), Value: family}, {Argument: 1, Mask: 0xf, Value: kind}}})
		}
	}
	sockets = append(sockets, Rule{Call: unix.SYS_SOCKET, When: []Condition{{Argument: 0, Mask: ^uint32(0), Value: unix.AF_NETLINK}, {Argument: 2, Mask: ^uint32(0), Value: unix.NETLINK_ROUTE}}})
	// C libraries and PAM take this error as the word that a kernel has no such thing.
	sockets = append(sockets, Rule{Call: unix.SYS_SOCKET, Fail: unix.EAFNOSUPPORT})
	var ioctl Rule
	ioctl.Call = unix.SYS_IOCTL
	// What types into a terminal, and what changes the keys of encrypted directories.
	for _, command := range []uint32{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD, unix.FS_IOC_ADD_ENCRYPTION_KEY, unix.FS_IOC_REMOVE_ENCRYPTION_KEY, unix.FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS, unix.FS_IOC_SET_ENCRYPTION_POLICY} {
		ioctl.When = append(ioctl.When, Condition{Argument: 1, Mask: ^uint32(0), Value: command, Not: true})
	}
	return map[string][]Rule{
		"clone":       {If(unix.SYS_CLONE, 0, namespaces, 0)},
		"ioctl":       {ioctl},
		"personality": exactly(unix.SYS_PERSONALITY, 0, 0, 0x8, 0x20000, 0x20008, 0xffffffff),
		"socket":      sockets,
		"socketpair":  exactly(unix.SYS_SOCKETPAIR, 0, unix.AF_UNIX),
	}
}

// Profile is the profile "default" without the calls denied, which are names of it: one that
// it does not have is an error, as it would be somebody's mistake.
func Profile(deny []string) (Filter, error) {
	names := append(strings.Fields(conditional), strings.Fields(profile)...)
	for _, name := range deny {
		if !slices.Contains(names, name) {
			return Filter{}, fmt.Errorf("the seccomp profile default has no system call %q", name)
		}
	}
	var f Filter
	known, partly := numbers(), conditions()
	for _, name := range names {
		number, here := known[name]
		switch {
		case !here || slices.Contains(deny, name): // or a call of another architecture
		case partly[name] != nil:
			f.Rules = append(f.Rules, partly[name]...)
		default:
			f.Rules = append(f.Rules, Rule{Call: number})
		}
	}
	for _, number := range known {
		f.Known = max(f.Known, number)
	}
	return f, nil
}
