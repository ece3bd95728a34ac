package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"strongroom.dev/internal/home"
	"strongroom.dev/seal"
	"strongroom.dev/source"
	"strongroom.dev/verdict"
)

// errInterrupted is what a long copy gives when the user stops it.
var errInterrupted = &verdict.Error{Kind: verdict.Broken, Check: "interrupted", Expected: "to go on to the end", Got: "a signal to stop", Fix: "nothing was left behind; start again"}

func (a *app) sealCommand() *cobra.Command {
	var out string
	var to []string
	var force bool
	cmd := &cobra.Command{
		Use:   "seal FILE --to PARTY",
		Short: "Seal a file to parties",
		Long: `Encrypts a file so that only the named parties' brokers can open it. A party is one of your
address book, or yourself; age1... recipients and @FILE with a list of them work too. The
sealed file is a plain age file: the age command reads it, and "strongroom open" reads what
age makes.

To bring data under an agreement use "strongroom dataset publish", which seals too.`,
		Example: `  strongroom seal patients.csv --to beta
  tar c scans | strongroom seal - -o scans.tar.age --to alpha --to beta
  strongroom seal s3://exports/scans.tar --to beta
  strongroom seal notes.txt --to @recipients.txt -o notes.age`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if out == "" && args[0] == "-" {
				return verdict.Misuse("--out", "a file for what is sealed from standard input", "none", "give -o FILE (-o - for standard output)")
			}
			if out == "" {
				out = args[0] + ".age"
				if source.IsS3(args[0]) {
					out = path.Base(args[0]) + ".age"
				}
			}
			recipients, err := a.recipients(to)
			if err != nil {
				return err
			}
			sum, err := a.sealFile(args[0], out, force, recipients)
			if err != nil || out == "-" {
				return err
			}
			view := map[string]any{"file": out, "size": sum.Size, "plain": sum.Plain, "header": sum.HeaderHash, "recipients": sum.Recipients}
			return a.print(view, func(w io.Writer) {
				fmt.Fprintf(w, "Sealed %s to %d recipient(s): %s\n", byteSize(sum.Plain), sum.Recipients, out)
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "out", "o", "", "write to `FILE` (default: FILE.age; - for standard output)")
	f.StringArrayVar(&to, "to", nil, "`PARTY`, age1... recipient or @FILE of recipients (repeat)")
	f.BoolVar(&force, "force", false, "replace the output if it exists")
	mustHave(cmd, "to")
	return cmd
}

// recipients turns what --to names into age recipients, each once.
func (a *app) recipients(to []string) ([]seal.Recipient, error) {
	var out []seal.Recipient
	for _, t := range to {
		texts, err := a.recipientTexts(t)
		if err != nil {
			return nil, err
		}
		for _, text := range texts {
			r, err := seal.ParseRecipient(text)
			if err != nil {
				return nil, inFile("--to "+verdict.Short(cutText(t, 30)), err)
			}
			if !slices.ContainsFunc(out, func(o seal.Recipient) bool { return o.String() == r.String() }) {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// cutText shortens a text that may be a recipient of 2,000 characters.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

func (a *app) recipientTexts(to string) ([]string, error) {
	if strings.HasPrefix(to, "age1") {
		return []string{to}, nil
	}
	if strings.HasPrefix(strings.ToUpper(to), "AGE-SECRET-KEY-") {
		return nil, verdict.Misuse("--to", "a public recipient", "a private key", "never put a private key on a command line; make a new one now")
	}
	if file, found := strings.CutPrefix(to, "@"); found {
		return a.recipientsFile(file)
	}
	h, err := a.openHome()
	if err != nil {
		return nil, err
	}
	p, _, err := findParty(h, []string{to}, 0)
	if err != nil {
		return nil, err
	}
	if p.Broker == nil {
		return nil, verdict.Misuse("--to", "a party with a broker", string(p.Name)+" brings no data and has none", "name its age1... recipient instead, if you know it")
	}
	return p.Broker.Data, nil
}

// recipientsFile reads recipients, one a line, with comments as the age command has them.
func (a *app) recipientsFile(file string) ([]string, error) {
	data, err := a.readDocument(file, "a list of age1... recipients")
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		return nil, misfile(file, "a list of age1... recipients", "none in it", "one a line")
	}
	return out, nil
}

// source opens what is to be read through: a file, standard input, or an object of S3-compatible
// storage. size is 0 if unknown.
func (a *app) source(path, what string) (src io.ReadCloser, size int64, err error) {
	if path == "-" {
		return io.NopCloser(a.in), 0, nil
	}
	if source.IsS3(path) {
		s, err := s3(path, false)
		if err != nil {
			return nil, 0, err
		}
		return s.Open(context.Background()) // closing ends it
	}
	f, err := a.openFile(path, what)
	if err != nil {
		return nil, 0, err
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, nil
}

func (a *app) sealFile(path, out string, force bool, recipients []seal.Recipient) (sum seal.Summary, err error) {
	src, size, err := a.source(path, "a file to seal")
	if err != nil {
		return sum, err
	}
	defer src.Close()
	err = a.produce(out, 0o644, force, src, func(dst io.Writer, progress func(int64) error) error {
		sum, err = seal.Seal(dst, src, recipients, seal.Options{Progress: progress})
		return err
	}, a.newProgress("sealing", size))
	return sum, err
}

// produce makes an output file by a long copy: it shows progress, can be interrupted, and
// gives the file its name only if all went well. "-" is standard output.
func (a *app) produce(out string, mode os.FileMode, force bool, src io.Closer, work func(dst io.Writer, progress func(int64) error) error, bar *progress) error {
	if err := a.noStdoutWithJSON(out); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Closing the source ends a read that waits for a pipe.
	defer context.AfterFunc(ctx, func() { src.Close() })()
	defer bar.end()
	tell := func(done int64) error {
		bar.set(done)
		if ctx.Err() != nil {
			return errInterrupted
		}
		return nil
	}
	if out == "-" {
		if f, ok := a.out.(*os.File); ok && mode == 0o644 && term.IsTerminal(int(f.Fd())) {
			return verdict.Misuse("--out", "a file or a pipe", "a terminal", "give -o FILE")
		}
		return interrupted(ctx, work(a.out, tell))
	}
	f, err := createFile(out, mode, force)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := interrupted(ctx, work(f, tell)); err != nil {
		return err
	}
	return commitFile(f, out, force)
}

func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// openIdentities reads identity files, or gives those of the home, its data identities
// first.
func (a *app) openIdentities(files []string) ([]*seal.Identity, error) {
	var out []*seal.Identity
	for _, file := range files {
		id, err := a.identityFile(file)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	if len(files) > 0 {
		return out, nil
	}
	h, err := a.openHome()
	if err != nil {
		return nil, err
	}
	out, err = h.ResultIdentities()
	if err != nil {
		return nil, err
	}
	data, err := h.DataIdentities()
	var e *verdict.Error
	if errors.As(err, &e) && e.Check == "home.key" {
		return out, nil // a party without data
	}
	return append(data, out...), err
}

func (a *app) identityFile(path string) (*seal.Identity, error) {
	if path == "-" {
		data, err := a.readDocument(path, "an identity file")
		if err != nil {
			return nil, err
		}
		defer clear(data)
		id, err := seal.ParseIdentityFile(string(data))
		return id, inFile(path, err)
	}
	return home.LoadIdentity(path)
}
