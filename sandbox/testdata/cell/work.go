package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// work is the workload.
func work(mode string, args []string) {
	modes := map[string]func([]string){
		"hello": func([]string) { hello() }, "try": func([]string) { tell(attempts()) }, "setuid": func([]string) { fmt.Print(whoAmI()) },
		"x32":   func([]string) { unix.RawSyscall(0x40000000+unix.SYS_GETPID, 0, 0, 0) },
		"serve": serve, "wait": waitForSignal, "call": call, "bomb": func([]string) { bomb() }, "memory": func([]string) { fill() },
		"shared": func([]string) { fillFiles() }, "result": func([]string) { result() }, "count": func([]string) { count() }, "orphans": func([]string) { orphans() },
		"volume": func([]string) { volume() }, "sleep": func([]string) { time.Sleep(time.Hour) }, "files": func([]string) { files() },
	}
	run, found := modes[mode]
	if !found { // of a script: its path
		fmt.Println("script", mode, args)
		return
	}
	run(args)
}

func tell(v any) { json.NewEncoder(os.Stdout).Encode(v) }

func hello() {
	var st unix.Stat_t
	unix.Stat("/etc/secret", &st)
	host, _ := os.Hostname()
	groups, _ := os.Getgroups()
	fmt.Printf("uid %d gid %d groups %v secret %d:%d host %s env %q\n", os.Getuid(), os.Getgid(), groups, st.Uid, st.Gid, host, os.Environ())
	var fds []int
	for fd := 3; fd < 1024; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, fd)
		}
	}
	in, _ := io.ReadAll(os.Stdin)
	var core unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_CORE, &core)
	fmt.Printf("inherited %v stdin %d core %d directory %s\n", fds, len(in), core.Max, must(os.Getwd()))
	sid, _ := unix.Getsid(0)
	fmt.Printf("session %v signals %s open %v read-only %v\n", sid == os.Getpid(), status("SigBlk", "SigIgn"), openOutput(), readOnly())
	fmt.Printf("passwd %d %o bin %d link %s\n", stat("/etc/passwd").Mtim.Sec, stat("/etc/passwd").Mode&0o7777, stat("/bin").Mtim.Sec, must(os.Readlink("/etc/link")))
	fmt.Printf("setuid %o same %v %s\n", stat("/bin/setuid").Mode&0o7777, stat("/bin/setuid").Ino == stat("/bin/probe").Ino, capabilities())
	fmt.Printf("hosts %q hostname %q\n", must(os.ReadFile("/etc/hosts")), must(os.ReadFile("/etc/hostname")))
	out, err := exec.Command("/bin/script", "more").CombinedOutput()
	fmt.Printf("%s%v\n", out, err)
	os.Exit(3)
}

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Println(err)
	}
	return v
}

func stat(path string) (st unix.Stat_t) {
	if err := unix.Lstat(path, &st); err != nil {
		fmt.Println(path, err)
	}
	return st
}

func capabilities() string { return status("Cap", "NoNewPrivs", "Seccomp") }

// status gives the lines of this thread's status that begin with one of the words.
func status(words ...string) string {
	data, _ := os.ReadFile("/proc/thread-self/status")
	var lines []string
	for line := range strings.Lines(string(data)) {
		if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(line, w) }) {
			lines = append(lines, strings.Join(strings.Fields(line), ""))
		}
	}
	return strings.Join(lines, " ")
}

// openOutput opens standard output by name, as servers do that log to it.
func openOutput() error {
	f, err := os.OpenFile("/dev/stdout", os.O_WRONLY, 0)
	if err == nil {
		f.Close()
	}
	return err
}

func readOnly() (list []string) {
	for _, path := range []string{"/", "/dev", "/etc/hosts", "/proc", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/tmp"} {
		var st unix.Statfs_t
		if unix.Statfs(path, &st) == nil && st.Flags&unix.ST_RDONLY != 0 {
			list = append(list, path)
		}
	}
	return list
}

func whoAmI() string { return status("Uid", "Gid", "Cap", "NoNewPrivs") }

