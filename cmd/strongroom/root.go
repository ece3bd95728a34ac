package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/verdict"
)

// rootCommand is the whole command line; every verb has a file of its own.
func (a *app) rootCommand() *cobra.Command {
	output := "text"
	root := &cobra.Command{
		Use:   "strongroom",
		Short: "Agreed code on data nobody may see, with proof",
		Long: `Strongroom runs agreed code on data that nobody involved may see, and proves that it did.

  party, keygen      who you are, and whom you know
  agreement          what may run, on whose data, with which results to whom
  dataset, seal      bring data, sealed
  broker             your key service: releases keys only to what you agreed to
  run, room, host    run agreed work in a room
  sql                try queries against an agreement's rules
  sample             data of nobody's to try things on
  connect            reach a room with any client, once it has proven what it is
  open, receipt      results and their proof
  verify, policy     evidence of any hardware: what it proves, and what not
  attestation        a service that judges evidence for others
  endorsements       what vendors sign about their hardware
  reference          what makers of code sign about its measurements

Exit codes: 0 ok, 1 broken or interrupted, 2 wrong call, 3 refused by a rule, 4 not genuine.`,
		Example: `  strongroom demo hospitals      # see all of it happen
  strongroom party init --name alpha --title "Alpha Hospital"
  strongroom agreement init > study.yaml`,
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
		return verdict.Misuse("flags", "flags of "+cmd.CommandPath(), flagComplaint(err.Error()), cmd.CommandPath()+" --help lists them")
	})
	showVersion := root.Flags().Bool("version", false, "print the build's name")
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if *showVersion && len(args) == 0 {
			return a.printVersion()
		}
		if a.json || len(args) > 0 {
			return needsVerb(cmd, args)
		}
		return cmd.Help()
	}
	root.Args = cobra.ArbitraryArgs // or cobra itself complains, in several lines
	root.SetHelpFunc(a.help(root.HelpFunc()))
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(a.verbs()...)
	closeGroups(root)
	return root
}

// verbs lists every verb, in the order a newcomer meets them.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{
		a.partyCommand(),
		a.keygenCommand(),
		a.agreementCommand(),
		a.datasetCommand(),
		a.sealCommand(),
		a.openCommand(),
		a.brokerCommand(),
		a.runCommand(),
		a.sqlCommand(),
		a.sampleCommand(),
		a.roomCommand(),
		a.connectCommand(),
		a.containerCommand(),
		a.hostCommand(),
		a.ledgerCommand(),
		a.receiptCommand(),
		a.verifyCommand(),
		a.policyCommand(),
		a.endorsementsCommand(),
		a.referenceCommand(),
		a.attestationCommand(),
		a.inspectCommand(),
		a.imageCommand(),
		a.demoCommand(),
		a.doctorCommand(),
		a.versionCommand(),
	}
}

// group makes a verb that only holds others.
func group(cmd *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(verbs...)
	return cmd
}

// closeGroups makes every verb that only holds others a wrong call by itself, and with a
// verb that it doesn't have. (cobra on its own would print help and exit 0.)
func closeGroups(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		closeGroups(c)
		if c.HasSubCommands() && !c.Runnable() {
			c.Args, c.RunE = cobra.ArbitraryArgs, needsVerb
		}
	}
}

func needsVerb(cmd *cobra.Command, args []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	got, mend := "none", cmd.CommandPath()+" --help shows them"
	if len(args) > 0 {
		got = verdict.Short(args[0])
		if cmd.SuggestionsMinimumDistance <= 0 {
			cmd.SuggestionsMinimumDistance = 2
		}
		if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
			mend = "did you mean " + cmd.CommandPath() + " " + strings.Join(like, " or ") + "? " + mend
		}
	}
	return verdict.Misuse("command line", "a verb of "+cmd.CommandPath()+": "+strings.Join(names, ", "), got, mend)
}

// mustHave marks flags that a call can't do without.
func mustHave(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a flag that isn't there: a defect that every test meets
		}
	}
}

// help shows a verb's help; with --output json as a document, since nothing else may stand
// on standard output then.
func (a *app) help(plain func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(cmd *cobra.Command, args []string) {
		if f := cmd.Flag("output"); f == nil || f.Value.String() != "json" {
			plain(cmd, args)
			return
		}
		text := cmd.Long
		if text == "" {
			text = cmd.Short
		}
		writeJSON(a.out, map[string]string{"help": strings.TrimSpace(text + "\n\n" + cmd.UsageString())})
	}
}

// flagComplaint says in our words what the library says of a flag.
func flagComplaint(text string) string {
	if flag, found := strings.CutPrefix(text, "flag needs an argument: "); found {
		if _, name, short := strings.Cut(flag, " in "); short {
			flag = name
		}
		return flag + " without its value"
	}
	value, rest, found := strings.Cut(strings.TrimPrefix(text, "invalid argument "), " for ")
	flag, why, told := strings.Cut(rest, " flag: ")
	if !found || !told || !strings.HasPrefix(text, "invalid argument ") {
		return text
	}
	if strings.HasPrefix(why, "strconv.ParseBool") {
		why = "neither true nor false"
	} else if strings.HasPrefix(why, "strconv.") {
		why = "not a whole number of its range"
	}
	return strings.Trim(flag, `"`) + " " + value + ", " + why
}
