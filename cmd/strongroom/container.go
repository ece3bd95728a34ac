package main

import "github.com/spf13/cobra"

func (a *app) containerCommand() *cobra.Command {
	return group(&cobra.Command{Use: "container", Short: "Prepare existing images for rooms"}, a.containerPrepare(), a.containerDiff(), a.containerDisk())
}