func descriptors() error {
	for fd := range 64 {
		if _, err := os.Readlink(fmt.Sprint("/proc/1/fd/", fd)); err == nil {
			return nil
		}
	}
	return errors.New("none")
}

func number(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func raw(trap uintptr, args ...uintptr) func() error {
	args = append(args, 0, 0, 0, 0, 0, 0)
	return func() error {
		_, _, errno := unix.RawSyscall6(trap, args[0], args[1], args[2], args[3], args[4], args[5])
		return number(errno)
	}
}

func socket(family, kind, protocol int) func() error {
	return func() error { _, err := unix.Socket(family, kind, protocol); return err }
}

func write(path string) func() error {
	return func() error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
		if err == nil {
			_, err = f.WriteString("x")
		}
		return err
	}
}

func read(path string) func() error {
	return func() error {
		data, err := os.ReadFile(path)
		if err == nil && len(data) == 0 {
			return errors.New("empty")
		}
		return err
	}
}

// attempts tries what nothing in a cell may do, whoever its user is; the name of what did
// not fail has an empty text.
func attempts() map[string]string {
	got := map[string]string{}
	try := func(name string, f func() error) {
		got[name] = ""
		if err := f(); err != nil {
			got[name] = err.Error()
		}
	}
	for name, f := range calls() {
		try(name, f)
	}
	for _, path := range []string{"/x", "/bin/x", "/bin/probe", "/etc/passwd", "/etc/hosts", "/dev/x", "/dev/shm/../x", "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward", "/proc/1/oom_adj/x"} {
		try("write "+path, write(path))
	}
	for _, path := range []string{"/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/stack", "/proc/kcore", "/proc/keys", "/proc/kallsyms", "/proc/kmsg", "/proc/timer_list", "/sys/kernel", "/proc/1/root/etc/passwd", "/proc/1/cwd/etc/passwd"} {
		try("read "+path, read(path))
	}
	for _, path := range []string{"/proc/1/exe", "/proc/1/cwd", "/proc/1/ns/user", "/proc/1/ns/mnt"} {
		try("readlink "+path, func() error { _, err := os.Readlink(path); return err })
	}
	try("open the first process's descriptors", descriptors)
	try("gain by a set-user-ID program", func() error {
		out, err := exec.Command("/bin/setuid", "work", "setuid").Output()
		if err == nil && string(out) == whoAmI() {
			return errors.New("the same rights")
		}
		return err
	})
	try("see others", others)
	try("execute from memory", func() error {
		data, err := os.ReadFile("/bin/probe")
		if err == nil {
			err = os.WriteFile("/tmp/probe", data, 0o755)
		}
		if err != nil {
			return err
		}
		return exec.Command("/tmp/probe", "work", "setuid").Run()
	})
	for name, device := range map[string]int{"null": 1<<8 | 3, "mem": 1<<8 | 1, "disk": 254 << 8} {
		for kind, mode := range map[string]uint32{"character": unix.S_IFCHR, "block": unix.S_IFBLK} {
			try("make "+kind+" device "+name, func() error { return unix.Mknod("/tmp/"+kind+name, mode|0o666, device) })
		}
	}
	try("x32", func() error { return exec.Command("/proc/self/exe", "work", "x32").Run() })
	try("raise descriptors", func() error { return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4096, Max: 4096}) })
	try("raise processes", func() error { return unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}) })
	try("raise core", func() error { return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}) })
	try("take a capability", func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		return unix.Capset(&header, &[]unix.CapUserData{{Permitted: 1 << unix.CAP_SYS_ADMIN, Effective: 1 << unix.CAP_SYS_ADMIN}, {}}[0])
	})
	try("type into a terminal", typeInto)
	for _, s := range []syscall.Signal{unix.SIGTERM, unix.SIGKILL, unix.SIGSEGV, unix.SIGABRT, unix.SIGSTOP, 40} {
		unix.Kill(1, s) // allowed perhaps, and of no effect: the answer of this program comes
	}
	return got
}

