package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) agreementCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "agreement",
		Short: "What may run, on whose data, with which results to whom",
		Long: `An agreement names the parties, their data, the exact code that may run, who gets which
results under which rules, and which machines are good enough. You write it in YAML; what
everybody signs is its canonical form, named by a digest. Signing consents; only activating
it in your own broker lets your keys out.`,
	}, a.agreementInit(), a.agreementCheck(), a.agreementExplain(), a.agreementSign(),
		a.agreementActivate(), a.agreementRetire(), a.agreementShow(), a.agreementDiff())
}

// loadAgreement reads an agreement from a file, YAML or signed JSON, or finds one kept in
// the home by id or digest. yaml says that it has never been signed.
func (a *app) loadAgreement(arg string) (ag *agreement.SignedAgreement, yaml bool, err error) {
	if !looksLikeFile(arg) {
		h, err := a.openHome()
		if err != nil {
			return nil, false, err
		}
		ag, err := h.FindAgreement(arg)
		return ag, false, err
	}
	data, err := a.readDocument(arg, "an agreement")
	if err != nil {
		return nil, false, err
	}
	return parseAgreement(arg, data)
}

// looksLikeFile tells a file from an id or digest.
func looksLikeFile(arg string) bool {
	if _, err := os.Stat(arg); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return arg == "-" || strings.ContainsRune(arg, filepath.Separator) || filepath.Ext(arg) != ""
}

func parseAgreement(file string, data []byte) (ag *agreement.SignedAgreement, yaml bool, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		ag, err := agreement.ParseAgreement(data)
		return ag, false, inFile(file, notKind(file, data, "an agreement", err))
	}
	body, err := draft.Parse(file, data)
	if err != nil {
		return nil, true, err
	}
	ag, err = agreement.NewAgreement(body)
	return ag, true, inFile(file, err)
}

// known gives what the home knows of an agreement's parties: descriptors and labels of
// those it has, and the first reason why the others can't be relied on. No home is none
// known.
func (a *app) known(ag *agreement.SignedAgreement) (parties []*agreement.SignedParty, labels map[wire.ID]string, unknown error) {
	labels = make(map[wire.ID]string)
	h, err := a.openHome()
	if err != nil {
		return nil, labels, err
	}
	for _, p := range ag.Parties {
		party, label, err := h.Party(p.Descriptor)
		if err != nil {
			if unknown == nil {
				unknown = inFile("party "+string(p.ID), err)
			}
			continue
		}
		parties, labels[p.ID] = append(parties, party), label
	}
	return parties, labels, unknown
}

// genuine checks the signatures that stand on an agreement, however many: all by keys of
// the parties given, and all true. Of a party that is not among those given no signature can
// be checked; then one by an unknown key may be its own.
func genuine(ag *agreement.SignedAgreement, parties []*agreement.SignedParty) error {
	_, unknown := ag.UncheckedSignatures(parties)
	known := make(map[keys.KeyID]bool)
	for _, p := range parties {
		var list []keys.PublicKey
		for _, k := range p.Keys {
			list = append(list, k.Public)
			known[k.Public.ID()] = true
		}
		if _, err := ag.Document.SignedBy(list); err != nil {
			return &verdict.Error{Kind: verdict.Invalid, Check: "agreement.signatures", Expected: "a genuine signature of " + string(p.Name), Got: err.Error(),
				Fix: "get the file from its author again: it was changed after it was signed", Err: err}
		}
	}
	for _, s := range ag.Document.Signatures {
		if !known[s.Key] && len(unknown) == 0 {
			return verdict.Refuse("agreement.signatures", "only signatures of the parties named", "one by key "+s.Key.Short()+", which belongs to none of them", "get the file from its author again")
		}
	}
	return nil
}

// agreementView is an agreement in JSON.
type agreementView struct {
	Digest  wire.Digest `json:"digest"`
	ID      wire.ID     `json:"id"`
	Version int64       `json:"version"`
	Title   string      `json:"title"`
	Missing []wire.ID   `json:"missing_signatures"`
	// Unchecked are parties that are not pinned, some or all of whom have signed: Signatures
	// many signatures are by keys that may be theirs.
	Unchecked  []wire.ID       `json:"unchecked_signatures,omitempty"`
	Signatures int             `json:"unchecked_count,omitempty"`
	Unpinned   string          `json:"unpinned,omitempty"`
	Agreement  json.RawMessage `json:"agreement,omitempty"`
}

func viewAgreement(ag *agreement.SignedAgreement, parties []*agreement.SignedParty, whole bool) agreementView {
	v := agreementView{Digest: ag.Digest(), ID: ag.ID, Version: ag.Version, Title: ag.Title, Missing: ag.MissingSignatures(parties)}
	if count, of := ag.UncheckedSignatures(parties); count > 0 && len(of) > 0 {
		v.Unchecked, v.Signatures = of, count
		v.Missing = slices.DeleteFunc(v.Missing, func(id wire.ID) bool { return slices.Contains(of, id) })
	}
	if v.Missing == nil {
		v.Missing = []wire.ID{}
	}
	if whole {
		v.Agreement = ag.Canonical()
	}
	return v
}

func signatureText(w io.Writer, v agreementView) {
	if len(v.Missing) == 0 && len(v.Unchecked) == 0 {
		fmt.Fprintln(w, "  signatures  complete")
	}
	if len(v.Missing) > 0 {
		fmt.Fprintf(w, "  signatures  missing: %s\n", joined(v.Missing))
	}
	if len(v.Unchecked) > 0 {
		fmt.Fprintf(w, "  signatures  %s\n", v.uncheckedText())
	}
}

