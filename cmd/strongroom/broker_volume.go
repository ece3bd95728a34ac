package main

import (
	"context"

	"github.com/spf13/cobra"
	"strongroom.dev/broker"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) brokerVolume() *cobra.Command {
	return group(&cobra.Command{
		Use:   "volume",
		Short: "What becomes of a container's volume whose disk is lost",
		Long: `Your broker knows which generation of a volume the last room mounted, and refuses an older
disk, an empty one included. When the disk is lost these are the ways on; each is recorded.`,
	}, a.brokerVolumeReset(), a.brokerVolumeRestore())
}

func (a *app) brokerVolumeReset() *cobra.Command {
	var act broker.VolumeAct
	cmd := &cobra.Command{
		Use:   "reset DATASET",
		Short: "Begin a volume anew, empty, under the same key",
		Long: `The next room that opens the volume makes an empty one. A disk with content is refused, the
old one too. DATASET is that of the volume's key: strongroom broker status lists them. The run
that still holds the volume is over.`,
		Example: "  strongroom broker volume reset db-key --reason 'the disk burnt'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.volumeAct(cmd.Context(), args[0], act)
		},
	}
	cmd.Flags().StringVar(&act.Reason, "reason", "", "`WHY`, in a line, for the record")
	return cmd
}

func (a *app) brokerVolumeRestore() *cobra.Command {
	var act broker.VolumeAct
	cmd := &cobra.Command{
		Use:   "restore DATASET --generation N",
		Short: "Go on from a copy of an older disk",
		Long: `Disks of generation N or later are taken at the next opening. What later runs wrote is given
up, and whoever has the disks chooses among them: say N as high as you can. Of the content only
its generation is known, as after a kill. The event container.volume of a run says the
generation that its disk has afterwards. The run that still holds the volume is over.`,
		Example: "  strongroom broker volume restore db-key --generation 41 --reason 'backup of Sunday'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if act.Generation < 1 {
				return verdict.Misuse("--generation", "the generation of the copy, 1 or more", "none", "strongroom broker volume reset begins without a copy")
			}
			return a.volumeAct(cmd.Context(), args[0], act)
		},
	}
	cmd.Flags().StringVar(&act.Reason, "reason", "", "`WHY`, in a line, for the record")
	cmd.Flags().Int64Var(&act.Generation, "generation", 0, "the `N` that the copy has at least")
	return cmd
}

func (a *app) volumeAct(ctx context.Context, dataset string, act broker.VolumeAct) error {
	act.Dataset = wire.ID(dataset)
	admin, err := a.existingBroker(ctx)
	if err != nil {
		return err
	}
	defer admin.Close()
	ev, err := admin.ResetVolume(ctx, act)
	if err != nil {
		return err
	}
	return a.printEvent(ev)
}
