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
			expected, got := inOurWords(err.Error())
			return verdict.Misuse("command line", expected, got, verb+" --help shows how it is called")
		}
	}
	return err
}

// inOurWords says what a complaint of cobra's means.
func inOurWords(text string) (expected, got string) {
	var most, least, given int
	var name string
	group, set, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(text, "if any flags in the group ["), "at least one of the flags in the group ["), "]")
	switch {
	case strings.HasPrefix(text, "required flag(s) "):
		return missingFlags(text), "a call without"
	case scans(text, "accepts at most %d arg(s), received %d", &most, &given):
		return counted(most, "at most "), counted(given, "")
	case scans(text, "accepts between %d and %d arg(s), received %d", &least, &most, &given):
		return fmt.Sprintf("%d to %d words after the command", least, most), counted(given, "")
	case scans(text, "accepts %d arg(s), received %d", &most, &given):
		return counted(most, ""), counted(given, "")
	case scans(text, "requires at least %d arg(s), only received %d", &least, &given):
		return counted(least, "at least "), counted(given, "")
	case scans(text, "unknown command %q for", &name):
		return "flags alone after the command", verdict.Short(name)
	case strings.HasPrefix(text, "at least one"):
		return "one of " + flagList(group, " and "), "none of them"
	case strings.HasPrefix(text, "if any"):
		_, list, _ := strings.Cut(set, "[")
		list, _, _ = strings.Cut(list, "]")
		if strings.Contains(text, "none of the others") {
			return "one of " + flagList(group, " and ") + ", not more", flagList(list, " and ") + " together"
		}
		return flagList(group, " and ") + " together", "a call without " + flagList(list, " and ")
	}
	return "a call as --help shows it", verdict.Short(text)
}

func scans(text, format string, into ...any) bool {
	n, _ := fmt.Sscanf(text, format, into...)
	return n == len(into)
}

// counted speaks of the words of a call that are no flags.
func counted(n int, how string) string {
	switch n {
	case 0:
		return "no word after the command"
	case 1:
		return how + "one word after the command"
	}
	return fmt.Sprintf("%s%d words after the command", how, n)
}

func flagList(names, last string) string {
	list := strings.Fields(names)
	for i := range list {
		list[i] = "--" + list[i]
	}
	return strings.Join(list, last)
}

// missingFlags gives the flags that cobra says a call must have.
func missingFlags(text string) string {
	list := strings.TrimPrefix(text, "required flag(s) ")
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
