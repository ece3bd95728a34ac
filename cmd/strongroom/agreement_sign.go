package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/internal/home"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// signing is one call of `agreement sign`.
type signing struct {
	file, out   string
	cosigners   []string // files of further keys of the party
	statements  []string // files of dataset statements that inputs are pinned to
	yes, force  bool
	skipQueries bool
}

func (a *app) agreementSign() *cobra.Command {
	var s signing
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Consent to an agreement",
		Long: `Signs an agreement with your party's key. A YAML draft becomes FILE.json; a signed file gets
your signature added. You must have pinned every party that it names.

Its queries are checked first by strongroom-sql, which belongs beside this program.

Signing lets no key out: only "strongroom agreement activate" does, once all have signed.
On a terminal the agreement is explained and you are asked; --yes leaves that out. Without a
terminal nothing is signed unless --yes says so.`,
		Example: `  strongroom agreement sign study.yaml           # writes study.json, signed by you
  strongroom agreement sign study.json           # adds your signature`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.file = args[0]
			return a.sign(cmd.Context(), s)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&s.out, "out", "o", "", "write to `FILE` (default: beside a draft, in place of a signed file)")
	f.StringArrayVar(&s.cosigners, "key", nil, "further signing key `FILE` of your party (repeat)")
	f.StringArrayVar(&s.statements, "statement", nil, "statement `FILE` of a dataset that the agreement names by digest (repeat)")
	f.BoolVar(&s.yes, "yes", false, "sign without asking")
	f.BoolVar(&s.skipQueries, "skip-query-check", false, "sign though strongroom-sql is not here to check the queries; rooms check them again")
	f.BoolVar(&s.force, "force", false, "replace FILE if it exists")
	return cmd
}

func (a *app) sign(ctx context.Context, s signing) error {
	h, err := a.openHome()
	if err != nil {
		return err
	}
	data, err := a.readDocument(s.file, "an agreement")
	if err != nil {
		return err
	}
	ag, yaml, err := parseAgreement(s.file, data)
	if err != nil {
		return err
	}
	if err := s.place(yaml); err != nil {
		return err
	}
	me, parties, labels, err := a.maySign(h, ag, s.statements)
	if err != nil {
		return inFile(s.file, err)
	}
	if err := a.inDraft(s.file, yaml, ag, a.mayRunQueries(ctx, ag, s.skipQueries)); err != nil {
		return inFile(s.file, err)
	}
	if ok, err := a.consents(ag, parties, labels, s); err != nil || !ok {
		return err
	}
	if err := addSignatures(h, ag, me, s.cosigners); err != nil {
		return err
	}
	if err := genuine(ag, parties); err != nil {
		return err
	}
	out, err := ag.Document.Encode()
	if err != nil {
		return err
	}
	if err := a.saveFile(s.out, out, 0o644, s.force); err != nil {
		return err
	}
	if err := h.SaveAgreement(ag); err != nil || s.out == "-" {
		return err
	}
	return a.signed(ag, parties, me, s.out)
}

// place settles where the signed agreement goes.
func (s *signing) place(yaml bool) error {
	if s.out != "" {
		return nil
	}
	switch {
	case s.file == "-":
		return verdict.Misuse("--out", "a file for the signed agreement", "none", "give -o FILE (-o - for standard output)")
	case yaml:
		s.out = strings.TrimSuffix(s.file, filepath.Ext(s.file)) + ".json"
	default:
		s.out, s.force = s.file, true
	}
	return nil
}

// maySign makes the checks before a signature: the signer is named, everybody is pinned,
// what is signed already is genuine, the agreement is not over, and no sealed file of the
// signer's passes as something else (R8).
func (a *app) maySign(h *home.Home, ag *agreement.SignedAgreement, statements []string) (me *agreement.SignedParty, parties []*agreement.SignedParty, labels map[wire.ID]string, err error) {
	place, me, err := partyOf(h, ag)
	if err != nil {
		return nil, nil, nil, err
	}
	if parties, labels, err = h.Parties(ag.Agreement); err != nil {
		return nil, nil, nil, err
	}
	if err := genuine(ag, parties); err != nil {
		return nil, nil, nil, err
	}
	if until := ag.Valid.Until; !a.now().Before(until.Time()) {
		return nil, nil, nil, verdict.Refuse("agreement.valid", "an agreement that is not over", "valid until "+until.String(), "agree on a new version")
	}
	return me, parties, labels, a.catalogued(h, ag, place.ID, statements)
}

