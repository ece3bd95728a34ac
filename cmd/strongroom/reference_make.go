package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/attest"
	"strongroom.dev/internal/durable"
	"strongroom.dev/ledger"
	"strongroom.dev/reference"
	"strongroom.dev/reference/draft"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// draftFlags are what drafts are made with.
type draftFlags struct {
	product, out      string
	version, security int64
	days              int64
	force             bool
}

func (f *draftFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.product, "product", "", "`NAME` of what the values are of")
	flags.Int64Var(&f.version, "version", 1, "version of the set, higher than that of the one before")
	flags.Int64Var(&f.security, "security-version", 1, "raised when what came before must not be used any more")
	flags.Int64Var(&f.days, "days", 90, "days that the set may be used once it is signed, at most 180")
	flags.StringVarP(&f.out, "out", "o", "", "`FILE` to write (default: standard output)")
	flags.BoolVar(&f.force, "force", false, "replace the file")
	mustHave(cmd, "product")
}

// save writes a draft, after reading it as sign will.
func (a *app) saveDraft(f draftFlags, d draft.Draft) error {
	d.Product, d.Version, d.SecurityVersion, d.Days = wire.ID(f.product), f.version, f.security, f.days
	if !d.Product.Valid() {
		return verdict.Misuse("--product", "a name of 1 to 63 of a-z, 0-9 and -, starting with a letter", verdict.Short(f.product), "choose such a name")
	}
	if a.json && (f.out == "" || f.out == "-") {
		return verdict.Misuse("--out", "a file name with --output json", "none", "give -o FILE")
	}
	text := d.YAML()
	if len(d.Groups) == 0 {
		text += `  - name: first
    platform: snp
    measurements:
      measurement: <hex>    # strongroom reference init EVIDENCE fills in what evidence shows
`
	} else if _, err := draft.Parse("draft", []byte(text)); err != nil {
		return err
	}
	out := or(f.out, "-")
	if err := a.saveFile(out, []byte(text), 0o644, f.force); err != nil || out == "-" {
		return err
	}
	return a.print(map[string]any{"file": out, "groups": len(d.Groups)}, func(w io.Writer) {
		fmt.Fprintf(w, "%s: groups: %d, signed by nobody yet\nNext: strongroom reference sign %s --key KEY -o SET\n", out, len(d.Groups), out)
	})
}

func (a *app) referenceInit() *cobra.Command {
	var f draftFlags
	var endorsements endorsementFlags
	cmd := &cobra.Command{
		Use:   "init [EVIDENCE...]",
		Short: "Write a draft of reference values to start from",
		Long: `Writes a draft, with one group for each piece of EVIDENCE: what a machine that runs the good
image measures. Evidence is looked at as verify does, but only for its values: whether that
was the good image is for you to know.`,
		Example: `  strongroom reference init --product room > room.yaml
  strongroom reference init four-cpus.bin eight-cpus.bin --product room --version 8 -o room.yaml`,
		RunE: func(_ *cobra.Command, args []string) error {
			set, err := a.endorsementSet(endorsements, a.now())
			if err != nil {
				return err
			}
			var d draft.Draft
			for _, file := range args {
				g, err := a.measuredGroup(examiners(set), file)
				if err != nil {
					return err
				}
				d.Groups = append(d.Groups, g)
			}
			return a.saveDraft(f, d)
		},
	}
	f.add(cmd)
	endorsements.add(cmd)
	return cmd
}

// measuredGroup makes a group of what evidence shows.
func (a *app) measuredGroup(table []attest.Examiner, file string) (reference.Group, error) {
	var g reference.Group
	data, err := a.readEvidence(file)
	if err != nil {
		return g, err
	}
	x, evidence, err := attest.Recognise(table, data)
	if err != nil {
		return g, inFile(file, err)
	}
	finding, err := x.Examine(evidence, a.now())
	if err != nil {
		return g, inFile(file, err)
	}
	if len(finding.Facts.Measurements) == 0 {
		return g, inFile(file, unmeasured(finding))
	}
	if finding.Facts.Debug {
		return g, inFile(file, verdict.Refuse("reference.debug", "evidence of a platform that nobody can look into", "debugging is on", "measure the image that will be used"))
	}
	for _, c := range finding.Checks {
		if !c.OK {
			a.say("%s: %s fails: the values are taken all the same", verdict.Printable(file), c.ID)
		}
	}
	return reference.Group{Name: draft.NameOf(stem(file)), Platform: finding.Facts.Platform, Measurements: finding.Facts.Measurements, Exact: true}, nil
}

