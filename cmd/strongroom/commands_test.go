package main

import (
	"regexp"

	"github.com/spf13/cobra"
)

// allCommands gives a command and all below it.
func allCommands(cmd *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		out = append(out, allCommands(c)...)
	}
	return out
}

// flagsOf gives the names of a command's flags, as its help shows them.
func flagsOf(cmd *cobra.Command) []string {
	return regexp.MustCompile(`--[a-z-]+`).FindAllString(cmd.Flags().FlagUsages(), -1)
}
