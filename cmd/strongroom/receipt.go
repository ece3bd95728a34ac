package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/client"
	"strongroom.dev/internal/home"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/proof"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) receiptCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "receipt",
		Short: "Check afterwards what a room did",
	}
	return group(cmd, a.receiptVerify(), a.receiptEvidence())
}

func (a *app) receiptVerify() *cobra.Command {
	var trust trustFlags
	var file string
	cmd := &cobra.Command{
		Use:   "verify FILE.proof",
		Short: "Check a result's proof offline, with your own roots",
		Long: `Checks, offline, that a result, or a piece of a container's logs, came out of the room that was agreed on: every party's
signature, the request, the room's evidence, each owner's release and last word, the room's
own statement and the ledgers' receipts.

Roots, parties and ledgers come from your home directory (the address book and the agreements
you signed) and from the flags, never from the proof. A stranger needs no home: --party names
the file of every party's descriptor, --root a software root, --ledger a shared ledger.

Evidence of SEV-SNP, TDX or Azure is judged by --endorsements as of when its broker did: keep
what was in force at the time of the run ("endorsements fetch", "endorsements pack"); vendors don't
serve it later. Where the agreement names a release line, --reference gives the very set by which
each owner's broker accepted the room, as of when it did: the makers publish it.`,
		Example: `  strongroom receipt verify means-3f2a.proof
  strongroom receipt verify means-3f2a.proof --file means-3f2a.age
  strongroom receipt verify means.proof --party alpha.json --party beta.json \
      --party lab.json --root sha256:... --ledger 'ledger+1a2b3c4d+...'`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			proven, err := a.provenEither(args[0], &trust)
			if err != nil {
				return err
			}
			if file != "" {
				if err := a.checkResultFile(proven, file); err != nil {
					return err
				}
			}
			return a.print(provenDocument(proven), func(w io.Writer) { printProven(w, proven) })
		},
	}
	trust.add(cmd)
	cmd.Flags().StringVar(&file, "file", "", "also check that this sealed `FILE` is the result the proof is about")
	return cmd
}

// proven verifies a result's proof file with this verifier's trust. A home is optional.
func (a *app) proven(path string, flags *trustFlags) (*proof.Proven, error) {
	return a.provenBy(path, flags, proof.Verify)
}

// provenEither is proven for a proof of a result or of a piece of logs.
func (a *app) provenEither(path string, flags *trustFlags) (*proof.Proven, error) {
	return a.provenBy(path, flags, func(b *proof.Bundle, trust proof.Trust, now time.Time) (*proof.Proven, error) {
		if b.IsLogs() {
			return proof.VerifyLogs(b, trust, now)
		}
		return proof.Verify(b, trust, now)
	})
}

func (a *app) provenBy(path string, flags *trustFlags, verify func(*proof.Bundle, proof.Trust, time.Time) (*proof.Proven, error)) (*proof.Proven, error) {
	data, err := a.readDocument(path, "a proof")
	if err != nil {
		return nil, err
	}
	bundle, err := proof.ParseBundle(data)
	if err != nil {
		return nil, notKind(path, data, "a result's proof", err)
	}
	h, err := home.Open(a.homeDir)
	if _, absent := os.Stat(a.homeDir); err != nil && len(flags.parties) == 0 && !errors.Is(absent, fs.ErrNotExist) {
		return nil, err
	}
	trust, err := a.trust(flags, h)
	if err != nil {
		return nil, err
	}
	proven, err := verify(bundle, trust, a.now())
	if verdict.Exit(err) == int(verdict.Refused) && verdict.As(err).Check == "proof.parties" {
		named := *verdict.As(err)
		named.Fix = "compare each descriptor's digest with the party itself, then name its file with --party FILE, or pin it: strongroom party add"
		return nil, &named
	}
	if err != nil || h == nil {
		return proven, err
	}
	return proven, rememberLogs(h, proven)
}

// proofsSeen is the home's memory of the checkpoints in proofs that were accepted (R15).
const proofsSeen = "seen-proofs.json"

// rememberLogs compares the logs in a proof with what earlier proofs and this home's own looks at
// ledgers showed of them, and refuses a log that shows two histories. Offline, only two roots
// of one size tell: proofs are of any age and bring no proof about one another.
func rememberLogs(h *home.Home, p *proof.Proven) error {
	ledgers := client.NewSeen(h.Path("seen.json"))
	for _, c := range p.Checkpoints {
		if last, known, err := ledgers.Last(c.LogKey); err != nil {
			return err
		} else if known {
			now, err := ledger.OpenCheckpoint(c.Note, c.LogKey)
			if err != nil {
				return err
			}
			if now.Size == last.Size {
				if err := ledger.CheckConsistency(nil, last, now); err != nil {
					return err
				}
			}
		}
		if err := client.NewSeen(h.Path(proofsSeen)).Meet(c.LogKey, c.Note); err != nil {
			return err
		}
	}
	return nil
}

