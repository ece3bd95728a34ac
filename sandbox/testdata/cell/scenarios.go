package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox"
	"strongroom.dev/sandbox/tree"
)

func scenarios() map[string]func(*agent) error {
	return map[string]func(*agent) error{
		"hello": func(a *agent) error { return a.one("out", hardened("hello", 0)) },
		"user": func(a *agent) error {
			c := hardened("hello", 1000)
			c.GID, c.Groups = 100, []int{33, 34}
			c.Capabilities = []string{"CAP_CHOWN", "CAP_KILL"}
			return a.one("out", c)
		},
		"try": func(a *agent) error {
			c := base("try")
			c.Capabilities = sandbox.AllowedCapabilities()
			return a.one("out", c)
		},
		"try as user": func(a *agent) error {
			c := base("try")
			c.UID, c.GID = 1000, 1000
			return a.one("out", c)
		},
		"deny": func(a *agent) error {
			c := base("hello")
			c.Deny = []string{"uname", "readlinkat"}
			return a.one("out", c)
		},
		"network": network, "stop": stop, "kill": kill, "restart": restart, "three": three, "refused": refused, "trees": trees,
		"bomb": func(a *agent) error { return a.one("out", allCapabilities(base("bomb"))) },
		"memory": func(a *agent) error {
			c := base("memory")
			c.Limits.Memory = 128 << 20
			return a.one("out", c)
		},
		"shared": func(a *agent) error {
			c := base("shared")
			c.Limits.Memory = 64 << 20
			c.Mounts[0].Bytes = 512 << 20
			return a.one("out", c)
		},
		"mounted": func(a *agent) error {
			c := base("hello")
			c.Root = sandbox.Root{Mount: os.NewFile(handedFD, "root")}
			if err := a.one("out", c); err != nil {
				return err
			}
			c.Root.Mount = os.NewFile(handedFD+1, "root") // a mount is for one cell
			c.Mounts[0].Path = "/missing"
			_, err := a.in.StartCell(context.Background(), c)
			a.note("missing", err)
			return nil
		},
		"busybox": busybox, "result": results, "volume": volumes, "files": mountedFiles,
		"orphans": func(a *agent) error { return a.one("out", base("orphans")) },
		"none":    func(a *agent) error { return a.one("out", base("hello")) },
	}
}

func hardened(mode string, uid int) sandbox.Cell {
	c := base(mode)
	c.UID = uid
	c.Hosts = []sandbox.Host{{Name: "db.example", Address: "127.1.0.1"}}
	return c
}

func allCapabilities(c sandbox.Cell) sandbox.Cell {
	c.Capabilities = sandbox.AllowedCapabilities()
	return c
}

func (a *agent) one(name string, c sandbox.Cell) error {
	_, err := a.once(name, c)
	return err
}

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// exchange says something on a connection and gives the answer.
func exchange(c *sandbox.Conn, text string) (string, error) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte(text)); err != nil {
		return "", err
	}
	if err := c.CloseWrite(); err != nil {
		return "", err
	}
	data, err := io.ReadAll(c)
	return string(data), err
}