func calls() map[string]func() error {
	zero, _ := unix.BytePtrFromString("none")
	text := uintptr(unsafe.Pointer(zero))
	self, _ := unix.Open("/proc/self/ns/user", unix.O_RDONLY, 0)
	return map[string]func() error{
		"mount":     func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") },
		"remount":   func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
		"unmount":   func() error { return unix.Unmount("/etc/hosts", unix.MNT_DETACH) },
		"fsopen":    func() error { _, err := unix.Fsopen("tmpfs", 0); return err },
		"open_tree": func() error { _, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE); return err },
		"mount_setattr": func() error {
			return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
		},
		"pivot_root":          func() error { return unix.PivotRoot("/tmp", "/tmp") },
		"setns":               func() error { return unix.Setns(self, 0) },
		"new user namespace":  func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"new mount namespace": func() error { return unix.Unshare(unix.CLONE_NEWNS) },
		"clone a namespace":   raw(unix.SYS_CLONE, uintptr(unix.SIGCHLD)|unix.CLONE_NEWUSER|unix.CLONE_NEWNET),
		"clone3":              raw(unix.SYS_CLONE3),
		"trace":               raw(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1),
		"be traced":           raw(unix.SYS_PTRACE, unix.PTRACE_TRACEME),
		"read memory": func() error {
			_, err := unix.ProcessVMReadv(1, []unix.Iovec{{}}, []unix.RemoteIovec{{}}, 0)
			return err
		},
		"take a descriptor": func() error { _, err := unix.PidfdGetfd(0, 0, 0); return err },
		"compare":           raw(unix.SYS_KCMP, 1, 1, 0),
		"keyring":           func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true); return err },
		"add a key": func() error {
			_, err := unix.AddKey("user", "x", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
			return err
		},
		"request a key": func() error { _, err := unix.RequestKey("user", "x", "", unix.KEY_SPEC_PROCESS_KEYRING); return err },
		"bpf":           raw(unix.SYS_BPF), "perf events": raw(unix.SYS_PERF_EVENT_OPEN, text), "userfaultfd": raw(unix.SYS_USERFAULTFD),
		"io_uring": raw(unix.SYS_IO_URING_SETUP, 1, text), "kexec": raw(unix.SYS_KEXEC_LOAD), "module": raw(unix.SYS_INIT_MODULE, text, 1, text),
		"module by descriptor": raw(unix.SYS_FINIT_MODULE, 0, text), "unload": raw(unix.SYS_DELETE_MODULE, text), "reboot": raw(unix.SYS_REBOOT),
		"swap": raw(unix.SYS_SWAPON, text), "accounting": raw(unix.SYS_ACCT), "quota": raw(unix.SYS_QUOTACTL), "kernel log": raw(unix.SYS_SYSLOG, 3, text, 4),
		"host name": func() error { return unix.Sethostname([]byte("x")) }, "clock": raw(unix.SYS_CLOCK_SETTIME, 0, text), "personality": raw(unix.SYS_PERSONALITY, 0x40000),
		"file handle": raw(unix.SYS_NAME_TO_HANDLE_AT, 0, text), "open a handle": raw(unix.SYS_OPEN_BY_HANDLE_AT, 0, text), "unknown call": raw(5000),
		"raw socket": socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP), "raw socket 6": socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6),
		"packet socket": socket(unix.AF_PACKET, unix.SOCK_RAW, 0), "vsock": socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0), "crypto socket": socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0),
		"netfilter": socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER), "audit": socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT), "generic netlink": socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC),
	}
}

// others looks for processes besides the first and this one.
func others() error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if name := e.Name(); name[0] >= '0' && name[0] <= '9' && name != "1" && name != fmt.Sprint(os.Getpid()) {
			return nil
		}
	}
	return errors.New("none")
}

func typeInto() error {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil // there are terminals: it is an error not to have one
	}
	if _, err := unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
		return nil
	}
	c := byte('x')
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSTI, uintptr(unsafe.Pointer(&c)))
	return number(errno)
}