// checkResultFile compares a sealed file with the one a proof is about.
func (a *app) checkResultFile(p *proof.Proven, path string) error {
	f, err := a.openFile(path, "a sealed result")
	if err != nil {
		return err
	}
	defer f.Close()
	hash, size, err := wire.HashReader(f)
	if err != nil {
		return &verdict.Error{Kind: verdict.Broken, Check: "result.file", Expected: "a readable file", Got: err.Error(), Err: err}
	}
	return p.CheckFile(hash, size)
}

// provenDocument is what a verified proof looks like to machines.
func provenDocument(p *proof.Proven) map[string]any {
	doc := map[string]any{
		"verdict":    "proven",
		"agreement":  p.Agreement.Digest(),
		"id":         p.Agreement.ID,
		"version":    p.Agreement.Version,
		"run":        p.Run.Digest(),
		"run_id":     p.Run.RunID,
		"requester":  p.Run.Requester,
		"work":       p.Run.Work,
		"output":     p.Result.Output,
		"receiver":   p.Result.Receiver,
		"file":       p.Result.File,
		"commitment": p.Result.Commitment,
		"datasets":   p.Run.Datasets,
		"platform":   p.Platform,
		"class":      p.Class,
		"excludes":   p.Excludes,
		"trusts":     p.Trusts,
		"references": append([]policy.Listed{}, p.References...),
		"time":       p.Time.Format(time.RFC3339),
		"checks":     p.Checks,
	}
	if w, _ := p.Agreement.WorkByName(p.Run.Work); w.Container == nil {
		doc["query"], doc["parameters"] = p.Run.QueryOf(w), p.Run.Parameters
	}
	if p.Result.Plan != nil {
		doc["plan"] = p.Result.Plan
	}
	if l := p.Logs; l != nil {
		delete(doc, "output")
		doc["receiver"], doc["file"] = l.Receiver, l.File
		doc["logs"] = map[string]any{"number": l.Number, "last": l.Last, "dropped": l.Dropped}
	}
	return doc
}

// ofLogs says what comes after a piece of logs, and what never will.
func ofLogs(l *proof.Logs) string {
	text := "; more follow"
	if l.Last {
		text = ", the last"
	}
	if l.Dropped > 0 {
		text += fmt.Sprintf("; what was beyond the agreement's bound was dropped, at most %d bytes", l.Dropped)
	}
	return text
}

func printProven(w io.Writer, p *proof.Proven) {
	ended := "ended"
	if l := p.Logs; l != nil {
		ended = "let out"
		fmt.Fprintf(w, "Proven: piece %d of what the container printed, for %s%s\n", l.Number, l.Receiver, ofLogs(l))
	} else {
		fmt.Fprintf(w, "Proven: the result %s for %s\n", p.Result.Output, p.Result.Receiver)
	}
	fmt.Fprintf(w, "  of %s, asked for by %s, run %s\n", p.Run.Work, p.Run.Requester, p.Run.RunID)
	fmt.Fprintf(w, "  under agreement %s version %d (%s)\n", p.Agreement.ID, p.Agreement.Version, p.Agreement.Digest().Short())
	for _, d := range p.Run.Datasets {
		fmt.Fprintf(w, "  read %s, the version of statement %s\n", d.Input, d.Statement.Short())
	}
	if work, _ := p.Agreement.WorkByName(p.Run.Work); work.AdHoc {
		fmt.Fprintf(w, "  query: %s\n", verdict.Printable(strings.Join(strings.Fields(p.Run.Query), " ")))
	}
	if p.Result.Plan != nil {
		fmt.Fprintf(w, "  plan %s; strongroom sql check makes it again from the agreement and the query\n", p.Result.Plan)
	}
	fmt.Fprintf(w, "  %s %s by the brokers' clocks\n", ended, p.Time.Format(time.RFC3339))
	fmt.Fprintf(w, "  on %s, protection class %s\n", p.Platform, p.Class)
	for _, s := range p.Trusts {
		fmt.Fprintf(w, "  you trust: %s\n", verdict.Printable(s))
	}
	for _, l := range p.References {
		fmt.Fprintf(w, "  you trust: enough holders of the release keys of %s, whose version %d lists the room's image (group %s, set %s)\n", l.Product, l.Version, l.Group, l.Digest.Short())
	}
	for _, s := range p.Excludes {
		fmt.Fprintf(w, "  kept out: %s\n", verdict.Printable(s))
	}
	for _, c := range p.Checks {
		fmt.Fprintf(w, "  ok  %-18s %s: %s\n", c.ID, c.Expected, verdict.Printable(c.Got))
	}
}