// dial connects as soon as something listens.
func dial(p *sandbox.CellProcess, port int) (c *sandbox.Conn, err error) {
	ctx, cancel := within()
	defer cancel()
	for range 200 {
		if c, err = p.Dial(ctx, port); err == nil || !strings.Contains(err.Error(), "refused") {
			return c, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, err
}

func network(a *agent) error {
	for _, addr := range []string{"127.0.0.1:80", "[::1]:80"} {
		if err := a.served(addr); err != nil {
			return err
		}
	}
	c := base("call", "127.1.0.1:443")
	c.Listen = []string{"127.1.0.1:443", "127.1.0.2:5432"}
	p, end, err := a.start("call", c)
	if err != nil {
		return err
	}
	ctx, cancel := within()
	defer cancel()
	conn, err := p.Accept(ctx, "127.1.0.1:443")
	if err != nil {
		return err
	}
	got, err := exchange(conn, "from the agent")
	if err != nil {
		return err
	}
	a.note("accepted", got)
	_, err = p.Accept(ctx, "127.1.0.9:443")
	a.note("elsewhere", err)
	_, err = p.Wait(ctx)
	end()
	return err
}

// served talks to a server in a cell, many at once, and ends it by a word.
func (a *agent) served(addr string) error {
	p, end, err := a.start("serve "+addr, base("serve", addr))
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := within()
	defer cancel()
	_, err = p.Dial(ctx, 81)
	a.note("closed port", err)
	failures := make(chan error, 40)
	for i := range cap(failures) {
		go func() {
			conn, err := dial(p, 80)
			if err == nil {
				var got string
				if got, err = exchange(conn, fmt.Sprint(i)); err == nil && got != fmt.Sprint("echo ", i) {
					err = fmt.Errorf("%q came back", got)
				}
			}
			failures <- err
		}()
	}
	for range cap(failures) {
		if err := <-failures; err != nil {
			return err
		}
	}
	began := time.Now()
	for range 200 {
		conn, err := p.Dial(ctx, 80)
		if err != nil {
			return err
		}
		conn.Close()
	}
	a.note("dial", time.Since(began)/200)
	conn, err := p.Dial(ctx, 80)
	if err != nil {
		return err
	}
	exchange(conn, "end")
	exit, err := p.Wait(ctx)
	a.note("exit "+addr, exit)
	_, derr := p.Dial(ctx, 80)
	a.note("after the end", derr)
	return err
}

func stop(a *agent) error {
	ctx, cancel := within()
	defer cancel()
	p, err := a.in.StartCell(ctx, base("wait"))
	if err != nil {
		return err
	}
	defer p.Kill()
	ready := func() { io.ReadFull(p.Stdout, make([]byte, len("ready\n"))) }
	ready()
	if err := p.Signal(unix.SIGTERM); err != nil {
		return err
	}
	exit, err := p.Wait(ctx)
	a.note("term", exit)
	if err != nil {
		return err
	}
	a.note("ended", p.Signal(unix.SIGTERM))
	if err := p.Restart(ctx); err != nil {
		return err
	}
	ready()
	a.note("busy", p.Restart(ctx))
	if err := p.Signal(unix.SIGKILL); err != nil {
		return err
	}
	exit, err = p.Wait(ctx)
	a.note("kill", exit)
	return err
}

func kill(a *agent) error {
	p, end, err := a.start("out", base("orphans"))
	if err != nil {
		return err
	}
	end() // kills
	p.Kill()
	ctx, cancel := within()
	defer cancel()
	_, err = p.Wait(ctx)
	a.note("wait", err)
	_, err = p.Dial(ctx, 80)
	a.note("dial", err)
	a.note("signal", p.Signal(unix.SIGTERM))
	cancelled, cancel2 := context.WithCancel(context.Background())
	c := base("sleep")
	write := c.Root.Unpack
	c.Root.Unpack = func(w *tree.Writer) error { err := write(w); cancel2(); time.Sleep(50 * time.Millisecond); return err }
	_, err = a.in.StartCell(cancelled, c)
	a.note("cancelled", err)
	return nil
}

func restart(a *agent) error {
	p, end, err := a.start("out", base("count"))
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := within()
	defer cancel()
	for i := range 3 {
		exit, err := p.Wait(ctx)
		if err != nil {
			return err
		}
		a.note(fmt.Sprint("exit ", i), exit)
		if err := p.Restart(ctx); err != nil {
			return err
		}
	}
	_, err = p.Wait(ctx)
	return err
}

func three(a *agent) error {
	for i := range 3 {
		if err := a.one(fmt.Sprint(i), base("hello")); err != nil {
			return err
		}
	}
	a.note("fourth", a.one("3", base("hello")))
	return nil
}

// refused are cells that no process is used up for.
func refused(a *agent) error {
	for name, change := range map[string]func(*sandbox.Cell){
		"no root":            func(c *sandbox.Cell) { c.Root = sandbox.Root{} },
		"two roots":          func(c *sandbox.Cell) { c.Root.Mount = os.Stdin },
		"no argv":            func(c *sandbox.Cell) { c.Argv = nil },
		"relative argv":      func(c *sandbox.Cell) { c.Argv = []string{"bin/probe"} },
		"zero byte":          func(c *sandbox.Cell) { c.Env = []string{"A=\x00"} },
		"no directory":       func(c *sandbox.Cell) { c.Directory = "" },
		"user":               func(c *sandbox.Cell) { c.UID = 1 << 16 },
		"group":              func(c *sandbox.Cell) { c.Groups = []int{-1} },
		"capability":         func(c *sandbox.Cell) { c.Capabilities = []string{"CAP_SYS_ADMIN"} },
		"proc mount":         func(c *sandbox.Cell) { c.Mounts[0].Path = "/proc/x" },
		"hosts mount":        func(c *sandbox.Cell) { c.Mounts[0].Path = "/etc/hosts" },
		"unclean mount":      func(c *sandbox.Cell) { c.Mounts[0].Path = "/tmp/../etc" },
		"boundless mount":    func(c *sandbox.Cell) { c.Mounts[0].Bytes = 0 },
		"kind of mount":      func(c *sandbox.Cell) { c.Mounts[0].Kind = "" },
		"address":            func(c *sandbox.Cell) { c.Listen = []string{"0.0.0.0:1"} },
		"host with a line":   func(c *sandbox.Cell) { c.Hosts = []sandbox.Host{{Name: "a\nb", Address: "127.0.0.1"}} },
		"host at no address": func(c *sandbox.Cell) { c.Hosts = []sandbox.Host{{Name: "a", Address: "b"}} },
	} {
		c := base("hello")
		change(&c)
		_, err := a.in.StartCell(context.Background(), c)
		a.note(name, err)
	}
	// These use one up each, of three.
	for name, change := range map[string]func(*sandbox.Cell){
		"deny what is not there": func(c *sandbox.Cell) { c.Deny = []string{"mount"} },
		"missing program":        func(c *sandbox.Cell) { c.Argv[0] = "/bin/missing" },
		"mount over a link":      func(c *sandbox.Cell) { c.Mounts[0].Path = "/etc/link/x" },
	} {
		c := base("hello")
		change(&c)
		_, err := a.in.StartCell(context.Background(), c)
		a.note(name, err)
	}
	return nil
}

// trees is a root that the writer takes and the cell refuses.
func trees(a *agent) error {
	add := func(e ...tree.Entry) func(*tree.Writer) error {
		return func(w *tree.Writer) error {
			for _, e := range e {
				if err := w.Add(e, strings.NewReader(strings.Repeat("x", int(e.Size)))); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for name, more := range map[string]func(*tree.Writer) error{
		"below a link": add(tree.Entry{Path: "out", Type: tree.Symlink, Target: "/proc"}, tree.Entry{Path: "out/x", Type: tree.Regular, Mode: 0o644}),
		"twice":        add(tree.Entry{Path: "etc/passwd", Type: tree.Regular, Mode: 0o644}),
		"too large":    add(tree.Entry{Path: "big", Type: tree.Regular, Mode: 0o644, Size: 64 << 20}),
	} {
		c := base("hello")
		c.Root.Unpack = unpack(more)
		_, err := a.in.StartCell(context.Background(), c)
		a.note(name, err)
	}
	return nil
}

func results(a *agent) error {
	c := base("result")
	for _, path := range []string{"/result", "/links", "/pipes", "/directories", "/empty"} {
		c.Mounts = append(c.Mounts, sandbox.Mount{Path: path, Kind: sandbox.MemoryMount, Bytes: 1 << 20, Mode: 0o700})
	}
	p, end, err := a.start("out", c)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := within()
	defer cancel()
	if _, err := p.Wait(ctx); err != nil {
		return err
	}
	f, size, err := p.Result(ctx, "/result", 10)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	a.note("result", string(data))
	_, werr := f.Write([]byte("x"))
	a.note("write", werr)
	for _, path := range []string{"/links", "/pipes", "/directories", "/empty", "/etc"} {
		_, _, err := p.Result(ctx, path, 10)
		a.note(path, err)
	}
	_, _, terr := p.Result(ctx, "/result", 9)
	a.note("too long", terr)
	return err
}

// volumes mounts the directory that the test hands over.
func volumes(a *agent) error {
	c := base("volume")
	c.UID, c.GID = 70, 71
	c.Mounts = append(c.Mounts, sandbox.Mount{Path: "/data", Kind: sandbox.AttachedMount, File: os.NewFile(handedFD, "volume"), Mode: 0o700, UID: 70, GID: 71},
		sandbox.Mount{Path: "/fixed", Kind: sandbox.AttachedMount, File: os.NewFile(handedFD+1, "data"), ReadOnly: true})
	return a.one("out", c)
}

// busybox runs somebody else's program, which the test hands over: first a shell that tries a
// few things, then a web server.
func busybox(a *agent) error {
	program := os.NewFile(handedFD, "busybox")
	info, err := program.Stat()
	if err != nil {
		return err
	}
	cell := func(argv ...string) sandbox.Cell {
		c := allCapabilities(base(""))
		c.Argv = append([]string{"/bin/busybox"}, argv...)
		c.Root.Unpack = unpack(func(w *tree.Writer) error {
			return w.Add(tree.Entry{Path: "bin/busybox", Type: tree.Regular, Mode: 0o4755, Size: info.Size()}, io.NewSectionReader(program, 0, info.Size()))
		})
		return c
	}
	const script = `b=/bin/busybox; exec 2>/dev/null; $b id; $b hostname; for c in "mount -t tmpfs none /tmp" "umount /etc/hosts" "mknod /tmp/x c 1 1" "hostname x" "dmesg" ` +
		`"unshare -r $b id" "insmod /x" "swapoff -a" "ping -c 1 127.0.0.1" "ifconfig lo down" "touch /x" "nsenter -t 1 -m $b id" "reboot -f"; ` +
		`do if $b $c >/dev/null 2>&1; then echo worked: $c; fi; done; $b nc -l -p 80 -e $b id </dev/null & $b sleep 0.2; $b nc 127.0.0.1 80; echo done`
	if err := a.one("shell", cell("sh", "-c", script)); err != nil {
		return err
	}
	p, end, err := a.start("httpd", cell("httpd", "-f", "-p", "80", "-h", "/etc"))
	if err != nil {
		return err
	}
	defer end()
	conn, err := dial(p, 80)
	if err != nil {
		return err
	}
	got, err := exchange(conn, "GET /passwd HTTP/1.0\r\n\r\n")
	a.note("got", got)
	return err
}

func mountedFiles(a *agent) error {
	memory := func(text string) *os.File {
		fd, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
		if err != nil {
			return nil
		}
		f := os.NewFile(uintptr(fd), "file")
		io.Copy(f, bytes.NewReader([]byte(text)))
		return f
	}
	c := base("files")
	c.UID, c.GID = 7, 8
	c.Mounts = append(c.Mounts,
		sandbox.Mount{Path: "/run/secret", Kind: sandbox.FileMount, File: memory("a secret"), Mode: 0o400, UID: 7, GID: 8},
		sandbox.Mount{Path: "/etc/app/key", Kind: sandbox.FileMount, File: memory(""), Mode: 0o444, UID: 5, GID: 6},
		sandbox.Mount{Path: "/cache", Kind: sandbox.MemoryMount, Bytes: 1 << 20, Mode: 0o750, UID: 7, GID: 8},
		sandbox.Mount{Path: "/fixed", Kind: sandbox.MemoryMount, Bytes: 1 << 20, Mode: 0o755, ReadOnly: true})
	return a.one("out", c)
}
