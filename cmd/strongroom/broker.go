package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/broker"
	"strongroom.dev/internal/home"
	"strongroom.dev/verdict"
)

func (a *app) brokerCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "broker",
		Short: "Your own key service: it lets your data's keys out, or not",
		Long: `Your broker holds the keys of your data. It gives one to a room only if the room's evidence,
the agreement you activated and its own books allow it, and records every decision before it
acts. Whoever runs it can read your data: run it in your own house.`,
	}, a.brokerServe(), a.brokerStatus(), a.brokerWhy(), a.brokerDeny(), a.brokerLift(), a.brokerReference(), a.brokerVolume(), a.brokerBudget(), a.brokerAuthority(), a.brokerConfirm())
}

// brokerHome gives the home of a party with a broker.
func (a *app) brokerHome() (*home.Home, *brokerInfo, error) {
	h, err := a.openHome()
	if err != nil {
		return nil, nil, err
	}
	own, err := h.Descriptor()
	if err != nil {
		return nil, nil, err
	}
	info, err := ownBroker(own)
	return h, info, err
}

// existingBroker gives the broker for looking at: it makes nothing.
func (a *app) existingBroker(ctx context.Context) (brokerAdmin, error) {
	h, _, err := a.brokerHome()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(h.BrokerState()); errors.Is(err, fs.ErrNotExist) {
		return nil, verdict.Misuse("broker.state", "a broker that has been used", "none so far in "+h.Dir(), "strongroom broker serve starts it; dataset publish and agreement activate use it")
	}
	return a.brokerAdmin(ctx, h)
}

func (a *app) brokerStatus() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Say how your broker stands: who runs it, what is active, what it counted",
		Example: "  strongroom broker status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, admin, running, err := a.lookAtBroker(cmd.Context())
			if err != nil {
				return err
			}
			defer admin.Close()
			s, err := admin.Status(cmd.Context())
			if err != nil {
				return err
			}
			view := struct {
				broker.Status
				Running bool `json:"running"`
			}{s, running}
			return a.print(view, func(w io.Writer) { statusText(w, s, running, a.now()) })
		},
	}
}

func (a *app) brokerWhy() *cobra.Command {
	return &cobra.Command{
		Use:   "why RUN|RELEASE|AGREEMENT",
		Short: "Explain what your broker decided, clause by clause",
		Long: `Shows every decision about a run id, a release id, an agreement's digest or a dataset's
name, with each clause that was looked at: what was expected and what was found. For runs that
got keys it also opens what the room sealed to you in the run's record: withheld rows, and why
a run failed. That record is in the shared ledgers that your broker was told of.`,
		Example: "  strongroom broker why 0f8e4c1d2b3a49586776859403122130",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, admin, _, err := a.lookAtBroker(cmd.Context())
			if err != nil {
				return err
			}
			defer admin.Close()
			list, err := admin.Why(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			parts := a.ownersParts(cmd.Context(), h, list)
			return a.print(map[string]any{"decisions": list, "records": parts}, func(w io.Writer) {
				for _, d := range list {
					decisionText(w, d)
				}
				for _, p := range parts {
					partText(w, p)
				}
			})
		},
	}
}

func (a *app) brokerConfirm() *cobra.Command {
	return &cobra.Command{
		Use:   "confirm behind|forked|unreachable",
		Short: "Let a locked broker go on, after you found out why it locked",
		Long: `A broker locks when its log or state is older than what others have seen of it, or another:
a backup was restored, or somebody set it back to have things spent twice. Restore the
right log if you can. If you can't, confirm: everything it still knows to be spent, retired
or revoked stays so, and you must activate each agreement again that should still hold.

Name the lock as "broker status" showed it: if it is another by now, nothing is confirmed.`,
		Example: "  strongroom broker confirm behind",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := a.existingBroker(cmd.Context())
			if err != nil {
				return err
			}
			defer admin.Close()
			s, err := admin.Status(cmd.Context())
			if err != nil {
				return err
			}
			if s.Lock != nil && (len(args) == 0 || args[0] != string(s.Lock.Kind)) {
				return verdict.Misuse("broker.confirm", "the lock that you confirm, as broker status shows it", verdict.Short(strings.Join(args, " ")),
					"it is locked as "+string(s.Lock.Kind)+": "+s.Lock.Reason+"; if that is what you found out about: strongroom broker confirm "+string(s.Lock.Kind))
			}
			ev, err := admin.Confirm(cmd.Context(), s.Lock.Confirmation())
			if err != nil {
				return err
			}
			return a.print(ev, func(w io.Writer) {
				fmt.Fprintln(w, verdict.Printable(ev.Done))
				for _, note := range ev.Notes {
					fmt.Fprintln(w, "  "+verdict.Printable(note))
				}
			})
		},
	}
}
