package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"strongroom.dev/wire"
)

// The first argument tells a program that starts itself again what it is to be. None of them
// is believed: each stage looks for itself what it is inside of.
const (
	argInside  = "sandbox-inside"
	argHelper  = "sandbox-helper"
	argProbe   = "sandbox-probe"
	argCell    = "sandbox-cell"
	argWork    = "sandbox-work"
	argJanitor = "sandbox-janitor"
	argHold    = "sandbox-hold"
	argKeeper  = "sandbox-keeper"
)

// Main runs a program that shuts itself in. main calls it first thing, on its first
// goroutine. Started from outside, the program starts itself again inside new namespaces,
// handing on every descriptor from 3 up that is not close-on-exec, waits and exits with the
// same code. Inside, Main sets up an empty root and returns. Other stages never return.
//
// helpers and cells are how many children are made ready, see [Inside.Start] and
// [Inside.StartCell]: they must be made before the program gives up the right to make them.
// With cells, directories among the descriptors that are handed on become detached mounts.
// task is what the keeper does, see [Inside.Keep]; none: there is none.
func Main(helpers, cells int, task ...Task) (*Inside, error) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case argProbe:
			os.Exit(0)
		case argHelper:
			os.Exit(helperMain())
		case argCell:
			os.Exit(cellMain())
		case argWork:
			os.Exit(workMain())
		case argJanitor:
			os.Exit(janitorMain())
		case argHold:
			os.Exit(holdMain())
		case argKeeper:
			os.Exit(keeperMain(task))
		case argInside:
			return inside(helpers, cells, len(task) > 0)
		}
	}
	code, err := outside(cells)
	if err != nil {
		return nil, err
	}
	os.Exit(code)
	return nil, nil
}

// outside starts the program again inside and waits for it. It holds no key and reads no
// input; when it is killed, the kernel kills what is inside.
func outside(cells int) (int, error) {
	// The death signal is tied to the thread that started the child.
	runtime.LockOSThread()
	if cells > 0 {
		detachDirectories()
	}
	files, err := inherited()
	if err != nil {
		return 1, err
	}
	if err := keepDescriptors(); err != nil {
		return 1, err
	}
	groups := makeGroups(cells)
	if len(groups) > 0 {
		janitor, err := startJanitor(groups)
		if err != nil {
			removeGroups(groups)
			return 1, err
		}
		defer janitor.Close()
	}
	cmd, err := startInside(files, groups, cells > 0)
	if err != nil {
		return 1, fmt.Errorf("starting inside new namespaces: %w", err)
	}
	// How the process inside ends is told by an exit code: what this one could print later might
	// depend on data.
	if err := discard(); err != nil {
		return 1, errors.Join(err, cmd.Process.Kill())
	}
	// What only waits needs nothing; a layer denied here is denied, and reported, inside too.
	lockProcess(Limits{}, agentCalls())
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, fmt.Errorf("the process inside ended: %s", cmd.ProcessState)
}

// startInside starts the program inside, with the descriptors and groups handed on, which are
// closed here. The ids of cells come from root, or from what root granted an ordinary user.
func startInside(files []*os.File, groups []group, cells bool) (*exec.Cmd, error) {
	handed := slices.Clone(files)
	for _, g := range groups {
		handed = append(handed, g.files[:]...)
	}
	defer closeAll(handed)
	flags := availableNamespaces()
	command := func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", argInside, strconv.FormatUint(uint64(flags), 16), strconv.Itoa(len(files)), strconv.Itoa(len(groups)))
		cmd.Args[0] = os.Args[0]
		cmd.Env = []string{}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // and /dev/null as standard input
		cmd.ExtraFiles = slices.Clone(handed)
		return cmd
	}
	if g, found := granted(); cells && found && flags&unix.CLONE_NEWUSER != 0 {
		if cmd := command(); startGranted(cmd, flags, g) == nil {
			return cmd, nil
		} // else without, which is said
	}
	cmd := command()
	cmd.SysProcAttr = attributes(flags)
	if cells && flags&unix.CLONE_NEWUSER != 0 && mapsMany() {
		ids := rangeMap(nobodyID, hostIDs)
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids, ids
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return cmd, cmd.Start()
}

// discard sends standard output and error to nowhere.
func discard() error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	return nil
}

// inherited gives the descriptors from 3 up that were handed to the program: those without
// close-on-exec, which the run-time sets on all of its own.
func inherited() ([]*os.File, error) {
	var files []*os.File
	for fd := 3; fd < MaxFiles; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return files, nil
		}
		files = append(files, os.NewFile(uintptr(fd), fmt.Sprintf("fd %d", fd)))
	}
	return nil, fmt.Errorf("more than %d descriptors were handed over", MaxFiles-3)
}

