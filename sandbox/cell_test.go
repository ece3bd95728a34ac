//go:build linux

package sandbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"strongroom.dev/agreement"
	"strongroom.dev/sandbox"
	"strongroom.dev/sandbox/tree"
	"strongroom.dev/wire"
)

// cellReport is what an agent with cells found: see testdata/cell.
type cellReport struct {
	Lacks, CellLacks []sandbox.Lack
	Error            string
	Got              map[string]string
}

// cellProgram builds agent and workload, one program.
var cellProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cell")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "cell")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "./testdata/cell")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, os.Chmod(dir, 0o755)
})

// runCell runs a scenario as a user, with further descriptors, and gives its report.
func runCell(t *testing.T, scenario string, uid uint32, files ...*os.File) cellReport {
	t.Helper()
	return runCellIn(t, nil, scenario, uid, files...)
}

// runCellIn has the command that wraps the program, whose path is added to it.
func runCellIn(t *testing.T, wrap []string, scenario string, uid uint32, files ...*os.File) cellReport {
	t.Helper()
	path, err := cellProgram()
	if err != nil {
		t.Fatal(err)
	}
	from, to, _ := os.Pipe()
	text, textIn, _ := os.Pipe()
	textIn.WriteString(scenario)
	textIn.Close()
	program, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	args := append(slices.Clone(wrap), path)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.ExtraFiles = append([]*os.File{to, text, program}, files...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	to.Close()
	text.Close()
	out, _ := io.ReadAll(from)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Fatalf("exit code %d, expected the program's own 7: %s", code, stderr.String())
	}
	var r cellReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// eachUser runs a scenario as whoever runs the tests, and if that is root, as nobody too. ranged
// says whether users 0 to 65535 exist in its cells.
func eachUser(t *testing.T, scenario string, check func(t *testing.T, r cellReport, ranged bool)) {
	t.Helper()
	for _, uid := range cellUsers(t) {
		t.Run(fmt.Sprint("uid ", uid), func(t *testing.T) {
			// Whoever starts a room may ignore and block signals, which is nobody's business inside.
			r := runCellIn(t, []string{"env", "--ignore-signal=HUP,INT", "--block-signal=TERM,USR1"}, scenario, uid)
			if len(r.Lacks) != 0 || r.Error != "" {
				t.Fatalf("lacks %v: %s", r.Lacks, r.Error)
			}
			ranged := !slices.Contains(sandbox.Layers(r.CellLacks), sandbox.UserRange)
			if uid == 0 {
				uid = uint32(os.Geteuid())
			}
			if ranged != (uid == 0 || granted(uid)) {
				t.Errorf("a range of users: %v", ranged)
			}
			check(t, r, ranged)
		})
	}
}

// cellUsers are users, and one for whom the machine has set ids aside, if it has.
func cellUsers(t *testing.T) []uint32 {
	list := users(t)
	for uid := uint32(1000); os.Geteuid() == 0 && uid < 1010; uid++ {
		if granted(uid) {
			return append(list, uid)
		}
	}
	return list
}

// granted reports whether ids are set aside for a user, and can be had.
func granted(uid uint32) bool {
	u, err := user.LookupId(fmt.Sprint(uid))
	if err != nil || u.Gid != u.Uid {
		return false
	}
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		data, err := os.ReadFile(file)
		if err != nil || !regexp.MustCompile(`(?m)^(`+u.Username+`|`+u.Uid+`):\d+:65536$`).Match(data) {
			return false
		}
	}
	_, err = os.Stat("/usr/bin/newuidmap")
	return err == nil
}

func expect(t *testing.T, r cellReport, name, want string) {
	t.Helper()
	if diff := cmp.Diff(want, r.Got[name]); diff != "" {
		t.Errorf("%s:\n%s", name, diff)
	}
}

