package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/broker"
	"strongroom.dev/internal/home"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
)

// denialFlags name one thing to deny, and why.
type denialFlags struct {
	image, machine, root, generation, below string
	reason                                  string
}

func (f *denialFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.image, "image", "", "a measurement: of a room image, an agent or a helper, in `HEX`")
	flags.StringVar(&f.machine, "machine", "", "one machine, by the `ID` that its platform prints")
	flags.StringVar(&f.root, "root", "", "a root of evidence, by `FINGERPRINT`")
	flags.StringVar(&f.generation, "generation", "", "a make of hardware, as `PLATFORM/NAME`, such as snp/Milan")
	flags.StringVar(&f.below, "below", "", "firmware older than this, as `PLATFORM/[GENERATION/]NAME=LEAST`, such as snp/Milan/microcode=211 or tdx/date=20250513")
	flags.StringVar(&f.reason, "reason", "", "`WHY`, in a line, for the record")
}

// act gives the one thing that was named.
func (f *denialFlags) act() (broker.DenialAct, error) {
	image := strings.TrimPrefix(strings.TrimPrefix(f.image, "sha384:"), "sha256:")
	var named []policy.Denial
	for _, d := range []policy.Denial{{What: policy.DenyImage, Value: image}, {What: policy.DenyMachine, Value: f.machine},
		{What: policy.DenyRoot, Value: f.root}, {What: policy.DenyGeneration, Value: f.generation}, {What: policy.DenyBelow, Value: f.below}} {
		if d.Value != "" {
			named = append(named, d)
		}
	}
	if len(named) != 1 {
		return broker.DenialAct{}, verdict.Misuse("broker.denial", "one of --image, --machine, --root, --generation and --below", fmt.Sprintf("%d of them", len(named)), "name one thing at a time")
	}
	return broker.DenialAct{Denial: named[0], Reason: f.reason}, named[0].Check()
}

func (a *app) brokerDeny() *cobra.Command {
	var flags denialFlags
	var list bool
	cmd := &cobra.Command{
		Use:   "deny --image HEX|--machine ID|--root FINGERPRINT|--generation PLATFORM/NAME|--below PLATFORM/NAME=LEAST",
		Short: "Keep your keys from an image or a machine, at once, whatever was agreed",
		Long: `What you deny gets no keys of yours any more, and rooms with it stop when they next ask
whether they may go on, within their lease. You do this alone: nobody else has to agree.
It is recorded in your broker's log, and stands until you lift it.

--below demands firmware beyond what its maker still lets pass. On snp NAME is a component of
the TCB: bootloader, tee, snp, microcode, fmc. On tdx it is date or module-date (of the
TCB level, YYYYMMDD), evaluation (Intel's tcbEvaluationDataNumber) or up-to-date (1 refuses
what needs software or configuration to make up for something). On azure it is any of these. A
room of whose firmware that is not known is refused.`,
		Example: `  strongroom broker deny --generation snp/Milan --reason 'advisory of last night'
  strongroom broker deny --below snp/Milan/microcode=211
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
		Use:     "lift --image HEX|--machine ID|--root FINGERPRINT|--generation PLATFORM/NAME|--below PLATFORM/NAME=LEAST",
		Short:   "End a denial: what the agreements say counts again",
		Example: "  strongroom broker lift --generation snp/Milan --reason 'new firmware everywhere'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			act, err := flags.act()
			if err != nil {
				return err
			}
			if err := a.isDenied(cmd.Context(), act.Denial); err != nil {
				return err
			}
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
	s, err := admin.Status(ctx)
	if err != nil {
		return err
	}
	switch {
	case ev.Kind == "lift" && ev.Number < 0:
		return notDenied(act.Denial, s.Denied)
	case ev.Kind == "deny" && act.What == policy.DenyImage:
		named, err := namesImage(h, s, act.Value)
		if err != nil {
			return err
		}
		note := "NOTE: no agreement that your broker has activated names this image: compare the digits, lest the image you mean still gets keys"
		if len(s.References) > 0 {
			note = "NOTE: no agreement that your broker has activated pins this image, though a set of a release line may list it: compare the digits, lest the image you mean still gets keys"
		}
		if !named {
			ev.Notes = append(ev.Notes, note)
		}
	}
	return a.printEvent(ev)
}

// isDenied looks, changing nothing, whether there is anything to lift.
func (a *app) isDenied(ctx context.Context, d policy.Denial) error {
	_, view, _, err := a.lookAtBroker(ctx)
	if err != nil {
		return err
	}
	s, err := view.Status(ctx)
	if err = errors.Join(err, view.Close()); err != nil {
		return err
	}
	if !slices.ContainsFunc(s.Denied, func(s broker.DenialStatus) bool { return s.Denial == d }) {
		return notDenied(d, s.Denied)
	}
	return nil
}

// maxClose is how many denials an error names.
const maxClose = 4

// notDenied says that nothing was lifted, and what of the same kind is denied: the most alike
// first, by how many digits agree at the start.
func notDenied(d policy.Denial, list []broker.DenialStatus) error {
	alike := func(s broker.DenialStatus) int {
		n := 0
		for n < len(s.Value) && n < len(d.Value) && s.Value[n] == d.Value[n] {
			n++
		}
		if s.What == d.What {
			n += len(s.Value) + len(d.Value)
		}
		return n
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, z broker.DenialStatus) int { return alike(z) - alike(a) })
	var names []string
	for _, s := range list[:min(len(list), maxClose)] {
		names = append(names, s.String())
	}
	expected := "something that is denied, such as " + strings.Join(names, ", ")
	if len(names) == 0 {
		expected = "something that is denied; nothing is"
	}
	return verdict.Misuse("broker.denial", expected, d.String()+", which is not", "nothing was lifted: strongroom broker deny --list shows all that is denied, copy it from there")
}

// namesImage reports whether an activated agreement names a measurement.
func namesImage(h *home.Home, s broker.Status, value string) (bool, error) {
	list, err := h.Agreements()
	if err != nil {
		return false, err
	}
	for _, ag := range list {
		if !slices.ContainsFunc(s.Agreements, func(known broker.AgreementStatus) bool {
			return known.Digest == ag.Digest().String() && known.Standing == "activated"
		}) {
			continue
		}
		for _, p := range ag.Platforms {
			for _, image := range p.Images {
				for _, m := range image.Measurements {
					if m == value {
						return true, nil
					}
				}
			}
		}
	}
	return false, nil
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
