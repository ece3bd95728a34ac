// Command strongroom is the one command for people and servers: parties, agreements, sealed
// data, brokers, rooms, results, ledgers. It holds no engine and no cgo.
//
// Exit codes: 0 ok, 1 broken, 2 usage, 3 refused, 4 invalid evidence. With --output json,
// standard output holds exactly one JSON document, on errors too.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"strongroom.dev/verdict"
)

func main() {
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, now: time.Now}
	os.Exit(a.run(os.Args[1:]))
}

// run is the whole program but for the exit, so that tests can call it.
func (a *app) run(args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.Execute()
	if err != nil {
		a.fail(err, a.json || wantsJSON(args))
	}
	return verdict.Exit(usage(err))
}

// usage gives cobra's own complaints (unknown verb, wrong number of arguments), which have
// no type, the kind of a wrong call.
func usage(err error) error {
	if err == nil {
		return nil
	}
	for _, start := range []string{"unknown command", "unknown flag", "unknown shorthand", "accepts ", "requires ", "required flag", "invalid argument", "at least one of the flags", "if any flags in the group"} {
		if strings.HasPrefix(err.Error(), start) {
			return verdict.Misuse("command line", "a call as --help shows it", err.Error(), "strongroom --help lists the verbs")
		}
	}
	return err
}

// fail prints an error once: a line for people, or the document for machines.
func (a *app) fail(err error, asJSON bool) {
	e := verdict.As(usage(err))
	if e.Fix == "" {
		mended := *e
		mended.Fix = "correct it and try again"
		if e.Kind == verdict.Broken {
			mended.Fix = "strongroom doctor checks this machine"
		}
		e = &mended
	}
	if !asJSON || a.printed { // a server that stops, or a report of attacks: the document is out
		fmt.Fprintln(a.err, "strongroom: "+e.Error())
		return
	}
	writeJSON(a.out, map[string]any{"error": e})
}

func writeJSON(w io.Writer, value any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		fmt.Fprintln(os.Stderr, "strongroom: writing the answer:", err)
	}
}

// wantsJSON finds --output json in a command line that could not be parsed.
func wantsJSON(args []string) bool {
	i := slices.Index(args, "--output")
	return slices.Contains(args, "--output=json") || i >= 0 && i+1 < len(args) && args[i+1] == "json"
}
