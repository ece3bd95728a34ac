package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The ids of a room's cells on the machine: those that nobody uses for anything else (systemd
// leaves them free). They are the same for every room, so that what one writes into a kept
// volume has the same owners in the next. The cell's user 0 is the agent's.
const (
	idRange  = 1 << 16
	hostIDs  = 0x70000000
	nobodyID = 65534
)

// rangeMap maps users 0 to 65535 to what they are one level further out: first and the rest
// apart, as they are on the machine.
func rangeMap(first, rest int) []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: first, Size: 1}, {ContainerID: 1, HostID: rest, Size: idRange - 1}}
}

// extents is what /proc/self/uid_map or gid_map says: for each extent its first id inside,
// its first id outside and its length.
func extents(file string) (list [][3]int) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		var e [3]int
		if n, err := fmt.Sscan(line, &e[0], &e[1], &e[2]); n != 3 || err != nil {
			return nil
		}
		list = append(list, e)
	}
	return list
}

// hasRange reports whether users and groups 0 to 65535 exist here as rangeMap makes them.
func hasRange() bool {
	for _, file := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		e := extents(file)
		if len(e) != 2 || e[0][0] != 0 || e[0][2] != 1 || e[1][0] != 1 || e[1][2] != idRange-1 {
			return false
		}
	}
	return true
}

// grant is what an ordinary user may give to user namespaces of its own: ranges of users and
// groups that the machine's root set aside for it (subuid(5)), by the programs that root
// installed for that (newuidmap(1)).
type grant struct {
	uid, gid, firstUID, firstGID int
}

// granted finds this user's ranges, if they suffice for cells.
func granted() (grant, bool) {
	g := grant{uid: os.Getuid(), gid: os.Getgid()}
	for _, program := range grantPrograms() {
		if _, err := os.Stat(program); err != nil {
			return grant{}, false
		}
	}
	var uids, gids bool
	names := userNames(g.uid)
	g.firstUID, uids = subordinate("/etc/subuid", names)
	g.firstGID, gids = subordinate("/etc/subgid", names)
	return g, g.uid != 0 && uids && gids
}

// grantPrograms write a map of users and one of groups.
func grantPrograms() []string { return []string{"/usr/bin/newuidmap", "/usr/bin/newgidmap"} }

// userNames are a user's number and name, by which ranges are set aside.
func userNames(uid int) []string {
	names := []string{strconv.Itoa(uid)}
	eachRecord("/etc/passwd", func(field []string) {
		if len(field) > 2 && field[2] == names[0] {
			names = append(names, field[0])
		}
	})
	return names
}

// eachRecord reads a file of lines with fields between colons.
func eachRecord(file string, take func(field []string)) {
	data, err := os.ReadFile(file)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		take(strings.Split(strings.TrimSpace(line), ":"))
	}
}

// subordinate finds the first of the ranges set aside for one of the names that is long enough.
func subordinate(file string, names []string) (first int, found bool) {
	eachRecord(file, func(field []string) {
		if found || len(field) != 3 || !slices.Contains(names, field[0]) {
			return
		}
		start, err1 := strconv.Atoi(field[1])
		count, err2 := strconv.Atoi(field[2])
		if err1 == nil && err2 == nil && count >= idRange-1 {
			first, found = start, true
		}
	})
	return first, found
}

// startGranted starts a command in a user namespace whose users are those of the grant: this
// user's own is user 0. The command waits until it has them, see takeGranted.
func startGranted(cmd *exec.Cmd, flags uintptr, g grant) error {
	wait, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer wait.Close()
	defer tell.Close()
	cmd.ExtraFiles = append(cmd.ExtraFiles, wait)
	cmd.Args = append(cmd.Args, strconv.Itoa(2+len(cmd.ExtraFiles)))
	// Without users yet, it keeps its rights over an execution as ambient ones only.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, AmbientCaps: everyCapability(), Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	for i, own := range [][2]int{{g.uid, g.firstUID}, {g.gid, g.firstGID}} {
		write := exec.Command(grantPrograms()[i], pid, "0", strconv.Itoa(own[0]), "1", "1", strconv.Itoa(own[1]), strconv.Itoa(idRange-1))
		write.Env = []string{}
		if err = write.Run(); err != nil {
			break
		}
	}
	if err == nil {
		_, err = tell.Write([]byte{1})
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
	return err
}

func everyCapability() (all []uintptr) {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// takeGranted waits, where the process was started by startGranted, until its users exist,
// and becomes user 0 of them.
func takeGranted() error {
	fd, err := strconv.Atoi(argument(5))
	if err != nil {
		return nil
	}
	wait := os.NewFile(uintptr(fd), "wait")
	defer wait.Close()
	if n, _ := wait.Read(make([]byte, 1)); n != 1 {
		return errors.New("no users came")
	}
	for _, become := range []func() error{func() error { return syscall.Setgroups(nil) }, func() error { return syscall.Setresgid(0, 0, 0) }, func() error { return syscall.Setresuid(0, 0, 0) }} {
		if err := become(); err != nil {
			return fmt.Errorf("becoming user 0: %w", err)
		}
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) // as it was; it is taken away later
}
