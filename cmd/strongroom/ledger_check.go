package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/client"
	"strongroom.dev/internal/home"
	"strongroom.dev/ledger"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// ledgerSource is a log on disk or a ledger that is served.
type ledgerSource interface {
	Receipt(ctx context.Context, index int64) (ledger.Receipt, error)
	Consistency(ctx context.Context, from, to int64) ([]wire.Hash, error)
	Checkpoint(ctx context.Context) (ledger.Checkpoint, error)
}

// onDisk is a snapshot as a source.
type onDisk struct{ *tilelog.Snapshot }

func (d onDisk) Receipt(_ context.Context, index int64) (ledger.Receipt, error) {
	return d.Snapshot.Receipt(index)
}

func (d onDisk) Consistency(_ context.Context, from, to int64) ([]wire.Hash, error) {
	return d.Snapshot.Consistency(from, to)
}

func (d onDisk) Checkpoint(context.Context) (ledger.Checkpoint, error) {
	return d.Snapshot.Checkpoint(), nil
}

// ledgerAt opens a place that a user named: a directory or a URL.
func (a *app) ledgerAt(place, key string) (ledgerSource, string, error) {
	if _, err := ledger.OriginOf(key); err != nil && key != "" {
		return nil, "", verdict.Misuse("--key", "a log's verifier key NAME+HASH+KEY", verdict.Short(key), "copy it as its operator or the agreement shows it")
	}
	if strings.HasPrefix(place, "http://") || strings.HasPrefix(place, "https://") {
		if key == "" {
			return nil, "", verdict.Misuse("--key", "the ledger's verifier key", "none", "ask its operator; agreements name it too")
		}
		return client.NewLedger(place, key, nil), key, nil
	}
	dir, key, err := a.logDir(place, key)
	if err != nil {
		return nil, "", err
	}
	s, err := tilelog.Read(dir, key)
	return onDisk{s}, key, err
}

// logDir finds the log in a directory that a user named, which may be a shared ledger's, and
// its verifier key: the one given, else that of the signing key that lies beside it, which
// only the log's own keeper has.
func (a *app) logDir(dir, key string) (log, verifier string, err error) {
	if !tilelog.Exists(dir) && tilelog.Exists(filepath.Join(dir, ledgerLogDir)) {
		dir = filepath.Join(dir, ledgerLogDir)
	}
	if _, err := os.Stat(filepath.Join(dir, "checkpoint")); errors.Is(err, fs.ErrNotExist) && !tilelog.Exists(dir) {
		return "", "", misfile(dir, "the directory of a log", "no log there", "name a broker's log directory or a shared ledger's")
	}
	if key != "" {
		return dir, key, nil
	}
	if text, err := os.ReadFile(filepath.Join(dir, "..", ledgerKeyFile)); err == nil {
		if key, err = ledger.VerifierOf(string(text)); err == nil {
			return dir, key, nil
		}
	}
	if h, err := home.Open(a.homeDir); err == nil && sameFile(dir, h.BrokerLog()) {
		if text, err := h.LogKey(); err == nil {
			key, err = ledger.VerifierOf(text)
			return dir, key, err
		}
	}
	return "", "", verdict.Misuse("--key", "the log's verifier key", "none", "its owner's party descriptor or the agreement names it")
}

func sameFile(a, b string) bool {
	one, err1 := os.Stat(a)
	two, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, two)
}

// remember demands that a checkpoint extends what this home saw of the log before, and keeps
// it (R15). Without a home there is nothing to compare with.
func (a *app) remember(ctx context.Context, s ledgerSource, key string, c ledger.Checkpoint) (remembered bool, err error) {
	if _, err := home.Open(a.homeDir); err != nil {
		return false, nil
	}
	seen := client.NewSeen(filepath.Join(a.homeDir, "seen.json"))
	_, err = seen.Accept(key, c.Note, func(from, to int64) ([]wire.Hash, error) { return s.Consistency(ctx, from, to) })
	return err == nil, err
}