// keepDescriptors marks every descriptor from 3 up close-on-exec, so that a program started
// from here gets those it is handed and no other: not the evidence device, not a sealed
// file, and nothing that whoever started us had open.
func keepDescriptors() error {
	err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	if err != unix.ENOSYS && err != unix.EINVAL { // kernels before 5.11
		return fmt.Errorf("keeping descriptors: %w", err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("keeping descriptors: %w", err)
	}
	for fd := uintptr(3); uint64(fd) < limit.Cur; fd++ {
		if _, err := unix.FcntlInt(fd, unix.F_SETFD, unix.FD_CLOEXEC); err != nil && err != unix.EBADF {
			return fmt.Errorf("keeping descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// allNamespaces are the namespaces of every stage. Those of IPC and host name have no name
// of their own in agreements: without sockets and shared memory calls nothing reaches them.
const allNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// availableNamespaces gives the flags that the kernel allows this process, trying them all
// at once first and one by one only if that fails.
func availableNamespaces() uintptr {
	if probe(allNamespaces) == nil {
		return allNamespaces
	}
	var base uintptr
	if probe(unix.CLONE_NEWUSER) == nil {
		base = unix.CLONE_NEWUSER
	}
	flags := base
	for _, flag := range []uintptr{unix.CLONE_NEWNS, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWUTS} {
		if probe(base|flag) == nil {
			flags |= flag
		}
	}
	return flags
}

func probe(flags uintptr) error {
	cmd := exec.Command("/proc/self/exe", argProbe)
	cmd.Env = []string{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr // inside there is no /dev/null to open
	cmd.SysProcAttr = attributes(flags)
	return cmd.Run()
}

// attributes says how a process is started in new namespaces. In a new user namespace it is
// user 0 of it, and outside nobody, or whoever started it if that can't be chosen.
func attributes(flags uintptr) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: flags}
	if flags&unix.CLONE_NEWUSER == 0 {
		return attr
	}
	uid, gid, root := os.Geteuid(), os.Getegid(), mapsMany()
	if root {
		uid, gid = nobodyID, nobodyID
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	attr.GidMappingsEnableSetgroups = root
	attr.Credential = &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: !root}
	return attr
}

// mapsMany reports whether this is root of a namespace with users to choose from.
func mapsMany() bool {
	if os.Geteuid() != 0 {
		return false
	}
	return everyID(extents("/proc/self/uid_map"))
}

func everyID(e [][3]int) bool { return len(e) == 1 && e[0][0] == 0 && e[0][2] == 1<<32-1 }

// observe says which namespaces the process does not have, by what it was started with and
// by looking: an argument alone is nobody's proof.
func observe(flags uintptr) []Lack {
	var lacks []Lack
	lack := func(layer wire.ID, flag uintptr, seen bool, reason string) {
		if flags&flag == 0 {
			lacks = append(lacks, Lack{layer, "the kernel makes none"})
		} else if !seen {
			lacks = append(lacks, Lack{layer, reason})
		}
	}
	ids := extents("/proc/self/uid_map")
	lack(UserNamespace, unix.CLONE_NEWUSER, len(ids) > 0 && !everyID(ids), "user ids are the machine's own")
	lack(PIDNamespace, unix.CLONE_NEWPID, os.Getpid() == 1, "other processes can be seen")
	data, err := os.ReadFile("/proc/self/net/dev")
	lack(NetworkNamespace, unix.CLONE_NEWNET, err == nil && onlyLoopback(string(data)), "there are network interfaces")
	return lacks
}

// onlyLoopback reads /proc/net/dev: two lines of titles, then one for each interface.
func onlyLoopback(dev string) bool {
	for line := range strings.Lines(dev) {
		name, _, found := strings.Cut(strings.TrimSpace(line), ":")
		if found && name != "lo" {
			return false
		}
	}
	return true
}

// enclose puts the process's own root up if it has a mount namespace of its own, and says
// which layers are missing. The argument is what the process was started with, in hex; last
// that it will start no other, devices that what it starts needs /dev.
func enclose(argument string, last, devices bool) []Lack {
	n, err := strconv.ParseUint(argument, 16, 32)
	if err != nil {
		n = 0
	}
	lacks := observe(uintptr(n))
	if n&unix.CLONE_NEWNS == 0 { // its mounts would be everyone's
		return append(lacks, Lack{MountNamespace, "the kernel makes none"})
	}
	if err := emptyRoot(last, devices); err != nil {
		lacks = append(lacks, Lack{MountNamespace, err.Error()})
	}
	return lacks
}

// inside is the program proper: it has an empty root, readies its helpers and cells, and then
// gives up the right to make any.
func inside(helpers, cells int, keeper bool) (*Inside, error) {
	if err := takeGranted(); err != nil {
		return nil, err
	}
	if cells > 0 {
		detachDirectories() // those that outside had no right to
	}
	in := &Inside{Lacks: enclose(argument(2), false, cells > 0)}
	// Death of the stage outside must end this one even where an earlier layer is missing.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return nil, err
	}
	if err := keepDescriptors(); err != nil {
		return nil, err
	}
	if err := in.ready(helpers); err != nil {
		return nil, err
	}
	in.prepareCells(cells, handedGroups())
	if keeper {
		in.prepareKeeper()
	}
	lacks, err := lockProcess(Limits{Memory: agentMemory, CPUSeconds: agentCPU, Files: MaxFiles}, agentCalls())
	if err != nil {
		return nil, err
	}
	in.Lacks = append(in.Lacks, lacks...)
	return in, nil
}

func argument(i int) string {
	if i >= len(os.Args) {
		return ""
	}
	return os.Args[i]
}

// What the agent itself may use: it holds documents, 64 KiB pieces of data and a result of
// at most 1 GiB in a few forms; inputs lie in memory files, which don't count. A serving
// agent may run for years.
const (
	agentMemory = 8 << 30
	agentCPU    = 10 * 365 * 24 * 60 * 60
)
