package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/broker"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
)

// denialFlags name one thing to deny, and why.
type denialFlags struct {
	image, machine, root, generation string
	reason                           string
}

func (f *denialFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.image, "image", "", "a measurement: of a room image, an agent or a helper, in `HEX`")
	flags.StringVar(&f.machine, "machine", "", "one machine, by the `ID` that its platform prints")
	flags.StringVar(&f.root, "root", "", "a root of evidence, by `FINGERPRINT`")
	flags.StringVar(&f.generation, "generation", "", "a make of hardware, as `PLATFORM/NAME`, such as snp/Milan")
	flags.StringVar(&f.reason, "reason", "", "`WHY`, in a line, for the record")
}

// act gives the one thing that was named.
func (f *denialFlags) act() (broker.DenialAct, error) {
	image := strings.TrimPrefix(strings.TrimPrefix(f.image, "sha384:"), "sha256:")
	var named []policy.Denial
	for _, d := range []policy.Denial{{What: policy.DenyImage, Value: image}, {What: policy.DenyMachine, Value: f.machine},
		{What: policy.DenyRoot, Value: f.root}, {What: policy.DenyGeneration, Value: f.generation}} {
		if d.Value != "" {
			named = append(named, d)
		}
	}
	if len(named) != 1 {
		return broker.DenialAct{}, verdict.Misuse("broker.denial", "one of --image, --machine, --root and --generation", fmt.Sprintf("%d of them", len(named)), "name one thing at a time")
	}
	return broker.DenialAct{Denial: named[0], Reason: f.reason}, named[0].Check()
}

func (a *app) brokerDeny() *cobra.Command {
	var flags denialFlags
	var list bool
	cmd := &cobra.Command{
		Use:   "deny --image HEX|--machine ID|--root FINGERPRINT|--generation PLATFORM/NAME",
		Short: "Keep your keys from an image or a machine, at once, whatever was agreed",
		Long: `What you deny gets no keys of yours any more, and rooms with it stop when they next ask
whether they may go on, within their lease. You do this alone: nobody else has to agree.
It is recorded in your broker's log, and stands until you lift it.`,
		Example: `  strongroom broker deny --generation snp/Milan --reason 'advisory of last night'
  strongroom broker deny --list`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return a.listDenied(cmd.Context())
			}
			return a.denial(cmd.Context(), flags, brokerAdmin.Deny)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&list, "list", false, "say what you deny")
	return cmd
}

func (a *app) brokerLift() *cobra.Command {
	var flags denialFlags
	cmd := &cobra.Command{
		Use:     "lift --image HEX|--machine ID|--root FINGERPRINT|--generation PLATFORM/NAME",
		Short:   "End a denial: what the agreements say counts again",
		Example: "  strongroom broker lift --generation snp/Milan --reason 'new firmware everywhere'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.denial(cmd.Context(), flags, brokerAdmin.Lift)
		},
	}
	flags.add(cmd)
	return cmd
}

// denial has the broker, serving or not, do an act about a denial. A party that has not used
// its broker yet may deny too.
func (a *app) denial(ctx context.Context, flags denialFlags, do func(brokerAdmin, context.Context, broker.DenialAct) (broker.Event, error)) error {
	act, err := flags.act()
	if err != nil {
		return err
	}
	h, _, err := a.brokerHome()
	if err != nil {
		return err
	}
	admin, err := a.brokerAdmin(ctx, h)
	if err != nil {
		return err
	}
	defer admin.Close()
	ev, err := do(admin, ctx, act)
	if err != nil {
		return err
	}
	return a.print(ev, func(w io.Writer) { fmt.Fprintln(w, verdict.Printable(ev.Done)) })
}

func (a *app) listDenied(ctx context.Context) error {
	admin, err := a.existingBroker(ctx)
	if err != nil {
		return err
	}
	defer admin.Close()
	s, err := admin.Status(ctx)
	if err != nil {
		return err
	}
	return a.print(map[string]any{"denied": s.Denied}, func(w io.Writer) {
		if len(s.Denied) == 0 {
			fmt.Fprintln(w, "Nothing is denied.")
		}
		deniedText(w, s.Denied)
	})
}

// deniedText says what is denied, one a line.
func deniedText(w io.Writer, list []broker.DenialStatus) {
	for _, d := range list {
		fmt.Fprintf(w, "  DENIED      %s, since %s", verdict.Printable(d.String()), since(d.SinceMS))
		if d.Reason != "" {
			fmt.Fprintf(w, ": %s", verdict.Printable(d.Reason))
		}
		fmt.Fprintln(w)
	}
}