// unmeasured says why nothing in evidence is worth copying: for the most part, the vendor's
// certificates are missing.
func unmeasured(f attest.Finding) error {
	for _, c := range f.Checks {
		if !c.OK {
			return verdict.FromCheck(verdict.Refused, c, f.Checks)
		}
	}
	return verdict.Refuse("reference.measurements", "evidence that measures something", "no register", "name evidence of another platform")
}

func (a *app) referenceSign() *cobra.Command {
	var out string
	var keyFiles []string
	var force bool
	cmd := &cobra.Command{
		Use:   "sign DRAFT|SET --key KEY",
		Short: "Sign reference values with a release key",
		Long: `Makes a set of a draft and signs it, or adds signatures to a set. Show it first: whoever signs
says that this code is good. Release keys are made with "keygen --purpose signing" and do
nothing else; as many of them as verifiers ask for must sign the same set.`,
		Example: `  strongroom reference sign room.yaml --key alice.key -o room.set
  strongroom reference sign room.set --key bob.key`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.signReference(args[0], out, keyFiles, force)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "`FILE` to write; a set that gets one more signature is written back if there is none")
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "`FILE` of a release key (repeatable)")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file")
	mustHave(cmd, "key")
	return cmd
}

func (a *app) signReference(file, out string, keyFiles []string, force bool) error {
	data, err := a.readDocument(file, "a draft or a set of reference values")
	if err != nil {
		return err
	}
	if err := a.noStdoutWithJSON(out); err != nil {
		return err
	}
	var p *reference.Published
	switch {
	case reference.Is(data):
		if p, err = reference.Parse(data); err != nil {
			return inFile(file, err)
		}
		if out == "" {
			out, force = file, true
		}
	case out == "":
		return verdict.Misuse("--out", "a file for the set", "none", "give -o FILE")
	default:
		if p, err = a.fromDraft(file, data); err != nil {
			return err
		}
	}
	if p.Values.Expires.Time().Before(a.now()) {
		return verdict.Refuse("reference.dates", "a set that can still be used", "expired "+p.Values.Expires.String(), "make a new set from the draft")
	}
	signers, err := loadKeys(keyFiles)
	if err != nil {
		return err
	}
	for _, k := range signers {
		if err := p.Document.Sign(k); err != nil {
			return err
		}
	}
	return a.saveSet(p, out, force, "Next: have the other release keys sign it, then: strongroom reference publish "+out+" --log DIR")
}

func (a *app) fromDraft(file string, data []byte) (*reference.Published, error) {
	d, err := draft.Parse(file, data)
	if err != nil {
		return nil, err
	}
	v, err := d.Values(a.now())
	if err != nil {
		return nil, inFile(file, err)
	}
	doc, err := v.Document()
	return &reference.Published{Values: v, Document: doc}, err
}

// saveSet writes a set and says what it is.
func (a *app) saveSet(p *reference.Published, out string, force bool, next string) error {
	data, err := p.Encode()
	if err != nil {
		return verdict.Misuse("reference", "a set that fits in a document", verdict.Short(err.Error()), "split it")
	}
	if err := a.saveFile(out, data, 0o644, force); err != nil || out == "-" {
		return err
	}
	v := viewSet(p)
	return a.print(struct {
		setView
		File string `json:"file"`
	}{v, out}, func(w io.Writer) {
		fmt.Fprintf(w, "%s: ", out)
		v.text(w)
		if next != "" {
			fmt.Fprintln(w, next)
		}
	})
}

func (a *app) referencePublish() *cobra.Command {
	var f ledgerServeFlags
	cmd := &cobra.Command{
		Use:   "publish SET --log DIR",
		Short: "Record a set in a log of your own, and add the proof to it",
		Long: `Adds the set to a log on this machine's disk and writes the proof into the set's file. The first
call makes the log and its key; verifiers name that key, so keep the directory, and keep it
to one place: a log that goes on from an old copy contradicts itself. Whoever wants to watch
what you publish reads the log's directory as files (C2SP tlog-tiles).`,
		Example: `  strongroom reference publish room.set --log releases --origin releases.example
  strongroom reference publish room-8.set --log releases`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.publishReference(cmd.Context(), f, args[0]) },
	}
	cmd.Flags().StringVar(&f.dir, "log", "", "`DIR` of the log; made by the first call")
	cmd.Flags().StringVar(&f.origin, "origin", "", "`NAME` of a new log for good, such as releases.example")
	cmd.Flags().StringVar(&f.keyFile, "key-file", "", "`FILE` of the log's signing key; made if absent (default: log.key in --log)")
	mustHave(cmd, "log")
	return cmd
}

