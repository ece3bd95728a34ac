package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/verdict"
)

func (a *app) agreementActivate() *cobra.Command {
	return &cobra.Command{
		Use:   "activate FILE|ID|DIGEST",
		Short: "Let your broker release keys under an agreement",
		Long: `Tells your own broker that an agreement has authority over your data's keys. All parties
must have signed it. Every lower version of it is retired for good.`,
		Example: `  strongroom agreement activate study.json`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, _, err := a.dataOwner()
			if err != nil {
				return err
			}
			ag, yaml, err := a.loadAgreement(args[0])
			if err != nil {
				return err
			}
			if yaml {
				return misfile(args[0], "a signed agreement", "a draft in YAML", "strongroom agreement sign "+args[0]+" makes one")
			}
			parties, _, err := h.Parties(ag.Agreement)
			if err != nil {
				return inFile(args[0], err)
			}
			if err := genuine(ag, parties); err != nil {
				return inFile(args[0], err)
			}
			if missing := ag.MissingSignatures(parties); len(missing) > 0 {
				return inFile(args[0], verdict.Refuse("agreement.signatures", "the signatures of all parties", "none by "+joined(missing), "have them sign it: strongroom agreement sign"))
			}
			act, err := activation(ag, parties)
			if err != nil {
				return err
			}
			admin, err := a.brokerAdmin(cmd.Context(), h)
			if err != nil {
				return err
			}
			defer admin.Close()
			event, err := admin.Activate(cmd.Context(), act)
			if err != nil {
				return inFile(args[0], err)
			}
			if err := h.SaveAgreement(ag); err != nil {
				return err
			}
			return a.printEvent(event)
		},
	}
}

func activation(ag *agreement.SignedAgreement, parties []*agreement.SignedParty) (broker.Activation, error) {
	doc, err := ag.Document.Encode()
	if err != nil {
		return broker.Activation{}, err
	}
	act := broker.Activation{Agreement: bytes.TrimSpace(doc), Parties: []json.RawMessage{}}
	for _, p := range parties {
		data, err := p.Document.Encode()
		if err != nil {
			return broker.Activation{}, err
		}
		act.Parties = append(act.Parties, bytes.TrimSpace(data))
	}
	return act, nil
}

func (a *app) agreementRetire() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "retire FILE|ID|DIGEST",
		Short: "End an agreement in your broker, for good",
		Long: `From then on your broker releases nothing under the agreement, and rooms that still run
under it are told to stop. There is no way back: agree on a new version.

On a terminal you are asked first; without one, --yes must say so.`,
		Example: `  strongroom agreement retire my-study`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, _, err := a.dataOwner()
			if err != nil {
				return err
			}
			ag, _, err := a.loadAgreement(args[0])
			if err != nil {
				return err
			}
			if err := a.confirmRetire(ag, yes); err != nil {
				return err
			}
			admin, err := a.brokerAdmin(cmd.Context(), h)
			if err != nil {
				return err
			}
			defer admin.Close()
			event, err := admin.Retire(cmd.Context(), ag.Digest())
			if err != nil {
				return inFile(args[0], err)
			}
			return a.printEvent(event)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "retire it without asking")
	return cmd
}

// confirmRetire asks before what can't be undone.
func (a *app) confirmRetire(ag *agreement.SignedAgreement, yes bool) error {
	if yes {
		return nil
	}
	told, err := a.ask(fmt.Sprintf("%s version %d, %s\n%s\nYour broker will never again release anything under it. Retire it?",
		ag.ID, ag.Version, verdict.Printable(ag.Title), ag.Digest()), "look at it with strongroom agreement show, then retire it with --yes")
	if err != nil || told {
		return err
	}
	return verdict.Refuse("agreement.consent", "a yes", "another answer", "nothing was retired")
}

// printEvent reports what a broker did and recorded.
func (a *app) printEvent(e broker.Event) error {
	return a.print(e, func(w io.Writer) {
		fmt.Fprintln(w, verdict.Printable(e.Done))
		for _, note := range e.Notes {
			fmt.Fprintln(w, "  "+verdict.Printable(note))
		}
	})
}
