// Command probe shuts itself in as an agent does, or runs as an agent's helper, and then
// tries everything that it should not be able to do. It reports what happened as JSON on
// descriptor 3. The test of package sandbox builds it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox"
)

type report struct {
	Lacks    []sandbox.Lack
	Attempts map[string]string // name -> error, "" if it worked
	Helper   json.RawMessage
	Wait     string
	Said     string
	Extra    string
}

func main() {
	if os.Args[0] == "helper" {
		helper()
		return
	}
	if len(os.Args) > 2 && os.Args[1] == "deny" {
		deny(os.Args[2], append(os.Args[3:], "/proc/self/exe")[0])
	}
	in, err := sandbox.Main(2, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r := report{Lacks: in.Lacks, Attempts: attempts(true)}
	run(in, &r)
	in.Close()
	out, _ := json.Marshal(r)
	os.NewFile(3, "report").Write(out)
	os.Exit(7) // the test sees the code come through
}

// run executes this program again as a helper, with the mode that the test wrote to 5.
func run(in *sandbox.Inside, r *report) {
	mode, _ := io.ReadAll(os.NewFile(5, "mode"))
	fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err != nil {
		r.Wait = err.Error()
		return
	}
	input := os.NewFile(uintptr(fd), "input")
	input.WriteString("plain text")
	unix.FcntlInt(input.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	p, err := in.Start(sandbox.Command{
		Program: os.NewFile(4, "program"), Args: []string{"helper", string(mode)}, Files: []*os.File{input},
		Limits: sandbox.Limits{Memory: 256 << 20, CPUSeconds: 2, Files: 32, Threads: 64},
	})
	if err != nil {
		r.Wait = err.Error()
		return
	}
	if strings.HasPrefix(string(mode), "sleep") {
		time.Sleep(300 * time.Millisecond)
		p.Kill()
	}
	r.Helper, _ = io.ReadAll(p.Conn)
	if len(r.Helper) == 0 {
		r.Helper = nil
	}
	if err := p.Wait(); err != nil {
		r.Wait = err.Error()
	}
	r.Said = p.Said()
}

func helper() {
	var r report
	switch os.Args[1] {
	case "try":
		r.Attempts = attempts(true)
		if data, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", sandbox.FirstFile)); err != nil {
			r.Extra = err.Error()
		} else {
			r.Extra = string(data)
		}
	case "hello":
		r.Attempts = attempts(false)
	case "memory":
		var keep [][]byte
		for range 1024 {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			keep = append(keep, b)
		}
		r.Extra = fmt.Sprint(len(keep))
	case "cpu":
		for {
		}
	case "sleep":
		time.Sleep(time.Hour)
	case "threads":
		stop := make(chan bool)
		for range 200 {
			go func() { runtime.LockOSThread(); unix.Pause(); <-stop }()
			go func() { runtime.LockOSThread(); buf := make([]byte, 1); unix.Read(pipe(), buf); <-stop }()
		}
		time.Sleep(500 * time.Millisecond)
		r.Extra = "all started"
	case "crash":
		panic("a secret")
	}
	out, _ := json.Marshal(r)
	os.NewFile(3, "report").Write(out)
}

func pipe() int {
	var p [2]int
	unix.Pipe2(p[:], 0)
	return p[0]
}

// attempts tries everything; without executing, where a success would end the program.
// inherited lists the descriptors from 3 up that came with the execution: the run-time marks
// its own close-on-exec.
func inherited() (fds []int) {
	for fd := 3; fd < 1024; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}

func attempts(executing bool) map[string]string {
	got := map[string]string{}
	try := func(name string, f func() error) {
		if strings.HasPrefix(name, "execute") && !executing {
			return
		}
		err := f()
		got[name] = ""
		if err != nil {
			got[name] = err.Error()
		}
	}
	open := func(path string, flags int) func() error {
		return func() error { _, err := unix.Open(path, flags, 0o600); return err }
	}
	try("open /etc/passwd", open("/etc/passwd", unix.O_RDONLY))
	try("open /proc/self/status", open("/proc/self/status", unix.O_RDONLY))
	try("open /proc/self/mem", open("/proc/self/mem", unix.O_RDWR))
	try("list /", open("/", unix.O_RDONLY|unix.O_DIRECTORY))
	try("create /x", open("/x", unix.O_CREAT|unix.O_WRONLY))
	try("create /root/x", open("/root/x", unix.O_CREAT|unix.O_WRONLY))
	try("create /tmp/x", open("/tmp/x", unix.O_CREAT|unix.O_WRONLY))
	try("mkdir /x", func() error { return unix.Mkdir("/x", 0o700) })
	try("unnamed file", open("/", unix.O_TMPFILE|unix.O_RDWR))
	for name, family := range map[string]int{"inet": unix.AF_INET, "inet6": unix.AF_INET6, "unix": unix.AF_UNIX, "netlink": unix.AF_NETLINK, "packet": unix.AF_PACKET, "vsock": unix.AF_VSOCK} {
		try("socket "+name, func() error { _, err := unix.Socket(family, unix.SOCK_DGRAM, 0); return err })
	}
	try("see other processes", func() error { return other() })
	try("signal others", func() error { return unix.Kill(-1, 0) })
	try("ptrace", func() error {
		_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1, 0, 0, 0, 0)
		return number(errno)
	})
	try("read another's memory", func() error {
		_, err := unix.ProcessVMReadv(1, []unix.Iovec{{}}, []unix.RemoteIovec{{}}, 0)
		return err
	})
	try("execute itself", func() error { return unix.Exec("/proc/self/exe", []string{"x"}, nil) })
	try("execute a memory file", execMemory)
	try("execute an input", func() error {
		return execAt(sandbox.FirstFile, "", unix.AT_EMPTY_PATH)
	})
	try("execute by the helper's descriptor", func() error { return execAt(900, "", unix.AT_EMPTY_PATH) })
	try("execute an input by the helper's descriptor", func() error {
		return execAt(900, fmt.Sprintf("/proc/self/fd/%d", sandbox.FirstFile), 0)
	})
	try("stand at the helper's descriptor", func() error { return unix.Dup3(3, 900, 0) })
	try("raise the limit of descriptors", func() error {
		return unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 1024}, nil)
	})
	try("fork", func() error {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno == 0 && pid == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		return number(errno)
	})
	try("clone3", func() error {
		_, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
		return number(errno)
	})
	try("new user namespace", func() error { return unix.Unshare(unix.CLONE_NEWUSER) })
	try("mount", func() error { return unix.Mount("none", "/root", "tmpfs", 0, "") })
	try("remount", func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") })
	try("chroot", func() error { return unix.Chroot("/") })
	try("bpf", func() error { _, _, e := unix.RawSyscall(unix.SYS_BPF, 0, 0, 0); return number(e) })
	try("keyring", func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true); return err })
	try("io_uring", func() error { _, _, e := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); return number(e) })
	try("shared memory", func() error { _, err := unix.SysvShmGet(0, 4096, 0o1600); return err })
	try("host name", func() error { return unix.Sethostname([]byte("x")) })
	try("set user", func() error { _, _, e := unix.RawSyscall(unix.SYS_SETUID, 1, 0, 0); return number(e) })
	try("change the personality", func() error { _, _, e := unix.RawSyscall(unix.SYS_PERSONALITY, 0x40000, 0, 0); return number(e) })
	core, data, privileges, dumpable := unix.Rlimit{}, unix.Rlimit{}, 0, 0
	unix.Getrlimit(unix.RLIMIT_CORE, &core)
	unix.Getrlimit(unix.RLIMIT_DATA, &data)
	privileges, _ = unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	dumpable, _ = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	got["facts"] = fmt.Sprintf("pid %d uid %d core %d data %d privileges %d dumpable %d inherited %v", os.Getpid(), os.Getuid(), core.Max, data.Max, privileges, dumpable, inherited())
	return got
}

func number(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// other looks for a process that is not this one; its own threads have names there too.
func other() error {
	var st unix.Stat_t
	for pid := 1; pid < 70_000; pid++ {
		if unix.Lstat(fmt.Sprintf("/proc/%d", pid), &st) == nil && unix.Lstat(fmt.Sprintf("/proc/self/task/%d", pid), &st) != nil {
			return nil
		}
	}
	return errors.New("none")
}

// deny takes one system call away and starts a program, as an old or strict kernel would.
func deny(name, path string) {
	number := map[string]uint32{"landlock": unix.SYS_LANDLOCK_CREATE_RULESET, "seccomp": unix.SYS_SECCOMP}[name]
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	fmt.Fprintln(os.Stderr, unix.Exec(path, []string{"probe"}, nil))
	os.Exit(1)
}

func execMemory() error {
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte("#!/proc/self/exe\n")); err != nil {
		return err
	}
	return execAt(fd, "", unix.AT_EMPTY_PATH)
}

func execAt(fd int, path string, flags int) error {
	p, _ := unix.BytePtrFromString(path)
	argv := []*byte{p, nil}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&argv[1])), uintptr(flags), 0)
	return number(errno)
}
