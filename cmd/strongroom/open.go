package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/proof"
	"strongroom.dev/room"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// opening is one call of `open`.
type opening struct {
	file, out, proof string
	identities       []string
	force, unproven  bool
	trust            trustFlags
}

func (a *app) openCommand() *cobra.Command {
	var o opening
	cmd := &cobra.Command{
		Use:   "open FILE.age",
		Short: "Open a sealed file; a result only after its proof is checked",
		Long: `Opens a sealed file with your keys. A result, sealed to your result key, opens only if
NAME.proof beside it proves that it came out of the room that was agreed on: signatures,
evidence, receipts and the file itself are checked first, with your own address book and
agreements. Wherever there is a proof, named or beside the file, it must hold, whichever key
opens the file and whatever flags are given: --insecure-unproven is for a result that has
none. A file sealed to your data key opens without one: anybody can seal to that
key, so nothing says who made the file.`,
		Example: `  strongroom open means-3f2a.age              # checks means-3f2a.proof, writes means-3f2a.csv
  strongroom open patients.csv.age -o -
  strongroom open notes.age -i backup.key`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			o.file = args[0]
			return a.open(o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.out, "out", "o", "", "write to `FILE` (default: the name without .age, of a result with its format's ending; - for standard output)")
	f.StringArrayVarP(&o.identities, "identity", "i", nil, "identity `FILE` to open with (repeat; default: those of your home)")
	f.StringVar(&o.proof, "proof", "", "the result's proof `FILE` (default: NAME.proof beside it)")
	f.BoolVar(&o.force, "force", false, "replace the output if it exists")
	f.BoolVar(&o.unproven, "insecure-unproven", false, "open a result without its proof: anybody may have made it")
	o.trust.add(cmd)
	return cmd
}

func (a *app) open(o opening) error {
	src, size, err := a.source(o.file, "a sealed file")
	if err != nil {
		return err
	}
	defer src.Close()
	base, sealedName := strings.CutSuffix(o.file, ".age")
	if o.out == "" && (!sealedName || o.file == "-") {
		return verdict.Misuse("--out", "a file to write, where the input's name does not end in .age", "none", "give -o FILE (-o - for standard output)")
	}
	hasProof := o.proof != ""
	if o.proof == "" && o.file != "-" {
		o.proof = base + ".proof"
		_, err := os.Lstat(o.proof)
		hasProof = !errors.Is(err, fs.ErrNotExist)
	}
	ids, err := a.openIdentities(o.identities)
	if err != nil {
		return err
	}
	if o.file == "-" {
		if hasProof {
			return verdict.Misuse("--proof", "a result as a file, to compare with its proof", "standard input", "save it as NAME.age beside NAME.proof")
		}
		return a.openStream(o, ids)
	}
	header, err := seal.ReadHeader(src)
	if err != nil {
		return a.notSealed(o.file, err)
	}
	id, key, err := unwrap(header, ids)
	if err != nil {
		return inFile(o.file, err)
	}
	defer key.Wipe()
	// Whichever key fits the header, which its maker chose: a proof that is there must hold.
	isResult := id.Purpose() != seal.Data || hasProof
	var proven *proof.Proven
	if isResult {
		if proven, err = a.prove(o, hasProof); err != nil {
			return err
		}
	}
	if o.out == "" {
		o.out = base + suffix(proven)
	}
	f := src.(*os.File)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fileError(o.file, "a file, not a pipe", err)
	}
	return a.openWith(o, f, size, key, isResult, proven)
}

// suffix is how the name of an opened result ends: by the format that the agreement gives
// its output. Other files keep the name they were sealed under, and so does what has no
// proof to say what it is.
func suffix(proven *proof.Proven) string {
	if proven == nil || proven.Agreement == nil {
		return ""
	}
	if proven.Logs != nil {
		return ".log"
	}
	if out, found := proven.Agreement.OutputByName(proven.Result.Output); found {
		return "." + string(out.Format)
	}
	return ""
}

// unwrap finds the first identity that a header is sealed to.
func unwrap(header []byte, ids []*seal.Identity) (*seal.Identity, *seal.FileKey, error) {
	var first error
	for _, id := range ids {
		key, err := seal.UnwrapHeader(header, id)
		if err == nil {
			return id, key, nil
		}
		if first == nil || verdict.Exit(err) == int(verdict.Invalid) { // a broken header says more than a key that doesn't fit
			first = err
		}
	}
	return nil, nil, first
}

// prove checks a result's proof, or says what it means to go without.
func (a *app) prove(o opening, hasProof bool) (*proof.Proven, error) {
	if o.unproven && hasProof {
		proven, err := a.provenEither(o.proof, &o.trust)
		if err != nil {
			e := *verdict.As(inFile(o.proof, err))
			e.Fix = "a proof that is there must hold; move it away to open the file as one that anybody may have made"
			return nil, &e
		}
		return proven, nil
	}
	if o.unproven {
		a.say("WARNING: opening %s without its proof: anybody may have made it", o.file)
		return nil, nil
	}
	if _, err := os.Stat(o.proof); errors.Is(err, fs.ErrNotExist) {
		return nil, verdict.Refuse("result.proof", "the result's proof at "+o.proof, "no such file",
			"get it from the host that made the result; --insecure-unproven opens what anybody may have made")
	}
	return a.provenEither(o.proof, &o.trust)
}