func ledgerNumber(text, what string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, verdict.Misuse(what, "a number from 0", verdict.Short(text), "strongroom ledger show says how many entries there are")
	}
	return n, nil
}

func (a *app) ledgerShow() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "show DIR|URL [INDEX]",
		Short: "Show a log's checkpoint, or one entry",
		Long: `Shows the latest checkpoint of a log, checked with its key, or one entry with the proof that
it is in the log. What your home saw of the log before must be part of it.`,
		Example: "  strongroom ledger show ledger\n  strongroom ledger show http://127.0.0.1:7500 3 --key ledger.example+1a2b3c4d+AbC...",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, key, err := a.ledgerAt(args[0], key)
			if err != nil {
				return err
			}
			if len(args) == 2 {
				return a.showEntry(cmd.Context(), s, key, args[1])
			}
			return a.showCheckpoint(cmd.Context(), s, key)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the log's verifier `KEY` (default: of the signing key beside it)")
	return cmd
}

func (a *app) showCheckpoint(ctx context.Context, s ledgerSource, key string) error {
	c, err := s.Checkpoint(ctx)
	if err != nil {
		return err
	}
	remembered, err := a.remember(ctx, s, key, c)
	if err != nil {
		return err
	}
	value := map[string]any{"origin": c.Origin, "size": c.Size, "root": c.Root, "key": key, "checkpoint": c.Note, "remembered": remembered}
	return a.print(value, func(w io.Writer) {
		fmt.Fprintf(w, "Log      %s\nEntries  %d\nRoot     %s\nKey      %s\n", c.Origin, c.Size, c.Root, key)
		if remembered {
			fmt.Fprintln(w, "It extends what you saw of it before, and is remembered.")
		}
	})
}

func (a *app) showEntry(ctx context.Context, s ledgerSource, key, text string) error {
	index, err := ledgerNumber(text, "INDEX")
	if err != nil {
		return err
	}
	r, err := s.Receipt(ctx, index)
	if err != nil {
		return err
	}
	e, c, err := r.Verify(key, nil, 0)
	if err != nil {
		return err
	}
	value := map[string]any{"origin": c.Origin, "index": index, "size": c.Size, "entry": json.RawMessage(r.Entry)}
	return a.print(value, func(w io.Writer) {
		fmt.Fprintf(w, "Entry %d of the %d in %s\n", index, c.Size, c.Origin)
		fmt.Fprintf(w, "Kind       %s\nTime       %s\n", e.Kind, time.UnixMilli(e.TimeMS).UTC().Format(time.RFC3339))
		if e.Agreement != nil {
			fmt.Fprintf(w, "Agreement  %s\n", e.Agreement)
		}
		if e.RunID != "" {
			fmt.Fprintf(w, "Run        %s\n", e.RunID)
		}
		fmt.Fprintf(w, "Public     %s\n", verdict.Printable(string(e.Public)))
		for _, part := range e.Sealed {
			fmt.Fprintf(w, "Sealed     %d bytes that only %s can read\n", len(part.Sealed), part.Party)
		}
	})
}

func (a *app) ledgerProve() *cobra.Command {
	var key, out string
	var force bool
	cmd := &cobra.Command{
		Use:   "prove DIR|URL INDEX | prove DIR|URL FROM TO",
		Short: "Prove that an entry is in a log, or that a log only grew",
		Long: `With one number, writes the receipt of that entry: whoever has the log's key can check it
without the log. With two, proves that the log of TO entries extends that of FROM entries.
What is proved has been checked.`,
		Example: "  strongroom ledger prove ledger 3 -o entry-3.receipt\n  strongroom ledger prove ledger 2 4",
		Args:    cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, key, err := a.ledgerAt(args[0], key)
			if err != nil {
				return err
			}
			first, err := ledgerNumber(args[1], "INDEX")
			if err != nil {
				return err
			}
			if len(args) == 2 {
				return a.proveEntry(cmd.Context(), s, key, first, out, force)
			}
			to, err := ledgerNumber(args[2], "TO")
			if err != nil {
				return err
			}
			return a.proveGrowth(cmd.Context(), s, first, to, out, force)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&key, "key", "", "the log's verifier `KEY` (default: of the signing key beside it)")
	flags.StringVarP(&out, "out", "o", "", "write the proof, JSON, to `FILE`; - is standard output")
	flags.BoolVar(&force, "force", false, "replace the file")
	return cmd
}

