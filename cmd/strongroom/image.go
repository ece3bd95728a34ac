package main

import (
	"github.com/spf13/cobra"
)

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Room images and the values their evidence carries",
	}
	return group(cmd, a.imageBuild(), a.imageShow(), a.imageLock(), a.imageMeasure(), a.imageRecipe())
}
