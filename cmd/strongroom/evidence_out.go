package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/client"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// This file takes evidence out of what carries it, for verify and other tools.

// takenEvidence is evidence that a room showed a broker, and what it must answer.
type takenEvidence struct {
	File     string  `json:"file"`
	Broker   wire.ID `json:"broker"`
	Platform wire.ID `json:"platform"`
	// Class is whom such a machine keeps out, by the evidence alone.
	Class agreement.Class `json:"class,omitempty"`
	// ReportData is what the evidence must hold if it is about this agreement, request and room.
	ReportData string      `json:"report_data"`
	Agreement  wire.Digest `json:"agreement"`
	// Request is the digest of the signed request, RunID the run that it names.
	Request wire.Digest `json:"request"`
	RunID   string      `json:"run_id"`
	// At is when the broker relied on it, by its own record; "" if that is not known.
	At string `json:"at,omitempty"`

	evidence attest.Evidence
}

// taken makes it of what a broker was shown in a run.
func taken(s room.Shown, runID string) takenEvidence {
	b := attest.Binding{Purpose: attest.ForRelease, Nonce: attest.NonceOf(s.Challenge), Signing: s.Room.Signing, HPKE: s.Room.HPKE, Agreement: s.Agreement, Run: s.Run}
	long, short := b.ReportData(), b.ShortReportData()
	t := takenEvidence{Broker: s.Broker, Platform: s.Evidence.Platform, ReportData: hex.EncodeToString(long[:]), Agreement: s.Agreement, Request: s.Run, RunID: runID, evidence: s.Evidence}
	if s.Evidence.Platform == tpm.Name || s.Evidence.Platform == azure.Name {
		t.ReportData = hex.EncodeToString(short[:]) // a quote has no room for more
	}
	return t
}

// outFlags are which evidence to take, and where to.
type outFlags struct {
	broker, out string
	force       bool
}

func (f *outFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.broker, "broker", "", "`NAME` of the party whose broker was shown the evidence, where there are several")
	flags.StringVarP(&f.out, "out", "o", "", "`FILE` for the evidence")
	flags.BoolVar(&f.force, "force", false, "replace the file")
}

// saveEvidence writes one of several pieces of evidence, and says how to verify it.
func (a *app) saveEvidence(f outFlags, all []takenEvidence) error {
	if f.out == "" {
		return verdict.Misuse("--out", "a file for the evidence", "none", "give -o FILE")
	}
	if err := a.noStdoutWithJSON(f.out); err != nil {
		return err
	}
	var names []string
	var found []takenEvidence
	for _, t := range all {
		names = append(names, verdict.Short(string(t.Broker)))
		if f.broker == "" || string(t.Broker) == f.broker {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return verdict.Misuse("--broker", "the name of one of: "+strings.Join(names, ", "), fmt.Sprintf("%q", verdict.Short(f.broker)), "say whose broker was shown the evidence")
	}
	t := found[0]
	t.File, t.Class = f.out, a.classOf(t.evidence)
	data, err := wire.Marshal(t.evidence)
	if err != nil {
		return err
	}
	if err := a.saveFile(f.out, append(data, '\n'), 0o644, f.force); err != nil {
		return err
	}
	if f.out == "-" {
		return nil
	}
	return a.print(t, func(w io.Writer) { t.text(w) })
}

func (t takenEvidence) text(w io.Writer) {
	fmt.Fprintf(w, "%s: evidence of platform %s for the broker of %s, NOT verified\n", verdict.Printable(t.File), verdict.Printable(string(t.Platform)), verdict.Printable(string(t.Broker)))
	fmt.Fprintf(w, "  it must answer: report data %s\n  if it is of run %s: request %s, agreement %s\n", t.ReportData, verdict.Printable(t.RunID), t.Request.Short(), t.Agreement.Short())
	next := []string{"strongroom", "verify", t.File, "--explain", "--report-data", t.ReportData}
	if t.At != "" {
		fmt.Fprintf(w, "  the broker relied on it at %s\n", t.At)
		next = append(next, "--at", t.At)
	}
	if t.Class == agreement.Software {
		next = append(next, "--insecure-allow-software")
	}
	var words []string
	for _, word := range next {
		words = append(words, shellWord(word))
	}
	fmt.Fprintln(w, "Next: "+strings.Join(words, " "))
	if t.Platform == tpm.Name {
		fmt.Fprintln(w, "  with --activator, if you take that broker's word on the TPM's key, and --root, if you rely on a software TPM's")
	}
}

// classOf gives whom evidence's machine keeps out, nobody's word taken; "" if it is not genuine.
func (a *app) classOf(e attest.Evidence) agreement.Class {
	for _, x := range examiners(endorse.Set{}) {
		if x.Name != e.Platform {
			continue
		}
		if found, err := x.Examine(e.Evidence, a.now()); err == nil {
			return found.Facts.Class
		}
	}
	return ""
}

func (a *app) receiptEvidence() *cobra.Command {
	var f outFlags
	cmd := &cobra.Command{
		Use: "evidence FILE.proof -o FILE", Short: "Take a room's evidence out of a proof, to look at it with verify", Args: cobra.ExactArgs(1),
		Long: `Writes the evidence that a room showed one owner's broker, as it stands in a proof, and prints
the report data that binds it to agreement, request and room, and when that broker relied on it.
Nothing is verified here: "receipt verify" checks the proof as a whole, "verify" looks
closer at the evidence.`,
		Example: "  strongroom receipt evidence means-3f2a.proof --broker alpha -o room.json",
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := a.readDocument(args[0], "a proof")
			if err != nil {
				return err
			}
			all, err := proofEvidence(data)
			if err != nil {
				return inFile(args[0], notKind(args[0], data, "a result's proof", err))
			}
			return a.saveEvidence(f, all)
		},
	}
	f.add(cmd)
	return cmd
}

