package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"strongroom.dev/internal/durable"
	"strongroom.dev/ledger"
	"strongroom.dev/server"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
)

func (a *app) ledgerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Run and check append-only logs",
		Long: `A ledger is a log that can only grow, and whose every state is signed. Each broker keeps
one; a shared ledger records runs as well, and witnesses that the brokers' logs only grow.`,
	}
	return group(cmd, a.ledgerServe(), a.ledgerShow(), a.ledgerProve(), a.ledgerFsck())
}

// The files of a shared ledger's directory.
const (
	ledgerKeyFile    = "log.key"
	ledgerLogDir     = "log"
	ledgerWitnessDir = "witness"
)

type ledgerServeFlags struct {
	dir, listen, origin, keyFile string
	witness                      []string
	firstKey                     bool
	perSecond                    int
}

func (a *app) ledgerServe() *cobra.Command {
	var f ledgerServeFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a shared ledger that witnesses other logs",
		Long: `Serves a shared ledger over HTTP. It records runs, and cosigns the checkpoints of the logs
named with --witness, never two that disagree. The first call makes its key and its log;
tell the printed key to those who write agreements.

Losing the directory, or going on with an old copy, lets the ledger contradict itself:
give a new ledger a new name instead.`,
		Example: `  strongroom ledger serve --dir ledger --origin ledger.example --listen 127.0.0.1:7500 \
      --witness alpha-hospital.example/log+1a2b3c4d+AbC...`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.serveLedger(ctx, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "", "`DIR` of the ledger; made by the first call")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:7500", "`HOST:PORT` to listen on; port 0 chooses one")
	flags.StringVar(&f.origin, "origin", "", "`NAME` of a new ledger for good, such as ledger.example")
	flags.StringVar(&f.keyFile, "key-file", "", "`FILE` of the ledger's signing key; made if absent (default: log.key in --dir)")
	flags.StringArrayVar(&f.witness, "witness", nil, "verifier `KEY` of a log to cosign, or @FILE of keys, one a line (repeat)")
	flags.BoolVar(&f.firstKey, "insecure-trust-first-key", false, "cosign anybody's logs: whoever comes first with a name has it")
	flags.IntVar(&f.perSecond, "entries-per-second", 50, "the most entries taken, on the average")
	if err := cmd.MarkFlagRequired("dir"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func (a *app) serveLedger(ctx context.Context, f ledgerServeFlags) error {
	if f.perSecond < 1 {
		return verdict.Misuse("--entries-per-second", "at least 1", fmt.Sprint(f.perSecond), "give a number")
	}
	witnessed, err := witnessKeys(f.witness)
	if err != nil {
		return err
	}
	// Everything that can be wrong in the call is found before anything is made.
	if err := ledgerPlace(f); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return noListener("--listen", err)
	}
	defer listener.Close()
	signer, err := a.ledgerSigner(f)
	if err != nil {
		return err
	}
	dir := filepath.Join(f.dir, ledgerLogDir)
	if !tilelog.Exists(dir) {
		if err := tilelog.Create(dir, signer); err != nil {
			return err
		}
	}
	log, err := tilelog.Open(dir, signer)
	if err != nil {
		return err
	}
	defer log.Close() // an error it meets only delays what the next start does
	witness, err := server.OpenWitness(filepath.Join(f.dir, ledgerWitnessDir), signer, witnessed, f.firstKey, a.now)
	if err != nil {
		return err
	}
	ready := map[string]any{"address": listener.Addr().String(), "key": signer.Verifier(), "origin": signer.Origin(), "size": log.Size()}
	if err := a.print(ready, func(w io.Writer) {
		fmt.Fprintf(w, "Ledger %s of %d entries listening on http://%s\n", signer.Origin(), log.Size(), listener.Addr())
		fmt.Fprintf(w, "Its key: %s\n", signer.Verifier())
	}); err != nil {
		return err
	}
	if f.firstKey {
		a.say("INSECURE: cosigning anybody's logs; whoever comes first with a name has it")
	}
	return a.untilFailure(ctx, log, listener, server.Ledger{Log: log, Witness: witness, Key: signer.Verifier(), PerSecond: f.perSecond, Burst: 10 * f.perSecond, Now: a.now})
}

// ledgerPlace demands that the directory is a ledger's, or one that can become it: empty, or
// not there. A new ledger's key may lie in it already.
func ledgerPlace(f ledgerServeFlags) error {
	entries, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		if info, statErr := os.Stat(f.dir); statErr == nil && !info.IsDir() || errors.Is(err, syscall.ENOTDIR) {
			return misfile(f.dir, "a directory for the ledger", "a file", "name a directory with --dir")
		}
		return fileError(f.dir, "a directory for the ledger", err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == ledgerKeyFile, name == ledgerLogDir, name == ledgerWitnessDir, strings.HasPrefix(name, "."):
		case f.keyFile != "" && sameFile(f.keyFile, filepath.Join(f.dir, name)):
		default:
			return misfile(f.dir, "a ledger's directory, or an empty one for a new ledger", "one that holds "+verdict.Printable(verdict.Short(name)), "name another directory with --dir")
		}
	}
	return nil
}

