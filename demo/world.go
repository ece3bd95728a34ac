// Package demo tells the stories Strongroom tells: each is a whole world of real processes
// over loopback, made in a folder of its own, run, attacked, and left behind so that every
// step can be done again by hand.
//
// A demo uses the command as a user would. What an attacker would do is done with the
// packages a malicious host would build on. An attack that is not refused, or could not be
// tried, is an error.
package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"strongroom.dev/verdict"
)

// Config is what a demo needs. All members but Image are required.
type Config struct {
	// Dir is the world's folder. It is made, or made anew if a demo made it before.
	Dir string
	// Command is the strongroom executable; its helpers stand beside it.
	Command string
	// Show is where the story is told.
	Show io.Writer
	// Image is the web server's image of the demo with containers, as `container prepare` takes
	// it or the folder of an OCI layout; "": Debian's nginx, made here.
	Image string
}

// marker is the file that says a demo made a folder, so that nothing else is ever removed.
const marker = ".made-by-strongroom-demo"

// world is one demo's folder and processes.
type world struct {
	Config
	servers   []*server
	listeners []func() // each ends a listener of the demo's own
}

// shown is how a command is run: do or quiet.
type shown func(context.Context, ...string) ([]byte, error)

// newWorld makes the folder.
func newWorld(c Config) (*world, error) {
	if c.Dir == "" || c.Command == "" || c.Show == nil {
		return nil, verdict.Misuse("demo.config", "a folder, a command and a writer", "less", "")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	c.Dir = dir
	if err := clearFolder(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "demo.folder", Expected: "a new folder", Got: err.Error(), Fix: "choose another place with --dir", Err: err}
	}
	return &world{Config: c}, os.WriteFile(filepath.Join(dir, marker), []byte("strongroom demo may remove this folder\n"), 0o600)
}

// clearFolder removes a world that a demo made before; anything else stays and is an error.
func clearFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	info, serr := os.Lstat(filepath.Join(dir, marker))
	if err != nil || serr != nil || !info.Mode().IsRegular() {
		return verdict.Misuse("demo.folder", "no such folder, an empty one, or one a demo made", dir, "move it away or choose another place with --dir")
	}
	return os.RemoveAll(dir)
}

// path gives a place in the world.
func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.Dir}, elem...)...)
}

// tell prints a line of the story.
func (w *world) tell(format string, args ...any) { fmt.Fprintf(w.Show, format+"\n", args...) }

// tellStart prints the first lines of a text.
func (w *world) tellStart(text string, lines int) {
	for line := range strings.Lines(text) {
		if lines--; lines < 0 {
			return
		}
		w.tell("  | %s", strings.TrimRight(line, "\n"))
	}
}

// chapter starts a part of the story.
func (w *world) chapter(format string, args ...any) {
	fmt.Fprintf(w.Show, "\n== "+format+"\n", args...)
}

// showCommand prints a command as a user would type it in the world's folder.
func (w *world) showCommand(args []string) {
	words := make([]string, len(args))
	for i, arg := range args {
		arg = strings.ReplaceAll(arg, w.Dir+string(filepath.Separator), "")
		if arg != "&" && (arg == "" || strings.ContainsAny(arg, " '\"$&()*;<>?[]\\`{|}~#\n")) {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words[i] = arg
	}
	fmt.Fprintf(w.Show, "  $ strongroom %s\n", strings.Join(words, " "))
}

// do runs one command as a user would, shows it, and gives its standard output.
func (w *world) do(ctx context.Context, args ...string) ([]byte, error) {
	w.showCommand(args)
	return w.quiet(ctx, args...)
}

// field runs a command and gives one member of what it printed.
func (w *world) field(ctx context.Context, name string, args ...string) (string, error) {
	out, err := w.do(ctx, args...)
	if err != nil {
		return "", err
	}
	var all map[string]any
	if err := json.Unmarshal(out, &all); err != nil {
		return "", err
	}
	text, _ := all[name].(string)
	if text == "" {
		return "", broken("demo.answer", "a member "+name, string(out))
	}
	return text, nil
}

// quiet runs a command without showing it. Its error is the command's own, kind and all.
func (w *world) quiet(ctx context.Context, args ...string) ([]byte, error) {
	cmd, out, errs, err := w.call(ctx, args)
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		return nil, interrupted(ctx)
	}
	return nil, commandError(cmd, out, errs, err)
}

// call runs a command to its end and gives all it printed.
func (w *world) call(ctx context.Context, args []string) (cmd *exec.Cmd, out, errs []byte, err error) {
	cmd = exec.CommandContext(ctx, w.Command, append([]string{"--output", "json"}, args...)...)
	cmd.Dir = w.Dir
	cmd.Env = cleanEnv()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return cmd, stdout.Bytes(), stderr.Bytes(), err
}

// interrupted is what a demo that was told to stop ends with.
func interrupted(ctx context.Context) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "demo.interrupted", Expected: "to go on to the end", Got: context.Cause(ctx).Error(),
		Fix: "run it again: it makes its world anew", Err: ctx.Err()}
}

