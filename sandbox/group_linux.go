package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A group is a control group for what runs in a cell. It is made outside, by whoever may, and
// reaches the cell as three open files; nothing inside can name it.
type group struct {
	dir string
	// files are the bound of memory, the use of swap, and where a process enters.
	files [groupFiles]*os.File
}

const groupFiles = 3

// makeGroups makes n groups, or none where the machine gives no place for them.
func makeGroups(n int) []group {
	var made []group
	for i := range n {
		g, err := makeGroup("strongroom-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(i))
		if err != nil {
			removeGroups(made)
			return nil
		}
		made = append(made, g)
	}
	return made
}

// makeGroup makes a group in the first place that takes it.
func makeGroup(name string) (group, error) {
	err := errors.New("no control groups for memory are mounted")
	for _, place := range groupPlaces() {
		if place.unified { // has no effect, or is not needed, where it fails
			os.WriteFile(filepath.Join(place.dir, "cgroup.subtree_control"), []byte("+memory"), 0)
		}
		g := group{dir: filepath.Join(place.dir, name)}
		if err = os.Mkdir(g.dir, 0o755); err != nil {
			continue
		}
		if err = g.open(place.unified); err == nil {
			return g, nil
		}
		removeGroups([]group{g})
	}
	return group{}, err
}

func (g *group) open(unified bool) error {
	names := [groupFiles]string{"memory.limit_in_bytes", "memory.swappiness", "cgroup.procs"}
	if unified {
		names = [groupFiles]string{"memory.max", "memory.swap.max", "cgroup.procs"}
	}
	for i, name := range names {
		f, err := os.OpenFile(filepath.Join(g.dir, name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		g.files[i] = f
	}
	return nil
}

// removeGroups removes groups that are empty.
func removeGroups(groups []group) {
	for _, g := range groups {
		for _, f := range g.files {
			f.Close()
		}
		unix.Rmdir(g.dir)
	}
}

type groupPlace struct {
	dir     string
	unified bool // version 2
}

// groupPlaces are the directories where this process may have groups of its own: below its
// own group, or beside it if the group above was left to whoever runs this.
func groupPlaces() (places []groupPlace) {
	own, _ := os.ReadFile("/proc/self/cgroup")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(own)) {
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(part) != 3 {
			continue
		}
		unified := part[0] == "0" && part[1] == ""
		if !unified && !slices.Contains(strings.Split(part[1], ","), "memory") {
			continue
		}
		dir := groupDir(string(mounts), part[2], unified)
		if dir == "" {
			continue
		}
		places = append(places, groupPlace{dir, unified})
		if above := filepath.Dir(dir); unified && delegated(above) {
			places = append(places, groupPlace{above, true})
		}
	}
	return places
}

// groupDir finds where a group is mounted, in the lines of /proc/self/mountinfo (proc(5)).
func groupDir(mounts, path string, unified bool) string {
	for line := range strings.Lines(mounts) {
		before, after, found := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 5 || len(kind) < 3 {
			continue
		}
		memory := kind[0] == "cgroup" && slices.Contains(strings.Split(kind[2], ","), "memory")
		if unified && kind[0] != "cgroup2" || !unified && !memory {
			continue
		}
		if rel, err := filepath.Rel(fields[3], path); err == nil && filepath.IsLocal(rel) {
			return filepath.Join(fields[4], rel)
		}
	}
	return ""
}

// delegated reports whether a group was left to somebody to make groups in: it is marked so
// (systemd does), or belongs to this user, who is not root.
func delegated(dir string) bool {
	var mark [1]byte
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		if n, err := unix.Getxattr(dir, name, mark[:]); err == nil && n == 1 && mark[0] == '1' {
			return true
		}
	}
	var st unix.Stat_t
	return os.Geteuid() != 0 && unix.Stat(dir, &st) == nil && int(st.Uid) == os.Geteuid()
}

// handedGroups are the files of the groups that the stage outside made, behind the
// descriptors that it handed on.
func handedGroups() (groups [][]*os.File) {
	handed, err1 := strconv.Atoi(argument(3))
	n, err2 := strconv.Atoi(argument(4))
	if err1 != nil || err2 != nil {
		return nil
	}
	for i := range n {
		var files []*os.File
		for j := range groupFiles {
			files = append(files, os.NewFile(uintptr(3+handed+groupFiles*i+j), "group"))
		}
		groups = append(groups, files)
	}
	return groups
}

// startJanitor starts a process that removes the groups once this one is gone, however it
// went. The file stays open until then.
func startJanitor(groups []group) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", argJanitor)
	cmd.Args[0] = os.Args[0]
	for _, g := range groups {
		cmd.Args = append(cmd.Args, g.dir)
	}
	cmd.Env = []string{}
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// janitorMain removes groups when its standard input ends.
func janitorMain() int {
	// It gives up what it can, and does its work where it can't: there is nobody to tell.
	keepDescriptors()
	dropRights()
	os.Stdin.Read(make([]byte, 1)) // nothing ever comes
	const within, pause = 10 * time.Second, 5 * time.Millisecond
	left := os.Args[2:]
	for range int(within / pause) {
		left = slices.DeleteFunc(left, func(dir string) bool {
			err := unix.Rmdir(dir)
			return err == nil || err == unix.ENOENT
		})
		if len(left) == 0 {
			return 0
		}
		time.Sleep(pause) // what runs in them is ending
	}
	return 1
}

// boundGroup sets a group's bound of memory, of which nothing goes to swap.
func boundGroup(files []*os.File, bytes int64) error {
	if _, err := files[0].WriteString(strconv.FormatInt(bytes, 10)); err != nil {
		return fmt.Errorf("bounding memory: %w", err)
	}
	if _, err := files[1].WriteString("0"); err != nil {
		return fmt.Errorf("keeping memory from swap: %w", err)
	}
	return nil
}