// untilFailure serves until it is told to stop or the log can't write any more.
func (a *app) untilFailure(ctx context.Context, log *tilelog.Log, listener net.Listener, l server.Ledger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-log.Failed():
			stop()
		case <-ctx.Done():
		}
	}()
	l.Logger = slog.New(slog.NewTextHandler(a.err, nil))
	err := server.Serve(ctx, listener, l.Handler(), l.Logger)
	if failed := log.Err(); failed != nil {
		return failed
	}
	return err
}

// ledgerSigner reads the ledger's key, or makes it for a ledger that is new.
func (a *app) ledgerSigner(f ledgerServeFlags) (*ledger.Signer, error) {
	path := f.keyFile
	if path == "" {
		path = filepath.Join(f.dir, ledgerKeyFile)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = makeLedgerKey(path, f); err == nil {
			a.say("made the ledger's signing key: %s", path)
		}
	}
	if err != nil {
		return nil, fileOrVerdict(path, "a ledger's signing key", err)
	}
	signer, err := ledger.ParseSigner(string(text))
	if err != nil {
		return nil, misfile(path, "a ledger's signing key", err.Error(), "name the file that the first ledger serve made")
	}
	if f.origin != "" && f.origin != signer.Origin() {
		return nil, verdict.Misuse("--origin", signer.Origin()+", the name in "+path, f.origin, "leave the flag away, or start another ledger in another directory")
	}
	return signer, nil
}

func makeLedgerKey(path string, f ledgerServeFlags) ([]byte, error) {
	if tilelog.Exists(filepath.Join(f.dir, ledgerLogDir)) {
		return nil, verdict.Misuse("ledger.key", "the signing key of the ledger in "+f.dir, "no file "+path, "restore it, or name it with --key-file; a ledger that lost its key can't go on")
	}
	if f.origin == "" {
		return nil, verdict.Misuse("--origin", "a name for the new ledger, such as ledger.example", "none", "give it one with --origin")
	}
	secret, _, err := ledger.GenerateKey(f.origin)
	if err != nil {
		return nil, verdict.Misuse("--origin", "1 to 128 bytes of printable ASCII without space and plus", verdict.Short(f.origin), "choose another name")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	text := []byte(secret + "\n")
	return text, durable.WriteNew(path, text, 0o600)
}

// fileOrVerdict passes an explained error on, and explains one of the system.
func fileOrVerdict(path, what string, err error) error {
	var e *verdict.Error
	if errors.As(err, &e) {
		return err
	}
	return fileError(path, what, err)
}

// witnessKeys reads what --witness names.
func witnessKeys(flags []string) (keys []string, err error) {
	for _, text := range flags {
		name, isFile := strings.CutPrefix(text, "@")
		if !isFile {
			keys = append(keys, text)
			continue
		}
		more, err := server.ReadWitnesses(name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	named := make(map[string]string)
	for _, key := range keys {
		origin, err := ledger.OriginOf(key)
		if err != nil {
			return nil, verdict.Misuse("--witness", "a log's verifier key NAME+HASH+KEY, or @FILE", verdict.Short(key), "strongroom party show prints a party's log key")
		}
		if other, twice := named[origin]; twice && other != key {
			return nil, verdict.Misuse("--witness", "one key for "+origin, "two", "a log keeps its name and key together: give the right one")
		}
		named[origin] = key
	}
	return keys, nil
}