// TestCell: what a workload finds, byte for byte.
func TestCell(t *testing.T) {
	const noCapabilities = "CapInh:0000000000000000 CapPrm:0000000000000000 CapEff:0000000000000000 CapBnd:0000000000000000 CapAmb:0000000000000000 NoNewPrivs:1 Seccomp:2 Seccomp_filters:2\n"
	const rest = "hosts \"127.0.0.1\\tlocalhost room\\n::1\\tlocalhost ip6-localhost ip6-loopback\\n127.1.0.1\\tdb.example\\n\" hostname \"room\\n\"\nscript /bin/script [more]\n<nil>\n"
	const tree = " host room env [\"NAME=VALUE\"]\ninherited [] stdin 0 core 1 directory /\nsession true signals SigBlk:0000000000000000 SigIgn:0000000000000000 open <nil> read-only [/ /dev /etc/hosts /proc/bus /proc/fs /proc/irq /proc/sys]\npasswd 2000 644 bin 1000 link ../../../etc/passwd\nsetuid 4755 same true "
	eachUser(t, "hello", func(t *testing.T, r cellReport, ranged bool) {
		secret := "33:34"
		if !ranged {
			secret = "0:0"
		}
		expect(t, r, "out exit", "{3 0}")
		expect(t, r, "out", "uid 0 gid 0 groups [] secret "+secret+tree+noCapabilities+rest)
	})
	eachUser(t, "user", func(t *testing.T, r cellReport, ranged bool) {
		if !ranged { // nobody but this user exists, who has no rights to keep
			if !strings.HasPrefix(r.Got["out"], "uid 1000 gid 100 groups [") || !strings.Contains(r.Got["out"], "CapPrm:0000000000000000 CapEff:0000000000000000") {
				t.Errorf("got %s", r.Got["out"])
			}
			return
		}
		expect(t, r, "out", "uid 1000 gid 100 groups [33 34] secret 33:34"+tree+strings.ReplaceAll(noCapabilities, "00 ", "21 ")+rest)
	})
}

// TestCellHolds: nothing in a cell gets out of it, whoever it is there.
func TestCellHolds(t *testing.T) {
	for _, scenario := range []string{"try", "try as user"} {
		eachUser(t, scenario, func(t *testing.T, r cellReport, _ bool) {
			var attempts map[string]string
			if err := json.Unmarshal([]byte(r.Got["out"]), &attempts); err != nil {
				t.Fatalf("%v: %s", err, r.Got["out"])
			}
			if len(attempts) < 80 {
				t.Errorf("tried %d things only", len(attempts))
			}
			for name, err := range attempts {
				if err == "" {
					t.Errorf("%s: %s worked", scenario, name)
				}
			}
			expect(t, r, "out exit", "{0 0}")
			for name, want := range map[string]string{"x32": "signal: bad system call", "clone3": "function not implemented", "unknown call": "function not implemented", "see others": "none", "gain by a set-user-ID program": "the same rights"} {
				if attempts[name] != want {
					t.Errorf("%s: %s, expected %s", name, attempts[name], want)
				}
			}
		})
	}
	eachUser(t, "deny", func(t *testing.T, r cellReport, _ bool) {
		if !strings.Contains(r.Got["out"], "readlink /etc/link: operation not permitted") {
			t.Errorf("a call that is denied works: %s", r.Got["out"])
		}
	})
}

// TestCellBounds: processes and memory end where they are to.
func TestCellBounds(t *testing.T) {
	eachUser(t, "bomb", func(t *testing.T, r cellReport, _ bool) {
		// 64 and what is spared for the first process's own threads, all users together.
		if n, err := strconv.Atoi(strings.TrimSpace(r.Got["out"])); err != nil || n < 30 || n > 128 {
			t.Errorf("started %q", r.Got["out"])
		}
	})
	eachUser(t, "memory", func(t *testing.T, r cellReport, _ bool) {
		if !slices.Contains(sandbox.Layers(r.CellLacks), sandbox.MemoryGroup) {
			expect(t, r, "out exit", "{0 9}")
			return
		}
		// 128 MiB, and 8 MiB for each of 64 stacks.
		if n, err := strconv.Atoi(strings.TrimSpace(r.Got["out"])); err != nil || n < 50 || n > 640 {
			t.Errorf("got %q MiB, %s", r.Got["out"], r.Got["out exit"])
		}
	})
	eachUser(t, "shared", func(t *testing.T, r cellReport, _ bool) {
		want := "{0 9}"
		if slices.Contains(sandbox.Layers(r.CellLacks), sandbox.MemoryGroup) {
			want = "{0 0}" // what the lack of the layer says
		}
		expect(t, r, "out exit", want)
	})
}

