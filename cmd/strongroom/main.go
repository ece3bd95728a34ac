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
	verb, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	err = usage(err, verb.CommandPath())
	a.fail(err, a.json || wantsJSON(args))
	return verdict.Exit(err)
}

// usage gives cobra's own complaints (unknown verb, wrong number of arguments), which have
// no type, the kind of a wrong call. verb is the one that was called, in full.
func usage(err error, verb string) error {
	for _, start := range []string{"unknown command", "unknown flag", "unknown shorthand", "accepts ", "requires ", "required flag", "invalid argument", "at least one of the flags", "if any flags in the group"} {
		if strings.HasPrefix(err.Error(), start) {
			if flags := missingFlags(err); flags != "" {
				return verdict.Misuse("command line", flags, "a call without", verb+" --help says what to give")
			}
			return verdict.Misuse("command line", "a call as --help shows it", verdict.Short(err.Error()), verb+" --help shows one")
		}
	}
	return err
}

// missingFlags gives the flags that cobra says a call must have, "" if that is not what it
// says.
func missingFlags(err error) string {
	list, found := strings.CutPrefix(err.Error(), "required flag(s) ")
	if !found {
		return ""
	}
	names := strings.Split(strings.TrimSuffix(list, " not set"), ", ")
	for i, name := range names {
		names[i] = "--" + strings.Trim(name, `"`)
	}
	return strings.Join(names, " and ")
}

// fail prints an error once: a line for people, or the document for machines.
func (a *app) fail(err error, asJSON bool) {
	e := verdict.As(err)
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