// proofEvidence gives the evidence in a proof.
func proofEvidence(data []byte) ([]takenEvidence, error) {
	b, err := proof.ParseBundle(data)
	if err != nil {
		return nil, err
	}
	ag, err := agreement.ParseAgreement(b.Agreement)
	if err != nil {
		return nil, err
	}
	run, err := agreement.ParseRun(b.Run)
	if err != nil {
		return nil, err
	}
	var all []takenEvidence
	for _, r := range b.Releases {
		t := taken(room.Shown{Broker: r.Broker, Challenge: r.Challenge, Evidence: r.Evidence, Room: b.Room, Agreement: ag.Digest(), Run: run.Digest()}, run.RunID)
		t.At = grantedAt(r.Grant)
		all = append(all, t)
	}
	return all, nil
}

// grantedAt is when a broker says that it gave a grant; "" if the grant doesn't tell.
func grantedAt(grant []byte) string {
	var g release.Granted
	if _, err := keys.ParseDocument(grant, release.GrantType, &g); err != nil {
		return ""
	}
	e, err := ledger.ParseEntry(g.Receipt.Entry)
	if err != nil {
		return ""
	}
	return wire.At(time.UnixMilli(e.TimeMS)).String()
}

func (a *app) roomEvidence(at func() (client.Host, error)) *cobra.Command {
	var f outFlags
	cmd := &cobra.Command{
		Use: "evidence ROOM|RUN -o FILE", Short: "Take what a room showed a broker, to look at it with verify", Args: cobra.ExactArgs(1),
		Long: `Writes the evidence that a room showed one owner's broker, by its host's word, and prints the
report data that binds it to agreement, request and room. Nothing is verified here: "room verify"
checks it against an agreement that you signed, "verify" looks closer.`,
		Example: "  strongroom room evidence 3f2a9c01 --broker alpha -o room.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := at()
			if err != nil {
				return err
			}
			r, err := roomNamed(cmd.Context(), at, args[0])
			if err != nil {
				return err
			}
			if len(r.Shown) == 0 {
				return verdict.Refuse("room.evidence", "evidence of the room", "none so far", "wait until it has been challenged")
			}
			var all []takenEvidence
			for _, s := range r.Shown {
				all = append(all, taken(s, r.RunID))
			}
			return a.saveEvidence(f, all)
		},
	}
	f.add(cmd)
	return cmd
}