// uncheckedText says of whom signatures may be that nobody here can check.
func (v agreementView) uncheckedText() string {
	const what = "signed, not checked (party not pinned)"
	if v.Signatures < len(v.Unchecked) {
		return fmt.Sprintf("%s: %d of %s", what, v.Signatures, joined(v.Unchecked))
	}
	return what + ": " + joined(v.Unchecked)
}

// missingText is the same in a table's cell.
func (v agreementView) missingText() string {
	text := joined(v.Missing)
	if len(v.Unchecked) > 0 {
		text = strings.TrimPrefix(text+"; "+v.uncheckedText(), "; ")
	}
	return text
}

// window warns of an agreement that is over already, "" if it is not. Whoever writes one finds
// out now and not when it is to be signed.
func (a *app) window(ag *agreement.SignedAgreement) string {
	if until := ag.Valid.Until; !a.now().Before(until.Time()) {
		return "WARNING: OVER: valid until " + until.String() + ", which is past; nobody can sign it and no room runs it: write a later time in valid.until, or agree on a new version"
	}
	return ""
}

func joined(ids []wire.ID) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = string(id)
	}
	return strings.Join(words, ", ")
}

func (a *app) agreementExplain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain FILE|ID|DIGEST",
		Short: "Say in plain words who can learn what",
		Long: `Says what an agreement means: who brings what, who may run what, who learns what, also if
all the others work together, and whom you trust. It reads the canonical form that is
signed, and shows parties by your own labels.`,
		Example: `  strongroom agreement explain study.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			ag, _, err := a.loadAgreement(args[0])
			if err != nil {
				return err
			}
			parties, labels, _ := a.known(ag)
			if err := genuine(ag, parties); err != nil {
				return inFile(args[0], err)
			}
			text := agreement.Explain(ag, parties, labels)
			if over := a.window(ag); over != "" {
				text = over + "\n\n" + text
			}
			return a.print(map[string]any{"digest": ag.Digest(), "text": text}, func(w io.Writer) {
				fmt.Fprintln(w, strings.TrimRight(text, "\n"))
			})
		},
	}
}

func (a *app) agreementShow() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "show [FILE|ID|DIGEST]",
		Short: "Show an agreement as it is signed, or list those you keep",
		Example: `  strongroom agreement show
  strongroom agreement show my-study -o my-study.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listAgreements()
			}
			if err := a.noStdoutWithJSON(out); err != nil {
				return err
			}
			ag, _, err := a.loadAgreement(args[0])
			if err != nil {
				return err
			}
			if out != "" {
				data, err := ag.Document.Encode()
				if err != nil {
					return err
				}
				if err := a.saveFile(out, data, 0o644, force); err != nil || out == "-" {
					return err
				}
			}
			parties, _, _ := a.known(ag)
			v := viewAgreement(ag, parties, true)
			return a.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s version %d  %s\n  digest      %s\n", ag.ID, ag.Version, verdict.Printable(ag.Title), ag.Digest())
				signatureText(w, v)
				fmt.Fprintln(w)
				indented(w, ag.Canonical())
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write the signed agreement to `FILE` (- for standard output)")
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	return cmd
}

// indented prints canonical JSON for people; text in it is escaped, so that it can't
// forge what stands around it.
func indented(w io.Writer, canonical []byte) {
	var b bytes.Buffer
	if err := json.Indent(&b, canonical, "", "  "); err != nil {
		fmt.Fprintln(w, verdict.Printable(string(canonical)))
		return
	}
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(w, verdict.Printable(strings.TrimRight(line, "\n")))
	}
}

func (a *app) listAgreements() error {
	h, err := a.openHome()
	if err != nil {
		return err
	}
	all, err := h.Agreements()
	if err != nil {
		return err
	}
	views := make([]agreementView, 0, len(all))
	for _, ag := range all {
		parties, _, _ := a.known(ag)
		views = append(views, viewAgreement(ag, parties, false))
	}
	return a.print(map[string]any{"agreements": views}, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "None yet: strongroom agreement init > study.yaml")
			return
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tVERSION\tDIGEST\tVALID UNTIL\tMISSING SIGNATURES")
		for i, v := range views {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", v.ID, v.Version, v.Digest.Short(), all[i].Valid.Until, v.missingText())
		}
		t.Flush()
	})
}

func (a *app) agreementDiff() *cobra.Command {
	return &cobra.Command{
		Use:     "diff OLD NEW",
		Short:   "Say what differs between two agreements",
		Example: `  strongroom agreement diff my-study study-v2.yaml`,
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			before, _, err := a.loadAgreement(args[0])
			if err != nil {
				return err
			}
			after, _, err := a.loadAgreement(args[1])
			if err != nil {
				return err
			}
			text := agreement.Diff(before, after)
			view := map[string]any{"old": before.Digest(), "new": after.Digest(), "same": before.Digest() == after.Digest(), "text": text}
			return a.print(view, func(w io.Writer) { fmt.Fprintln(w, strings.TrimRight(text, "\n")) })
		},
	}
}

// partyOf gives the home's own place in an agreement and the version of its descriptor that
// is named there.
func partyOf(h *home.Home, ag *agreement.SignedAgreement) (agreement.Party, *agreement.SignedParty, error) {
	versions, err := h.Versions()
	if err != nil {
		return agreement.Party{}, nil, err
	}
	for _, own := range versions {
		if p, found := ag.PartyByDescriptor(own.Digest()); found {
			return p, own, nil
		}
	}
	current, err := h.Descriptor()
	if err != nil {
		return agreement.Party{}, nil, err
	}
	return agreement.Party{}, nil, verdict.Refuse("agreement.party", "an agreement that names you ("+current.Digest().String()+")", "one without you",
		"have its author name your descriptor: strongroom party show")
}