func (a *app) proveEntry(ctx context.Context, s ledgerSource, key string, index int64, out string, force bool) error {
	r, err := s.Receipt(ctx, index)
	if err != nil {
		return err
	}
	e, c, err := r.Verify(key, nil, 0)
	if err != nil {
		return err
	}
	return a.deliverProof(r, out, force, func(w io.Writer) {
		fmt.Fprintf(w, "Entry %d (%s, %s) is one of the %d in %s\n", index, e.Kind, time.UnixMilli(e.TimeMS).UTC().Format(time.RFC3339), c.Size, c.Origin)
	})
}

// growth is a consistency proof with the sizes it is about.
type growth struct {
	From  int64       `json:"from"`
	To    int64       `json:"to"`
	Proof []wire.Hash `json:"proof"`
}

func (a *app) proveGrowth(ctx context.Context, s ledgerSource, from, to int64, out string, force bool) error {
	proof, err := s.Consistency(ctx, from, to)
	if err != nil {
		return err
	}
	return a.deliverProof(growth{from, to, proof}, out, force, func(w io.Writer) {
		fmt.Fprintf(w, "%d hashes prove that the log of %d entries extends that of %d; check them against the two signed checkpoints\n", len(proof), to, from)
	})
}

// deliverProof writes a proof where the user wants it: a file, or the one JSON document; the
// text on a screen only tells what there is.
func (a *app) deliverProof(value any, out string, force bool, text func(io.Writer)) error {
	if out != "" {
		data, err := wire.Marshal(value)
		if err != nil {
			return err
		}
		if err := a.saveFile(out, append(data, '\n'), 0o644, force); err != nil || out == "-" {
			return err
		}
	}
	return a.print(value, func(w io.Writer) {
		text(w)
		if out == "" {
			fmt.Fprintln(w, "-o FILE writes the proof itself")
		} else {
			fmt.Fprintf(w, "Proof written to %s\n", out)
		}
	})
}

func (a *app) ledgerFsck() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "fsck DIR",
		Short: "Check a log on disk, every byte",
		Long: `Hashes every entry of a log again, compares every tile, checks the checkpoint's signature,
and reads every entry. It changes nothing and may run while the log is in use. It can't see
that a whole directory was set back: compare with what witnesses saw (ledger show URL).`,
		Example: "  strongroom ledger fsck ledger",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, key, err := a.logDir(args[0], key)
			if err != nil {
				return err
			}
			r, err := tilelog.Fsck(dir, key, func(index int64, data []byte) error {
				if _, err := ledger.ParseEntry(data); err != nil {
					e := *verdict.As(err)
					e.Kind, e.Where = verdict.Broken, fmt.Sprintf("%s: entry %d", dir, index)
					return &e
				}
				return nil
			})
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s is whole: %d entries, root %s, %d tiles compared\n", r.Origin, r.Size, r.Root, r.Tiles)
				if r.Torn > 0 {
					fmt.Fprintf(w, "Its last write was cut off (%d bytes); nobody was told that it was recorded, and the next start drops it\n", r.Torn)
				}
				if r.Copy {
					fmt.Fprintln(w, "It is a published copy: it has no journal, and can't be written to")
				}
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the log's verifier `KEY` (default: of the signing key beside it)")
	return cmd
}