// commandError reads the error document a command printed.
func commandError(cmd *exec.Cmd, out, errs []byte, err error) error {
	var doc struct {
		Error *verdict.Error `json:"error"`
	}
	var exit *exec.ExitError
	if json.Unmarshal(out, &doc) != nil || doc.Error == nil || !errors.As(err, &exit) {
		return &verdict.Error{Kind: verdict.Broken, Check: "demo.command", Expected: "an answer of " + strings.Join(cmd.Args[1:], " "),
			Got: verdict.Short(err.Error() + ": " + string(errs)), Err: err}
	}
	doc.Error.Kind = verdict.Kind(exit.ExitCode())
	return doc.Error
}

// cleanEnv is the environment of the demo's processes: no home directory of the user's own,
// but the cache of packages that room images are built of.
func cleanEnv() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LANG=C.UTF-8"}
	if cache, err := os.UserCacheDir(); err == nil {
		env = append(env, "XDG_CACHE_HOME="+cache)
	}
	return env
}

// server is a process of the world that serves until it is stopped.
type server struct {
	name string
	args []string
	cmd  *exec.Cmd
	done chan error
	log  *os.File
	once *sync.Once // of stop
	// ready is the document the process printed when it listened.
	ready map[string]any
}

// serve starts a server and waits until it says where it listens.
func (w *world) serve(ctx context.Context, name string, args ...string) (*server, error) {
	w.showCommand(append(args, "&"))
	s, err := w.start(ctx, name, args)
	if err == nil {
		w.servers = append(w.servers, s)
	}
	return s, err
}

func (w *world) start(ctx context.Context, name string, args []string) (*server, error) {
	s, lines, err := w.launch(name, args)
	if err != nil {
		return nil, err
	}
	return s, s.awaitReady(ctx, lines)
}

// launch starts a process; what it prints first comes on the channel.
func (w *world) launch(name string, args []string) (*server, <-chan []byte, error) {
	log, err := os.OpenFile(w.path(name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	s := &server{name: name, args: args, log: log, done: make(chan error, 1), once: new(sync.Once)}
	s.cmd = exec.Command(w.Command, append([]string{"--output", "json"}, args...)...)
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr = w.Dir, cleanEnv(), log
	// The servers end with the demo, however it ends.
	s.cmd.SysProcAttr = dieWithParent()
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	lines := make(chan []byte, 1)
	started := make(chan error)
	go func() {
		// The kernel ties the death signal to the thread that started the process: this one
		// lives as long as the process does.
		runtime.LockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.listen(out, lines)
		}
	}()
	if err := <-started; err != nil {
		return nil, nil, err
	}
	return s, lines, nil
}

// listen reads the ready document, then whatever else comes, and waits for the end.
func (s *server) listen(out io.Reader, lines chan<- []byte) {
	reader := bufio.NewReader(out)
	var doc json.RawMessage
	if json.NewDecoder(reader).Decode(&doc) == nil {
		lines <- doc
	}
	close(lines)
	io.Copy(io.Discard, out)
	s.done <- s.cmd.Wait()
}

func (s *server) awaitReady(ctx context.Context, lines <-chan []byte) error {
	select {
	case line, ok := <-lines:
		if ok && json.Unmarshal(line, &s.ready) == nil && s.ready["error"] == nil {
			return nil
		}
		s.stop()
		var doc struct{ Error *verdict.Error }
		if ok && json.Unmarshal(line, &doc) == nil && doc.Error != nil {
			return doc.Error
		}
		return &verdict.Error{Kind: verdict.Broken, Check: "demo.server", Expected: s.name + " to listen", Got: "it ended", Fix: "see " + s.name + ".log"}
	case <-time.After(20 * time.Second):
		s.stop()
		return &verdict.Error{Kind: verdict.Broken, Check: "demo.server", Expected: s.name + " to listen within 20 s", Got: "silence", Fix: "see " + s.name + ".log"}
	case <-ctx.Done():
		s.stop()
		return ctx.Err()
	}
}

// stop ends a server, gently first. Stopping it again does nothing.
func (s *server) stop() {
	s.once.Do(func() {
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(5 * time.Second):
			s.cmd.Process.Kill()
			<-s.done
		}
		s.log.Close()
	})
}

// close ends every process of the world.
func (w *world) close() {
	for i := len(w.servers) - 1; i >= 0; i-- {
		w.servers[i].stop()
	}
	for _, end := range w.listeners {
		end()
	}
	w.servers, w.listeners = nil, nil
}

// restart stops a server, does something, and starts it again with the same arguments.
func (w *world) restart(ctx context.Context, s *server, between func() error) error {
	s.stop()
	if err := between(); err != nil {
		return err
	}
	fresh, err := w.start(ctx, s.name, s.args)
	if err != nil {
		return err
	}
	*s = *fresh
	return nil
}

// freePort gives a loopback address nobody listens on at the moment.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// bin gives the path of a program beside the command.
func (w *world) bin(name string) string { return filepath.Join(filepath.Dir(w.Command), name) }