// serve echoes on a port of 127.0.0.1, until a connection says "end".
func serve(args []string) {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		data, _ := io.ReadAll(c)
		if string(data) == "end" {
			os.Exit(4)
		}
		c.Write(append([]byte("echo "), data...))
		c.Close()
	}
}

func waitForSignal([]string) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM)
	fmt.Println("ready")
	<-c
	os.Exit(5)
}

// call connects to an address that the agent listens on, and to some that nobody does.
func call(args []string) {
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Write([]byte("from inside"))
	c.(*net.TCPConn).CloseWrite()
	data, _ := io.ReadAll(c)
	fmt.Printf("%s\n", data)
	for _, addr := range []string{"8.8.8.8:53", "169.254.169.254:80", "10.0.0.1:22"} {
		_, err := net.DialTimeout("tcp", addr, time.Second)
		fmt.Println(errors.Is(err, unix.ENETUNREACH))
	}
}

// bomb starts processes until it can't, as two users if it may.
func bomb() {
	n := 0
	for range 2000 {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			break
		}
		if pid == 0 {
			unix.RawSyscall(unix.SYS_SETUID, uintptr(1000+n), 0, 0)
			for {
				unix.RawSyscall(unix.SYS_PPOLL, 0, 0, 0)
			}
		}
		n++
	}
	fmt.Println(n)
}

// fill takes memory until it is refused.
func fill() {
	n := 0
	for ; n < 1024; n++ {
		b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			break
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
	}
	fmt.Println(n)
}

// fillFiles takes memory by files in it, which no process owns.
func fillFiles() {
	n := 0
	for ; n < 512; n++ {
		if err := os.WriteFile(fmt.Sprint("/tmp/", n), make([]byte, 1<<20), 0o600); err != nil {
			break
		}
	}
	fmt.Println(n)
}

func result() {
	err := os.WriteFile("/result/result", []byte("the answer"), 0o600)
	os.Symlink("/etc/passwd", "/links/result")
	unix.Mkfifo("/pipes/result", 0o600)
	os.Mkdir("/directories/result", 0o700)
	fmt.Println(err)
}

// count counts its own starts in a mount.
func count() {
	data, _ := os.ReadFile("/tmp/count")
	data = append(data, '.')
	os.WriteFile("/tmp/count", data, 0o600)
	os.Exit(10 + len(data))
}

// orphans leaves a child behind that holds a port.
func orphans() {
	cmd := exec.Command("/proc/self/exe", "work", "serve", "127.0.0.1:99")
	out, _ := cmd.StdoutPipe()
	cmd.Start()
	out.Read(make([]byte, 9))
	os.Exit(6)
}

func volume() {
	data, err := os.ReadFile("/data/starts")
	fmt.Printf("%q %v %d:%d\n", data, errors.Is(err, os.ErrNotExist), stat("/data").Uid, stat("/data").Gid)
	fmt.Println(os.WriteFile("/data/starts", append(data, '.'), 0o600), os.WriteFile("/fixed/x", nil, 0o600))
	fmt.Println(must(os.ReadDir("/data/..")))
	_, err = os.ReadFile("/data/../beside")
	fmt.Println(err)
}

// files looks at mounted files and memory.
func files() {
	for _, path := range []string{"/run/secret", "/etc/app/key"} {
		st := stat(path)
		data, err := os.ReadFile(path)
		fmt.Printf("%q %v %o %d:%d %v\n", data, err, st.Mode&0o7777, st.Uid, st.Gid, os.WriteFile(path, nil, 0o600))
	}
	st := stat("/cache")
	fmt.Printf("%o %d:%d %v\n", st.Mode&0o7777, st.Uid, st.Gid, os.WriteFile("/cache/big", make([]byte, 2<<20), 0o600))
	os.Remove("/cache/big")
	fmt.Println(os.WriteFile("/cache/fits", make([]byte, 1<<19), 0o600), os.WriteFile("/fixed/x", nil, 0o600), exec.Command("/run/secret").Run())
}
