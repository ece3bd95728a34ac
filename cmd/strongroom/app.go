package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"
	"strongroom.dev/verdict"
)

// app is what every verb works with: where it reads and writes, and the global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	homeDir  string
	now      func() time.Time
	// printed is set once the one document of --output json is on standard output.
	printed bool
}

// print shows a verb's result: value as the one JSON document of standard output, or text.
func (a *app) print(value any, text func(w io.Writer)) error {
	if !a.json {
		text(a.out)
		return nil
	}
	a.printed = true
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// say tells the user what is going on; it never touches standard output.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }

// ask puts a question to whoever sits at the terminal; only a yes is one. Where nobody sits
// there it is an error, which unattended mends.
func (a *app) ask(question, unattended string) (bool, error) {
	in, isFile := a.in.(*os.File)
	if a.json || !isFile || !term.IsTerminal(int(in.Fd())) {
		return false, nobodyToAsk(unattended)
	}
	fmt.Fprint(a.err, question+" [y/N] ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

func nobodyToAsk(mend string) error {
	return verdict.Misuse("--yes", "your consent", "nobody at a terminal to ask", mend)
}

// defaultHome is where a party's keys and papers are unless --home says otherwise.
func defaultHome() string {
	if dir := os.Getenv("STRONGROOM_HOME"); dir != "" {
		return dir
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return ".strongroom"
	}
	return filepath.Join(dir, ".strongroom")
}
