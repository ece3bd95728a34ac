// Command strongroom-sql is the SQL engine of a room. The agent starts it in a sandbox with
// a socket as descriptor 3 and sealed plaintext as descriptors from 4 on; it answers one
// job (spec/sql.md) and ends. It holds no key and opens nothing else.
//
// Outside a room, "strongroom-sql check" reads a job with "check_only" true as JSON from
// standard input and prints one JSON document: the columns of its answer, the hash of its
// plan and the query as it would run, or as "error" why it would be refused.
// "strongroom-sql profile" reads a profile's job, with the number of an open descriptor of one input, and
// prints what that input's rows are like, for its owner.
// "strongroom-sql --version" prints the build's name. Exit codes are those of strongroom:
// 0 ok, 1 broken, 2 usage, 3 refused.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"strongroom.dev/internal/version"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// socket is the descriptor the agent's socket comes in on.
const socket = 3

// maxJob bounds a job on standard input; the largest agreement's is below 8 MiB.
const maxJob = 8 << 20

func main() {
	err := run(os.Args[1:], os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "strongroom-sql: "+verdict.As(err).Error())
	}
	os.Exit(verdict.Exit(err))
}

func run(args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 0:
		return serve()
	case len(args) == 1 && (args[0] == "check" || args[0] == "profile"):
		do := check
		if args[0] == "profile" {
			do = profile
		}
		err := do(in, out)
		if err != nil {
			fmt.Fprintf(out, "{\"error\":%s}\n", verdict.Encode(err))
		}
		return err
	case len(args) == 1 && args[0] == "--version":
		_, err := fmt.Fprintln(out, version.Version)
		return err
	}
	return verdict.Misuse("command line", "no argument, check, profile or --version", fmt.Sprintf("%q", args), "strongroom starts this program; strongroom-sql check < JOB.json checks a query")
}

// serve answers the one job that comes on the socket.
func serve() error {
	if kind, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return verdict.Misuse("descriptor 3", "a stream socket to the agent", "none", "strongroom starts this program; strongroom-sql check < JOB.json checks a query")
	}
	conn := os.NewFile(socket, "agent")
	defer conn.Close()
	if err := sql.Serve(context.Background(), conn, engine.Execute); err != nil {
		return &verdict.Error{Kind: verdict.Broken, Check: "sql.conversation", Expected: "a job, and a peer to answer", Got: err.Error(), Err: err}
	}
	return nil
}

// answer is what check prints.
type answer struct {
	Columns []sql.Column `json:"columns"`
	Plan    string       `json:"plan"`
	SQL     string       `json:"sql"`
}

func check(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(io.LimitReader(in, maxJob+1))
	if err != nil {
		return err
	}
	job, err := sql.ParseJob(data)
	if err != nil {
		return verdict.Misuse("job", "a job as in spec/sql.md, at most 8 MiB of JSON", err.Error(), "see examples in spec/vectors/sql")
	}
	if !job.CheckOnly {
		return verdict.Misuse("job.check_only", "true", "false", "outside a room no data is read")
	}
	result, err := engine.Execute(context.Background(), job, func(sql.Progress) {})
	var failure *sql.Failure
	if errors.As(err, &failure) {
		return failure.Refusal()
	}
	if err != nil {
		return err
	}
	return printJSON(out, answer{result.Columns, result.Plan.String(), result.SQL})
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// profile looks at an input for its owner, who may be told what is wrong in it.
func profile(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(io.LimitReader(in, maxJob+1))
	if err != nil {
		return err
	}
	job, err := sql.ParseProfileJob(data)
	if err != nil {
		return verdict.Misuse("job", "an input, memory and threads", err.Error(), "strongroom dataset publish --check makes one")
	}
	p, err := engine.Profile(context.Background(), job, halfOfMemory(), int64(runtime.NumCPU()))
	var failure *sql.Failure
	if errors.As(err, &failure) {
		return verdict.Misuse("dataset.rows", "rows that a room loads", failure.Detail, "correct the file")
	}
	if err != nil {
		return err
	}
	return printJSON(out, p)
}

// halfOfMemory gives half of the machine's memory, in bytes, at least 256 MiB.
func halfOfMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 1 << 30
	}
	return max(int64(info.Totalram*uint64(info.Unit)/2), 256<<20)
}
