package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"strongroom.dev/attest/dev"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Room images and the values their evidence carries",
	}
	return group(cmd, a.imageMeasure())
}

func (a *app) imageMeasure() *cobra.Command {
	var platform string
	cmd := &cobra.Command{
		Use:   "measure --platform dev",
		Short: "Print the values that evidence of a room image will carry",
		Long: `Prints the measurements that an agreement's image lists. For the insecure dev platform they
are the digests of the programs beside this one.`,
		Example: "  strongroom image measure --platform dev",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if platform != string(dev.Name) {
				return verdict.Misuse("--platform", "dev", fmt.Sprintf("%q", platform), "this version starts rooms on dev only")
			}
			m, inputs, err := measureDev()
			if err != nil {
				return err
			}
			values := m.Named()
			return a.print(map[string]any{"platform": platform, "values": values, "inputs": inputs}, func(w io.Writer) {
				for _, name := range slices.Sorted(maps.Keys(values)) {
					fmt.Fprintf(w, "%s: %s\n", name, values[name])
				}
			})
		},
	}
	cmd.Flags().StringVar(&platform, "platform", string(dev.Name), "platform of the room")
	return cmd
}

// measureDev measures the programs beside this one as the dev launcher does, and gives the
// SHA-256 of each file too, for comparing downloads.
func measureDev() (dev.Measurement, map[string]string, error) {
	m := dev.Measurement{Helpers: map[string]wire.Digest{}}
	inputs := map[string]string{}
	for _, name := range []string{agentProgram, sqlProgram} {
		digest, err := measure(name)
		if err != nil {
			return m, nil, err
		}
		if name == agentProgram {
			m.Agent = digest
		} else {
			m.Helpers[name] = digest
		}
		path, err := beside(name)
		if err != nil {
			return m, nil, err
		}
		f, err := os.Open(path)
		if err != nil {
			return m, nil, err
		}
		hash, _, err := wire.HashReader(f)
		f.Close()
		if err != nil {
			return m, nil, err
		}
		inputs[name] = fmt.Sprintf("%x", hash[:])
	}
	return m, inputs, nil
}

// The programs that make a room, as they stand beside this one.
const (
	agentProgram = "strongroom-agent"
	sqlProgram   = "strongroom-sql"
)