// TestCellGroupsGo: rooms that end, and rooms that are killed, leave no control group behind.
func TestCellGroupsGo(t *testing.T) {
	r := runCell(t, "hello", 0)
	if slices.Contains(sandbox.Layers(r.CellLacks), sandbox.MemoryGroup) {
		t.Skip("no control groups can be made here")
	}
	path, err := cellProgram()
	if err != nil {
		t.Fatal(err)
	}
	report, to, _ := os.Pipe()
	scenario, keep, _ := os.Pipe() // never ends: the agent waits
	defer keep.Close()
	cmd := exec.Command(path)
	cmd.ExtraFiles = []*os.File{to, scenario, scenario}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	to.Close()
	name := fmt.Sprintf("strongroom-%d-", cmd.Process.Pid)
	if !eventually(func() bool { return len(groupsNamed(t, name)) == 3 }) {
		t.Errorf("groups: %v", groupsNamed(t, name))
	}
	cmd.Process.Kill()
	cmd.Wait()
	io.ReadAll(report)
	if !eventually(func() bool { return len(groupsNamed(t, name)) == 0 }) {
		t.Errorf("left behind: %v", groupsNamed(t, name))
	}
}

func eventually(f func() bool) bool {
	for range 500 {
		if f() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func groupsNamed(t *testing.T, start string) (names []string) {
	t.Helper()
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), start) {
			names = append(names, path)
		}
		return nil
	})
	return names
}

// TestCellDenied: without a namespace there is no cell, and the reason is told when one is
// wanted, not before; without seccomp there is one, as far as the room may lack it.
func TestCellDenied(t *testing.T) {
	for _, name := range []string{"user", "mnt", "pid", "net"} {
		wrap := []string{"unshare", "-Ur", "sh", "-c", "echo 0 >/proc/sys/user/max_" + name + "_namespaces && exec \"$@\"", "sh"}
		r := runCellIn(t, wrap, "hello", 0)
		if len(r.Lacks) == 0 || !strings.Contains(r.Error, "preparing it: the kernel makes none of its namespaces") {
			t.Errorf("without %s namespaces: lacks %v, %s", name, r.Lacks, r.Error)
		}
	}
	prober, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	r := runCellIn(t, []string{prober, "deny", "seccomp"}, "hello", 0)
	if !slices.Equal(sandbox.Layers(r.Lacks), []wire.ID{sandbox.Seccomp}) || r.Error != "" || !strings.Contains(r.Got["out"], "Seccomp:1") && !strings.Contains(r.Got["out"], "Seccomp:2") {
		t.Errorf("without seccomp: lacks %v, %s %s", r.Lacks, r.Error, r.Got["out"])
	}
}

// TestCellNetwork: what the agent and the cell say to each other, and that there is nobody else.
func TestCellNetwork(t *testing.T) {
	eachUser(t, "network", func(t *testing.T, r cellReport, _ bool) {
		for _, addr := range []string{"127.0.0.1:80", "[::1]:80"} {
			expect(t, r, "exit "+addr, "{4 0}")
		}
		expect(t, r, "closed port", "port 81 of the cell: connection refused")
		expect(t, r, "after the end", "port 80 of the cell: connection refused")
		expect(t, r, "accepted", "from inside")
		expect(t, r, "elsewhere", "the cell does not listen on 127.1.0.9:443 for the agent")
		expect(t, r, "call", "from the agent\ntrue\ntrue\ntrue\n")
		t.Log("dial: ", r.Got["dial"])
	})
}

// TestCellEnds: by itself, by signals, by force, with whatever it left behind; and again.
func TestCellEnds(t *testing.T) {
	eachUser(t, "stop", func(t *testing.T, r cellReport, _ bool) {
		expect(t, r, "term", "{5 0}")
		expect(t, r, "ended", "nothing runs")
		expect(t, r, "busy", "the cell's process has not ended")
		expect(t, r, "kill", "{0 9}")
	})
	eachUser(t, "kill", func(t *testing.T, r cellReport, _ bool) {
		expect(t, r, "wait", "the cell is gone")
		expect(t, r, "dial", "port 80 of the cell: the cell is gone")
		expect(t, r, "signal", "the cell is gone")
		expect(t, r, "cancelled", "cell: context canceled")
	})
	eachUser(t, "restart", func(t *testing.T, r cellReport, _ bool) {
		for i := range 3 {
			expect(t, r, fmt.Sprint("exit ", i), fmt.Sprintf("{%d 0}", 11+i))
		}
	})
	eachUser(t, "orphans", func(t *testing.T, r cellReport, _ bool) { expect(t, r, "out exit", "{6 0}") })
	eachUser(t, "three", func(t *testing.T, r cellReport, _ bool) {
		for i := range 3 {
			expect(t, r, fmt.Sprint(i, " exit"), "{3 0}")
		}
		expect(t, r, "fourth", "cell: none is left")
	})
}

