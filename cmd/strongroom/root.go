package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"strongroom.dev/verdict"
)

// rootCommand is the whole command line; every verb has a file of its own.
func (a *app) rootCommand() *cobra.Command {
	output := "text"
	root := &cobra.Command{
		Use:           "strongroom",
		Short:         "Agreed code on data nobody may see, with proof",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if output != "text" && output != "json" {
				return verdict.Misuse("--output", "text or json", fmt.Sprintf("%q", output), "give one of the two")
			}
			a.json = output == "json"
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.homeDir, "home", defaultHome(), "the party's directory of keys and papers ($STRONGROOM_HOME)")
	flags.StringVar(&output, "output", output, "text or json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return verdict.Misuse("flags", "flags of "+cmd.CommandPath(), err.Error(), cmd.CommandPath()+" --help lists them")
	})
	root.AddCommand(a.verbs()...)
	return root
}

// verbs lists every verb, in the order a newcomer meets them.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{}
}