// openWith decrypts to the output. A proven file is compared with its proof before the
// first byte is written, and again on the very bytes that were decrypted.
func (a *app) openWith(o opening, f *os.File, size int64, key *seal.FileKey, result bool, proven *proof.Proven) error {
	hash := sha256.New()
	src := io.Reader(f)
	if proven != nil {
		if err := a.checkResultFile(proven, o.file); err != nil {
			return err
		}
		src = io.TeeReader(f, hash)
	}
	var done opened
	err := a.produce(o.out, 0o600, o.force, f, func(dst io.Writer, tell func(int64) error) (err error) {
		opts := seal.Options{Progress: tell}
		if !result {
			done.size, err = plainSize(seal.OpenWithKey(dst, src, key, opts))
			return inFile(o.file, err)
		}
		var sum seal.Summary
		if proven != nil && proven.Logs != nil {
			if sum, err = openLogs(&done, dst, src, key, opts); err != nil {
				return inFile(o.file, err)
			}
			return proven.CheckFile(wire.Hash(hash.Sum(nil)), sum.Size)
		}
		if sum, err = openResult(&done, dst, src, key, proven, opts); err != nil {
			return inFile(o.file, err)
		}
		if proven == nil {
			return nil
		}
		return proven.CheckFile(wire.Hash(hash.Sum(nil)), sum.Size)
	}, a.newProgress("opening", size))
	if err != nil {
		return err
	}
	return a.reportOpened(o, done, proven)
}

// opened is what came out of a sealed file.
type opened struct {
	size int64 // bytes written
	head *room.Head
}

func plainSize(sum seal.Summary, err error) (int64, error) { return sum.Plain, err }

// openResult decrypts a result and takes its answer out of the padding. A result that says
// that the run failed is an error: there is no answer to write.
func openResult(done *opened, dst io.Writer, src io.Reader, key *seal.FileKey, proven *proof.Proven, opts seal.Options) (sum seal.Summary, err error) {
	var want room.Committed
	if proven != nil {
		r := proven.Result
		want = room.Committed{Agreement: r.Agreement, Run: r.Run, RunID: r.RunID, Output: r.Output, Commitment: r.Commitment}
	}
	counted := &counter{w: dst}
	var head room.Head
	sum, err = piped(src, key, opts, func(from io.Reader) (err error) {
		head, err = room.ReadResult(counted, from, want)
		return err
	})
	if err == nil {
		err = head.Failure()
	}
	done.size, done.head = counted.n, &head
	return sum, err
}

// openLogs decrypts a piece of logs and takes its lines out of the padding.
func openLogs(done *opened, dst io.Writer, src io.Reader, key *seal.FileKey, opts seal.Options) (seal.Summary, error) {
	counted := &counter{w: dst}
	sum, err := piped(src, key, opts, func(from io.Reader) error { return room.ReadLogs(counted, from) })
	done.size = counted.n
	return sum, err
}

// piped has read take what is decrypted. What is wrong with the sealed file comes first.
func piped(src io.Reader, key *seal.FileKey, opts seal.Options, read func(io.Reader) error) (sum seal.Summary, err error) {
	from, to := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		var err error
		sum, err = seal.OpenWithKey(to, src, key, opts)
		to.CloseWithError(err)
		ended <- err
	}()
	err = read(from)
	from.CloseWithError(errStopped)
	if serr := <-ended; serr != nil && !errors.Is(serr, errStopped) {
		return sum, serr
	}
	return sum, err
}

var errStopped = errors.New("reading ended")

// counter counts what is written through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// openStream opens standard input, which can't be read twice: data only.
func (a *app) openStream(o opening, ids []*seal.Identity) error {
	if ids = dataOnly(ids); len(ids) == 0 {
		return verdict.Refuse("result.proof", "a result as a file with its proof beside it", "standard input", "save it as NAME.age beside NAME.proof")
	}
	var done opened
	err := a.produce(o.out, 0o600, o.force, io.NopCloser(a.in), func(dst io.Writer, tell func(int64) error) (err error) {
		done.size, err = plainSize(seal.Open(dst, a.in, ids, seal.Options{Progress: tell}))
		return err
	}, a.newProgress("opening", 0))
	if err != nil {
		return err
	}
	return a.reportOpened(o, done, nil)
}

func dataOnly(ids []*seal.Identity) []*seal.Identity {
	var out []*seal.Identity
	for _, id := range ids {
		if id.Purpose() == seal.Data {
			out = append(out, id)
		}
	}
	return out
}

// unproven is what every file without a proof is.
const unproven = "Sealed data, origin unproven: anybody can seal a file to you"

func (a *app) reportOpened(o opening, done opened, proven *proof.Proven) error {
	if o.out == "-" { // standard output holds the file
		if proven == nil {
			a.say(unproven)
		}
		return nil
	}
	view := map[string]any{"file": o.out, "size": done.size, "proven": proven != nil}
	if proven == nil {
		view["origin"] = "unproven"
	}
	if proven != nil {
		view["proof"] = provenDocument(proven)
	}
	if done.head != nil {
		view["result"] = done.head
	}
	return a.print(view, func(w io.Writer) {
		if proven != nil {
			printProven(w, proven)
		}
		fmt.Fprintf(w, "Opened %s: %s\n", byteSize(done.size), o.out)
		if proven == nil {
			fmt.Fprintln(w, unproven)
		}
	})
}

// notSealed says of a proof that it is one: of the two files of a result it is the one that is
// easily named by mistake.
func (a *app) notSealed(file string, err error) error {
	data, rerr := a.readDocument(file, "a sealed file")
	if rerr != nil {
		return inFile(file, err)
	}
	if _, perr := proof.ParseBundle(bytes.TrimSpace(data)); perr != nil {
		return inFile(file, err)
	}
	sealed := shellWord(strings.TrimSuffix(file, ".proof") + ".age")
	return verdict.Misuse("sealed.header", "a sealed file", file+", which is a proof", "open the result that it is about: "+a.self()+" open "+sealed+"; receipt verify checks a proof by itself")
}