// TestCellRefuses what can't be, and names it.
func TestCellRefuses(t *testing.T) {
	r := runCell(t, "refused", 0)
	for name, want := range map[string]string{
		"no root": "unpacked or a mount", "two roots": "unpacked or a mount", "no argv": "absolute path", "relative argv": "absolute path", "zero byte": "zero byte",
		"no directory": `directory ""`, "user": "user 65536:0", "group": "group -1", "capability": `"CAP_SYS_ADMIN"`, "proc mount": `"/proc/x": the room itself`,
		"hosts mount": `"/etc/hosts": the room itself`, "unclean mount": `"/tmp/../etc"`, "boundless mount": "has a size", "kind of mount": `no kind ""`,
		"address": `"0.0.0.0:1"`, "host with a line": `"a\nb"`, "host at no address": `"a" at "b"`,
		"deny what is not there": `no system call "mount"`, "missing program": "executing /bin/missing: no such file", "mount over a link": "/etc/link/x goes through a symbolic link",
	} {
		if !strings.Contains(r.Got[name], want) {
			t.Errorf("%s: %q, expected %q in it", name, r.Got[name], want)
		}
	}
	r = runCell(t, "trees", 0)
	expect(t, r, "below a link", `cell: the root: entry "out/x": it lies below a symbolic link`)
	expect(t, r, "twice", `cell: the root: entry "etc/passwd": it stands twice`)
	expect(t, r, "too large", `cell: the root: entry "big": the tree has more bytes than it may`)
}

// TestCellCapabilities: what agreements may name is what cells give.
func TestCellCapabilities(t *testing.T) {
	want, got := agreement.Capabilities(), sandbox.AllowedCapabilities()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestCellMounts: memory, files and the result.
func TestCellMounts(t *testing.T) {
	eachUser(t, "files", func(t *testing.T, r cellReport, ranged bool) {
		key := "5:6"
		if !ranged {
			key = "7:8"
		}
		expect(t, r, "out", "\"a secret\" <nil> 400 7:8 open /run/secret: read-only file system\n\"\" <nil> 444 "+key+" open /etc/app/key: read-only file system\n"+
			"750 7:8 write /cache/big: no space left on device\n<nil> open /fixed/x: read-only file system fork/exec /run/secret: permission denied\n")
	})
	eachUser(t, "result", func(t *testing.T, r cellReport, _ bool) {
		expect(t, r, "result", "the answer")
		expect(t, r, "/links", "result: too many levels of symbolic links")
		expect(t, r, "/pipes", "result: it is no regular file")
		expect(t, r, "/directories", "result: it is no regular file")
		expect(t, r, "/empty", "result: no such file or directory")
		expect(t, r, "/etc", "result: no memory is mounted there")
		expect(t, r, "too long", "result: it has 10 bytes, at most 9")
		if !strings.Contains(r.Got["write"], "bad file descriptor") {
			t.Errorf("writing the result: %s", r.Got["write"])
		}
	})
}

// TestCellBusybox runs an unmodified program of Debian's (busybox-static).
func TestCellBusybox(t *testing.T) {
	path := "/bin/busybox"
	if data, err := os.ReadFile(path); err != nil || bytes.Contains(data, []byte("/ld-linux")) {
		if os.Getenv("CI") == "true" {
			t.Fatal("busybox-static is missing: scripts/setup test")
		}
		t.Skip("no static busybox is installed: apt-get install busybox-static")
	}
	for _, uid := range cellUsers(t) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := runCell(t, "busybox", uid, f)
		if want := "uid=0 gid=0\nroom\nuid=0 gid=0\ndone\n"; r.Error != "" || strings.ReplaceAll(r.Got["shell"], "(root)", "") != want {
			t.Errorf("uid %d: %s %q, expected %q", uid, r.Error, r.Got["shell"], want)
		}
		if !strings.HasPrefix(r.Got["got"], "HTTP/1.1 200 OK") || !strings.HasSuffix(r.Got["got"], "root\n") {
			t.Errorf("uid %d: the web server says %q", uid, r.Got["got"])
		}
	}
}

