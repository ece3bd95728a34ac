package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"strongroom.dev/demo"
	"strongroom.dev/verdict"
)

// story is a demo by name.
type story struct {
	Name  string `json:"name"`
	Short string `json:"short"`
	dir   string // where its world lies if nothing else is said
	tell  func(context.Context, demo.Config) (*demo.Report, error)
}

// stories lists every demo, in the order a newcomer meets them.
func stories() []story {
	return []story{
		{"hospitals", "two hospitals, one agreed study, and every attempt to cheat refused", "strongroom-demo", demo.Hospitals},
		{"vm", "the same study in a booted, measured virtual machine, and what a host that boots something else gets", "strongroom-demo-vm", demo.VM},
		{"attestation", "a relying party that gates on evidence, and every forgery refused", "strongroom-demo-attestation", demo.Attestation},
		{"container", "an unmodified web server's image in a room, a customer who checks it first, and every change refused", "strongroom-demo-container", demo.Container},
		{"cards", "a clean room: a bank, a grocer, and an agency that asks whatever the rules let pass", "strongroom-demo-cards", demo.Cards},
	}
}

func (a *app) demoCommand() *cobra.Command {
	var dir, image string
	cmd := &cobra.Command{
		Use:   "demo [NAME]",
		Short: "Tell a story with real processes, attacks included",
		Long: `Runs a whole world on this machine, over loopback, in a minute or two: every command and server
is a process of its own. It prints each command, tries to cheat in every way we know, and
leaves its world behind so that you can do its steps again by hand; that of hospitals has
every line in by-hand.sh. Without a name it lists the demos.

It exits 1 if an attack is not refused, or could not be tried.`,
		Example: "  strongroom demo\n  strongroom demo hospitals\n  strongroom demo vm\n  strongroom demo attestation\n  strongroom demo container\n  strongroom demo cards\n  strongroom demo hospitals --output json > report.json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listDemos()
			}
			for _, s := range stories() {
				if s.Name == args[0] {
					ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
					defer stop()
					dir = or(dir, s.dir)
					return a.tell(ctx, s, demo.Config{Dir: dir, Image: image})
				}
			}
			return verdict.Misuse("demo", "a demo that exists", verdict.Short(args[0]), "strongroom demo lists them")
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`DIR` of the demo's world; a demo replaces it only if a demo made it (default: strongroom-demo, with -NAME behind it for others than hospitals)")
	cmd.Flags().StringVar(&image, "image", "", "`IMAGE` of nginx for the demo container, as container prepare takes it, or the folder of an OCI layout (default: Debian's, made here)")
	return cmd
}

func (a *app) listDemos() error {
	return a.print(stories(), func(w io.Writer) {
		for _, s := range stories() {
			fmt.Fprintf(w, "%-12s %s\n", s.Name, s.Short)
		}
	})
}

// tell runs a story: its words go to standard output, or to standard error where the report
// takes that.
func (a *app) tell(ctx context.Context, s story, c demo.Config) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, name := range []string{agentProgram, sqlProgram} {
		if _, err := companion(name); err != nil {
			return err
		}
	}
	show := a.out
	if a.json {
		show = a.err
	}
	c.Command, c.Show = self, show
	report, err := s.tell(ctx, c)
	if report == nil || err != nil && report.Err() == nil {
		return err // it never came to its end: there is no report
	}
	if a.json {
		// The report says which attack was not refused; it is the one document even then.
		if perr := a.print(report, nil); perr != nil {
			return perr
		}
		return err
	}
	refused := 0
	for _, attack := range report.Attacks {
		if attack.Refused {
			refused++
		}
	}
	fmt.Fprintf(a.out, "\n%d of %d attacks refused, %.1f s\n", refused, len(report.Attacks), report.Seconds["total"])
	return err
}
