package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/image"
)

func (a *app) imageShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show DIR",
		Short: "List every file in a room image, its origin and digest, and check them all",
		Long: `Checks a room image against its own manifest, down to the members of its initrd and every
block of its engines' disks, and lists them with where they came from. That an image is whole
doesn't make it the agreed one: its measurements do (strongroom image measure), and whoever
builds it anew gets the same digests.`,
		Example: "  strongroom image show room-image",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := image.Open(args[0])
			if err != nil {
				return err
			}
			return a.print(m, func(w io.Writer) { showImage(w, args[0], m) })
		},
	}
}

func showImage(w io.Writer, dir string, m image.Manifest) {
	fmt.Fprintf(w, "%s: whole. Strongroom %s, Linux %s\n", dir, m.Version, m.Kernel)
	fmt.Fprintf(w, "command line: %s\n", m.Cmdline)
	fmt.Fprintf(w, "\npackages\n")
	for _, p := range m.Packages {
		fmt.Fprintf(w, "  %-12s %s\n               %s, %s\n               %s\n", p.Use, p, p.Suite, p.Path, p.SHA256)
	}
	for _, part := range []struct {
		title string
		files []image.File
	}{{"programs", m.Programs}, {"files", m.Files}, {"in " + image.FileUKI + ", behind the stub", m.Sections}, {"in " + image.FileInitrd, m.Initrd}} {
		fmt.Fprintf(w, "\n%s\n", part.title)
		for _, f := range part.files {
			fmt.Fprintf(w, "  %-32s %9s  %x  %s\n", f.Name, byteSize(f.Size), f.SHA256[:], f.Origin)
		}
	}
	fmt.Fprintf(w, "  and the directories %s\n", strings.Join(image.Directories(), ", "))
	fmt.Fprintf(w, "\nengines\n")
	for _, e := range m.Engines {
		fmt.Fprintf(w, "  %s on %s: %d blocks, root %x\n    %s\n", e.Name, e.Disk, e.DataBlocks, e.Root[:], e.Digest)
	}
}
