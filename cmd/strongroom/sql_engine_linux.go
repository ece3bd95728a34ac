package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql"
)

// runEngine has the SQL engine answer a job over files in memory, as a room's agent does, but
// without its sandbox: what is in the files is made up here.
func runEngine(ctx context.Context, engine string, job sql.Job, files [][]byte) (sql.Result, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return sql.Result{}, err
	}
	mine, its := os.NewFile(uintptr(pair[0]), "engine"), os.NewFile(uintptr(pair[1]), "agent")
	defer mine.Close()
	defer its.Close()
	cmd := exec.CommandContext(ctx, engine)
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.ExtraFiles = []*os.File{its}
	var said bytes.Buffer
	cmd.Stderr = &said
	for _, data := range files {
		fd, err := unix.MemfdCreate("rows", unix.MFD_CLOEXEC)
		if err != nil {
			return sql.Result{}, err
		}
		f := os.NewFile(uintptr(fd), "rows")
		defer f.Close()
		if _, err := f.Write(data); err != nil {
			return sql.Result{}, err
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	if err := cmd.Start(); err != nil {
		return sql.Result{}, err
	}
	its.Close()
	result, err := sql.Run(ctx, mine, job, nil)
	mine.Close()
	if werr := cmd.Wait(); err == nil && werr != nil {
		err = werr
	}
	if failure, isFailure := err.(*sql.Failure); isFailure {
		return sql.Result{}, verdict.Refuse("sql."+failure.Code, "a query that the engine can answer", failure.Detail, "change the query, or ask for fewer rows")
	}
	return result, err
}
