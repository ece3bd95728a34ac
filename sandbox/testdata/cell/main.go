// Command cell shuts itself in as an agent does and runs scenarios in cells, or is what runs
// in one and tries what it should not be able to do. The test of package sandbox builds it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"strongroom.dev/sandbox"
	"strongroom.dev/sandbox/tree"
)

// Descriptors that the test hands over.
const (
	reportFD   = 3
	scenarioFD = 4
	programFD  = 5
	handedFD   = 6 // a directory, in scenarios that mount one
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "work" {
		work(os.Args[2], os.Args[3:])
		return
	}
	in, err := sandbox.Main(1, 3)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	data, _ := io.ReadAll(os.NewFile(scenarioFD, "scenario"))
	a := &agent{in: in, r: report{Lacks: in.Lacks, CellLacks: in.CellLacks, Got: map[string]string{}}}
	run, found := scenarios()[string(data)]
	if !found {
		os.Exit(2)
	}
	if err := run(a); err != nil {
		a.r.Error = err.Error()
	}
	in.Close()
	out, _ := json.Marshal(a.r)
	os.NewFile(reportFD, "report").Write(out)
	os.Exit(7)
}

type report struct {
	Lacks, CellLacks []sandbox.Lack
	Error            string
	Got              map[string]string
}

type agent struct {
	in *sandbox.Inside
	r  report
}

func (a *agent) note(name string, value any) { a.r.Got[name] = fmt.Sprint(value) }

const patience = 15 * time.Second

// program is this program, as the test handed it over.
var program = os.NewFile(programFD, "program")

// base is a small root with this program in it, and a cell that runs it.
func base(mode string, args ...string) sandbox.Cell {
	return sandbox.Cell{
		Root:      sandbox.Root{Unpack: unpack(nil), Limits: tree.Limits{Entries: 100, Bytes: 64 << 20}},
		Argv:      append([]string{"/bin/probe", "work", mode}, args...),
		Env:       []string{"NAME=VALUE"},
		Directory: "/",
		Mounts:    []sandbox.Mount{{Path: "/tmp", Kind: sandbox.MemoryMount, Bytes: 16 << 20, Mode: 0o1777}},
		Limits:    sandbox.CellLimits{Memory: 256 << 20, Processes: 64, Files: 64},
	}
}

// unpack writes the root: this program, a few files, and what else is given.
func unpack(more func(*tree.Writer) error) func(*tree.Writer) error {
	return func(w *tree.Writer) error {
		info, err := program.Stat()
		if err != nil {
			return err
		}
		text := func(s string) io.Reader { return bytes.NewReader([]byte(s)) }
		const script = "#!/bin/probe work\n"
		for _, e := range []struct {
			tree.Entry
			content io.Reader
		}{
			{tree.Entry{Path: ".", Type: tree.Directory, Mode: 0o755}, nil},
			{tree.Entry{Path: "bin", Type: tree.Directory, Mode: 0o755, MTime: 1000}, nil},
			{tree.Entry{Path: "bin/probe", Type: tree.Regular, Mode: 0o4755, Size: info.Size()}, io.NewSectionReader(program, 0, info.Size())},
			{tree.Entry{Path: "bin/setuid", Type: tree.Link, Target: "bin/probe"}, nil},
			{tree.Entry{Path: "bin/script", Type: tree.Regular, Mode: 0o755, Size: int64(len(script))}, text(script)},
			{tree.Entry{Path: "etc", Type: tree.Directory, Mode: 0o755}, nil},
			{tree.Entry{Path: "etc/passwd", Type: tree.Regular, Mode: 0o644, Size: 5, MTime: 2000}, text("root\n")},
			{tree.Entry{Path: "etc/hosts", Type: tree.Regular, Mode: 0o644}, nil},
			{tree.Entry{Path: "etc/secret", Type: tree.Regular, Mode: 0o600, UID: 33, GID: 34, Size: 2}, text("x\n")},
			{tree.Entry{Path: "etc/link", Type: tree.Symlink, Mode: 0o777, Target: "../../../etc/passwd"}, nil},
		} {
			if err := w.Add(e.Entry, e.content); err != nil {
				return err
			}
		}
		if more != nil {
			return more(w)
		}
		return nil
	}
}

// start starts a cell and collects what it prints under name.
func (a *agent) start(name string, c sandbox.Cell) (*sandbox.CellProcess, func(), error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := a.in.StartCell(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	done := make(chan string, 2)
	for _, f := range []*os.File{p.Stdout, p.Stderr} {
		go func() { data, _ := io.ReadAll(f); done <- string(data) }()
	}
	return p, func() { p.Kill(); a.note(name, <-done+<-done) }, nil
}

// once runs a cell to its end.
func (a *agent) once(name string, c sandbox.Cell) (sandbox.Exit, error) {
	p, end, err := a.start(name, c)
	if err != nil {
		return sandbox.Exit{}, err
	}
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	exit, err := p.Wait(ctx)
	a.note(name+" exit", exit)
	return exit, err
}
