package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"strongroom.dev/broker"
)

func (a *app) brokerReference() *cobra.Command {
	return group(&cobra.Command{
		Use:   "reference",
		Short: "Sets of reference values: which images your release lines accept today",
		Long: `An agreement may name release keys instead of room images. Your broker then accepts an image
if the newest set of reference values that you gave it lists it: signed by enough of these
keys, recorded in their log, within its dates. What you deny stays denied.`,
	}, a.brokerReferenceAdd(), a.brokerReferenceList())
}

func (a *app) brokerReferenceAdd() *cobra.Command {
	return &cobra.Command{
		Use:   "add SET",
		Short: "Give your broker a newer set: its images get keys, and those it leaves out get none",
		Long: `Checks the set by the release lines of the agreements that your broker has activated, and
keeps it as the newest, for good: nothing older is accepted ever again, not even after a
restart. Rooms whose image the new set no longer lists stop when they next ask whether they
may go on. It is recorded in your broker's log. Nobody else has to agree: the release keys
are those that you agreed to.

Exit 3 if the set is outdated, a step back or of another product; 4 if it is not genuine.`,
		Example: `  strongroom broker reference add room.set`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, data, err := a.readSet(args[0])
			if err != nil {
				return err
			}
			admin, err := a.existingBroker(cmd.Context())
			if err != nil {
				return err
			}
			defer admin.Close()
			ev, err := admin.AddReference(cmd.Context(), broker.ReferenceAct{Set: data})
			if err != nil {
				return inFile(args[0], err)
			}
			return a.printEvent(ev)
		},
	}
}

func (a *app) brokerReferenceList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "Say which set of each release line is the newest, and until when it is good",
		Example: "  strongroom broker reference list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, admin, _, err := a.lookAtBroker(cmd.Context())
			if err != nil {
				return err
			}
			defer admin.Close()
			s, err := admin.Status(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(map[string]any{"references": s.References}, func(w io.Writer) {
				if len(s.References) == 0 {
					fmt.Fprintln(w, "No agreement that your broker has activated names a release line.")
				}
				referencesText(w, s.References, a.now())
			})
		},
	}
}

// referencesText says what is known of each release line, one a line, and what is to be done.
func referencesText(w io.Writer, list []broker.ReferenceStatus, now time.Time) {
	for _, r := range list {
		fmt.Fprintf(w, "  release     %s, ", r.Product)
		ends := time.UnixMilli(r.ExpiresMS)
		switch {
		case r.Version == 0:
			fmt.Fprintln(w, "NO SET: none of its images gets a key (strongroom broker reference add SET)")
			continue
		case !r.Held:
			fmt.Fprintf(w, "version %d IS GONE: give its set %s again, or a newer one (strongroom broker reference add SET)\n", r.Version, shortDigest(r.Set))
			continue
		case !now.Before(ends):
			fmt.Fprintf(w, "version %d HAS ENDED on %s: none of its images gets a key until you add a newer set\n", r.Version, since(r.ExpiresMS))
			continue
		}
		fmt.Fprintf(w, "version %d, security version %d, until %s (set %s)\n", r.Version, r.SecurityVersion, since(r.ExpiresMS), shortDigest(r.Set))
	}
}