// catalogued refuses an agreement that names one of the signer's own sealed files as
// somebody else's input, or as another dataset (R8). Inputs pinned by digest are looked up
// among the signer's own statements and those given.
func (a *app) catalogued(h *home.Home, ag *agreement.SignedAgreement, me wire.ID, files []string) error {
	byDigest, byHeader, err := catalogue(h)
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := a.readDocument(file, "a dataset statement")
		if err != nil {
			return err
		}
		d, err := agreement.ParseDataset(data)
		if err != nil {
			return inFile(file, err)
		}
		if mine := byHeader[d.Header]; mine != nil {
			byDigest[d.Digest()] = mine
		}
	}
	for i, in := range ag.Inputs {
		if in.Statement == nil {
			continue
		}
		mine := byDigest[*in.Statement]
		if mine == nil || in.Owner == me && in.Dataset == mine.Dataset.Dataset {
			continue
		}
		e := verdict.Refuse("agreement.catalogue", fmt.Sprintf("your dataset %s as your own input", mine.Dataset.Dataset),
			fmt.Sprintf("its sealed file as dataset %s of %s", in.Dataset, in.Owner), "don't sign: whoever wrote this wants your data under another name")
		e.Where = fmt.Sprintf("inputs[%d].statement", i)
		return e
	}
	return nil
}

// catalogue gives the home's own dataset statements by digest and by header.
func catalogue(h *home.Home) (byDigest map[wire.Digest]*agreement.SignedDataset, byHeader map[wire.Hash]*agreement.SignedDataset, err error) {
	byDigest, byHeader = make(map[wire.Digest]*agreement.SignedDataset), make(map[wire.Hash]*agreement.SignedDataset)
	names, err := h.Datasets()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		list, err := h.Statements(name)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range list {
			byDigest[d.Digest()], byHeader[d.Header] = d, d
		}
	}
	return byDigest, byHeader, nil
}

// consents explains and asks, where somebody sits at a terminal; elsewhere only --yes is a yes.
func (a *app) consents(ag *agreement.SignedAgreement, parties []*agreement.SignedParty, labels map[wire.ID]string, s signing) (bool, error) {
	if s.yes {
		return true, nil
	}
	if s.file == "-" {
		return false, nobodyToAsk("read strongroom agreement explain, then sign with --yes")
	}
	text := fmt.Sprintf("%s\n\n%s version %d, digest %s\nSign?", strings.TrimRight(agreement.Explain(ag, parties, labels), "\n"), ag.ID, ag.Version, ag.Digest())
	yes, err := a.ask(text, "read strongroom agreement explain, then sign with --yes")
	if err == nil && !yes {
		err = verdict.Refuse("agreement.consent", "a yes", "another answer", "nothing was signed")
	}
	return yes, err
}

// addSignatures signs with the party's own key and with those named; only keys that the
// party's descriptor names are of use.
func addSignatures(h *home.Home, ag *agreement.SignedAgreement, me *agreement.SignedParty, files []string) error {
	own, err := h.SigningKeyOf(me)
	if err != nil {
		return err
	}
	more, err := loadKeys(files)
	if err != nil {
		return err
	}
	for i, key := range more {
		found := false
		for _, k := range me.Keys {
			found = found || k.Public == key.Public()
		}
		if !found {
			return verdict.Misuse("--key", "a key that your descriptor names", "key "+key.Public().ID().Short()+" in "+files[i], "strongroom party show lists them")
		}
		if err := ag.Document.Sign(key); err != nil {
			return err
		}
	}
	return ag.Document.Sign(own)
}

// signed reports a signature and what comes next.
func (a *app) signed(ag *agreement.SignedAgreement, parties []*agreement.SignedParty, me *agreement.SignedParty, out string) error {
	v := viewAgreement(ag, parties, false)
	return a.print(struct {
		agreementView
		File string `json:"file"`
	}{v, out}, func(w io.Writer) {
		fmt.Fprintf(w, "Signed %s version %d as %s: %s\n  digest      %s\n", ag.ID, ag.Version, me.Name, out, ag.Digest())
		signatureText(w, v)
		if len(v.Missing) > 0 {
			fmt.Fprintf(w, "\nNext: send %s on to be signed: strongroom agreement sign %s\n", out, shellWord(filepath.Base(out)))
			return
		}
		fmt.Fprintf(w, "\nNext: everybody who brings data activates it: %s agreement activate %s\n", a.self(), shellWord(out))
	})
}