func (a *app) publishReference(ctx context.Context, f ledgerServeFlags, file string) error {
	data, err := a.readDocument(file, "a set of reference values")
	if err != nil {
		return err
	}
	p, err := reference.Parse(data)
	if err != nil {
		return inFile(file, err)
	}
	if file == "-" {
		return verdict.Misuse("file", "a file that the proof can be written into", "standard input", "name the file")
	}
	if len(p.Document.Signatures) == 0 {
		return verdict.Refuse("reference.signatures", "a set that is signed", "no signature", "strongroom reference sign adds one")
	}
	if err := ledgerPlace(f); err != nil {
		return err
	}
	signer, err := a.ledgerSigner(f)
	if err != nil {
		return err
	}
	receipt, err := recordSet(ctx, filepath.Join(f.dir, ledgerLogDir), signer, p, a.now())
	if err != nil {
		return err
	}
	p.Receipt = &receipt
	out, err := p.Encode()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(file, out, 0o644); err != nil {
		return placeError(file, err)
	}
	return a.print(map[string]any{"file": file, "log": signer.Verifier(), "index": receipt.Index}, func(w io.Writer) {
		fmt.Fprintf(w, "%s: entry %d of %s\nVerifiers name this log as %s\n", file, receipt.Index, signer.Origin(), signer.Verifier())
	})
}

// recordSet records a set in the log at dir, made if there is none, and proves it.
func recordSet(ctx context.Context, dir string, signer *ledger.Signer, p *reference.Published, now time.Time) (ledger.Receipt, error) {
	if !tilelog.Exists(dir) {
		if err := tilelog.Create(dir, signer); err != nil {
			return ledger.Receipt{}, err
		}
	}
	// Looking first, without writing: what is refused, or there already, changes nothing.
	before, err := tilelog.Read(dir, signer.Verifier())
	if err != nil {
		return ledger.Receipt{}, err
	}
	if index, found, err := findSet(before, before.Checkpoint().Size, p.Name()); err != nil {
		return ledger.Receipt{}, err
	} else if found {
		return before.Receipt(index)
	}
	log, err := tilelog.Open(dir, signer)
	if err != nil {
		return ledger.Receipt{}, err
	}
	defer log.Close()
	index, found, err := findSet(log, log.Size(), p.Name()) // somebody else may have been faster
	if err == nil && !found {
		index, err = appendSet(ctx, log, p, now)
	}
	if err != nil {
		return ledger.Receipt{}, err
	}
	return log.Receipt(index)
}

// findSet gives the entry that records the set, if there is one. A set that comes before one
// that stands there is refused: verifiers would refuse it anyway.
func findSet(log interface{ Entry(int64) ([]byte, error) }, size int64, name reference.Name) (int64, bool, error) {
	for i := size - 1; i >= 0; i-- {
		data, err := log.Entry(i)
		if err != nil {
			return 0, false, err
		}
		entry, err := ledger.ParseEntry(data)
		if err != nil {
			continue
		}
		switch r, ok := reference.ReadEntry(entry); {
		case !ok || r.Product != name.Product:
		case r.Digest == name.Digest:
			return i, true, nil
		case r.Version >= name.Version:
			return 0, false, verdict.Refuse("reference.version", fmt.Sprintf("a version of %s above %d, which the log has", name.Product, r.Version), fmt.Sprint(name.Version), "raise version in the draft, and sign it anew")
		}
	}
	return 0, false, nil
}

func appendSet(ctx context.Context, log *tilelog.Log, p *reference.Published, now time.Time) (int64, error) {
	entry, err := p.Entry(now)
	if err != nil {
		return 0, err
	}
	data, err := entry.Encode()
	if err != nil {
		return 0, err
	}
	return log.Append(ctx, [][]byte{data})
}

// stem gives a file's name without its directory and what stands behind its first dot.
func stem(file string) string {
	base, _, _ := strings.Cut(filepath.Base(file), ".")
	return base
}