// TestCellVolume: directories that were handed over, one to write in, one to read.
func TestCellVolume(t *testing.T) {
	for _, uid := range cellUsers(t) {
		dir := t.TempDir()
		for parent := dir; parent != os.TempDir(); parent = filepath.Dir(parent) {
			os.Chmod(parent, 0o755)
		}
		owner := int(uid)
		if owner == 0 && os.Geteuid() == 0 {
			owner = 65534 // user 0 of cells
		}
		var handed []*os.File
		for _, name := range []string{"volume", "data"} {
			path := filepath.Join(dir, name)
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if name == "data" {
				os.Chmod(path, 0o777)
			}
			if os.Geteuid() == 0 {
				if err := os.Chown(path, owner, owner); err != nil {
					t.Fatal(err)
				}
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			handed = append(handed, f)
		}
		os.WriteFile(filepath.Join(dir, "beside"), []byte("x"), 0o644)
		for _, before := range []string{`"" true`, `"." false`} { // the second run finds what the first wrote
			r := runCell(t, "volume", uid, handed...)
			if r.Error != "" {
				t.Fatalf("uid %d: %s", uid, r.Error)
			}
			for _, want := range []string{before + " 70:71\n", "<nil> open /fixed/x: read-only file system\n", "open /data/../beside: no such file"} {
				if !strings.Contains(r.Got["out"], want) {
					t.Errorf("uid %d: %q, expected %q in it", uid, r.Got["out"], want)
				}
			}
		}
	}
}

// TestCellMountedRoot: a root that is a mount, with users as a disk has them, as in a machine.
func TestCellMountedRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes such mounts")
	}
	mount := detachedTree(t)
	if err := sandbox.MapForCells(mount); err != nil {
		t.Fatal(err)
	}
	r := runCell(t, "mounted", 0, mount, detachedTree(t))
	if r.Error != "" || r.Got["out exit"] != "{3 0}" || !strings.Contains(r.Got["out"], "secret 33:34 host room") || !strings.Contains(r.Got["out"], "setuid 4755 same true CapInh:0000000000000000 CapPrm:0000000000000000") {
		t.Errorf("%s %s %s", r.Error, r.Got["out exit"], r.Got["out"])
	}
	expect(t, r, "missing", "cell: mounts: /missing: /missing is not in the image: no such file or directory")
}

// detachedTree is a root in memory with what the workload looks for.
func detachedTree(t *testing.T) *os.File {
	t.Helper()
	path, err := cellProgram()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err == nil {
		err = unix.FsconfigCreate(fs)
	}
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mount := os.NewFile(uintptr(fd), "mount")
	t.Cleanup(func() { mount.Close() })
	dir, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	root := os.NewFile(uintptr(dir), "root")
	defer root.Close()
	var stream bytes.Buffer
	w := tree.NewWriter(&stream)
	for _, name := range []string{"proc", "dev", "tmp", "bin", "etc"} {
		w.Add(tree.Entry{Path: name, Type: tree.Directory, Mode: 0o755}, nil)
	}
	w.Add(tree.Entry{Path: "bin/probe", Type: tree.Regular, Mode: 0o4755, Size: int64(len(program))}, bytes.NewReader(program))
	w.Add(tree.Entry{Path: "bin/setuid", Type: tree.Link, Target: "bin/probe"}, nil)
	w.Add(tree.Entry{Path: "etc/secret", Type: tree.Regular, Mode: 0o600, UID: 33, GID: 34}, nil)
	w.Close()
	if err := tree.Unpack(tree.NewReader(&stream, tree.Limits{Entries: 100, Bytes: 1 << 30}), root, nil); err != nil {
		t.Fatal(err)
	}
	return mount
}
